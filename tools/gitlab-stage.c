/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stage: the watch says what becomes of exec and machine, the follower brings the output, and the
 * loop between them decides.
 */
#include "tools/gitlab-stage.h"

#include <stdlib.h>
#include <unistd.h>

#include "daemon/error.h"
#include "tools/document.h"
#include "tools/follow.h"
#include "tools/gitlab-config.h"
#include "tools/outcome.h"
#include "tools/spec.h"
#include "tools/watch.h"

#include "daemon/paths.h"

#define TICK_MS       200
#define STAGE_LIMIT   24
#define STALL_MS      1000
#define AFTER_KILL_US (10 * G_USEC_PER_SEC)

typedef struct {
  MfGitlabSession *session;
  const char *job_id;
  guint number;
  MfJson *job; /* the newest document */
  MfFollow *follow;
  GCancellable *cancellable;
  GError *error; /* job or output are lost from sight */
  guint under_way;
  gboolean exec_ended, job_ended, output_ended;
  gboolean left_behind; /* the script goes on, in a machine that is kept */
} Stage;

/* Asking */

/* Unique, because an exec may be asked for twice but must run once; and says the stage, which
 * nothing else of an exec's document does. (transfer full) */
static char *
new_key(const char *stage)
{
  g_autofree char *unique = g_uuid_string_random();
  g_autofree char *word = g_strndup(stage, STAGE_LIMIT);
  g_strcanon(word, "abcdefghijklmnopqrstuvwxyz0123456789_", '_');
  return g_strconcat(word, "/", unique, NULL);
}

static gboolean
is_of_stage(MfJson *exec, const char *prefix)
{
  const char *key = mf_document_text(exec, "key");
  return key != NULL && g_str_has_prefix(key, prefix);
}

/* 0: it did not fail. */
static int
failure_of(MfJson *exec)
{
  gboolean ended = mf_document_has(exec, "exit_code") || mf_document_has(exec, "signal");
  return ended ? mf_outcome_of_exec(exec) : 0;
}

int
mf_gitlab_stage_failed_with(MfJson *job)
{
  MfJson *execs = mf_document_member(job, "execs");
  int other = 0;
  for (gsize i = mf_document_count(execs); i > 0; i--) {
    MfJson *exec = mf_document_item(execs, i - 1);
    int code = failure_of(exec);
    if (code != 0 && (is_of_stage(exec, "build_script/") || is_of_stage(exec, "step_")))
      return code;
    if (other == 0 && !is_of_stage(exec, "after_script/"))
      other = code;
  }
  return other != 0 ? other : 1;
}

/* The stages that follow whatever became of those before. */
static gboolean
is_aftermath(MfJson *exec)
{
  static const char *const prefixes[] = {"archive_cache", "cleanup_file_variables/",
                                         "clear_worktree/", "upload_artifacts"};
  for (guint i = 0; i < G_N_ELEMENTS(prefixes); i++)
    if (is_of_stage(exec, prefixes[i]))
      return TRUE;
  return FALSE;
}

gboolean
mf_gitlab_stage_failed_early(MfJson *job)
{
  MfJson *execs = mf_document_member(job, "execs");
  for (gsize i = mf_document_count(execs); i > 0; i--) {
    MfJson *exec = mf_document_item(execs, i - 1);
    if (is_of_stage(exec, "build_script/") || is_of_stage(exec, "step_") ||
        is_of_stage(exec, "after_script/"))
      return FALSE;
    if (!is_aftermath(exec))
      return failure_of(exec) != 0;
  }
  return FALSE;
}

static MfJson *
new_exec(const char *stage, GBytes *script)
{
  MfJson *exec = json_object_new_object();
  MfJson *shells = json_object_new_array();
  gsize length;
  const char *data = g_bytes_get_data(script, &length);
  g_autofree char *key = new_key(stage);
  json_object_object_add(exec, "key", json_object_new_string(key));
  json_object_array_add(shells, json_object_new_string("bash"));
  json_object_array_add(shells, json_object_new_string("sh"));
  json_object_object_add(exec, "shell", shells);
  mf_spec_add_content(exec, "script", data != NULL ? data : "", length);
  return exec;
}

static gboolean
start(Stage *self, const char *stage, GBytes *script, GError **error)
{
  g_autofree char *path = mf_client_path("jobs", self->job_id, "execs", NULL);
  g_autoptr(MfJson) body = new_exec(stage, script);
  g_autoptr(MfJson) exec = mf_gitlab_session_call(self->session, "POST", path, body, error);
  if (exec == NULL)
    return FALSE;
  self->number = (guint)mf_document_uint(exec, "number");
  if (self->number > 0)
    return TRUE;
  g_set_error_literal(error, MF_ERROR, MF_ERROR_FAILED,
                      "mayflyd's answer says no number: are mayfly and mayflyd of the same "
                      "version?");
  return FALSE;
}

static void
send_signal(Stage *self, const char *name)
{
  g_autofree char *number = g_strdup_printf("%u", self->number);
  g_autofree char *path = mf_client_path("jobs", self->job_id, "execs", number, "signal", NULL);
  g_autoptr(MfJson) body = json_object_new_object();
  json_object_object_add(body, "signal", json_object_new_string(name));
  /* The answer changes nothing: whether it ended is seen by watching it. */
  g_autoptr(MfJson) answer = mf_gitlab_session_call(self->session, "POST", path, body, NULL);
}

/* Hearing */

static gboolean
job_is_over(MfJson *job)
{
  gboolean kept = mf_document_has(job, "result") && mf_document_has(job, "kept_until");
  return kept || g_strcmp0(mf_document_text(job, "state"), "finished") == 0;
}

static gboolean
on_job(MfJson *job, gpointer data)
{
  Stage *self = data;
  MfJson *exec = mf_outcome_find_exec(job, self->number);
  g_clear_pointer(&self->job, json_object_put);
  self->job = json_object_get(job);
  self->job_ended = job_is_over(job);
  gboolean finished = g_strcmp0(mf_document_text(exec, "state"), "finished") == 0;
  if (finished || self->job_ended) {
    self->exec_ended = TRUE;
    self->left_behind = !finished;
    mf_follow_set_finished(self->follow);
  }
  return !self->exec_ended;
}

static void
on_watch_over(GObject *source, GAsyncResult *result, gpointer data)
{
  Stage *self = data;
  self->under_way--;
  if (self->error == NULL)
    (void)!mf_watch_run_finish(MF_WATCH(source), result, &self->error);
}

static void
on_follow_over(GObject *source, GAsyncResult *result, gpointer data)
{
  Stage *self = data;
  g_autoptr(GError) error = NULL;
  self->under_way--;
  self->output_ended = TRUE;
  if (!mf_follow_run_finish(MF_FOLLOW(source), result, &error) && self->error == NULL)
    self->error = g_steal_pointer(&error);
}

static void
listen(Stage *self)
{
  g_autofree char *number = g_strdup_printf("%u", self->number);
  g_autofree char *output = mf_client_path("jobs", self->job_id, "execs", number, "output", NULL);
  g_autofree char *events = mf_client_path("jobs", self->job_id, "events", NULL);
  MfFollowOptions options = {
      .path = output, .follow = TRUE, .pace = TRUE, .out = STDOUT_FILENO, .err = STDOUT_FILENO};
  self->follow = mf_follow_new(self->session->client, &options);
  g_autoptr(MfWatch) watch = mf_watch_new(self->session->client, events, on_job, self);
  self->under_way = 2;
  mf_follow_run_async(self->follow, self->cancellable, on_follow_over, self);
  mf_watch_run_async(watch, self->cancellable, on_watch_over, self);
}

/* Waiting */

static gboolean
is_over(const Stage *self)
{
  return self->error != NULL || self->left_behind || (self->exec_ended && self->output_ended);
}

static gboolean
on_tick(gpointer data)
{
  return G_SOURCE_CONTINUE;
}

static gint64
term_grace(void)
{
  g_autofree char *path = mf_path_gitlab_config();
  g_autoptr(MfGitlabConfig) config = mf_gitlab_config_load(path, NULL);
  if (config == NULL)
    config = mf_gitlab_config_from_data("defaults", "", 0, NULL);
  return (gint64)config->term_grace * G_USEC_PER_SEC;
}

/* TERM, then KILL, then no more patience. Output goes on meanwhile. */
static void
stop(Stage *self)
{
  guint tick = g_timeout_add(TICK_MS, on_tick, NULL);
  send_signal(self, "TERM");
  gint64 kill_at = g_get_monotonic_time() + term_grace();
  gboolean killed = FALSE;
  while (!is_over(self) && g_get_monotonic_time() < kill_at + AFTER_KILL_US) {
    if (!killed && g_get_monotonic_time() >= kill_at) {
      killed = TRUE;
      send_signal(self, "KILL");
    }
    g_main_context_iteration(NULL, TRUE);
  }
  g_source_remove(tick);
}

static MfGitlabStageEnd
wait_for_end(Stage *self)
{
  while (!is_over(self) && !self->session->stopped)
    g_main_context_iteration(NULL, TRUE);
  gboolean unread = g_error_matches(self->error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);
  if (unread)
    g_clear_error(&self->error);
  if (!self->session->stopped && !unread)
    return self->error != NULL ? MF_GITLAB_STAGE_LOST : MF_GITLAB_STAGE_EXITED;
  stop(self);
  return MF_GITLAB_STAGE_STOPPED;
}

/* Why there is no status of the script's own; NULL: there is one. */
static char *
explain(const Stage *self)
{
  MfJson *exec = mf_outcome_find_exec(self->job, self->number);
  const char *problem = mf_document_text(exec, "error");
  gboolean ended = g_strcmp0(mf_document_text(exec, "state"), "finished") == 0;
  gboolean status = mf_document_has(exec, "exit_code") || mf_document_has(exec, "signal");
  if (ended && status && problem == NULL)
    return NULL;
  char *why = mf_document_has(self->job, "result") ? mf_outcome_explain(self->job) : NULL;
  if (why != NULL)
    return why;
  return g_strdup(problem != NULL ? problem
                                  : "the machine of this job ended before the script did");
}

static MfGitlabStageEnd
conclude(Stage *self, MfGitlabStageEnd end, int *ret_code, GError **error)
{
  if (end == MF_GITLAB_STAGE_STOPPED) {
    mf_gitlab_session_set_stopped_error(self->session, error);
    return end;
  }
  if (end == MF_GITLAB_STAGE_LOST) {
    g_propagate_prefixed_error(error, g_steal_pointer(&self->error),
                               "machine %s is lost from sight: ", self->job_id);
    return end;
  }
  g_autofree char *why = explain(self);
  if (why == NULL) {
    *ret_code = mf_outcome_of_exec(mf_outcome_find_exec(self->job, self->number));
    return MF_GITLAB_STAGE_EXITED;
  }
  g_set_error_literal(error, MF_ERROR, MF_ERROR_FAILED, why);
  return MF_GITLAB_STAGE_LOST;
}

/* Both point to us. A runner that does not read holds a worker in write(): then everything stays as
 * it is, the process ends anyhow. Returns: FALSE then. */
static gboolean
wind_up(Stage *self)
{
  guint tick = g_timeout_add(TICK_MS, on_tick, NULL);
  gint64 until = g_get_monotonic_time() + STALL_MS * 1000;
  g_cancellable_cancel(self->cancellable);
  while (self->under_way > 0 && g_get_monotonic_time() < until)
    g_main_context_iteration(NULL, TRUE);
  g_source_remove(tick);
  return self->under_way == 0;
}

static void
stage_free(Stage *self)
{
  g_clear_object(&self->follow);
  g_clear_object(&self->cancellable);
  g_clear_pointer(&self->job, json_object_put);
  g_clear_error(&self->error);
  g_free(self);
}

MfGitlabStageEnd
mf_gitlab_stage_run(MfGitlabSession *session, MfJson *job, const char *stage, GBytes *script,
                    int *ret_code, GError **error)
{
  Stage *self = g_new0(Stage, 1);
  self->session = session;
  self->job_id = mf_document_text(job, "id");
  self->cancellable = g_cancellable_new();
  if (!start(self, stage, script, error)) {
    stage_free(self);
    return session->stopped ? MF_GITLAB_STAGE_STOPPED : MF_GITLAB_STAGE_LOST;
  }
  listen(self);
  MfGitlabStageEnd end = conclude(self, wait_for_end(self), ret_code, error);
  if (wind_up(self))
    stage_free(self);
  return end;
}
