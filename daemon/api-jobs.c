/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/jobs: posting, looking, waiting, ending. */
#include "daemon/api-private.h"

#include <string.h>

#include "daemon/error.h"
#include "daemon/json.h"

#define MAX_WAIT     300u
#define DEFAULT_WAIT 30u
#define MAX_REASON   256u
#define MAX_LEASE    (G_GUINT64_CONSTANT(10) * 365 * 24 * 3600)

/* Long polls, of a job or one of its execs: what is waited for, until when. */
typedef enum { WAIT_NOTHING = -1, WAIT_READY, WAIT_FINISHED, WAIT_CHANGE } What;

typedef struct {
  MfApiRequest *request; /* not counted: this is its work */
  MfJob *job;
  MfExec *exec; /* or NULL */
  What what;
  GSource *timeout;
} Wait;

static void
wait_free(gpointer data)
{
  Wait *self = data;
  g_source_destroy(self->timeout);
  g_source_unref(self->timeout);
  g_signal_handlers_disconnect_by_data(self->job, self);
  if (self->exec != NULL)
    g_signal_handlers_disconnect_by_data(self->exec, self);
  g_object_unref(self->job);
  g_clear_object(&self->exec);
  g_free(self);
}

static void
wait_answer(Wait *self)
{
  MfJson *json = self->exec != NULL ? mf_exec_to_json(self->exec) : mf_job_to_json(self->job);
  mf_api_reply_json(self->request, 200, json);
}

static gboolean
is_over(MfJob *job, MfExec *exec, What what)
{
  MfJobState state = mf_job_get_state(job);
  if (state == MF_JOB_FINISHED || (exec != NULL && mf_exec_is_done(exec)))
    return TRUE;
  return what == WAIT_READY && state != MF_JOB_QUEUED && state != MF_JOB_STARTING;
}

static void
on_change(gpointer object, gpointer data)
{
  Wait *self = data;
  if (self->what == WAIT_CHANGE || is_over(self->job, self->exec, self->what))
    wait_answer(self);
}

static gboolean
on_timeout(gpointer data)
{
  wait_answer(data);
  return G_SOURCE_REMOVE;
}

static void
wait_start(MfApiRequest *request, MfJob *job, MfExec *exec, What what, guint seconds)
{
  Wait *self = g_new0(Wait, 1);
  self->request = request;
  self->job = g_object_ref(job);
  self->exec = exec != NULL ? g_object_ref(exec) : NULL;
  self->what = what;
  self->timeout = g_timeout_source_new(seconds * 1000);
  g_source_set_callback(self->timeout, on_timeout, self, NULL);
  g_source_attach(self->timeout, g_main_context_get_thread_default());
  g_signal_connect(job, "state-changed", G_CALLBACK(on_change), self);
  if (exec != NULL)
    g_signal_connect(exec, "changed", G_CALLBACK(on_change), self);
  else if (what == WAIT_CHANGE)
    g_signal_connect(job, "changed", G_CALLBACK(on_change), self);
  mf_api_request_hold(request, self, wait_free);
}

void
mf_api_jobs_answer(MfApiRequest *request, MfJob *job, MfExec *exec, const char *choices)
{
  GError *error = NULL;
  gint what = WAIT_NOTHING;
  guint64 seconds = DEFAULT_WAIT;
  if (!mf_api_query_choice(request, "wait", choices, &what, &error) ||
      !mf_api_query_uint(request, "timeout", MAX_WAIT, &seconds, &error)) {
    mf_api_reply_error(request, error);
    return;
  }
  /* An exec is waited for until it is finished, whatever number that choice has. */
  if (exec != NULL && what != WAIT_NOTHING)
    what = WAIT_FINISHED;
  gboolean waits = what != WAIT_NOTHING && seconds > 0 && !is_over(job, exec, (What)what);
  if (waits)
    wait_start(request, job, exec, (What)what, (guint)seconds);
  else
    mf_api_reply_json(request, 200, exec != NULL ? mf_exec_to_json(exec) : mf_job_to_json(job));
}

void
mf_api_jobs_get(MfApiRequest *request)
{
  GError *error = NULL;
  MfJob *job = mf_api_find_job(request, &error);
  if (job == NULL)
    mf_api_reply_error(request, error);
  else
    mf_api_jobs_answer(request, job, NULL, "ready finished change");
}

void
mf_api_jobs_create(MfApiRequest *request)
{
  GError *error = NULL;
  g_autoptr(MfJson) json = mf_api_request_json(request, &error);
  g_autoptr(MfJobSpec) spec = json != NULL ? mf_job_spec_from_json(json, &error) : NULL;
  MfScheduler *scheduler = request->api->scheduler;
  MfJob *job = spec != NULL && spec->key != NULL
                   ? mf_scheduler_find_key(scheduler, spec->key, request->peer.uid)
                   : NULL;
  if (job != NULL) {
    mf_api_reply_json(request, 200, mf_job_to_json(job));
    return;
  }
  if (spec != NULL && !mf_job_spec_check_new(spec, &error))
    g_clear_pointer(&spec, mf_job_spec_unref);
  if (spec != NULL)
    job = mf_scheduler_submit(scheduler, spec, request->peer.uid, &error);
  if (job == NULL) {
    mf_api_reply_error(request, error);
    return;
  }
  mf_api_reply_location(request, "/v1/jobs/%s", mf_job_get_id(job));
  mf_api_reply_json(request, 201, mf_job_to_json(job));
}

static gboolean
check_reason(const char *reason, GError **error)
{
  gboolean good =
      reason == NULL || (strlen(reason) <= MAX_REASON && g_utf8_validate(reason, -1, NULL));
  for (const char *c = reason; good && c != NULL && *c != '\0'; c = g_utf8_next_char(c))
    good = g_unichar_isprint(g_utf8_get_char(c));
  if (!good)
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "The parameter \"reason\" must be at most %u bytes of printable text.", MAX_REASON);
  return good;
}

void
mf_api_jobs_cancel(MfApiRequest *request)
{
  GError *error = NULL;
  const char *reason = mf_api_query(request, "reason");
  MfJob *job = mf_api_find_job(request, &error);
  if (job == NULL || !check_reason(reason, &error)) {
    mf_api_reply_error(request, error);
    return;
  }
  g_autoptr(MfJob) kept = g_object_ref(job);
  if (reason == NULL || *reason == '\0')
    reason = request->peer.uid == mf_job_get_owner(job) ? "cancelled by its owner"
                                                        : "cancelled by an administrator";
  mf_scheduler_cancel(request->api->scheduler, job, reason);
  mf_api_reply_json(request, 202, mf_job_to_json(kept));
}

/* How a held job may end by its client's word. */
static const MfResult ends[] = {MF_RESULT_SUCCEEDED, MF_RESULT_FAILED, MF_RESULT_TIMED_OUT};

static gboolean
read_end(MfJson *json, MfResult *ret_result, guint64 *ret_code, GError **error)
{
  static const char *const keys[] = {"result", "exit_code", NULL};
  g_autofree char *text = NULL;
  if (!mf_json_check_keys(json, "", keys, error) ||
      !mf_json_read_string(json, "", "result", &text, error) ||
      !mf_json_read_uint(json, "", "exit_code", 1, 255, ret_code, error))
    return FALSE;
  for (gsize i = 0; text != NULL && i < G_N_ELEMENTS(ends); i++)
    if (strcmp(text, mf_result_to_string(ends[i])) == 0)
      *ret_result = ends[i];
  if (*ret_result == MF_RESULT_NONE)
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "\"result\" must be \"succeeded\", \"failed\" or \"timed-out\".");
  return *ret_result != MF_RESULT_NONE;
}

void
mf_api_jobs_end(MfApiRequest *request)
{
  GError *error = NULL;
  MfResult result = MF_RESULT_NONE;
  guint64 code = 1;
  MfJob *job = mf_api_find_job(request, &error);
  g_autoptr(MfJson) json = job != NULL ? mf_api_request_json(request, &error) : NULL;
  if (json == NULL || !read_end(json, &result, &code, &error)) {
    mf_api_reply_error(request, error);
    return;
  }
  g_autoptr(MfJob) kept = g_object_ref(job);
  int status = result == MF_RESULT_SUCCEEDED ? 0 : result == MF_RESULT_FAILED ? (int)code : -1;
  if (mf_scheduler_end(request->api->scheduler, job, result, status, &error))
    mf_api_reply_json(request, 202, mf_job_to_json(kept));
  else
    mf_api_reply_error(request, error);
}

void
mf_api_jobs_lease(MfApiRequest *request)
{
  static const char *const keys[] = {"seconds", NULL};
  GError *error = NULL;
  guint64 seconds = 0;
  MfJob *job = mf_api_find_job(request, &error);
  g_autoptr(MfJson) json = job != NULL ? mf_api_request_json(request, &error) : NULL;
  if (json == NULL || !mf_json_check_keys(json, "", keys, &error) ||
      !mf_json_read_uint(json, "", "seconds", 1, MAX_LEASE, &seconds, &error)) {
    mf_api_reply_error(request, error);
    return;
  }
  if (seconds == 0)
    g_set_error(&error, MF_ERROR, MF_ERROR_INVALID,
                "\"seconds\" is missing: how long the job is to live from now on.");
  else if (mf_job_get_state(job) == MF_JOB_STOPPING || mf_job_get_state(job) == MF_JOB_FINISHED)
    g_set_error(&error, MF_ERROR, MF_ERROR_CONFLICT, "Job %s is over: its lease cannot be renewed.",
                mf_job_get_id(job));
  if (error != NULL) {
    mf_api_reply_error(request, error);
    return;
  }
  mf_scheduler_renew(request->api->scheduler, job, seconds);
  mf_api_reply_json(request, 200, mf_job_to_json(job));
}

static void
add_counter(MfJson *json, const char *key, guint64 value)
{
  mf_json_add(json, key, value != MF_STATS_UNKNOWN ? json_object_new_uint64(value) : NULL);
}

MfJson *
mf_api_stats_to_json(const MfDomainStats *stats)
{
  MfJson *json = json_object_new_object();
  mf_json_add_uint(json, "balloon_maximum", stats->balloon_maximum);
  mf_json_add_uint(json, "balloon_current", stats->balloon_current);
  mf_json_add_uint(json, "balloon_usable", stats->balloon_usable);
  mf_json_add_uint(json, "resident", stats->resident);
  add_counter(json, "cpu_time_ns", stats->cpu_time_ns);
  mf_json_add_uint(json, "disk_allocated", stats->disk_allocated);
  add_counter(json, "disk_read_bytes", stats->disk_read_bytes);
  add_counter(json, "disk_written_bytes", stats->disk_written_bytes);
  add_counter(json, "net_rx_bytes", stats->net_rx_bytes);
  add_counter(json, "net_tx_bytes", stats->net_tx_bytes);
  return json;
}

static void
on_stats(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfApiRequest) request = data;
  GError *error = NULL;
  g_autofree MfDomainStats *stats =
      mf_hypervisor_stats_finish(MF_HYPERVISOR(source), result, &error);
  if (stats == NULL) {
    mf_api_reply_error(request, error);
    return;
  }
  mf_api_reply_json(request, 200, mf_api_stats_to_json(stats));
}

void
mf_api_jobs_stats(MfApiRequest *request)
{
  GError *error = NULL;
  MfJob *job = mf_api_find_job(request, &error);
  if (job == NULL) {
    mf_api_reply_error(request, error);
    return;
  }
  if (mf_job_get_state(job) != MF_JOB_READY && mf_job_get_state(job) != MF_JOB_RUNNING) {
    mf_api_reply_error(
        request, g_error_new(MF_ERROR, MF_ERROR_CONFLICT,
                             "Job %s is %s: only a machine that is up has statistics.",
                             mf_job_get_id(job), mf_job_state_to_string(mf_job_get_state(job))));
    return;
  }
  mf_api_request_hold(request, NULL, NULL);
  mf_hypervisor_stats_async(mf_scheduler_get_hypervisor(request->api->scheduler),
                            mf_job_get_machine(job), request->cancellable, on_stats,
                            mf_api_request_ref(request));
}

void
mf_api_jobs_console(MfApiRequest *request)
{
  GError *error = NULL;
  MfApiOutput output = {.form = MF_OUTPUT_MERGED};
  MfJob *job = mf_api_find_job(request, &error);
  if (job == NULL || !mf_api_query_uint(request, "offset", G_MAXINT64, &output.offset, &error) ||
      !mf_api_query_flag(request, "follow", &output.follow, &error))
    mf_api_reply_error(request, error);
  else
    mf_api_stream_job_output(request, job, NULL, &output);
}
