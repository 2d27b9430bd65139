/* SPDX-License-Identifier: Apache-2.0 */
/* Runner variables: see runner-variables.h. */
#include "tests/gitlab/runner-variables.h"

#include <string.h>

static void
free_variable(gpointer data)
{
  Variable *variable = data;
  g_free(variable->key);
  g_free(variable->value);
  g_free(variable);
}

Variables *
variables_new(void)
{
  Variables *self = g_new0(Variables, 1);
  self->list = g_ptr_array_new_with_free_func(free_variable);
  return self;
}

void
variables_free(Variables *self)
{
  g_ptr_array_unref(self->list);
  g_free(self);
}

static Variable *
find(Variables *self, const char *key, gsize length)
{
  for (guint i = 0; i < self->list->len; i++) {
    Variable *variable = self->list->pdata[i];
    if (strlen(variable->key) == length && memcmp(variable->key, key, length) == 0)
      return variable;
  }
  return NULL;
}

static Variable *
set(Variables *self, const char *key, const char *value)
{
  Variable *variable = find(self, key, strlen(key));
  if (variable == NULL) {
    variable = g_new0(Variable, 1);
    variable->key = g_strdup(key);
    g_ptr_array_add(self->list, variable);
  }
  g_free(variable->value);
  variable->value = g_strdup(value);
  variable->file = variable->nul = FALSE;
  return variable;
}

void
variables_set(Variables *self, const char *key, const char *value)
{
  (void)set(self, key, value);
}

static gboolean
get_flag(MfJson *object, const char *name)
{
  MfJson *value = NULL;
  return json_object_object_get_ex(object, name, &value) && json_object_get_boolean(value);
}

void
variables_add_json(Variables *self, MfJson *array)
{
  g_autoptr(GPtrArray) open = g_ptr_array_new();
  gsize n = json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
  for (gsize i = 0; i < n; i++) {
    MfJson *item = json_object_array_get_idx(array, i), *key = NULL, *value = NULL;
    if (!json_object_object_get_ex(item, "key", &key) ||
        !json_object_object_get_ex(item, "value", &value))
      continue;
    const char *text = json_object_get_string(value);
    Variable *variable = set(self, json_object_get_string(key), text != NULL ? text : "");
    variable->file = get_flag(item, "file");
    variable->nul = text != NULL && strlen(text) != (gsize)json_object_get_string_len(value);
    if (!get_flag(item, "raw") && !g_ptr_array_find(open, variable, NULL))
      g_ptr_array_add(open, variable);
  }
  for (guint i = 0; i < open->len; i++) {
    Variable *variable = open->pdata[i];
    char *expanded = variables_expand(self, variable->value);
    g_free(variable->value);
    variable->value = expanded;
  }
}

const char *
variables_get(Variables *self, const char *key)
{
  const Variable *variable = find(self, key, strlen(key));
  return variable != NULL ? variable->value : NULL;
}

char *
variables_expand(Variables *self, const char *text)
{
  GString *out = g_string_new(NULL);
  while (*text != '\0') {
    gboolean braces = text[0] == '$' && text[1] == '{';
    const char *name = text + (braces ? 2 : 1);
    gsize length = 0;
    while (*text == '$' && (g_ascii_isalnum(name[length]) || name[length] == '_'))
      length++;
    if (length == 0 || (braces && name[length] != '}')) {
      g_string_append_c(out, *text++);
      continue;
    }
    const Variable *variable = find(self, name, length);
    g_string_append(out, variable != NULL ? variable->value : "");
    text = name + length + (braces ? 1 : 0);
  }
  return g_string_free(out, FALSE);
}
