/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Key files ("[group]", "key=value", "#" comments, as systemd's) read into a C struct by a table
 * that says for each key what it is. Strict: an unknown group or key, a key twice, a value out of
 * range is an error that names file, line, key and what is allowed. Reading, dumping and the
 * shipped files all come from the one table. Pure but for mf_key_table_read().
 */

#include <glib.h>

typedef enum {
  MF_KEY_TEXT,   /* char *; not empty unless that is the default */
  MF_KEY_PATH,   /* char *, absolute */
  MF_KEY_CHOICE, /* char *, one of the words in @allowed, separated by '|' */
  MF_KEY_LIST,   /* char **, separated by blanks, may be empty */
  MF_KEY_NUMBER, /* guint from @min to @max */
  MF_KEY_COUNT,  /* guint64, likewise */
  MF_KEY_SIZE,   /* guint64, likewise, see units.h */
  MF_KEY_TIME,   /* guint64 seconds, likewise */
  MF_KEY_FLAG,   /* gboolean, yes or no */
} MfKeyKind;

typedef struct {
  const char *group;
  const char *name;
  MfKeyKind kind;
  const char *built_in; /* the default as it would stand in the file; NULL: the key must be given */
  guint64 min, max;
  const char *allowed; /* CHOICE: the words. With @check: what passes it, for the message */
  gboolean (*check)(const char *value); /* TEXT, and each word of a LIST: NULL takes everything */
  const char *meaning;                  /* sentences for the shipped file */
  gsize offset;                         /* of the field in the struct */
} MfKey;

typedef struct {
  const MfKey *keys; /* keys of one group stand together */
  guint count;
} MfKeyTable;

/* Where a key's value came from: file and line; by the key's index in the table. Start with
 * mf_key_origins_new(). */
typedef GPtrArray MfKeyOrigins;
MfKeyOrigins *mf_key_origins_new(const MfKeyTable *table);
/* "FILE:LINE" or "the built-in default". (transfer none) */
const char *mf_key_origins_get(const MfKeyOrigins *self, const MfKeyTable *table, const char *group,
                               const char *name);

/* Every key with a default gets it; @object is all zero before. */
void mf_key_table_set_defaults(const MfKeyTable *self, gpointer object);

/*
 * mf_key_table_parse() - what @data says over what @object holds. @file is its name for messages.
 * @origins: (nullable): updated. On failure @object is partly changed but can be cleared.
 */
gboolean mf_key_table_parse(const MfKeyTable *self, gpointer object, const char *file,
                            const char *data, gsize length, MfKeyOrigins *origins,
                            GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The same with the file's content; a file over 1 MiB or that is not there is an error. */
gboolean mf_key_table_read(const MfKeyTable *self, gpointer object, const char *file,
                           MfKeyOrigins *origins, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* INVALID names the first key that must be given and is not. */
gboolean mf_key_table_check_required(const MfKeyTable *self, const char *file,
                                     const MfKeyOrigins *origins,
                                     GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A key file of what @object holds; @commented: every key behind "#", below its meaning and what is
 * allowed. (transfer full) */
char *mf_key_table_dump(const MfKeyTable *self, gconstpointer object, gboolean commented);

/* What may stand behind the '=': "a whole number from 1 to 9". (transfer full) */
char *mf_key_describe_allowed(const MfKey *key);

/* Frees what the fields point to. */
void mf_key_table_clear(const MfKeyTable *self, gpointer object);
