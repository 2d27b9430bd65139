/* SPDX-License-Identifier: Apache-2.0 */
/* Session: calls with patience, the machines of one GitLab job, and the runner's wish for an end.
 */
#include "tools/gitlab-session.h"

#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "daemon/error.h"
#include "tools/document.h"

#define RETRY_MS         300
#define PATIENCE_US      (60 * G_USEC_PER_SEC)
#define LAST_PATIENCE_US (15 * G_USEC_PER_SEC)
#define SILENCE_US       (5 * G_USEC_PER_SEC) /* a restart takes less: jobs need not know of it */
#define PARENT_SECONDS   2

gboolean
mf_gitlab_session_open(MfGitlabSession *self, const char *socket, GError **error)
{
  mf_gitlab_contract_read(&self->contract);
  self->parent = getppid();
  self->job = mf_gitlab_job_load(self->contract.response_file, error);
  if (self->job == NULL)
    return FALSE;
  self->client = mf_client_new(socket);
  return TRUE;
}

static gboolean
on_signal(gpointer data)
{
  MfGitlabSession *self = data;
  if (!self->stopped)
    self->stopped_at = g_get_monotonic_time();
  self->stopped = TRUE;
  return G_SOURCE_CONTINUE;
}

/* PR_SET_PDEATHSIG would not do: it is about the thread that started us, and the runner's come and
 * go. */
static gboolean
on_look_at_parent(gpointer data)
{
  MfGitlabSession *self = data;
  if (getppid() != self->parent) {
    self->orphaned = TRUE;
    on_signal(self);
  }
  return G_SOURCE_CONTINUE;
}

void
mf_gitlab_session_heed_stop(MfGitlabSession *self)
{
  self->sources[0] = g_unix_signal_add(SIGTERM, on_signal, self);
  self->sources[1] = g_unix_signal_add(SIGINT, on_signal, self);
  self->sources[2] = g_unix_signal_add(SIGHUP, on_signal, self);
  self->sources[3] = g_timeout_add_seconds(PARENT_SECONDS, on_look_at_parent, self);
  /* A runner that does not read any more is an error of writing, not our death. */
  signal(SIGPIPE, SIG_IGN);
}

void
mf_gitlab_session_set_stopped_error(const MfGitlabSession *self, GError **error)
{
  g_set_error_literal(error, MF_ERROR, MF_ERROR_CANCELLED,
                      self->orphaned ? "gitlab-runner is gone" : "gitlab-runner ended this stage");
}

static gboolean
on_wake_up(gpointer data)
{
  *(gboolean *)data = TRUE;
  return G_SOURCE_REMOVE;
}

void
mf_gitlab_session_pause(MfGitlabSession *self, guint milliseconds)
{
  gboolean over = FALSE;
  gboolean stopped = self->stopped;
  guint timer = g_timeout_add(milliseconds, on_wake_up, &over);
  while (!over && self->stopped == stopped)
    g_main_context_iteration(NULL, TRUE);
  if (!over)
    g_source_remove(timer);
}

typedef struct {
  gboolean done;
  MfJson *answer;
  GError *error;
} Call;

static void
on_answer(GObject *source, GAsyncResult *result, gpointer data)
{
  Call *call = data;
  call->answer = mf_client_call_finish(MF_CLIENT(source), result, &call->error);
  call->done = TRUE;
}

static gboolean
patience_is_over(const MfGitlabSession *self, gint64 since)
{
  gint64 now = g_get_monotonic_time();
  return now - since > PATIENCE_US || (self->stopped && now - self->stopped_at > LAST_PATIENCE_US);
}

/* The timer that looks at our parent wakes this up, should nothing else. */
static MfJson *
call_once(MfGitlabSession *self, const char *method, const char *path, MfJson *body, GError **error)
{
  Call call = {0};
  g_autoptr(GCancellable) cancellable = g_cancellable_new();
  gint64 began = g_get_monotonic_time();
  mf_client_call_async(self->client, method, path, body, NULL, cancellable, on_answer, &call);
  while (!call.done) {
    g_main_context_iteration(NULL, TRUE);
    if (!call.done && self->stopped && patience_is_over(self, began))
      g_cancellable_cancel(cancellable);
  }
  if (call.answer == NULL)
    g_propagate_error(error, call.error);
  return call.answer;
}

static void
tell_waiting(MfGitlabSession *self, gint64 since, const GError *error)
{
  if (self->told_waiting || g_get_monotonic_time() - since < SILENCE_US)
    return;
  self->told_waiting = TRUE;
  fprintf(stderr, "mayfly: %s (waiting for it, for a minute at most)\n", error->message);
}

MfJson *
mf_gitlab_session_call(MfGitlabSession *self, const char *method, const char *path, MfJson *body,
                       GError **error)
{
  gint64 lost_since = 0;
  while (TRUE) {
    g_autoptr(GError) local = NULL;
    MfJson *answer = call_once(self, method, path, body, &local);
    if (answer != NULL)
      return answer;
    if (lost_since == 0)
      lost_since = g_get_monotonic_time();
    if (!mf_client_error_is_passing(local) || patience_is_over(self, lost_since)) {
      g_propagate_error(error, g_steal_pointer(&local));
      return NULL;
    }
    tell_waiting(self, lost_since, local);
    mf_gitlab_session_pause(self, RETRY_MS);
  }
}

static void
json_put(gpointer json)
{
  json_object_put(json);
}

static int
compare_created(gconstpointer a, gconstpointer b)
{
  double first = mf_document_number(*(MfJson *const *)a, "created");
  double second = mf_document_number(*(MfJson *const *)b, "created");
  return (first > second) - (first < second);
}

GPtrArray *
mf_gitlab_session_list(MfGitlabSession *self, gboolean all, GError **error)
{
  g_autofree char *path =
      g_strdup_printf("/v1/jobs?state=%s&name=%s", all ? "all" : "active", self->job->name);
  g_autoptr(MfJson) answer = mf_gitlab_session_call(self, "GET", path, NULL, error);
  if (answer == NULL)
    return NULL;
  MfJson *jobs = mf_document_member(answer, "jobs");
  GPtrArray *found = g_ptr_array_new_with_free_func(json_put);
  for (gsize i = 0; i < mf_document_count(jobs); i++) {
    MfJson *job = mf_document_item(jobs, i);
    /* Root and admins are shown those of others too, who may call theirs what they like. */
    if (mf_document_uint(job, "owner") == geteuid() && mf_document_text(job, "id") != NULL &&
        g_strcmp0(mf_document_text(job, "name"), self->job->name) == 0)
      g_ptr_array_add(found, json_object_get(job));
  }
  g_ptr_array_sort(found, compare_created);
  return found;
}

gboolean
mf_gitlab_session_cancel(MfGitlabSession *self, const char *id, const char *reason, GError **error)
{
  g_autoptr(GError) local = NULL;
  g_autofree char *base = mf_client_path("jobs", id, NULL);
  g_autofree char *escaped = g_uri_escape_string(reason, NULL, FALSE);
  g_autofree char *path = g_strconcat(base, "?reason=", escaped, NULL);
  g_autoptr(MfJson) answer = mf_gitlab_session_call(self, "DELETE", path, NULL, &local);
  if (answer != NULL || g_error_matches(local, MF_ERROR, MF_ERROR_NOT_FOUND))
    return TRUE;
  g_propagate_error(error, g_steal_pointer(&local));
  return FALSE;
}

gboolean
mf_gitlab_session_wait_gone(MfGitlabSession *self, const char *id, GError **error)
{
  g_autofree char *base = mf_client_path("jobs", id, NULL);
  g_autofree char *path = g_strconcat(base, MF_GITLAB_WAIT_FINISHED, NULL);
  while (!self->stopped) {
    g_autoptr(GError) local = NULL;
    g_autoptr(MfJson) job = mf_gitlab_session_call(self, "GET", path, NULL, &local);
    if (g_error_matches(local, MF_ERROR, MF_ERROR_NOT_FOUND) ||
        g_strcmp0(mf_document_text(job, "state"), "finished") == 0)
      return TRUE;
    if (job == NULL) {
      g_propagate_error(error, g_steal_pointer(&local));
      return FALSE;
    }
  }
  mf_gitlab_session_set_stopped_error(self, error);
  return FALSE;
}

void
mf_gitlab_session_clear(MfGitlabSession *self)
{
  for (guint i = 0; i < G_N_ELEMENTS(self->sources); i++)
    g_clear_handle_id(&self->sources[i], g_source_remove);
  g_clear_pointer(&self->job, mf_gitlab_job_free);
  g_clear_object(&self->client);
}
