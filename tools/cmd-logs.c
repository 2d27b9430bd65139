/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly logs: what a job's command, or its machine's console, has printed. */
#include <unistd.h>

#include "tools/commands.h"
#include "tools/document.h"
#include "tools/follow.h"
#include "tools/outcome.h"
#include "tools/watch.h"

typedef struct {
  gboolean follow, console, raw;
  guint exec;
} Options;

#define FIELD(name) G_STRUCT_OFFSET(Options, name)
const MfOption mf_cmd_logs_options[] = {
    {"follow", 'f', MF_OPTION_FLAG, NULL, "go on until the command has ended", FIELD(follow)},
    {"console", 'c', MF_OPTION_FLAG, NULL, "the machine's console instead", FIELD(console)},
    {"exec", 0, MF_OPTION_NUMBER, "N", "of the job's Nth command (default: 1)", FIELD(exec)},
    {"raw", 'r', MF_OPTION_FLAG, NULL, "control bytes as they are, on a terminal too", FIELD(raw)},
    {0},
};
const gsize mf_cmd_logs_options_size = sizeof(Options);

typedef struct {
  MfFollow *follow;
  GMainLoop *loop;
  GCancellable *cancellable;
  guint exec; /* 0: the console, which ends with the job */
  guint under_way;
  GError *error;
} Logs;

static void
end_one(Logs *self, GError *error)
{
  if (self->error == NULL && !g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    self->error = error;
  else
    g_clear_error(&error);
  if (self->error != NULL)
    g_cancellable_cancel(self->cancellable);
  if (--self->under_way == 0)
    g_main_loop_quit(self->loop);
}

static gboolean
on_job(MfJson *job, gpointer data)
{
  Logs *self = data;
  MfJson *exec = self->exec > 0 ? mf_outcome_find_exec(job, self->exec) : NULL;
  if (g_strcmp0(mf_document_text(job, "state"), "finished") != 0 &&
      g_strcmp0(mf_document_text(exec, "state"), "finished") != 0)
    return TRUE;
  mf_follow_set_finished(self->follow);
  return FALSE;
}

static void
on_watch_over(GObject *source, GAsyncResult *result, gpointer data)
{
  GError *error = NULL;
  if (mf_watch_run_finish(MF_WATCH(source), result, &error))
    error = NULL;
  end_one(data, error);
}

static void
on_follow_over(GObject *source, GAsyncResult *result, gpointer data)
{
  Logs *self = data;
  GError *error = NULL;
  if (mf_follow_run_finish(MF_FOLLOW(source), result, &error))
    g_cancellable_cancel(self->cancellable);
  end_one(self, error);
}

static void
run(Logs *self, MfClient *client, const char *job, gboolean watch_too)
{
  g_autofree char *events = mf_client_path("jobs", job, "events", NULL);
  g_autoptr(MfWatch) watch = mf_watch_new(client, events, on_job, self);
  self->loop = g_main_loop_new(NULL, FALSE);
  self->cancellable = g_cancellable_new();
  self->under_way = watch_too ? 2 : 1;
  if (watch_too)
    mf_watch_run_async(watch, self->cancellable, on_watch_over, self);
  mf_follow_run_async(self->follow, self->cancellable, on_follow_over, self);
  g_main_loop_run(self->loop);
  g_object_unref(self->cancellable);
  g_main_loop_unref(self->loop);
}

int
mf_cmd_logs(const MfCommon *common, gconstpointer data, char **argv, GError **error)
{
  const Options *options = data;
  g_autoptr(MfClient) client = mf_client_new(common->socket);
  g_autofree char *number = g_strdup_printf("%u", MAX(options->exec, 1));
  g_autofree char *path = options->console
                              ? mf_client_path("jobs", argv[0], "console", NULL)
                              : mf_client_path("jobs", argv[0], "execs", number, "output", NULL);
  if (!mf_client_check(client, error))
    return MF_EXIT_FAILURE;
  MfFollowOptions follow = {.path = path,
                            .mux = !options->console,
                            .follow = options->follow,
                            .visible = !options->raw && isatty(STDOUT_FILENO),
                            .out = STDOUT_FILENO,
                            .err = STDERR_FILENO};
  Logs logs = {.exec = options->console ? 0 : MAX(options->exec, 1)};
  logs.follow = mf_follow_new(client, &follow);
  run(&logs, client, argv[0], options->follow);
  g_object_unref(logs.follow);
  if (logs.error == NULL)
    return MF_EXIT_OK;
  if (g_error_matches(logs.error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE)) {
    g_error_free(logs.error);
    return MF_EXIT_PIPE;
  }
  g_propagate_error(error, logs.error);
  return MF_EXIT_FAILURE;
}
