/* SPDX-License-Identifier: Apache-2.0 */
/* Strict JSON: every value is what its key allows, or the error says which key and what it wants.
 */
#include "daemon/json.h"

#include <string.h>

#include "daemon/error.h"

typedef struct json_tokener MfTokener;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfTokener, json_tokener_free)

/* json-c ends a text at a NUL; the caller compares lengths, so one in the middle is an error there.
 */
static gboolean
only_space(const char *text, gsize length)
{
  for (gsize i = 0; i < length; i++)
    if (memchr(" \t\r\n", text[i], 4) == NULL)
      return FALSE;
  return TRUE;
}

MfJson *
mf_json_parse(const void *data, gsize length, const char *what, GError **error)
{
  if (length > G_MAXINT) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "%s is too long.", what);
    return NULL;
  }
  g_autoptr(MfTokener) tokener = json_tokener_new_ex(MF_JSON_MAX_DEPTH);
  json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
  g_autoptr(MfJson) json = json_tokener_parse_ex(tokener, length > 0 ? data : "", (int)length);
  enum json_tokener_error code = json_tokener_get_error(tokener);
  gsize end = json_tokener_get_parse_end(tokener);
  if (json == NULL && (code == json_tokener_continue || only_space(data, length))) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                length == 0 ? "%s is empty: send a JSON object."
                            : "%s ends in the middle of its JSON.",
                what);
    return NULL;
  }
  if (json == NULL && code != json_tokener_success) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "%s is not valid JSON at byte %" G_GSIZE_FORMAT ": %s.", what, end,
                json_tokener_error_desc(code));
    return NULL;
  }
  if (!json_object_is_type(json, json_type_object)) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "%s must be a JSON object.", what);
    return NULL;
  }
  if (!only_space((const char *)data + end, length - end)) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "%s goes on after its JSON object, at byte %" G_GSIZE_FORMAT ".", what, end);
    return NULL;
  }
  return g_steal_pointer(&json);
}

char *
mf_json_key_path(const char *path, const char *key)
{
  return *path == '\0' ? g_strdup(key) : g_strconcat(path, ".", key, NULL);
}

char *
mf_json_item_path(const char *path, const char *key, gsize index)
{
  g_autofree char *array = mf_json_key_path(path, key);
  return g_strdup_printf("%s[%" G_GSIZE_FORMAT "]", array, index);
}

static gboolean G_GNUC_PRINTF(4, 5)
    refuse(GError **error, const char *path, const char *key, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  g_autofree char *what = g_strdup_vprintf(format, args);
  va_end(args);
  g_autofree char *where = mf_json_key_path(path, key);
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "\"%s\" %s.", where, what);
  return FALSE;
}

gboolean
mf_json_check_keys(MfJson *object, const char *path, const char *const *allowed, GError **error)
{
  json_object_object_foreach(object, key, value)
  {
    (void)value;
    if (g_strv_contains(allowed, key))
      continue;
    /* The key is the sender's text, of any length and any bytes. */
    g_autofree char *cut = g_strndup(key, 64);
    g_autofree char *shown = g_strescape(cut, NULL);
    g_autofree char *list = g_strjoinv(", ", (char **)allowed);
    return refuse(error, path, shown, "is not a known key; known here: %s", list);
  }
  return TRUE;
}

gboolean
mf_json_has(MfJson *object, const char *key)
{
  return json_object_object_get(object, key) != NULL;
}

static gboolean
is_text(MfJson *value)
{
  return json_object_is_type(value, json_type_string) &&
         memchr(json_object_get_string(value), '\0', (gsize)json_object_get_string_len(value)) ==
             NULL;
}

gboolean
mf_json_read_string(MfJson *object, const char *path, const char *key, char **ret, GError **error)
{
  MfJson *value = json_object_object_get(object, key);
  if (value == NULL)
    return TRUE;
  if (!json_object_is_type(value, json_type_string))
    return refuse(error, path, key, "must be a string");
  if (!is_text(value))
    return refuse(error, path, key, "must not contain a NUL byte");
  g_free(*ret);
  *ret = g_strdup(json_object_get_string(value));
  return TRUE;
}

gboolean
mf_json_read_bool(MfJson *object, const char *path, const char *key, gboolean *ret, GError **error)
{
  MfJson *value = json_object_object_get(object, key);
  if (value == NULL)
    return TRUE;
  if (!json_object_is_type(value, json_type_boolean))
    return refuse(error, path, key, "must be true or false");
  *ret = json_object_get_boolean(value) != 0;
  return TRUE;
}

gboolean
mf_json_read_uint(MfJson *object, const char *path, const char *key, guint64 min, guint64 max,
                  guint64 *ret, GError **error)
{
  MfJson *value = json_object_object_get(object, key);
  if (value == NULL)
    return TRUE;
  /* A negative number reads as 0 unsigned: it is looked at signed first. */
  if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0 ||
      json_object_get_uint64(value) < min || json_object_get_uint64(value) > max)
    return refuse(error, path, key,
                  "must be a whole number from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT, min,
                  max);
  *ret = json_object_get_uint64(value);
  return TRUE;
}

gboolean
mf_json_read_object(MfJson *object, const char *path, const char *key, MfJson **ret, GError **error)
{
  MfJson *value = json_object_object_get(object, key);
  if (value == NULL)
    return TRUE;
  if (!json_object_is_type(value, json_type_object))
    return refuse(error, path, key, "must be an object");
  *ret = value;
  return TRUE;
}

gboolean
mf_json_read_array(MfJson *object, const char *path, const char *key, MfJson **ret, GError **error)
{
  MfJson *value = json_object_object_get(object, key);
  if (value == NULL)
    return TRUE;
  if (!json_object_is_type(value, json_type_array))
    return refuse(error, path, key, "must be an array");
  *ret = value;
  return TRUE;
}

gboolean
mf_json_read_strv(MfJson *object, const char *path, const char *key, gsize max, char ***ret,
                  GError **error)
{
  MfJson *array = NULL;
  if (!mf_json_read_array(object, path, key, &array, error))
    return FALSE;
  if (array == NULL)
    return TRUE;
  gsize n = json_object_array_length(array);
  if (n > max)
    return refuse(error, path, key,
                  "has %" G_GSIZE_FORMAT " entries, more than the %" G_GSIZE_FORMAT " allowed", n,
                  max);
  g_auto(GStrv) items = g_new0(char *, n + 1);
  for (gsize i = 0; i < n; i++) {
    MfJson *item = json_object_array_get_idx(array, i);
    if (!is_text(item)) {
      g_autofree char *index = g_strdup_printf("%s[%" G_GSIZE_FORMAT "]", key, i);
      return refuse(error, path, index, "must be a string without a NUL byte");
    }
    items[i] = g_strdup(json_object_get_string(item));
  }
  g_strfreev(*ret);
  *ret = g_steal_pointer(&items);
  return TRUE;
}

void
mf_json_add(MfJson *object, const char *key, MfJson *value)
{
  json_object_object_add_ex(object, key, value, JSON_C_OBJECT_ADD_KEY_IS_NEW);
}

void
mf_json_add_string(MfJson *object, const char *key, const char *text)
{
  mf_json_add(object, key, text != NULL ? json_object_new_string(text) : NULL);
}

void
mf_json_add_uint(MfJson *object, const char *key, guint64 value)
{
  mf_json_add(object, key, json_object_new_uint64(value));
}

void
mf_json_add_bool(MfJson *object, const char *key, gboolean value)
{
  mf_json_add(object, key, json_object_new_boolean(value));
}

void
mf_json_add_strv(MfJson *object, const char *key, char *const *items)
{
  MfJson *array = json_object_new_array();
  for (; items != NULL && *items != NULL; items++)
    json_object_array_add(array, json_object_new_string(*items));
  mf_json_add(object, key, array);
}
