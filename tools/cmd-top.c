/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly top: what the machines use, live on a terminal or as tables. Rates need two answers, so a
 * table comes one interval after the start. mayflyd may go and come back meanwhile: what is counted
 * is libvirt's.
 */
#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "daemon/error.h"
#include "tools/client.h"
#include "tools/commands.h"
#include "tools/document.h"
#include "tools/output.h"
#include "tools/terminal.h"
#include "tools/top-view.h"

#define DELAY_MS 2000u
/* An answer that takes longer is none for now. */
#define PATIENCE_US (5 * G_USEC_PER_SEC)
/* Nobody looks at tables that do not come. */
#define BATCH_PATIENCE_US (60 * G_USEC_PER_SEC)
#define CTRL_C            3

typedef struct {
  gboolean batch;
  const char *delay;
  guint count;
  const char *sort;
} Options;

#define FIELD(name) G_STRUCT_OFFSET(Options, name)
const MfOption mf_cmd_top_options[] = {
    {"batch", 'b', MF_OPTION_FLAG, NULL, "print tables, also on a terminal", FIELD(batch)},
    {"delay", 'd', MF_OPTION_TEXT, "TIME", "look this often (default: 2s; from 0.5s)",
     FIELD(delay)},
    {"count", 'n', MF_OPTION_NUMBER, "N", "end after so many tables", FIELD(count)},
    {"sort", 's', MF_OPTION_TEXT, MF_TOP_SORTS, "what comes first (default: cpu)", FIELD(sort)},
    {0},
};
const gsize mf_cmd_top_options_size = sizeof(Options);

enum { TICK, KEYS, INTERRUPT, HANGUP, TERMINATE, RESIZE, N_SOURCES };

typedef struct {
  MfClient *client;
  GMainLoop *loop;
  GCancellable *cancellable;
  MfTopSort sort;
  gboolean live, json;
  guint left;        /* tables to come; 0: no end */
  gint64 asked;      /* when, of the call that is out; 0: none is */
  gint64 lost_since; /* when an answer was first missed; 0: it was not */
  MfJson *answer;    /* the last, NULL before the first */
  char *problem;
  int status;
  GError *error;
  guint sources[N_SOURCES];
} Top;

/* @error: (nullable) taken. */
static void
quit(Top *self, int status, GError *error)
{
  self->status = status;
  if (self->error == NULL)
    self->error = error;
  else
    g_clear_error(&error);
  g_main_loop_quit(self->loop);
}

/* --- showing --- */

static void
draw(Top *self)
{
  guint rows = 24, cols = 80;
  if (!mf_terminal_get_size(STDOUT_FILENO, &rows, &cols))
    g_debug("the terminal does not tell its size, ignoring");
  g_autofree char *screen = mf_top_screen(self->answer, self->problem, self->sort, rows, cols);
  if (!mf_terminal_write(STDOUT_FILENO, screen))
    quit(self, MF_EXIT_FAILURE, NULL);
}

static void
print(Top *self)
{
  if (self->json) {
    puts(json_object_to_json_string_ext(self->answer,
                                        JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
  } else {
    g_autofree char *text = mf_top_format(self->answer);
    printf("%s%s", text, self->left != 1 ? "\n" : "");
  }
  if (!mf_output_flush())
    quit(self, MF_EXIT_OK, NULL);
}

static gboolean
on_key(gint fd, GIOCondition condition, gpointer data)
{
  Top *self = data;
  char keys[64];
  ssize_t n = read(fd, keys, sizeof keys);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return G_SOURCE_CONTINUE;
  for (ssize_t i = 0; i < n; i++) {
    if (keys[i] == 'q' || keys[i] == CTRL_C)
      quit(self, MF_EXIT_OK, NULL);
    else if (mf_top_sort_from_key(keys[i], &self->sort))
      mf_top_sort(self->answer, self->sort);
  }
  if (n <= 0) /* nobody is left to look */
    quit(self, MF_EXIT_FAILURE, NULL);
  else if (g_main_loop_is_running(self->loop))
    draw(self);
  return G_SOURCE_CONTINUE;
}

/* The first answer is there: an error before that would have been printed. */
static void
go_live(Top *self)
{
  if (!mf_terminal_open_screen(STDOUT_FILENO))
    quit(self, MF_EXIT_FAILURE, NULL);
  /* In the background of a pipe, keys are somebody else's. */
  if (isatty(STDIN_FILENO) && mf_terminal_make_raw(STDIN_FILENO))
    self->sources[KEYS] = g_unix_fd_add(STDIN_FILENO, G_IO_IN | G_IO_HUP | G_IO_ERR, on_key, self);
}

/* --- asking --- */

static void
take_answer(Top *self, MfJson *answer)
{
  gboolean first = self->answer == NULL;
  mf_top_add_rates(answer, self->answer);
  mf_top_sort(answer, self->sort);
  g_clear_pointer(&self->answer, json_object_put);
  self->answer = answer;
  self->lost_since = 0;
  g_clear_pointer(&self->problem, g_free);
  if (first && self->live)
    go_live(self);
  if (self->live)
    draw(self);
  else if (!first)
    print(self);
  if (!first && self->left > 0 && --self->left == 0)
    quit(self, MF_EXIT_OK, NULL);
}

/* @why: NULL: nothing is known. */
static void
take_silence(Top *self, const char *why)
{
  gint64 now = g_get_monotonic_time();
  if (self->lost_since == 0) {
    self->lost_since = now;
    if (!self->live)
      fprintf(stderr, "mayfly: mayflyd does not answer%s%s\n", why != NULL ? ": " : "",
              why != NULL ? why : "");
  }
  g_free(self->problem);
  self->problem = g_strconcat("mayflyd does not answer", why != NULL ? ": " : "", why, NULL);
  if (self->live)
    draw(self);
  else if (now - self->lost_since > BATCH_PATIENCE_US)
    quit(self, MF_EXIT_FAILURE, g_error_new_literal(MF_ERROR, MF_ERROR_UNAVAILABLE, self->problem));
}

static void
on_answer(GObject *source, GAsyncResult *result, gpointer data)
{
  Top *self = data;
  GError *error = NULL;
  MfJson *answer = mf_client_call_finish(MF_CLIENT(source), result, &error);
  self->asked = 0;
  if (g_cancellable_is_cancelled(self->cancellable)) {
    json_object_put(answer);
    g_clear_error(&error);
  } else if (answer != NULL) {
    take_answer(self, answer);
  } else if (self->answer == NULL || !mf_client_error_is_passing(error)) {
    quit(self, MF_EXIT_FAILURE, error);
  } else {
    take_silence(self, error->message);
    g_error_free(error);
  }
}

static gboolean
on_tick(gpointer data)
{
  Top *self = data;
  gint64 now = g_get_monotonic_time();
  if (self->asked == 0) {
    self->asked = now;
    mf_client_call_async(self->client, "GET", "/v1/machines", NULL, NULL, self->cancellable,
                         on_answer, self);
  } else if (self->answer != NULL && now - self->asked > PATIENCE_US) {
    take_silence(self, NULL);
  }
  return G_SOURCE_CONTINUE;
}

/* --- signals --- */

static gboolean
on_interrupt(gpointer data)
{
  quit(data, MF_EXIT_INTERRUPT, NULL);
  return G_SOURCE_CONTINUE;
}

static gboolean
on_hangup(gpointer data)
{
  quit(data, 128 + SIGHUP, NULL);
  return G_SOURCE_CONTINUE;
}

static gboolean
on_terminate(gpointer data)
{
  quit(data, 128 + SIGTERM, NULL);
  return G_SOURCE_CONTINUE;
}

static gboolean
on_resize(gpointer data)
{
  Top *self = data;
  if (self->answer != NULL)
    draw(self);
  return G_SOURCE_CONTINUE;
}

static void
heed_signals(Top *self)
{
  self->sources[INTERRUPT] = g_unix_signal_add(SIGINT, on_interrupt, self);
  self->sources[HANGUP] = g_unix_signal_add(SIGHUP, on_hangup, self);
  self->sources[TERMINATE] = g_unix_signal_add(SIGTERM, on_terminate, self);
  self->sources[RESIZE] = g_unix_signal_add(SIGWINCH, on_resize, self);
}

static void
run(Top *self, guint delay)
{
  self->loop = g_main_loop_new(NULL, FALSE);
  self->cancellable = g_cancellable_new();
  if (self->live)
    heed_signals(self);
  self->sources[TICK] = g_timeout_add(delay, on_tick, self);
  on_tick(self);
  g_main_loop_run(self->loop);
  mf_terminal_restore();
  for (guint i = 0; i < N_SOURCES; i++)
    g_clear_handle_id(&self->sources[i], g_source_remove);
  g_cancellable_cancel(self->cancellable);
  while (self->asked != 0)
    g_main_context_iteration(NULL, TRUE);
  g_object_unref(self->cancellable);
  g_main_loop_unref(self->loop);
  g_clear_pointer(&self->answer, json_object_put);
  g_free(self->problem);
}

int
mf_cmd_top(const MfCommon *common, gconstpointer data, char **argv, GError **error)
{
  const Options *options = data;
  guint delay = DELAY_MS;
  if (options->delay != NULL && !mf_top_parse_delay(options->delay, &delay, error))
    return MF_EXIT_FAILURE;
  g_autoptr(MfClient) client = mf_client_new(common->socket);
  Top top = {.client = client, .json = mf_command_wants_json(common)};
  top.sort = mf_top_sort_from_string(options->sort);
  top.live = !options->batch && !top.json && isatty(STDOUT_FILENO) &&
             g_strcmp0(g_getenv("TERM"), "dumb") != 0;
  top.left = options->count == 0 && !top.live ? 1 : options->count;
  run(&top, delay);
  if (top.error != NULL)
    g_propagate_error(error, top.error);
  return top.status;
}
