/* SPDX-License-Identifier: Apache-2.0 */
/* Runner job: tries prepare, runs the stages in a thread that an abort does not wait for for ever,
 * cleans up, reports. */
#include "tests/gitlab/runner-job.h"

#include <string.h>

#define PREPARE_TRIES 3

static MfJson *
get(MfJson *object, const char *name)
{
  MfJson *value = NULL;
  return json_object_object_get_ex(object, name, &value) ? value : NULL;
}

Job *
job_new(const RunnerConfig *config, const char *payload, guint slot)
{
  g_autoptr(Job) self = g_new0(Job, 1);
  g_atomic_ref_count_init(&self->refs);
  g_mutex_init(&self->lock);
  g_cond_init(&self->wake);
  self->config = config;
  self->slot = slot;
  self->variables = variables_new();
  self->payload = json_tokener_parse(payload);
  MfJson *id = get(self->payload, "id"), *token = get(self->payload, "token");
  if (id == NULL || token == NULL)
    return NULL;
  self->id = g_strdup(json_object_to_json_string(id));
  self->token = g_strdup(json_object_get_string(token));
  return g_steal_pointer(&self);
}

Job *
job_ref(Job *self)
{
  g_atomic_ref_count_inc(&self->refs);
  return self;
}

void
job_unref(Job *self)
{
  if (!g_atomic_ref_count_dec(&self->refs))
    return;
  g_clear_pointer(&self->trace, trace_free);
  g_clear_pointer(&self->variables, variables_free);
  json_object_put(self->payload);
  result_clear(&self->result);
  attempt_clear(&self->attempt);
  g_free(self->id);
  g_free(self->token);
  g_mutex_clear(&self->lock);
  g_cond_clear(&self->wake);
  g_free(self);
}

/* Gracefully, once the script has begun, it is the script alone that ends: what comes after it
 * still runs, in the same machine. */
static void
cancel(gpointer data, gboolean force)
{
  Job *self = data;
  if (!force && g_atomic_int_get(&self->script_begun))
    context_end(&self->script, CAUSE_CANCELED);
  else
    context_end(&self->context, CAUSE_CANCELED);
}

void
job_interrupt(Job *self)
{
  context_end(&self->context, CAUSE_INTERRUPTED);
}

/* A failure that is the job's own is final; any other is tried again, with a cleanup between. */
static Result
prepare(Job *self)
{
  for (guint try = 1;; try++) {
    Result result = job_attempt(self);
    if (result.kind == RESULT_OK)
      return result;
    job_attempt_end(self);
    trace_printf(self->trace, "ERROR: Preparation failed: %s\n", result.message);
    if (result.kind == RESULT_BUILD || context_cause(&self->context) != CAUSE_NONE)
      return result;
    trace_printf(self->trace, "Will be retried in %u ms ...\n", self->config->prepare_interval);
    gboolean go_on = context_sleep(&self->context, self->config->prepare_interval);
    if (!go_on || try >= PREPARE_TRIES)
      return result;
    result_clear(&result);
  }
}

static gpointer
run_stages(gpointer data)
{
  Job *self = data;
  Result result = job_stages(self);
  g_mutex_lock(&self->lock);
  self->result = result;
  self->stages_over = TRUE;
  g_cond_signal(&self->wake);
  g_mutex_unlock(&self->lock);
  job_unref(self);
  return NULL;
}

/* An aborted job is given some time to stop; what has not stopped then is left behind. */
static void
wait_for_stages(Job *self)
{
  gint64 aborted = 0;
  g_mutex_lock(&self->lock);
  while (!self->stages_over) {
    gint64 now = g_get_monotonic_time();
    if (aborted == 0 && context_cause(&self->context) != CAUSE_NONE)
      aborted = now;
    if (aborted > 0 && now - aborted >= (gint64)self->config->build_finish * 1000)
      break;
    g_cond_wait_until(&self->wake, &self->lock, now + 20000);
  }
  gboolean left = !self->stages_over;
  g_mutex_unlock(&self->lock);
  if (left)
    trace_printf(self->trace, "WARNING: Timed out waiting for the build to finish\n");
}

static void
report(Job *self, const Result *result)
{
  const char *reason = result->reason, *message = result->message;
  int code = result->kind == RESULT_BUILD ? result->exit_code : -1;
  switch (context_cause(&self->context)) {
  case CAUSE_TIMEOUT:
    reason = "job_execution_timeout";
    message = "execution took longer than the job's timeout";
    code = -1;
    break;
  case CAUSE_CANCELED:
    reason = "job_canceled";
    message = "canceled";
    code = -1;
    break;
  case CAUSE_INTERRUPTED:
    reason = "runner_system_failure";
    message = "aborted: the runner stops";
    code = -1;
    break;
  case CAUSE_NONE:
    break;
  }
  if (reason == NULL) {
    trace_printf(self->trace, "Job succeeded\n");
    trace_finish(self->trace, "success", NULL, -1);
    return;
  }
  trace_printf(self->trace, "ERROR: Job failed%s: %s\n",
               strcmp(reason, "runner_system_failure") == 0 ? " (system failure)" : "", message);
  trace_finish(self->trace, "failed", reason, code);
}

void
job_run(Job *self)
{
  MfJson *timeout = get(get(self->payload, "runner_info"), "timeout");
  context_init(&self->context, NULL,
               timeout != NULL ? json_object_get_int64(timeout) * 1000 : 3600000);
  context_init(&self->script, &self->context, 0);
  self->trace = trace_new(self->config, self->id, self->token, cancel, self);
  trace_printf(self->trace, "Running with stand-in runner on %s\n", self->config->name);
  g_auto(Result) prepared = prepare(self);
  if (prepared.kind != RESULT_OK) {
    report(self, &prepared);
    return;
  }
  g_autoptr(GThread) thread = g_thread_new("stages", run_stages, job_ref(self));
  wait_for_stages(self);
  job_attempt_end(self);
  g_mutex_lock(&self->lock);
  Result result = self->result;
  g_mutex_unlock(&self->lock);
  report(self, &result);
}
