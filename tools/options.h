/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Command line options by table: parsed into a struct, shown in help, offered by completion. Pure.
 * Words are bytes, never converted: an argument or a variable for a guest need not be UTF-8. A
 * table ends with an entry without a name.
 */

#include <glib.h>

typedef enum {
  MF_OPTION_FLAG,   /* gboolean; takes no value */
  MF_OPTION_TEXT,   /* const char *, points into argv */
  MF_OPTION_LIST,   /* GPtrArray * of const char *, made when first given */
  MF_OPTION_NUMBER, /* guint */
  MF_OPTION_SIZE,   /* guint64, see units.h */
  MF_OPTION_TIME,   /* guint64 seconds */
} MfOptionKind;

typedef struct {
  const char *name; /* "template" for --template */
  char letter;      /* 't' for -t, or 0 */
  MfOptionKind kind;
  const char *value; /* what help calls it: "NAME"; words separated by '|' are all there is */
  const char *meaning;
  gsize offset; /* of the field in the struct */
} MfOption;

/* One table with the struct that it fills. */
typedef struct {
  const MfOption *options;
  gpointer object;
} MfOptionSet;

/*
 * mf_options_parse() - take options out of @argv, which keeps the rest in order.
 * @argv: NULL-terminated words, the command's name not among them; the array is changed, its
 * strings are not.
 * @sets: until one without options. @posix: the first word that is no option ends them; "--" always
 * does. Returns: FALSE with MF_ERROR_INVALID: which option, and what is right.
 */
gboolean mf_options_parse(char **argv, const MfOptionSet *sets, gboolean posix,
                          GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Frees the lists of a struct. */
void mf_options_clear(const MfOption *options, gpointer object);

/* "  -t, --template NAME   what it means" lines, one for each option. */
void mf_options_describe(const MfOption *options, GString *out);
