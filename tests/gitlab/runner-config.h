/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The stand-in runner's settings: config.toml's, with gitlab-runner's defaults, and the times that
 * are fixed in a real runner but would make a test slow.
 */

#include <glib.h>

typedef struct {
  char **argv;   /* NULL: this stage has no program */
  guint timeout; /* seconds */
} RunnerExec;

typedef struct {
  guint concurrent, check_interval; /* seconds */
  char *name, *url, *token, *shell; /* shell: "bash" unless said otherwise */
  char *builds_dir, *cache_dir;
  guint limit;
  gsize output_limit;
  char **environment; /* "K=V" */
  RunnerExec config, prepare, run, cleanup;
  guint graceful_kill, force_kill; /* seconds */
  char *cache_url;                 /* "http://host:port/bucket", or NULL */
  /* Constants of a real runner, in milliseconds. */
  guint prepare_interval; /* between tries of prepare: 3 s */
  guint stage_interval;   /* between tries of a stage: 1 s */
  guint update_interval;  /* between parts of the trace, unless the coordinator says: 3 s */
  guint touch_interval;   /* a silent job asks how it is: 30 s */
  guint build_finish;     /* an aborted job's programs are waited for so long: 5 min */
  guint after_script;     /* what after_script may take: 5 min */
} RunnerConfig;

RunnerConfig *runner_config_load(const char *path, GError **error);
void runner_config_free(RunnerConfig *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RunnerConfig, runner_config_free)
