/* SPDX-License-Identifier: Apache-2.0 */
/* Key tables: the one reader and writer of mayfly's key files. Own, because GKeyFile knows no line
 * numbers. */
#include "daemon/key-table.h"

#include <errno.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/text.h"
#include "daemon/units.h"

#define FILE_LIMIT (1u << 20)

/* Which line is being read, for every message. */
typedef struct {
  const MfKeyTable *table;
  gpointer object;
  const char *file;
  guint line;
  const char *group; /* of the table, NULL before the first */
  guint *seen;       /* line on which each key stood in this file, 0 = not yet */
  MfKeyOrigins *origins;
} Reader;

MfKeyOrigins *
mf_key_origins_new(const MfKeyTable *table)
{
  MfKeyOrigins *origins = g_ptr_array_new_full(table->count, g_free);
  g_ptr_array_set_size(origins, (gint)table->count);
  return origins;
}

static const MfKey *
find_key(const MfKeyTable *table, const char *group, const char *name)
{
  for (guint i = 0; i < table->count; i++)
    if (strcmp(table->keys[i].group, group) == 0 && strcmp(table->keys[i].name, name) == 0)
      return &table->keys[i];
  return NULL;
}

const char *
mf_key_origins_get(const MfKeyOrigins *self, const MfKeyTable *table, const char *group,
                   const char *name)
{
  const MfKey *key = find_key(table, group, name);
  g_return_val_if_fail(key != NULL, "");
  const char *origin = g_ptr_array_index(self, (guint)(key - table->keys));
  return origin != NULL ? origin : "the built-in default";
}

static char *
range(const MfKey *key, const char *what, char *(*format)(guint64))
{
  g_autofree char *min = format(key->min);
  g_autofree char *max = format(key->max);
  return g_strdup_printf("%s from %s to %s", what, min, max);
}

char *
mf_key_describe_allowed(const MfKey *key)
{
  switch (key->kind) {
  case MF_KEY_CHOICE: {
    g_auto(GStrv) words = g_strsplit(key->allowed, "|", -1);
    g_autofree char *list = g_strjoinv(", ", words);
    return g_strdup_printf("one of %s", list);
  }
  case MF_KEY_NUMBER:
  case MF_KEY_COUNT:
    return g_strdup_printf("a whole number from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT,
                           key->min, key->max);
  case MF_KEY_SIZE:
    return range(key, "a size", mf_size_format);
  case MF_KEY_TIME:
    return range(key, "a time", mf_duration_format);
  case MF_KEY_FLAG:
    return g_strdup("yes or no");
  case MF_KEY_PATH:
    return g_strdup("an absolute path");
  case MF_KEY_LIST:
    return g_strdup_printf("%s, with blanks between them", key->allowed);
  case MF_KEY_TEXT:
    break;
  }
  return g_strdup(key->allowed != NULL ? key->allowed : "some text");
}

static gboolean
parse_number(const MfKey *key, const char *value, guint64 *ret_number)
{
  guint64 number = 0;
  gboolean parsed = FALSE;
  if (key->kind == MF_KEY_SIZE)
    parsed = mf_size_parse(value, &number, NULL);
  else if (key->kind == MF_KEY_TIME)
    parsed = mf_duration_parse(value, &number, NULL);
  else
    parsed = g_ascii_isdigit(value[0]) &&
             g_ascii_string_to_unsigned(value, 10, 0, G_MAXUINT64, &number, NULL);
  *ret_number = number;
  return parsed && number >= key->min && number <= key->max;
}

static gboolean
parse_flag(const char *value, gboolean *ret_flag)
{
  gboolean yes = strcmp(value, "yes") == 0 || strcmp(value, "true") == 0;
  *ret_flag = yes;
  return yes || strcmp(value, "no") == 0 || strcmp(value, "false") == 0;
}

/* Words between blanks; NULL if one does not pass. */
static char **
parse_list(const MfKey *key, const char *value)
{
  g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
  g_auto(GStrv) words = g_strsplit_set(value, " \t", -1);
  for (guint i = 0; words[i] != NULL; i++) {
    if (words[i][0] == '\0')
      continue;
    if (key->check != NULL && !key->check(words[i]))
      return NULL;
    g_strv_builder_add(builder, words[i]);
  }
  return g_strv_builder_end(builder);
}

static gboolean
text_passes(const MfKey *key, const char *value)
{
  if (key->kind == MF_KEY_PATH)
    return g_path_is_absolute(value);
  if (key->kind == MF_KEY_CHOICE) {
    g_auto(GStrv) words = g_strsplit(key->allowed, "|", -1);
    return g_strv_contains((const char *const *)words, value);
  }
  gboolean may_be_empty = key->built_in != NULL && key->built_in[0] == '\0';
  if (value[0] == '\0')
    return may_be_empty;
  return key->check == NULL || key->check(value);
}

/* The field keeps what it had when @value does not pass. */
static gboolean
set_field(const MfKey *key, gpointer object, const char *value)
{
  gpointer field = G_STRUCT_MEMBER_P(object, key->offset);
  guint64 number;
  switch (key->kind) {
  case MF_KEY_NUMBER:
    if (!parse_number(key, value, &number))
      return FALSE;
    *(guint *)field = (guint)number;
    return TRUE;
  case MF_KEY_COUNT:
  case MF_KEY_SIZE:
  case MF_KEY_TIME:
    if (!parse_number(key, value, &number))
      return FALSE;
    *(guint64 *)field = number;
    return TRUE;
  case MF_KEY_FLAG:
    return parse_flag(value, field);
  case MF_KEY_LIST: {
    char **list = parse_list(key, value);
    if (list == NULL)
      return FALSE;
    g_strfreev(*(char ***)field);
    *(char ***)field = list;
    return TRUE;
  }
  case MF_KEY_TEXT:
  case MF_KEY_PATH:
  case MF_KEY_CHOICE:
    break;
  }
  if (!text_passes(key, value))
    return FALSE;
  g_free(*(char **)field);
  *(char **)field = g_strdup(value);
  return TRUE;
}

void
mf_key_table_set_defaults(const MfKeyTable *self, gpointer object)
{
  for (guint i = 0; i < self->count; i++)
    if (self->keys[i].built_in != NULL &&
        !set_field(&self->keys[i], object, self->keys[i].built_in))
      g_error("the default of %s is not allowed", self->keys[i].name);
}

G_GNUC_PRINTF(3, 4)
static gboolean
fail(const Reader *reader, GError **error, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  g_autofree char *message = g_strdup_vprintf(format, args);
  va_end(args);
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "%s:%u: %s", reader->file, reader->line, message);
  return FALSE;
}

/* The names there are: of the groups, or of the keys in @group. */
static char *
list_names(const MfKeyTable *table, const char *group)
{
  g_autoptr(GString) names = g_string_new(NULL);
  for (guint i = 0; i < table->count; i++) {
    const MfKey *key = &table->keys[i];
    if (group == NULL && i > 0 && strcmp(key->group, table->keys[i - 1].group) == 0)
      continue;
    if (group != NULL && strcmp(key->group, group) != 0)
      continue;
    g_string_append_printf(names, group == NULL ? "%s[%s]" : "%s%s", names->len > 0 ? ", " : "",
                           group == NULL ? key->group : key->name);
  }
  return g_strdup(names->str);
}

static gboolean
read_group(Reader *reader, const char *text, GError **error)
{
  gsize length = strlen(text);
  g_autofree char *name = g_strndup(text + 1, length - 1);
  if (length < 2 || text[length - 1] != ']')
    return fail(reader, error, "a group's line must end with ']', such as [%s]",
                reader->table->keys[0].group);
  name[length - 2] = '\0';
  for (guint i = 0; i < reader->table->count; i++)
    if (strcmp(reader->table->keys[i].group, name) == 0) {
      reader->group = reader->table->keys[i].group;
      return TRUE;
    }
  g_autofree char *shown = mf_text_quote(name);
  g_autofree char *names = list_names(reader->table, NULL);
  return fail(reader, error, "there is no group %s; the groups are %s", shown, names);
}

static gboolean
read_key(Reader *reader, char *text, GError **error)
{
  char *equals = strchr(text, '=');
  g_autofree char *shown = mf_text_quote(text);
  if (equals == NULL)
    return fail(reader, error, "%s is neither a [group] nor a key=value nor a # comment", shown);
  if (reader->group == NULL)
    return fail(reader, error, "%s stands before the first [group]", shown);
  *equals = '\0';
  const char *name = g_strchomp(text);
  const char *value = g_strstrip(equals + 1);
  const MfKey *key = find_key(reader->table, reader->group, name);
  if (key == NULL) {
    g_autofree char *shown_name = mf_text_quote(name);
    g_autofree char *names = list_names(reader->table, reader->group);
    return fail(reader, error, "there is no key %s in [%s]; the keys there are %s", shown_name,
                reader->group, names);
  }
  guint index = (guint)(key - reader->table->keys);
  if (reader->seen[index] != 0)
    return fail(reader, error, "[%s] %s was already given in line %u; keep one of the two",
                key->group, key->name, reader->seen[index]);
  if (!set_field(key, reader->object, value)) {
    g_autofree char *shown_value = mf_text_quote(value);
    g_autofree char *allowed = mf_key_describe_allowed(key);
    return fail(reader, error, "[%s] %s=%s is not allowed; it must be %s", key->group, key->name,
                shown_value, allowed);
  }
  reader->seen[index] = reader->line;
  if (reader->origins != NULL) {
    g_free(g_ptr_array_index(reader->origins, index));
    g_ptr_array_index(reader->origins, index) =
        g_strdup_printf("%s:%u", reader->file, reader->line);
  }
  return TRUE;
}

gboolean
mf_key_table_parse(const MfKeyTable *self, gpointer object, const char *file, const char *data,
                   gsize length, MfKeyOrigins *origins, GError **error)
{
  g_autofree guint *seen = g_new0(guint, self->count);
  Reader reader = {.table = self, .object = object, .file = file, .seen = seen, .origins = origins};
  const char *end = data + length;
  while (data < end) {
    const char *newline = memchr(data, '\n', (gsize)(end - data));
    gsize size = (gsize)((newline != NULL ? newline : end) - data);
    reader.line++;
    if (!g_utf8_validate(data, (gssize)size, NULL))
      return fail(&reader, error, "this line is not UTF-8 text");
    g_autofree char *copy = g_strndup(data, size);
    char *text = g_strstrip(copy);
    if (text[0] == '[') {
      if (!read_group(&reader, text, error))
        return FALSE;
    } else if (text[0] != '\0' && text[0] != '#' && text[0] != ';') {
      if (!read_key(&reader, text, error))
        return FALSE;
    }
    data += size + (newline != NULL);
  }
  return TRUE;
}

gboolean
mf_key_table_read(const MfKeyTable *self, gpointer object, const char *file, MfKeyOrigins *origins,
                  GError **error)
{
  g_autoptr(GMappedFile) mapped = g_mapped_file_new(file, FALSE, error);
  if (mapped == NULL)
    return FALSE;
  gsize length = g_mapped_file_get_length(mapped);
  if (length > FILE_LIMIT) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "%s is larger than 1 MiB: that is no configuration", file);
    return FALSE;
  }
  const char *data = g_mapped_file_get_contents(mapped);
  return mf_key_table_parse(self, object, file, data != NULL ? data : "", length, origins, error);
}

gboolean
mf_key_table_check_required(const MfKeyTable *self, const char *file, const MfKeyOrigins *origins,
                            GError **error)
{
  for (guint i = 0; i < self->count; i++)
    if (self->keys[i].built_in == NULL && g_ptr_array_index(origins, i) == NULL) {
      g_autofree char *allowed = mf_key_describe_allowed(&self->keys[i]);
      g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "%s: [%s] %s is missing; add it: %s", file,
                  self->keys[i].group, self->keys[i].name, allowed);
      return FALSE;
    }
  return TRUE;
}

static char *
format_field(const MfKey *key, gconstpointer object)
{
  gconstpointer field = (const char *)object + key->offset;
  switch (key->kind) {
  case MF_KEY_NUMBER:
    return g_strdup_printf("%u", *(const guint *)field);
  case MF_KEY_COUNT:
    return g_strdup_printf("%" G_GUINT64_FORMAT, *(const guint64 *)field);
  case MF_KEY_SIZE:
    return mf_size_format(*(const guint64 *)field);
  case MF_KEY_TIME:
    return mf_duration_format(*(const guint64 *)field);
  case MF_KEY_FLAG:
    return g_strdup(*(const gboolean *)field ? "yes" : "no");
  case MF_KEY_LIST:
    return *(char *const *const *)field != NULL ? g_strjoinv(" ", *(char **const *)field)
                                                : g_strdup("");
  case MF_KEY_TEXT:
  case MF_KEY_PATH:
  case MF_KEY_CHOICE:
    break;
  }
  return g_strdup(*(char *const *)field != NULL ? *(char *const *)field : "");
}

char *
mf_key_table_dump(const MfKeyTable *self, gconstpointer object, gboolean commented)
{
  g_autoptr(GString) out = g_string_new(NULL);
  const char *group = "";
  for (guint i = 0; i < self->count; i++) {
    const MfKey *key = &self->keys[i];
    if (strcmp(group, key->group) != 0)
      g_string_append_printf(out, "%s[%s]\n", i > 0 ? "\n" : "", key->group);
    group = key->group;
    if (commented) {
      g_autofree char *allowed = mf_key_describe_allowed(key);
      g_string_append_printf(out, "# %s\n# Allowed: %s.\n", key->meaning, allowed);
    }
    g_autofree char *value = format_field(key, object);
    g_string_append_printf(out, "%s%s=%s\n", commented ? "#" : "", key->name, value);
  }
  return g_strdup(out->str);
}

void
mf_key_table_clear(const MfKeyTable *self, gpointer object)
{
  for (guint i = 0; i < self->count; i++) {
    gpointer field = G_STRUCT_MEMBER_P(object, self->keys[i].offset);
    MfKeyKind kind = self->keys[i].kind;
    if (kind == MF_KEY_LIST)
      g_clear_pointer((char ***)field, g_strfreev);
    else if (kind == MF_KEY_TEXT || kind == MF_KEY_PATH || kind == MF_KEY_CHOICE)
      g_clear_pointer((char **)field, g_free);
  }
}
