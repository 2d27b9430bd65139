/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A job's variables: what the runner sets, what config.toml adds, what the job brings; the last of
 * a name is in force. */

#include <glib.h>

#include "daemon/auto.h"

typedef struct {
  char *key, *value;
  gboolean file; /* the job gets the name of a file with this content */
  gboolean nul;  /* the value is cut at a NUL: no program can be started with it */
} Variable;

typedef struct {
  GPtrArray *list; /* Variable */
} Variables;

Variables *variables_new(void);
void variables_free(Variables *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Variables, variables_free)
void variables_set(Variables *self, const char *key, const char *value);
/* From a payload's "variables". */
void variables_add_json(Variables *self, MfJson *array);
const char *variables_get(Variables *self, const char *key);
/* $NAME and ${NAME} replaced, once; unknown ones by nothing. (transfer full) */
char *variables_expand(Variables *self, const char *text);
