/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that work for a command. */
#include "tools/process.h"

#include <glib-unix.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/error.h"
#include "daemon/text.h"

enum { READ_SIZE = 4096, LINE_MAX_LENGTH = 4096, TAIL_LINES = 20 };

typedef struct {
  const MfProcess *process;
  GMainLoop *loop;
  GSubprocess *child;
  GCancellable *pipe;
  GString *line;
  GQueue *tail;
  char *error; /* the last line that began with "error: " */
  guint pending;
} Run;

/* "(12.34/100%)" of qemu-img, "57%": a percentage that is the whole line, brackets aside. */
static gboolean
parse_percentage(const char *line, double *ret)
{
  const char *start = line + strspn(line, " (");
  char *end;
  double value = g_ascii_strtod(start, &end);
  if (end == start || value < 0 || value > 100)
    return FALSE;
  if (g_str_has_prefix(end, "/100"))
    end += strlen("/100");
  if (*end != '%' || strspn(end + 1, ") ") != strlen(end + 1))
    return FALSE;
  *ret = value / 100;
  return TRUE;
}

static void
take_line(Run *run, const char *line)
{
  double fraction;
  if (g_str_has_prefix(line, "==> ")) {
    mf_steps_begin(run->process->progress, line + strlen("==> "));
    return;
  }
  if (parse_percentage(line, &fraction)) {
    mf_steps_fraction(run->process->progress, fraction);
    return;
  }
  if (line[strspn(line, " ")] == '\0')
    return;
  if (g_str_has_prefix(line, "error: ")) {
    g_free(run->error);
    run->error = g_strdup(line + strlen("error: "));
    return;
  }
  g_autoptr(GString) shown = g_string_new(NULL);
  MfTextVisible visible = {0};
  mf_text_visible_feed(&visible, line, strlen(line), shown);
  mf_text_visible_end(&visible, shown);
  if (run->process->verbose != NULL)
    fprintf(run->process->verbose, "    %s\n", shown->str);
  g_queue_push_tail(run->tail, g_string_free(g_steal_pointer(&shown), FALSE));
  if (g_queue_get_length(run->tail) > TAIL_LINES)
    g_free(g_queue_pop_head(run->tail));
}

static void
take(Run *run, const char *data, gsize length)
{
  for (gsize i = 0; i < length; i++) {
    if (data[i] == '\n' || data[i] == '\r') {
      take_line(run, run->line->str);
      g_string_truncate(run->line, 0);
    } else if (run->line->len < LINE_MAX_LENGTH && data[i] != '\0') {
      g_string_append_c(run->line, data[i]);
    }
  }
}

static void
part_done(Run *run)
{
  if (--run->pending == 0)
    g_main_loop_quit(run->loop);
}

static void
on_read(GObject *source, GAsyncResult *result, gpointer data)
{
  Run *run = data;
  g_autoptr(GBytes) bytes = g_input_stream_read_bytes_finish(G_INPUT_STREAM(source), result, NULL);
  gsize length = 0;
  const char *text = bytes != NULL ? g_bytes_get_data(bytes, &length) : NULL;
  if (length == 0) {
    part_done(run);
    return;
  }
  take(run, text, length);
  g_input_stream_read_bytes_async(G_INPUT_STREAM(source), READ_SIZE, G_PRIORITY_DEFAULT, run->pipe,
                                  on_read, run);
}

static void
on_ended(GObject *source, GAsyncResult *result, gpointer data)
{
  g_subprocess_wait_finish(G_SUBPROCESS(source), result, NULL);
  part_done(data);
}

static gboolean
on_cancelled(GCancellable *cancellable, gpointer data)
{
  Run *run = data;
  const char *pid = g_subprocess_get_identifier(run->child);
  if (pid != NULL)
    kill(-(pid_t)g_ascii_strtoll(pid, NULL, 10), SIGKILL);
  /* Whatever may still hold the pipe is not worth waiting for. */
  g_cancellable_cancel(run->pipe);
  return G_SOURCE_REMOVE;
}

/* Between fork and exec: a group of its own, so that one signal reaches all of it, and no life
 * without us. */
static void
in_child(gpointer unused)
{
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  umask(022);
}

static GSubprocess *
start(const MfProcess *process, GError **error)
{
  g_autoptr(GSubprocessLauncher) launcher =
      g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_MERGE);
  g_subprocess_launcher_set_child_setup(launcher, in_child, NULL, NULL);
  if (process->environment != NULL)
    g_subprocess_launcher_set_environ(launcher, (char **)process->environment);
  if (process->directory != NULL)
    g_subprocess_launcher_set_cwd(launcher, process->directory);
  g_autoptr(GError) local = NULL;
  GSubprocess *child =
      g_subprocess_launcher_spawnv(launcher, (const char *const *)process->argv, &local);
  if (child == NULL)
    g_set_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE, "cannot start %s for %s: %s",
                process->argv[0], process->what, local->message);
  return child;
}

static void
describe_failure(Run *run, GCancellable *cancellable, char **ret_tail, GError **error)
{
  if (g_cancellable_set_error_if_cancelled(cancellable, error))
    return;
  if (ret_tail != NULL) {
    GString *tail = g_string_new(NULL);
    for (GList *l = run->tail->head; l != NULL; l = l->next)
      g_string_append_printf(tail, "    %s\n", (char *)l->data);
    *ret_tail = g_string_free(tail, FALSE);
  }
  const char *last = run->tail->tail != NULL ? run->tail->tail->data : "nothing";
  if (run->error != NULL) {
    g_autoptr(GString) shown = g_string_new(NULL);
    MfTextVisible visible = {0};
    mf_text_visible_feed(&visible, run->error, strlen(run->error), shown);
    mf_text_visible_end(&visible, shown);
    g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "%s: %s", run->process->what, shown->str);
  } else if (g_subprocess_get_if_signaled(run->child)) {
    g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "%s was ended by signal %d (%s)",
                run->process->what, g_subprocess_get_term_sig(run->child),
                g_strsignal(g_subprocess_get_term_sig(run->child)));
  } else {
    g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "%s failed with status %d; its last words: %s",
                run->process->what, g_subprocess_get_exit_status(run->child), last);
  }
}

gboolean
mf_process_run(const MfProcess *process, GCancellable *cancellable, char **ret_tail, GError **error)
{
  g_autoptr(GSubprocess) child = start(process, error);
  if (child == NULL)
    return FALSE;
  g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
  g_autoptr(GCancellable) pipe = g_cancellable_new();
  g_autoptr(GString) line = g_string_new(NULL);
  Run run = {process, loop, child, pipe, line, g_queue_new(), NULL, 2};

  g_input_stream_read_bytes_async(g_subprocess_get_stdout_pipe(child), READ_SIZE,
                                  G_PRIORITY_DEFAULT, pipe, on_read, &run);
  g_subprocess_wait_async(child, NULL, on_ended, &run);
  g_autoptr(GSource) cancelled = g_cancellable_source_new(cancellable);
  g_source_set_callback(cancelled, G_SOURCE_FUNC(on_cancelled), &run, NULL);
  g_source_attach(cancelled, NULL);
  g_main_loop_run(loop);
  g_source_destroy(cancelled);
  if (line->len > 0)
    take_line(&run, line->str);

  gboolean ok = g_subprocess_get_successful(child) && !g_cancellable_is_cancelled(cancellable);
  if (!ok)
    describe_failure(&run, cancellable, ret_tail, error);
  g_queue_free_full(run.tail, g_free);
  g_free(run.error);
  return ok;
}

struct MfInterrupt {
  GCancellable *cancellable;
  guint sources[3];
  gboolean happened;
};

static gboolean
on_signal(gpointer data)
{
  MfInterrupt *self = data;
  self->happened = TRUE;
  g_cancellable_cancel(self->cancellable);
  return G_SOURCE_CONTINUE;
}

MfInterrupt *
mf_interrupt_new(GCancellable *cancellable)
{
  static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
  MfInterrupt *self = g_new0(MfInterrupt, 1);
  self->cancellable = g_object_ref(cancellable);
  for (guint i = 0; i < G_N_ELEMENTS(signals); i++)
    self->sources[i] = g_unix_signal_add(signals[i], on_signal, self);
  return self;
}

gboolean
mf_interrupt_happened(const MfInterrupt *self)
{
  return self->happened;
}

void
mf_interrupt_free(MfInterrupt *self)
{
  if (self == NULL)
    return;
  for (guint i = 0; i < G_N_ELEMENTS(self->sources); i++)
    g_source_remove(self->sources[i]);
  g_object_unref(self->cancellable);
  g_free(self);
}
