/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attach: the watch says what becomes of job and exec, the follower brings the output. It is over
 * when the exec has ended and its output is written; for run also when the job is finished, unless
 * its machine is kept: with its command still in it, if its time was up.
 */
#include "tools/attach.h"

#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "daemon/error.h"
#include "tools/command.h"
#include "tools/document.h"
#include "tools/follow.h"
#include "tools/input.h"
#include "tools/outcome.h"
#include "tools/progress.h"
#include "tools/terminal.h"
#include "tools/watch.h"

#define STALL_MS        1000
#define CANCEL_AGAIN_MS 300

typedef struct {
  MfClient *client;
  MfAttachOptions options;
  GMainLoop *loop;
  GCancellable *cancellable;
  GError *error;
  MfProgress *progress;
  MfInput *input;
  MfFollow *follow;
  MfJson *job; /* the newest document */
  char *id;    /* of the job, once it is there */
  guint exec;
  guint under_way;  /* calls, watch and follower that point to us */
  guint signals;    /* Ctrl-C and the like so far */
  gboolean running; /* the exec was seen running */
  gboolean exec_ended;
  gboolean job_ended;
  gboolean output_ended;
} Attach;

static char *
exec_path(const Attach *self, const char *what)
{
  g_autofree char *number = g_strdup_printf("%u", self->exec);
  return mf_client_path("jobs", self->id, "execs", number, what, NULL);
}

/* We made the job, and are the reason that it lives. */
static gboolean
owns_job(const Attach *self)
{
  return self->options.job == NULL;
}

/* Takes the error; the first one counts. */
static void
quit(Attach *self, GError *error)
{
  if (self->error == NULL && error != NULL)
    self->error = error;
  else
    g_clear_error(&error);
  g_main_loop_quit(self->loop);
}

static gboolean
machine_is_kept(const Attach *self)
{
  return mf_document_has(self->job, "kept_until");
}

static void
check_over(Attach *self)
{
  gboolean interrupted = owns_job(self) && self->signals > 0;
  gboolean left_behind = owns_job(self) && !self->exec_ended &&
                         mf_document_has(self->job, "result") && machine_is_kept(self);
  if ((interrupted && self->job_ended) || (left_behind && !interrupted))
    quit(self, NULL);
  if (!self->exec_ended || !self->output_ended)
    return;
  if (!owns_job(self) || self->job_ended || (machine_is_kept(self) && !interrupted))
    quit(self, NULL);
}

static void
on_call_done(GObject *source, GAsyncResult *result, gpointer data)
{
  /* The answer changes nothing: what becomes of the job is seen by watching it. */
  g_autoptr(MfJson) answer = mf_client_call_finish(MF_CLIENT(source), result, NULL);
}

static void
send_signal(Attach *self, const char *name)
{
  g_autofree char *path = exec_path(self, "signal");
  g_autoptr(MfJson) body = json_object_new_object();
  json_object_object_add(body, "signal", json_object_new_string(name));
  mf_client_call_async(self->client, "POST", path, body, NULL, NULL, on_call_done, NULL);
}

static void cancel_job(Attach *self);

static gboolean
on_cancel_again(gpointer data)
{
  Attach *self = data;
  self->under_way--;
  if (!self->job_ended && !g_cancellable_is_cancelled(self->cancellable))
    cancel_job(self);
  return G_SOURCE_REMOVE;
}

/* mayflyd may be on its way up again: the wish must not get lost. */
static void
on_cancelled(GObject *source, GAsyncResult *result, gpointer data)
{
  Attach *self = data;
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJson) answer = mf_client_call_finish(MF_CLIENT(source), result, &error);
  if (answer == NULL && mf_client_error_is_passing(error))
    g_timeout_add(CANCEL_AGAIN_MS, on_cancel_again, self);
  else
    self->under_way--;
}

static void
cancel_job(Attach *self)
{
  g_autofree char *base = mf_client_path("jobs", self->id, NULL);
  g_autofree char *path = g_strconcat(base, "?reason=interrupted%20by%20its%20owner", NULL);
  self->under_way++;
  mf_client_call_async(self->client, "DELETE", path, NULL, NULL, self->cancellable, on_cancelled,
                       self);
}

static gboolean
on_interrupt(gpointer data)
{
  Attach *self = data;
  self->signals++;
  mf_progress_end(self->progress);
  if (self->exec == 0 || self->signals > 2) {
    /* Nothing is there yet: on_created() ends it as soon as it is, unless that takes too long for
     * the user. */
    if (self->signals > 1)
      quit(self, NULL);
  } else if (!owns_job(self)) {
    send_signal(self, self->signals == 1 ? "INT" : "KILL");
  } else if (self->signals == 1) {
    cancel_job(self);
    if (isatty(STDERR_FILENO))
      fputs("\rmayfly: ending the job; Ctrl-C again leaves that to mayflyd\n", stderr);
  } else {
    quit(self, NULL);
  }
  return G_SOURCE_CONTINUE;
}

static gboolean
on_resize(gpointer data)
{
  Attach *self = data;
  guint rows, cols;
  if (!self->running || !mf_terminal_get_size(STDIN_FILENO, &rows, &cols))
    return G_SOURCE_CONTINUE;
  g_autofree char *path = exec_path(self, "resize");
  g_autoptr(MfJson) body = json_object_new_object();
  json_object_object_add(body, "rows", json_object_new_int64(rows));
  json_object_object_add(body, "cols", json_object_new_int64(cols));
  mf_client_call_async(self->client, "POST", path, body, NULL, NULL, on_call_done, NULL);
  return G_SOURCE_CONTINUE;
}

/* Not before: until then Ctrl-C has to reach us. */
static void
on_exec_running(Attach *self)
{
  self->running = TRUE;
  mf_progress_end(self->progress);
  if (!self->options.interactive)
    return;
  g_autofree char *path = exec_path(self, "stdin");
  if (self->options.tty && mf_terminal_make_raw(STDIN_FILENO))
    on_resize(self);
  self->input = mf_input_new(self->client, path, STDIN_FILENO);
}

static void
on_exec_ended(Attach *self)
{
  self->exec_ended = TRUE;
  g_clear_pointer(&self->input, mf_input_free);
  mf_terminal_restore();
  mf_follow_set_finished(self->follow);
}

static gboolean
on_job(MfJson *job, gpointer data)
{
  Attach *self = data;
  g_clear_pointer(&self->job, json_object_put);
  self->job = json_object_get(job);
  const char *state = mf_document_text(job, "state");
  const char *exec_state = mf_document_text(mf_outcome_find_exec(job, self->exec), "state");
  self->job_ended = g_strcmp0(state, "finished") == 0;
  if (!self->running && g_strcmp0(exec_state, "running") == 0)
    on_exec_running(self);
  if (!self->running && !self->exec_ended && self->signals == 0)
    mf_progress_update(self->progress, job);
  if (!self->exec_ended && (self->job_ended || g_strcmp0(exec_state, "finished") == 0))
    on_exec_ended(self);
  check_over(self);
  return !self->job_ended;
}

static void
on_watch_over(GObject *source, GAsyncResult *result, gpointer data)
{
  Attach *self = data;
  GError *error = NULL;
  self->under_way--;
  if (!mf_watch_run_finish(MF_WATCH(source), result, &error)) {
    g_prefix_error(&error,
                   "job %s is lost from sight, but may go on (mayfly inspect tells): ", self->id);
    quit(self, error);
  }
}

static void
on_follow_over(GObject *source, GAsyncResult *result, gpointer data)
{
  Attach *self = data;
  g_autoptr(GError) error = NULL;
  self->under_way--;
  self->output_ended = TRUE;
  if (mf_follow_run_finish(MF_FOLLOW(source), result, &error))
    check_over(self);
  else if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE) && self->signals == 0)
    on_interrupt(self);
  else if (self->signals == 0)
    quit(self, g_steal_pointer(&error));
}

static void
on_first_data(MfFollow *follow, gpointer data)
{
  Attach *self = data;
  mf_progress_end(self->progress);
}

static void
start_following(Attach *self)
{
  g_autofree char *output = exec_path(self, "output");
  g_autofree char *events = mf_client_path("jobs", self->id, "events", NULL);
  MfFollowOptions options = {.path = output,
                             .mux = TRUE,
                             .follow = TRUE,
                             .pace = TRUE,
                             .out = self->options.out,
                             .err = self->options.err};
  self->follow = mf_follow_new(self->client, &options);
  g_signal_connect(self->follow, "data", G_CALLBACK(on_first_data), self);
  g_autoptr(MfWatch) watch = mf_watch_new(self->client, events, on_job, self);
  self->under_way += 2;
  mf_follow_run_async(self->follow, self->cancellable, on_follow_over, self);
  mf_watch_run_async(watch, self->cancellable, on_watch_over, self);
}

/* The answer is a job (run) or an exec of the job in the path (exec). */
static void
on_created(GObject *source, GAsyncResult *result, gpointer data)
{
  Attach *self = data;
  GError *error = NULL;
  self->under_way--;
  g_autoptr(MfJson) answer = mf_client_call_finish(MF_CLIENT(source), result, &error);
  if (answer == NULL) {
    quit(self, error);
    return;
  }
  if (owns_job(self))
    self->id = g_strdup(mf_document_text(answer, "id"));
  self->exec = owns_job(self) ? 1 : (guint)mf_document_uint(answer, "number");
  if (self->id == NULL || self->exec == 0) {
    quit(self,
         g_error_new_literal(MF_ERROR, MF_ERROR_FAILED,
                             "mayflyd's answer says no id: are mayfly and mayflyd of the same "
                             "version?"));
    return;
  }
  start_following(self);
  if (self->signals > 0 && owns_job(self))
    cancel_job(self);
  else if (self->signals > 0)
    send_signal(self, "INT");
}

static int
status_of(const Attach *self)
{
  if (self->error != NULL)
    return MF_EXIT_FAILURE;
  if (self->signals > 0 && owns_job(self))
    return MF_EXIT_INTERRUPT;
  if (owns_job(self) && mf_document_has(self->job, "result"))
    return mf_outcome_of_job(self->job);
  MfJson *exec = mf_outcome_find_exec(self->job, self->exec);
  if (self->job_ended && g_strcmp0(mf_document_text(exec, "state"), "finished") != 0)
    return mf_outcome_of_job(self->job);
  return exec != NULL ? mf_outcome_of_exec(exec) : MF_EXIT_INTERRUPT;
}

static gboolean
on_stalled(gpointer data)
{
  *(gboolean *)data = TRUE;
  return G_SOURCE_CONTINUE;
}

/*
 * What is under way points to us, so it is cancelled and its answers are heard. A reader that does
 * not read holds a worker in write(): then we leave everything as it is, the process ends anyhow.
 */
static gboolean
wind_up(Attach *self)
{
  gboolean stalled = FALSE;
  guint timer = g_timeout_add(STALL_MS, on_stalled, &stalled);
  g_cancellable_cancel(self->cancellable);
  while (self->under_way > 0 && !stalled)
    g_main_context_iteration(NULL, TRUE);
  g_source_remove(timer);
  return !stalled;
}

static void
attach_free(Attach *self)
{
  g_main_loop_unref(self->loop);
  g_object_unref(self->cancellable);
  g_clear_error(&self->error);
  mf_progress_free(self->progress);
  g_clear_object(&self->follow);
  g_clear_pointer(&self->job, json_object_put);
  g_free(self->id);
  g_free(self);
}

static Attach *
attach_new(MfClient *client, const MfAttachOptions *options)
{
  Attach *self = g_new0(Attach, 1);
  self->client = client;
  self->options = *options;
  self->id = g_strdup(options->job);
  self->loop = g_main_loop_new(NULL, FALSE);
  self->cancellable = g_cancellable_new();
  self->progress = mf_progress_new(STDERR_FILENO);
  return self;
}

static int
run(Attach *self, const char *path, MfJson *body)
{
  static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
  guint sources[G_N_ELEMENTS(ends) + 1];
  for (guint i = 0; i < G_N_ELEMENTS(ends); i++)
    sources[i] = g_unix_signal_add(ends[i], on_interrupt, self);
  sources[G_N_ELEMENTS(ends)] = g_unix_signal_add(SIGWINCH, on_resize, self);
  /* A reader that is gone is an error of writing, not our death. */
  signal(SIGPIPE, SIG_IGN);

  self->under_way++;
  mf_client_call_async(self->client, "POST", path, body, NULL, self->cancellable, on_created, self);
  g_main_loop_run(self->loop);

  mf_progress_end(self->progress);
  mf_terminal_restore();
  g_clear_pointer(&self->input, mf_input_free);
  for (guint i = 0; i < G_N_ELEMENTS(sources); i++)
    g_source_remove(sources[i]);
  return status_of(self);
}

int
mf_attach_run(MfClient *client, MfJson *body, const MfAttachOptions *options, MfJson **ret_job,
              GError **error)
{
  Attach *self = attach_new(client, options);
  g_autofree char *path = owns_job(self) ? mf_client_path("jobs", NULL)
                                         : mf_client_path("jobs", options->job, "execs", NULL);
  int status = run(self, path, body);
  if (self->error != NULL)
    g_propagate_error(error, g_steal_pointer(&self->error));
  *ret_job = g_steal_pointer(&self->job);
  if (wind_up(self))
    attach_free(self);
  return status;
}
