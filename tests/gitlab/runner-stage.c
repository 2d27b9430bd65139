/* SPDX-License-Identifier: Apache-2.0 */
/* Runner stages: how the driver's programs are called, what their exit codes mean, and in which
 * order a job's stages run. */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#include "tests/gitlab/runner-job.h"

#define BUILD_FAILURE  1
#define SYSTEM_FAILURE 2

void
result_clear(Result *self)
{
  g_clear_pointer(&self->message, g_free);
}

static char *
exit_code_file(Job *self)
{
  return g_build_filename(self->attempt.folder, "exit-code", NULL);
}

/* --- a program's environment --- */

/* NULL: a variable has a NUL in it. (transfer full) */
static char **
new_environment(Job *self)
{
  Attempt *attempt = &self->attempt;
  char **env = g_get_environ();
  g_autofree char *response = g_build_filename(attempt->folder, "response.json", NULL);
  g_autofree char *exit_code = exit_code_file(self);
  env = g_environ_setenv(env, "TMPDIR", attempt->folder, TRUE);
  env = g_environ_setenv(env, "BUILD_FAILURE_EXIT_CODE", G_STRINGIFY(BUILD_FAILURE), TRUE);
  env = g_environ_setenv(env, "SYSTEM_FAILURE_EXIT_CODE", G_STRINGIFY(SYSTEM_FAILURE), TRUE);
  env = g_environ_setenv(env, "BUILD_EXIT_CODE_FILE", exit_code, TRUE);
  env = g_environ_setenv(env, "JOB_RESPONSE_FILE", response, TRUE);
  for (guint i = 0; attempt->job_env != NULL && attempt->job_env[i] != NULL; i++) {
    g_auto(GStrv) pair = g_strsplit(attempt->job_env[i], "=", 2);
    env = g_environ_setenv(env, pair[0], pair[1], TRUE);
  }
  for (guint i = 0; i < self->variables->list->len; i++) {
    const Variable *variable = self->variables->list->pdata[i];
    g_autofree char *name = g_strconcat("CUSTOM_ENV_", variable->key, NULL);
    if (variable->nul) {
      g_strfreev(env);
      return NULL;
    }
    env = g_environ_setenv(env, name, variable->value, TRUE);
  }
  return env;
}

/* --- exit codes --- */

/* What the driver says the job's script ended with; -1: what it says is no number. */
static int
read_exit_code(Job *self)
{
  g_autofree char *path = exit_code_file(self);
  g_autofree char *text = NULL;
  gint64 code = 0;
  if (!g_file_get_contents(path, &text, NULL, NULL))
    return BUILD_FAILURE;
  text[strcspn(text, "\n")] = '\0';
  return g_ascii_string_to_signed(text, 10, G_MININT, G_MAXINT, &code, NULL) ? (int)code : -1;
}

static Result
judge(Job *self, const RunnerExec *exec, const ProcessEnd *end)
{
  Result result = {.kind = RESULT_SYSTEM, .reason = "runner_system_failure"};
  if (end->error != 0) {
    result.message = g_strdup_printf("fork/exec %s: %s", exec->argv[0], g_strerror(end->error));
  } else if (end->status == 0) {
    result = (Result){.kind = RESULT_OK};
  } else if (end->status == BUILD_FAILURE && (result.exit_code = read_exit_code(self)) >= 0) {
    result.kind = RESULT_BUILD;
    result.reason = "script_failure";
    result.message = g_strdup_printf("exit status %d", result.exit_code);
  } else if (end->status == BUILD_FAILURE) {
    result.message = g_strdup("the exit code file holds no number");
  } else if (end->status == SYSTEM_FAILURE) {
    result.message = g_strdup_printf("exit status %d", end->status);
  } else {
    result.message =
        g_strdup_printf("unknown Custom executor executable exit code %d", end->status);
  }
  return result;
}

static void
append(gpointer data, const char *bytes, gsize length)
{
  g_string_append_len(data, bytes, (gssize)length);
}

static Result
call(Job *self, const RunnerExec *exec, char *const *argv, Context *context, GString *output)
{
  g_auto(GStrv) environment = new_environment(self);
  const Process process = {
      .argv = argv,
      .environment = environment,
      .folder = self->attempt.folder,
      .out = output != NULL ? append : trace_write,
      .out_data = output != NULL ? (gpointer)output : self->trace,
      .err = trace_write,
      .err_data = self->trace,
      .graceful_kill = self->config->graceful_kill,
      .force_kill = self->config->force_kill,
  };
  ProcessEnd end = {.error = EINVAL, .status = -1};
  if (environment != NULL)
    end = process_run(&process, context);
  return judge(self, exec, &end);
}

Result
job_program(Job *self, const RunnerExec *exec, Context *context, GString *output)
{
  Context limited;
  context_init(&limited, context, (gint64)exec->timeout * 1000);
  return call(self, exec, exec->argv, &limited, output);
}

/* --- one stage --- */

/* (transfer full) */
static char *
write_script(Job *self, const char *text)
{
  g_autofree char *folder = g_build_filename(self->attempt.folder, "scriptXXXXXX", NULL);
  if (g_mkdtemp_full(folder, 0700) == NULL)
    g_error("%s: %s", folder, g_strerror(errno));
  char *path = g_build_filename(folder, "script", NULL);
  if (!g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_NONE, 0700, NULL))
    g_error("%s: %s", path, g_strerror(errno));
  return path;
}

static char *
make_script(Job *self, const char *stage)
{
  g_autofree char *folder = NULL;
  const Script script = {
      .config = self->config,
      .payload = self->payload,
      .variables = self->variables,
      .id = self->id,
      .token = self->token,
      .shell = self->attempt.shell,
      .project_dir = variables_get(self->variables, "CI_PROJECT_DIR"),
      .cache_dir = self->attempt.cache_dir != NULL ? self->attempt.cache_dir : "/cache",
  };
  return script_generate(&script, stage);
}

/* The name under which run_exec is told of a step has stayed the old one. */
static const char *
name_for_driver(const char *stage)
{
  return strcmp(stage, "step_script") == 0 ? "build_script" : stage;
}

Result
job_stage(Job *self, const char *stage, Context *context)
{
  g_autofree char *text = make_script(self, stage);
  if (text == NULL)
    return (Result){.kind = RESULT_OK};
  if (context_cause(context) != CAUSE_NONE)
    return (Result){.kind = RESULT_SYSTEM,
                    .reason = "runner_system_failure",
                    .message = g_strdup("the job has ended")};
  g_autofree char *path = write_script(self, text);
  g_autoptr(GPtrArray) argv = g_ptr_array_new();
  const RunnerExec *exec = &self->config->run;
  for (guint i = 0; exec->argv[i] != NULL; i++)
    g_ptr_array_add(argv, exec->argv[i]);
  g_ptr_array_add(argv, path);
  g_ptr_array_add(argv, (char *)name_for_driver(stage));
  g_ptr_array_add(argv, NULL);
  Result result = call(self, exec, (char *const *)argv->pdata, context, NULL);
  if (result.kind == RESULT_SYSTEM)
    trace_printf(self->trace, "ERROR: %s: %s\n", stage, result.message);
  return result;
}

/* --- all of them --- */

static guint
attempts(Job *self, const char *variable)
{
  const char *text = variables_get(self->variables, variable);
  guint64 n = 1;
  return text != NULL && g_ascii_string_to_unsigned(text, 10, 1, 10, &n, NULL) ? (guint)n : 1;
}

/* Whatever went wrong: a stage before the script is tried again. */
static Result
try_stage(Job *self, const char *stage, const char *variable)
{
  guint tries = attempts(self, variable);
  for (guint try = 1;; try++) {
    Result result = job_stage(self, stage, &self->context);
    if (result.kind == RESULT_OK || try >= tries ||
        !context_sleep(&self->context, self->config->stage_interval))
      return result;
    trace_printf(self->trace, "Retrying %s...\n", stage);
    result_clear(&result);
    if (strcmp(stage, "get_sources") == 0) {
      g_auto(Result) cleared = job_stage(self, "clear_worktree", &self->context);
    }
  }
}

/* "90" or "90s", "2m", "1h" in milliseconds. */
static guint
duration(Job *self, const char *variable, guint otherwise)
{
  const char *text = variables_get(self->variables, variable);
  char *end = NULL;
  double number = text != NULL ? g_ascii_strtod(text, &end) : 0;
  if (number <= 0)
    return otherwise;
  return (guint)(number * (*end == 'h' ? 3600 : *end == 'm' ? 60 : 1) * 1000);
}

static Result
run_steps(Job *self)
{
  MfJson *steps = NULL;
  gsize n = json_object_object_get_ex(self->payload, "steps", &steps)
                ? json_object_array_length(steps)
                : 0;
  Result result = {.kind = RESULT_OK};
  context_init(&self->script, &self->context, duration(self, "RUNNER_SCRIPT_TIMEOUT", 0));
  g_atomic_int_set(&self->script_begun, TRUE);
  for (gsize i = 0; i < n && result.kind == RESULT_OK; i++) {
    MfJson *name = NULL;
    if (!json_object_object_get_ex(json_object_array_get_idx(steps, i), "name", &name) ||
        strcmp(json_object_get_string(name), "after_script") == 0)
      continue;
    g_autofree char *stage = g_strconcat("step_", json_object_get_string(name), NULL);
    result = job_stage(self, stage, &self->script);
  }
  Cause cause = context_cause(&self->script);
  if (context_cause(&self->context) == CAUSE_NONE && cause != CAUSE_NONE) {
    result_clear(&result);
    result = (Result){
        .kind = RESULT_BUILD,
        .exit_code = BUILD_FAILURE,
        .reason = cause == CAUSE_CANCELED ? "job_canceled" : "job_execution_timeout",
        .message = g_strdup(cause == CAUSE_CANCELED ? "canceled" : "script timeout"),
    };
  }
  return result;
}

static const char *
status_word(const Result *result)
{
  if (result->kind == RESULT_OK)
    return "success";
  if (strcmp(result->reason, "job_canceled") == 0)
    return "canceled";
  return strcmp(result->reason, "job_execution_timeout") == 0 ? "timedout" : "failed";
}

/* Its failure is told and changes nothing, unless the job wants it otherwise. */
static void
after_script(Job *self, Result *result)
{
  Context limited;
  const char *ignore = variables_get(self->variables, "AFTER_SCRIPT_IGNORE_ERRORS");
  if (script_find_step(self->payload, "after_script") == NULL)
    return;
  context_init(&limited, &self->context,
               duration(self, "RUNNER_AFTER_SCRIPT_TIMEOUT", self->config->after_script));
  Result after = job_stage(self, "after_script", &limited);
  if (after.kind == RESULT_OK || context_cause(&self->context) != CAUSE_NONE) {
    result_clear(&after);
  } else if (result->kind == RESULT_OK && g_strcmp0(ignore, "false") == 0) {
    *result = after;
  } else {
    trace_printf(self->trace,
                 "WARNING: after_script failed, but job will continue unaffected: %s\n",
                 after.message);
    result_clear(&after);
  }
}

/* Afterwards, whether the script succeeded or not. The first failure is the job's. */
static void
store(Job *self, Result *result)
{
  gboolean good = result->kind == RESULT_OK;
  const char *stages[] = {good ? "archive_cache" : "archive_cache_on_failure",
                          good ? "upload_artifacts_on_success" : "upload_artifacts_on_failure"};
  for (guint i = 0; i < G_N_ELEMENTS(stages); i++) {
    Result stored = job_stage(self, stages[i], &self->context);
    if (result->kind == RESULT_OK)
      *result = stored;
    else
      result_clear(&stored);
  }
  g_auto(Result) ignored = job_stage(self, "cleanup_file_variables", &self->context);
}

Result
job_stages(Job *self)
{
  Result result = job_stage(self, "prepare_script", &self->context);
  if (result.kind != RESULT_OK) {
    g_autofree char *message = g_steal_pointer(&result.message);
    result.message = g_strdup_printf("prepare environment: %s", message);
    return result;
  }
  result = try_stage(self, "get_sources", "GET_SOURCES_ATTEMPTS");
  if (result.kind == RESULT_OK)
    result = try_stage(self, "restore_cache", "RESTORE_CACHE_ATTEMPTS");
  if (result.kind == RESULT_OK)
    result = try_stage(self, "download_artifacts", "ARTIFACT_DOWNLOAD_ATTEMPTS");
  if (result.kind == RESULT_OK) {
    result = run_steps(self);
    variables_set(self->variables, "CI_JOB_STATUS", status_word(&result));
    after_script(self, &result);
  }
  store(self, &result);
  return result;
}
