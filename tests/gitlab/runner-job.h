/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One job in the runner, from the coordinator's payload to its final state. It lives until its last
 * thread lets go of it: a program that an aborted job left behind may outlast the job's end.
 */

#include <glib.h>

#include "tests/gitlab/runner-process.h"
#include "tests/gitlab/runner-script.h"
#include "tests/gitlab/runner-trace.h"

typedef enum {
  RESULT_OK,
  RESULT_BUILD, /* the job's own fault */
  RESULT_SYSTEM,
} ResultKind;

typedef struct {
  ResultKind kind;
  int exit_code;      /* with RESULT_BUILD */
  const char *reason; /* GitLab's word for it */
  char *message;      /* or NULL */
} Result;

void result_clear(Result *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Result, result_clear)

/* What one try of prepare has to itself. */
typedef struct {
  char *folder;   /* TMPDIR */
  char **job_env; /* from config_exec */
  char *builds_dir, *cache_dir, *shell, *hostname, *driver;
  gboolean shared; /* builds_dir_is_shared */
} Attempt;

typedef struct {
  gatomicrefcount refs;
  const RunnerConfig *config;
  MfJson *payload;
  char *id, *token;
  guint slot; /* CI_CONCURRENT_ID */
  Trace *trace;
  Context context;   /* the whole job's */
  Context script;    /* the user's script's; what a graceful cancel ends */
  gint script_begun; /* atomic: a graceful cancel ends the script only */
  Attempt attempt;
  Variables *variables;
  GMutex lock; /* of the two below */
  GCond wake;
  gboolean stages_over;
  Result result;
} Job;

/* Runs the job of @payload until its final state is taken. (transfer none) */
Job *job_new(const RunnerConfig *config, const char *payload, guint slot);
Job *job_ref(Job *self);
void job_unref(Job *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Job, job_unref)
void job_run(Job *self);
/* The runner itself is to end: so is the job, at once. */
void job_interrupt(Job *self);

/* --- runner-attempt.c: one try of prepare --- */

/* config_exec and prepare_exec in a new TMPDIR. */
Result job_attempt(Job *self);
void attempt_clear(Attempt *self);
/* cleanup_exec, then TMPDIR goes. */
void job_attempt_end(Job *self);

/* --- runner-stage.c --- */

/* prepare_exec and its like, and run_exec with @script's path and @stage. @stdout: NULL: into the
 * job's log. */
Result job_program(Job *self, const RunnerExec *exec, Context *context, GString *output);
Result job_stage(Job *self, const char *stage, Context *context);
/* Every stage of a job, in their order. */
Result job_stages(Job *self);
