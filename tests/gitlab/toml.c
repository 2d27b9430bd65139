/* SPDX-License-Identifier: Apache-2.0 */
/* TOML: a recursive-descent reader over a NUL-terminated text. See toml.h. */
#include "tests/gitlab/toml.h"

#include <gio/gio.h>
#include <string.h>

typedef struct {
  const char *at;
  guint line;
  GError **error;
} Reader;

static gboolean
fail(Reader *r, const char *what)
{
  g_set_error(r->error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "line %u: %s", r->line, what);
  return FALSE;
}

static void
skip_blanks(Reader *r)
{
  r->at += strspn(r->at, " \t\r");
}

/* Blanks, comments and line ends: what may stand between two statements, or in an array. */
static void
skip_space(Reader *r)
{
  for (;;) {
    skip_blanks(r);
    if (*r->at == '#')
      r->at += strcspn(r->at, "\n");
    if (*r->at != '\n')
      return;
    r->line++;
    r->at++;
  }
}

static gboolean
read_escape(Reader *r, GString *text)
{
  static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
  char c = *r->at++;
  const char *found = c != '\0' ? strchr(from, c) : NULL;
  if (found != NULL) {
    g_string_append_c(text, to[found - from]);
    return TRUE;
  }
  gsize digits = c == 'u' ? 4 : c == 'U' ? 8 : 0;
  gunichar code = 0;
  for (gsize i = 0; i < digits; i++, r->at++) {
    if (!g_ascii_isxdigit(*r->at))
      return fail(r, "a \\u without its digits");
    code = code * 16 + (gunichar)g_ascii_xdigit_value(*r->at);
  }
  if (digits == 0 || !g_unichar_validate(code))
    return fail(r, "an unknown escape");
  g_string_append_unichar(text, code);
  return TRUE;
}

/* "basic" or 'literal', on one line. (transfer full) */
static char *
read_string(Reader *r)
{
  char quote = *r->at++;
  g_autoptr(GString) text = g_string_new(NULL);
  while (*r->at != quote) {
    if (*r->at == '\0' || *r->at == '\n') {
      fail(r, "a string does not end");
      return NULL;
    }
    char c = *r->at++;
    if (c == '\\' && quote == '"') {
      if (!read_escape(r, text))
        return NULL;
    } else {
      g_string_append_c(text, c);
    }
  }
  r->at++;
  return g_string_free(g_steal_pointer(&text), FALSE);
}

static char *
read_key(Reader *r)
{
  if (*r->at == '"' || *r->at == '\'')
    return read_string(r);
  gsize length = 0;
  while (g_ascii_isalnum(r->at[length]) || r->at[length] == '_' || r->at[length] == '-')
    length++;
  if (length == 0) {
    fail(r, "a key is expected");
    return NULL;
  }
  char *key = g_strndup(r->at, length);
  r->at += length;
  return key;
}

static MfJson *read_value(Reader *r);

static MfJson *
read_array(Reader *r)
{
  g_autoptr(MfJson) array = json_object_new_array();
  r->at++;
  for (;;) {
    skip_space(r);
    if (*r->at == ']')
      break;
    MfJson *value = read_value(r);
    if (value == NULL)
      return NULL;
    json_object_array_add(array, value);
    skip_space(r);
    if (*r->at == ',')
      r->at++;
    else if (*r->at != ']') {
      fail(r, "an array needs ',' or ']'");
      return NULL;
    }
  }
  r->at++;
  return g_steal_pointer(&array);
}

static MfJson *
read_value(Reader *r)
{
  if (*r->at == '"' || *r->at == '\'') {
    g_autofree char *text = read_string(r);
    return text != NULL ? json_object_new_string(text) : NULL;
  }
  if (*r->at == '[')
    return read_array(r);
  gsize length = strcspn(r->at, " \t\r\n,]#");
  g_autofree char *word = g_strndup(r->at, length);
  gint64 number = 0;
  r->at += length;
  if (strcmp(word, "true") == 0 || strcmp(word, "false") == 0)
    return json_object_new_boolean(*word == 't');
  if (g_ascii_string_to_signed(word, 10, G_MININT64, G_MAXINT64, &number, NULL))
    return json_object_new_int64(number);
  fail(r, "a value is expected: a string, a number, true, false or an array");
  return NULL;
}

/* The table that @key names in @parent, made if missing; of an array of tables its last. */
static MfJson *
descend(Reader *r, MfJson *parent, const char *key)
{
  MfJson *child = NULL;
  if (!json_object_object_get_ex(parent, key, &child)) {
    child = json_object_new_object();
    json_object_object_add(parent, key, child);
  }
  if (json_object_is_type(child, json_type_array))
    child = json_object_array_get_idx(child, json_object_array_length(child) - 1);
  if (!json_object_is_type(child, json_type_object)) {
    fail(r, "a table's name is that of a value");
    return NULL;
  }
  return child;
}

static MfJson *
append_table(Reader *r, MfJson *parent, const char *key)
{
  MfJson *array = NULL, *table = json_object_new_object();
  if (!json_object_object_get_ex(parent, key, &array)) {
    array = json_object_new_array();
    json_object_object_add(parent, key, array);
  }
  if (!json_object_is_type(array, json_type_array)) {
    json_object_put(table);
    fail(r, "a [[table]] has the name of something else");
    return NULL;
  }
  json_object_array_add(array, table);
  return table;
}

/* [a.b] or [[a.b]] */
static MfJson *
read_header(Reader *r, MfJson *root)
{
  gboolean many = g_str_has_prefix(r->at, "[[");
  MfJson *table = root;
  r->at += many ? 2 : 1;
  for (;;) {
    skip_blanks(r);
    g_autofree char *key = read_key(r);
    if (key == NULL)
      return NULL;
    skip_blanks(r);
    gboolean last = *r->at != '.';
    table = many && last ? append_table(r, table, key) : descend(r, table, key);
    if (table == NULL || last)
      break;
    r->at++;
  }
  if (table != NULL && !g_str_has_prefix(r->at, many ? "]]" : "]")) {
    fail(r, "a table's name does not end with ]");
    return NULL;
  }
  r->at += table != NULL ? (many ? 2 : 1) : 0;
  return table;
}

static gboolean
read_pair(Reader *r, MfJson *table)
{
  g_autofree char *key = read_key(r);
  if (key == NULL)
    return FALSE;
  skip_blanks(r);
  if (*r->at != '=')
    return fail(r, "a key needs '=' and a value");
  r->at++;
  skip_blanks(r);
  if (json_object_object_get_ex(table, key, NULL))
    return fail(r, "a key stands there twice");
  MfJson *value = read_value(r);
  if (value == NULL)
    return FALSE;
  json_object_object_add(table, key, value);
  return TRUE;
}

MfJson *
toml_parse(const char *text, GError **error)
{
  Reader reader = {.at = text, .line = 1, .error = error};
  g_autoptr(MfJson) root = json_object_new_object();
  MfJson *table = root;
  for (skip_space(&reader); *reader.at != '\0'; skip_space(&reader)) {
    if (*reader.at == '[')
      table = read_header(&reader, root);
    else if (!read_pair(&reader, table))
      return NULL;
    if (table == NULL)
      return NULL;
    skip_blanks(&reader);
    if (*reader.at != '\0' && *reader.at != '\n' && *reader.at != '#') {
      fail(&reader, "something stands after the value");
      return NULL;
    }
  }
  return g_steal_pointer(&root);
}
