/* SPDX-License-Identifier: Apache-2.0 */
/* Documents against their schemas: see the header. */
#include "tests/lib/schema.h"

#include <gio/gio.h>
#include <string.h>

#include "daemon/json.h"

extern GResource *mf_api_openapi_get_resource(void);

MfJson *
schema_load(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) text =
      g_resource_lookup_data(mf_api_openapi_get_resource(), "/dev/mayfly/openapi.json",
                             G_RESOURCE_LOOKUP_FLAGS_NONE, &error);
  g_assert_no_error(error);
  gsize length = 0;
  const char *data = g_bytes_get_data(text, &length);
  MfJson *json = mf_json_parse(data, length, "openapi.json", &error);
  g_assert_no_error(error);
  return json;
}

static MfJson *
named(MfJson *openapi, const char *name)
{
  MfJson *components = json_object_object_get(openapi, "components");
  MfJson *schema = json_object_object_get(json_object_object_get(components, "schemas"), name);
  if (schema == NULL)
    g_error("There is no schema %s", name);
  return schema;
}

static gboolean
has_type(MfJson *value, const char *type)
{
  static const struct {
    const char *name;
    enum json_type type;
  } types[] = {{"null", json_type_null},     {"boolean", json_type_boolean},
               {"integer", json_type_int},   {"number", json_type_int},
               {"number", json_type_double}, {"string", json_type_string},
               {"object", json_type_object}, {"array", json_type_array}};
  for (gsize i = 0; i < G_N_ELEMENTS(types); i++)
    if (strcmp(types[i].name, type) == 0 && json_object_is_type(value, types[i].type))
      return TRUE;
  return FALSE;
}

static gboolean
has_type_of(MfJson *value, MfJson *allowed)
{
  gboolean list = json_object_is_type(allowed, json_type_array);
  gsize n = list ? json_object_array_length(allowed) : 1;
  for (gsize i = 0; i < n; i++) {
    MfJson *one = list ? json_object_array_get_idx(allowed, i) : allowed;
    if (has_type(value, json_object_get_string(one)))
      return TRUE;
  }
  return FALSE;
}

static void
check_type(MfJson *allowed, MfJson *value, const char *path)
{
  if (!has_type_of(value, allowed))
    g_error("%s is %s, not %s", path, value != NULL ? json_object_get_string(value) : "null",
            json_object_get_string(allowed));
}

static void
check_enum(MfJson *allowed, MfJson *value, const char *path)
{
  for (gsize i = 0; i < json_object_array_length(allowed); i++)
    if (json_object_equal(json_object_array_get_idx(allowed, i), value))
      return;
  g_error("%s is %s, none of %s", path, value != NULL ? json_object_get_string(value) : "null",
          json_object_get_string(allowed));
}

static void check(MfJson *openapi, MfJson *schema, MfJson *value, const char *path);

static void
check_object(MfJson *openapi, MfJson *schema, MfJson *value, const char *path)
{
  MfJson *properties = json_object_object_get(schema, "properties");
  MfJson *others = json_object_object_get(schema, "additionalProperties");
  MfJson *required = json_object_object_get(schema, "required");
  gsize n = required != NULL ? json_object_array_length(required) : 0;
  for (gsize i = 0; i < n; i++) {
    const char *key = json_object_get_string(json_object_array_get_idx(required, i));
    if (!json_object_object_get_ex(value, key, NULL))
      g_error("%s has no %s", path, key);
  }
  json_object_object_foreach(value, key, item)
  {
    g_autofree char *item_path = mf_json_key_path(path, key);
    MfJson *known = json_object_object_get(properties, key);
    if (known == NULL && json_object_is_type(others, json_type_object))
      known = others;
    if (known == NULL)
      g_error("%s is not described", item_path);
    check(openapi, known, item, item_path);
  }
}

/* Itself, or what it refers to. */
static MfJson *
resolve(MfJson *openapi, MfJson *schema)
{
  const char *reference = json_object_get_string(json_object_object_get(schema, "$ref"));
  return reference != NULL ? named(openapi, reference + strlen("#/components/schemas/")) : schema;
}

/* Alternatives are told apart by their types. */
static void
check_one_of(MfJson *openapi, MfJson *schemas, MfJson *value, const char *path)
{
  for (gsize i = 0; i < json_object_array_length(schemas); i++) {
    MfJson *schema = resolve(openapi, json_object_array_get_idx(schemas, i));
    if (!has_type_of(value, json_object_object_get(schema, "type")))
      continue;
    check(openapi, schema, value, path);
    return;
  }
  g_error("%s is %s, none of %s", path, value != NULL ? json_object_get_string(value) : "null",
          json_object_get_string(schemas));
}

static void
check(MfJson *openapi, MfJson *named_schema, MfJson *value, const char *path)
{
  MfJson *schema = resolve(openapi, named_schema);
  MfJson *alternatives = json_object_object_get(schema, "oneOf");
  if (alternatives != NULL) {
    check_one_of(openapi, alternatives, value, path);
    return;
  }
  MfJson *type = json_object_object_get(schema, "type");
  MfJson *values = json_object_object_get(schema, "enum");
  MfJson *items = json_object_object_get(schema, "items");
  if (type != NULL)
    check_type(type, value, path);
  if (values != NULL)
    check_enum(values, value, path);
  if (json_object_is_type(value, json_type_object))
    check_object(openapi, schema, value, path);
  for (gsize i = 0;
       json_object_is_type(value, json_type_array) && i < json_object_array_length(value); i++) {
    g_autofree char *item_path = g_strdup_printf("%s[%" G_GSIZE_FORMAT "]", path, i);
    check(openapi, items, json_object_array_get_idx(value, i), item_path);
  }
}

void
schema_check(MfJson *openapi, const char *name, MfJson *document)
{
  check(openapi, named(openapi, name), document, name);
}
