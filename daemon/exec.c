/* SPDX-License-Identifier: Apache-2.0 */
/* Exec: one command in a machine, its streams and its status. */
#include <signal.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/frame.h"
#include "daemon/job-private.h"
#include "daemon/json.h"

G_DEFINE_FINAL_TYPE(MfExec, mf_exec, G_TYPE_OBJECT)

enum { CHANGED, N_SIGNALS };
static guint signals[N_SIGNALS];

static const char *const state_names[] = {
    [MF_EXEC_WAITING] = "waiting", [MF_EXEC_RUNNING] = "running", [MF_EXEC_FINISHED] = "finished"};

static void
send_document(MfExec *self, guint type, MfJson *document)
{
  mf_agent_link_send_document(self->link, type, self->number, document);
}

static void
send_ack(MfExec *self, guint stream)
{
  guint64 taken = mf_output_log_taken(self->output, stream);
  if (self->link == NULL || taken == self->acked[stream] ||
      mf_output_log_is_congested(self->output))
    return;
  self->acked[stream] = taken;
  mf_agent_link_send(self->link, MF_FRAME_ACK, self->number, stream, taken, NULL, 0);
}

/* A reader that held us back has caught up. */
static void
on_output_watch(gpointer log, gpointer data)
{
  MfExec *self = data;
  send_ack(self, MF_STREAM_STDOUT);
  send_ack(self, MF_STREAM_STDERR);
}

static char *
log_path(MfJob *job, guint number)
{
  g_autofree char *name = g_strdup_printf("exec-%u.log", number);
  return g_build_filename(job->folder, name, NULL);
}

/* @output: taken */
static MfExec *
exec_with(guint number, MfOutputLog *output)
{
  MfExec *self = g_object_new(mf_exec_get_type(), NULL);
  self->number = number;
  self->output = output;
  self->output_watch = mf_output_log_watch(self->output, on_output_watch, self);
  return self;
}

/* Each that has not finished holds its log open, and each is in every record of its job. */
static gboolean
check_room(MfJob *job, GError **error)
{
  guint unfinished = 0;
  for (guint i = 0; i < job->execs->len; i++)
    unfinished += !mf_exec_is_done(g_ptr_array_index(job->execs, i));
  if (unfinished >= MF_JOB_MOST_UNFINISHED)
    g_set_error(error, MF_ERROR, MF_ERROR_LIMIT,
                "%u commands of job %s have not finished, which is as many as may: wait for one",
                unfinished, job->id);
  else if (job->execs->len >= MF_JOB_MOST_EXECS)
    g_set_error(error, MF_ERROR, MF_ERROR_LIMIT,
                "job %s has had %u commands, which is as many as may: start another job", job->id,
                job->execs->len);
  else
    return TRUE;
  return FALSE;
}

MfExec *
mf_exec_new(MfJob *job, guint number, MfExecSpec *spec, guint64 output_limit, GError **error)
{
  if (!check_room(job, error))
    return NULL;
  g_autofree char *path = log_path(job, number);
  MfOutputLog *output = mf_output_log_open(path, output_limit, error);
  if (output == NULL)
    return NULL;
  MfExec *self = exec_with(number, output);
  self->spec = mf_exec_spec_ref(spec);
  self->key = g_strdup(spec->key);
  self->argv = g_strdupv(spec->argv);
  self->tty = spec->tty;
  return self;
}

MfExec *
mf_exec_restore(MfJob *job, MfJson *document, MfExecSpec *spec, guint64 output_limit,
                GError **error)
{
  guint64 number = 0, code = G_MAXUINT64, signum = 0, out = 0, err = 0;
  g_autofree char *state = NULL;
  g_autofree char *problem = NULL;
  g_autofree char *key = NULL;
  g_auto(GStrv) argv = NULL;
  gboolean tty = FALSE;
  if (!mf_json_read_uint(document, "exec", "number", 1, G_MAXUINT, &number, error) ||
      !mf_json_read_string(document, "exec", "state", &state, error) ||
      !mf_json_read_string(document, "exec", "key", &key, error) ||
      !mf_json_read_string(document, "exec", "error", &problem, error) ||
      !mf_json_read_strv(document, "exec", "argv", G_MAXUINT16, &argv, error) ||
      !mf_json_read_bool(document, "exec", "tty", &tty, error) ||
      !mf_json_read_uint(document, "exec", "exit_code", 0, 255, &code, error) ||
      !mf_json_read_uint(document, "exec", "signal", 0, 255, &signum, error) ||
      !mf_json_read_uint(document, "exec", "stdout_bytes", 0, G_MAXINT64, &out, error) ||
      !mf_json_read_uint(document, "exec", "stderr_bytes", 0, G_MAXINT64, &err, error))
    return NULL;
  g_autofree char *path = log_path(job, (guint)number);
  gboolean over = g_strcmp0(state, state_names[MF_EXEC_FINISHED]) == 0;
  MfOutputLog *output = over ? mf_output_log_new_closed(path, out, err)
                             : mf_output_log_open(path, output_limit, error);
  if (output == NULL)
    return NULL;
  MfExec *self = exec_with((guint)number, output);
  self->state = over                                                  ? MF_EXEC_FINISHED
                : g_strcmp0(state, state_names[MF_EXEC_RUNNING]) == 0 ? MF_EXEC_RUNNING
                                                                      : MF_EXEC_WAITING;
  self->stdin_unknown = self->state == MF_EXEC_RUNNING;
  self->spec = spec ? mf_exec_spec_ref(spec) : NULL;
  self->key = g_steal_pointer(&key);
  self->argv = g_steal_pointer(&argv);
  self->tty = tty;
  self->error = g_steal_pointer(&problem);
  self->exit_code = code <= 255 ? (int)code : -1;
  self->signal = (int)signum;
  MfJson *value;
  if (json_object_object_get_ex(document, "started", &value))
    self->started = (gint64)(json_object_get_double(value) * G_USEC_PER_SEC);
  if (json_object_object_get_ex(document, "finished", &value))
    self->finished = (gint64)(json_object_get_double(value) * G_USEC_PER_SEC);
  return self;
}

static void
send_stdin(MfExec *self, guint64 from)
{
  guint64 end = self->stdin_base + self->stdin_pending->len;
  while (from < end) {
    gsize piece = MIN(end - from, MF_FRAME_MAX_PAYLOAD);
    mf_agent_link_send(self->link, MF_FRAME_STDIN, self->number, 0, from,
                       self->stdin_pending->data + (from - self->stdin_base), piece);
    from += piece;
  }
  if (self->stdin_eof)
    mf_agent_link_send(self->link, MF_FRAME_EOF, self->number, 0, end, NULL, 0);
}

void
mf_exec_attach(MfExec *self, MfAgentLink *link, char *const *base_env)
{
  self->link = link;
  if (self->state == MF_EXEC_FINISHED)
    return;
  gboolean begins = self->state == MF_EXEC_WAITING;
  if (begins && self->spec == NULL) {
    mf_exec_take_exit(self, -1, 0, "mayflyd was restarted before it began: run it again");
    return;
  }
  /* Sent again after a reconnect, in case it was lost with us: an exec id that the agent knows is
   * not run twice. */
  if (self->spec != NULL) {
    g_autoptr(MfJson) document = mf_exec_spec_to_frame(self->spec, base_env);
    send_document(self, MF_FRAME_EXEC, document);
  }
  if (begins) {
    self->state = MF_EXEC_RUNNING;
    self->started = g_get_real_time();
    g_signal_emit(self, signals[CHANGED], 0);
  }
  send_stdin(self, self->stdin_base);
}

void
mf_exec_detach(MfExec *self)
{
  self->link = NULL;
}

gboolean
mf_exec_take_output(MfExec *self, guint stream, guint64 offset, const void *data, gsize length,
                    GError **error)
{
  guint64 taken = mf_output_log_taken(self->output, stream);
  /* A gap cannot come of an honest agent; what overlaps was sent twice after a reconnect. */
  if (self->state != MF_EXEC_RUNNING || offset > taken || offset + length < offset)
    return TRUE;
  gsize known = (gsize)MIN(taken - offset, length);
  if (known < length && !mf_output_log_append(self->output, stream, (const guint8 *)data + known,
                                              length - known, error))
    return FALSE;
  send_ack(self, stream);
  return TRUE;
}

void
mf_exec_take_stdin_ack(MfExec *self, guint64 offset)
{
  if (self->stdin_unknown && offset <= G_MAXINT64) {
    self->stdin_unknown = FALSE;
    self->stdin_base = offset;
    g_signal_emit(self, signals[CHANGED], 0);
    return;
  }
  if (offset <= self->stdin_base || offset > self->stdin_base + self->stdin_pending->len)
    return;
  g_byte_array_remove_range(self->stdin_pending, 0, (guint)(offset - self->stdin_base));
  self->stdin_base = offset;
  g_signal_emit(self, signals[CHANGED], 0);
}

void
mf_exec_take_exit(MfExec *self, int code, int signum, const char *problem)
{
  if (self->state == MF_EXEC_FINISHED)
    return;
  self->state = MF_EXEC_FINISHED;
  self->exit_code = signum > 0 ? -1 : code;
  self->signal = signum;
  if (problem != NULL && self->error == NULL)
    self->error = g_strdup(problem);
  self->finished = g_get_real_time();
  g_byte_array_set_size(self->stdin_pending, 0);
  mf_output_log_close(self->output);
  g_signal_emit(self, signals[CHANGED], 0);
}

gboolean
mf_exec_has_output(MfExec *self, guint64 out_length, guint64 err_length)
{
  return mf_output_log_taken(self->output, MF_STREAM_STDOUT) >= out_length &&
         mf_output_log_taken(self->output, MF_STREAM_STDERR) >= err_length;
}

MfJson *
mf_exec_welcome(MfExec *self)
{
  MfJson *json = json_object_new_object();
  mf_json_add_uint(json, "stdout", mf_output_log_taken(self->output, MF_STREAM_STDOUT));
  mf_json_add_uint(json, "stderr", mf_output_log_taken(self->output, MF_STREAM_STDERR));
  mf_json_add_bool(json, "exit", self->state == MF_EXEC_FINISHED);
  return json;
}

guint
mf_exec_get_number(MfExec *self)
{
  return self->number;
}

MfOutputLog *
mf_exec_get_output(MfExec *self)
{
  return self->output;
}

gboolean
mf_exec_is_done(MfExec *self)
{
  return self->state == MF_EXEC_FINISHED;
}

static void
add_time(MfJson *json, const char *key, gint64 microseconds)
{
  mf_json_add(json, key,
              microseconds > 0 ? json_object_new_double((double)microseconds / G_USEC_PER_SEC)
                               : NULL);
}

MfJson *
mf_exec_to_json(MfExec *self)
{
  MfJson *json = json_object_new_object();
  mf_json_add_uint(json, "number", self->number);
  mf_json_add_string(json, "key", self->key);
  mf_json_add_string(json, "state", state_names[self->state]);
  mf_json_add(json, "exit_code",
              self->exit_code >= 0 ? json_object_new_int(self->exit_code) : NULL);
  mf_json_add(json, "signal", self->signal > 0 ? json_object_new_int(self->signal) : NULL);
  mf_json_add_string(json, "error", self->error);
  mf_json_add_uint(json, "stdout_bytes", mf_output_log_taken(self->output, MF_STREAM_STDOUT));
  mf_json_add_uint(json, "stderr_bytes", mf_output_log_taken(self->output, MF_STREAM_STDERR));
  if (self->argv != NULL)
    mf_json_add_strv(json, "argv", self->argv);
  else
    mf_json_add(json, "argv", NULL);
  mf_json_add_bool(json, "tty", self->tty);
  add_time(json, "started", self->started);
  add_time(json, "finished", self->finished);
  mf_json_add_uint(json, "stdin_offset", self->stdin_base + self->stdin_pending->len);
  return json;
}

static gboolean
check_open(MfExec *self, GError **error)
{
  if (self->state != MF_EXEC_FINISHED)
    return TRUE;
  g_set_error(error, MF_ERROR, MF_ERROR_CONFLICT, "exec %u has finished", self->number);
  return FALSE;
}

gint64
mf_exec_write_stdin(MfExec *self, guint64 offset, const void *data, gsize length, gboolean eof,
                    GError **error)
{
  guint64 taken = self->stdin_base + self->stdin_pending->len;
  if (!check_open(self, error))
    return -1;
  if (self->stdin_unknown)
    return (gint64)offset;
  if (offset > taken) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "standard input was taken up to byte %" G_GUINT64_FORMAT
                ": go on from there, not from %" G_GUINT64_FORMAT,
                taken, offset);
    return -1;
  }
  gsize known = (gsize)MIN(taken - offset, length);
  gsize room = MF_FRAME_WINDOW - self->stdin_pending->len;
  gsize more = MIN(length - known, room);
  if (self->stdin_eof && more > 0) {
    g_set_error(error, MF_ERROR, MF_ERROR_CONFLICT, "the standard input of exec %u was closed",
                self->number);
    return -1;
  }
  if (more > 0)
    g_byte_array_append(self->stdin_pending, (const guint8 *)data + known, (guint)more);
  gboolean ends = eof && !self->stdin_eof && known + more == length;
  self->stdin_eof |= ends;
  if (self->link != NULL && self->state == MF_EXEC_RUNNING && (more > 0 || ends))
    send_stdin(self, taken);
  return (gint64)(taken + more);
}

gboolean
mf_exec_signal(MfExec *self, int signum, GError **error)
{
  if (!check_open(self, error))
    return FALSE;
  if (self->link == NULL || self->state != MF_EXEC_RUNNING) {
    g_set_error(error, MF_ERROR, MF_ERROR_CONFLICT,
                "exec %u has not started yet: there is nothing to signal", self->number);
    return FALSE;
  }
  g_autoptr(MfJson) document = json_object_new_object();
  json_object_object_add(document, "signal", json_object_new_int(signum));
  send_document(self, MF_FRAME_SIGNAL, document);
  return TRUE;
}

gboolean
mf_exec_resize(MfExec *self, guint rows, guint cols, GError **error)
{
  if (!check_open(self, error))
    return FALSE;
  if (self->spec != NULL) {
    self->spec->rows = rows;
    self->spec->cols = cols;
  }
  if (self->link == NULL || self->state != MF_EXEC_RUNNING)
    return TRUE;
  g_autoptr(MfJson) document = json_object_new_object();
  mf_json_add_uint(document, "rows", rows);
  mf_json_add_uint(document, "cols", cols);
  send_document(self, MF_FRAME_RESIZE, document);
  return TRUE;
}

static void
mf_exec_finalize(GObject *object)
{
  MfExec *self = MF_EXEC(object);
  mf_output_log_unwatch(self->output, self->output_watch);
  mf_output_log_unref(self->output);
  g_clear_pointer(&self->spec, mf_exec_spec_unref);
  g_free(self->key);
  g_strfreev(self->argv);
  g_free(self->error);
  g_byte_array_unref(self->stdin_pending);
  G_OBJECT_CLASS(mf_exec_parent_class)->finalize(object);
}

static void
mf_exec_class_init(MfExecClass *class)
{
  G_OBJECT_CLASS(class)->finalize = mf_exec_finalize;
  signals[CHANGED] = g_signal_new("changed", G_TYPE_FROM_CLASS(class), G_SIGNAL_RUN_LAST, 0, NULL,
                                  NULL, NULL, G_TYPE_NONE, 0);
}

static void
mf_exec_init(MfExec *self)
{
  self->exit_code = -1;
  self->stdin_pending = g_byte_array_new();
}
