/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The scripts that the runner makes of a job, one a stage, for bash or for a POSIX shell. */

#include <glib.h>

#include "tests/gitlab/runner-config.h"
#include "tests/gitlab/runner-variables.h"

typedef struct {
  const RunnerConfig *config;
  MfJson *payload;
  Variables *variables;
  const char *id, *token;
  const char *shell;
  const char *project_dir, *cache_dir;
} Script;

/* The stage's script (transfer full), or NULL: there is nothing to do in it. */
char *script_generate(const Script *self, const char *stage);
/* The payload's step of that name, or NULL. */
MfJson *script_find_step(MfJson *payload, const char *name);
