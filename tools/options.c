/* SPDX-License-Identifier: Apache-2.0 */
/* Options: long and short, with values attached or in the next word, flags in bundles. */
#include "tools/options.h"

#include <string.h>

#include "daemon/error.h"
#include "daemon/text.h"
#include "daemon/units.h"

#define HELP_COLUMN 28

static gboolean
fail(GError **error, const char *word, const char *what)
{
  g_autofree char *shown = mf_text_quote(word);
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "option %s %s", shown, what);
  return FALSE;
}

static const MfOption *
find(const MfOptionSet *sets, const char *name, gsize length, char letter, gpointer *ret_object)
{
  for (const MfOptionSet *set = sets; set->options != NULL; set++)
    for (const MfOption *option = set->options; option->name != NULL; option++) {
      gboolean named =
          letter == 0 && strncmp(option->name, name, length) == 0 && option->name[length] == '\0';
      if (named || (letter != 0 && option->letter == letter)) {
        *ret_object = set->object;
        return option;
      }
    }
  return NULL;
}

static gboolean
is_choice(const MfOption *option, const char *value)
{
  if (strchr(option->value, '|') == NULL)
    return TRUE;
  g_auto(GStrv) words = g_strsplit(option->value, "|", -1);
  return g_strv_contains((const char *const *)words, value);
}

static gboolean
set_text(const MfOption *option, gpointer field, const char *value, GError **error)
{
  if (!is_choice(option, value)) {
    g_autofree char *shown = mf_text_quote(value);
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "--%s %s: it must be one of %s", option->name,
                shown, option->value);
    return FALSE;
  }
  *(const char **)field = value;
  return TRUE;
}

/* Fields that nobody gave are 0, so mayflyd would take it for "as the template says". */
static gboolean
refuse_zero(const MfOption *option, GError **error)
{
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
              "--%s must be more than 0: leave it out for what is usual", option->name);
  return FALSE;
}

static gboolean
set_number(const MfOption *option, gpointer field, const char *value, GError **error)
{
  guint64 number;
  if (g_ascii_isdigit(value[0]) &&
      g_ascii_string_to_unsigned(value, 10, 0, G_MAXUINT, &number, NULL)) {
    if (number == 0)
      return refuse_zero(option, error);
    *(guint *)field = (guint)number;
    return TRUE;
  }
  g_autofree char *shown = mf_text_quote(value);
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "--%s %s: it must be a whole number", option->name,
              shown);
  return FALSE;
}

/* @value: NULL for a flag. */
static gboolean
set_field(const MfOption *option, gpointer object, const char *value, GError **error)
{
  gpointer field = G_STRUCT_MEMBER_P(object, option->offset);
  gboolean ok = TRUE;
  switch (option->kind) {
  case MF_OPTION_FLAG:
    *(gboolean *)field = TRUE;
    return TRUE;
  case MF_OPTION_TEXT:
    return set_text(option, field, value, error);
  case MF_OPTION_NUMBER:
    return set_number(option, field, value, error);
  case MF_OPTION_LIST:
    if (*(GPtrArray **)field == NULL)
      *(GPtrArray **)field = g_ptr_array_new();
    g_ptr_array_add(*(GPtrArray **)field, (gpointer)value);
    return TRUE;
  case MF_OPTION_SIZE:
    ok = mf_size_parse(value, field, error);
    break;
  case MF_OPTION_TIME:
    ok = mf_duration_parse(value, field, error);
    break;
  }
  if (!ok) {
    g_prefix_error(error, "--%s: ", option->name);
    return FALSE;
  }
  return *(guint64 *)field > 0 || refuse_zero(option, error);
}

/* Takes "--name", "--name=value" or "--name" "value"; *@next is the word behind. */
static gboolean
take_long(const char *word, char ***next, const MfOptionSet *sets, GError **error)
{
  const char *name = word + 2;
  const char *equals = strchr(name, '=');
  gsize length = equals != NULL ? (gsize)(equals - name) : strlen(name);
  gpointer object;
  const MfOption *option = find(sets, name, length, 0, &object);
  if (option == NULL)
    return fail(error, word, "is unknown here; --help lists those there are");
  if (option->kind == MF_OPTION_FLAG)
    return equals != NULL ? fail(error, word, "takes no value")
                          : set_field(option, object, NULL, error);
  const char *value = equals != NULL ? equals + 1 : **next;
  if (value == NULL)
    return fail(error, word, "needs a value");
  if (equals == NULL)
    (*next)++;
  return set_field(option, object, value, error);
}

/* Takes "-itx", "-xvalue" or "-x" "value". */
static gboolean
take_short(const char *word, char ***next, const MfOptionSet *sets, GError **error)
{
  for (const char *letter = word + 1; *letter != '\0'; letter++) {
    gpointer object;
    const MfOption *option = find(sets, NULL, 0, *letter, &object);
    if (option == NULL)
      return fail(error, word, "is unknown here; --help lists those there are");
    if (option->kind == MF_OPTION_FLAG) {
      if (!set_field(option, object, NULL, error))
        return FALSE;
      continue;
    }
    const char *value = letter[1] != '\0' ? letter + 1 : **next;
    if (value == NULL)
      return fail(error, word, "needs a value");
    if (letter[1] == '\0')
      (*next)++;
    return set_field(option, object, value, error);
  }
  return TRUE;
}

gboolean
mf_options_parse(char **argv, const MfOptionSet *sets, gboolean posix, GError **error)
{
  char **next = argv;
  char **kept = argv;
  while (*next != NULL) {
    char *word = *next++;
    if (strcmp(word, "--") == 0)
      break;
    if (word[0] != '-' || word[1] == '\0') {
      *kept++ = word;
      if (posix)
        break;
      continue;
    }
    gboolean ok =
        word[1] == '-' ? take_long(word, &next, sets, error) : take_short(word, &next, sets, error);
    if (!ok)
      return FALSE;
  }
  while (*next != NULL)
    *kept++ = *next++;
  *kept = NULL;
  return TRUE;
}

void
mf_options_clear(const MfOption *options, gpointer object)
{
  for (const MfOption *option = options; option->name != NULL; option++)
    if (option->kind == MF_OPTION_LIST) {
      GPtrArray **list = G_STRUCT_MEMBER_P(object, option->offset);
      g_clear_pointer(list, g_ptr_array_unref);
    }
}

void
mf_options_describe(const MfOption *options, GString *out)
{
  for (const MfOption *option = options; option->name != NULL; option++) {
    gsize start = out->len;
    if (option->letter != 0)
      g_string_append_printf(out, "  -%c, --%s", option->letter, option->name);
    else
      g_string_append_printf(out, "      --%s", option->name);
    if (option->kind != MF_OPTION_FLAG)
      g_string_append_printf(out, " %s", option->value);
    gsize width = out->len - start;
    if (width + 2 > HELP_COLUMN) {
      g_string_append_c(out, '\n');
      width = 0;
    }
    g_string_append_printf(out, "%*s%s\n", (int)(HELP_COLUMN - width), "", option->meaning);
  }
}
