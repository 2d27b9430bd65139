/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the command line asks for, as the documents that mayflyd takes. Reads the files that are
 * named; otherwise pure. */

#include "daemon/auto.h"

typedef struct {
  char **argv;        /* the command; empty: @script */
  const char *script; /* a file's name, "-" for standard input, or NULL */
  const char *cwd, *user;
  GPtrArray *env;       /* "K=V", or "K": as it is here. NULL: none */
  GPtrArray *env_files; /* of such lines; "#" begins a comment. NULL: none */
  gboolean interactive, tty;
} MfSpecExec;

/* Bytes under @key if they are text, else under "@key_base64". */
void mf_spec_add_content(MfJson *object, const char *key, const char *data, gsize length);

/* (transfer full); INVALID names the option. @with_env: else variables are left out. */
MfJson *mf_spec_exec(const MfSpecExec *self, gboolean with_env,
                     GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Variables: files first, later ones win. (transfer full) */
MfJson *mf_spec_env(const MfSpecExec *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* @files: "SRC:DST", DST absolute; the mode is the file's own. (transfer full) */
MfJson *mf_spec_files(GPtrArray *files, GError **error) G_GNUC_WARN_UNUSED_RESULT;
