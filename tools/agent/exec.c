/* SPDX-License-Identifier: Apache-2.0 */

/* The table of execs and what the host says about them: see exec.h. */

#include "tools/agent/exec.h"

#include "tools/agent/tree.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

/* One write to a virtio-serial port takes at most 32 KiB: a frame larger than that would take two.
 */
#define DATA_SIZE  (32768u - MF_FRAME_HEADER_SIZE)
#define TELL_AFTER 65536u /* standard input taken before it is acknowledged, if more is waiting */

MfExec *
mf_exec_find(const MfExecTable *self, uint32_t id)
{
  for (MfExec *exec = self->first; exec != NULL; exec = exec->next)
    if (exec->id == id)
      return exec;
  return NULL;
}

bool
mf_exec_is_known(const MfExecTable *self, uint32_t id)
{
  for (size_t i = 0; i < self->known_count; i++)
    if (self->known[i] == id)
      return true;
  return mf_exec_find(self, id) != NULL;
}

static void
tell_input(MfExecTable *self, MfExec *exec)
{
  exec->in_told = exec->in.base;
  MfFrame frame = {
      .type = MF_FRAME_ACK, .flags = MF_STREAM_STDIN, .exec = exec->id, .offset = exec->in.base};
  mf_link_send(self->link, &frame);
}

/* What comes twice is not taken twice; what leaves a gap is refused, by telling where we are. */
void
mf_exec_stdin(MfExecTable *self, const MfFrame *frame)
{
  MfExec *exec = mf_exec_find(self, frame->exec);
  if (exec == NULL)
    return;
  uint64_t known = exec->in.end > frame->offset ? exec->in.end - frame->offset : 0;
  if (frame->offset > exec->in.end || known > frame->length) {
    tell_input(self, exec);
    return;
  }
  const uint8_t *data = frame->payload + known;
  size_t length = frame->length - (size_t)known;
  if (exec->in_fd >= 0) {
    mf_stream_put(&exec->in, data, length);
    return;
  }
  exec->in.end += length; /* nobody will ever read it */
  mf_stream_skip(&exec->in);
  tell_input(self, exec);
}

void
mf_exec_eof(MfExecTable *self, const MfFrame *frame)
{
  MfExec *exec = mf_exec_find(self, frame->exec);
  if (exec == NULL)
    return;
  exec->in_ends = true;
  exec->in_end = frame->offset;
}

void
mf_exec_signal(MfExecTable *self, uint32_t id, int signal)
{
  MfExec *exec = mf_exec_find(self, id);
  if (exec != NULL && exec->monitor > 0 && signal > 0 && signal < NSIG)
    mf_tree_signal(exec->monitor, signal, exec->group);
}

void
mf_exec_resize(MfExecTable *self, uint32_t id, int rows, int cols)
{
  MfExec *exec = mf_exec_find(self, id);
  if (exec != NULL)
    mf_exec_io_set_window_size(exec, rows, cols);
}

static void
acknowledge(MfExec *exec)
{
  if (!exec->finished)
    return;
  exec->acknowledged = exec->exit_sent = exec->error_sent = true;
  for (int i = 0; i < MF_EXEC_STREAMS; i++)
    mf_stream_skip(&exec->out[i].window);
}

void
mf_exec_ack(MfExecTable *self, const MfFrame *frame)
{
  MfExec *exec = mf_exec_find(self, frame->exec);
  if (exec == NULL)
    return;
  if (frame->flags == MF_STREAM_STDOUT || frame->flags == MF_STREAM_STDERR)
    mf_stream_ack(&exec->out[frame->flags - MF_STREAM_STDOUT].window, frame->offset);
  else if (frame->flags == MF_STREAM_EXIT)
    acknowledge(exec);
}

void
mf_exec_resume(MfExecTable *self, MfDocument *welcome)
{
  static const char *const names[MF_EXEC_STREAMS] = {"stdout", "stderr"};
  MfDocument *execs = NULL;
  json_object_object_get_ex(welcome, "execs", &execs);
  for (MfExec *exec = self->first; exec != NULL; exec = exec->next) {
    char key[16];
    snprintf(key, sizeof key, "%u", exec->id);
    MfDocument *known = NULL;
    if (json_object_is_type(execs, json_type_object))
      json_object_object_get_ex(execs, key, &known);
    if (!json_object_is_type(known, json_type_object))
      known = NULL;
    for (int i = 0; i < MF_EXEC_STREAMS; i++) {
      int64_t offset = known != NULL ? mf_document_int(known, names[i], 0) : 0;
      mf_stream_resume(&exec->out[i].window, offset > 0 ? (uint64_t)offset : 0);
    }
    exec->error_sent = exec->exit_sent = exec->acknowledged;
    if (known != NULL && mf_document_bool(known, "exit"))
      acknowledge(exec);
    tell_input(self, exec);
  }
}

static bool
send_output(MfExecTable *self, MfExec *exec)
{
  for (int i = 0; i < MF_EXEC_STREAMS; i++) {
    int turn = exec->out_turn;
    exec->out_turn = (turn + 1) % MF_EXEC_STREAMS;
    MfStream *window = &exec->out[turn].window;
    if (window->sent == window->end)
      continue;
    uint64_t left = window->end - window->sent;
    MfFrame frame = {
        .type = turn == 0 ? MF_FRAME_STDOUT : MF_FRAME_STDERR,
        .exec = exec->id,
        .offset = window->sent,
        .length = left < DATA_SIZE ? (uint32_t)left : DATA_SIZE,
    };
    uint8_t *payload = mf_link_begin(self->link, &frame);
    if (payload != NULL)
      mf_stream_take(window, payload, frame.length);
    return payload != NULL;
  }
  return false;
}

static void
send_text(MfExecTable *self, uint8_t type, const MfExec *exec, MfDocument *document)
{
  const char *text = json_object_to_json_string_ext(document, JSON_C_TO_STRING_PLAIN |
                                                                  JSON_C_TO_STRING_NOSLASHESCAPE);
  MfFrame frame = {.type = type,
                   .exec = exec->id,
                   .length = (uint32_t)strlen(text),
                   .payload = (const uint8_t *)text};
  mf_link_send(self->link, &frame);
}

static bool
send_end(MfExecTable *self, MfExec *exec)
{
  if (!exec->finished || exec->exit_sent)
    return false;
  MF_AUTO_DOCUMENT MfDocument *document = json_object_new_object();
  if (exec->error != NULL && !exec->error_sent) {
    exec->error_sent = true;
    json_object_object_add(document, "message", json_object_new_string(exec->error));
    send_text(self, MF_FRAME_ERROR, exec, document);
    return true;
  }
  exec->exit_sent = true;
  if (WIFSIGNALED(exec->status))
    json_object_object_add(document, "signal", json_object_new_int(WTERMSIG(exec->status)));
  else
    json_object_object_add(document, "code", json_object_new_int(WEXITSTATUS(exec->status)));
  json_object_object_add(document, "stdout",
                         json_object_new_int64((int64_t)exec->out[0].window.end));
  json_object_object_add(document, "stderr",
                         json_object_new_int64((int64_t)exec->out[1].window.end));
  send_text(self, MF_FRAME_EXIT, exec, document);
  return true;
}

static void
move_to_end(MfExec **place)
{
  MfExec *exec = *place;
  MfExec **last = place;
  while (*last != NULL)
    last = &(*last)->next;
  if (exec->next == NULL)
    return;
  *last = exec;
  *place = exec->next;
  exec->next = NULL;
}

bool
mf_exec_send_next(MfExecTable *self)
{
  for (MfExec **place = &self->first; *place != NULL; place = &(*place)->next) {
    if (!send_output(self, *place) && !send_end(self, *place))
      continue;
    move_to_end(place);
    return true;
  }
  return false;
}

void
mf_exec_prepare(MfExecTable *self, MfPoller *poller)
{
  for (MfExec *exec = self->first; exec != NULL; exec = exec->next)
    mf_exec_io_prepare(exec, poller);
}

static void
forget(MfExecTable *self, MfExec **place)
{
  MfExec *exec = *place;
  if (self->known_count == self->known_room) {
    self->known_room = self->known_room == 0 ? 16 : self->known_room * 2;
    self->known = mf_util_realloc(self->known, self->known_room * sizeof *self->known);
  }
  self->known[self->known_count++] = exec->id;
  if (exec->group != NULL)
    mf_tree_group_remove(exec->group);
  for (int i = 0; i < MF_EXEC_STREAMS; i++) {
    mf_util_close(&exec->out[i].fd);
    mf_stream_clear(&exec->out[i].window);
  }
  mf_util_close(&exec->report_fd);
  free(exec->group);
  free(exec->error);
  *place = exec->next;
  free(exec);
}

void
mf_exec_dispatch(MfExecTable *self, const MfPoller *poller)
{
  for (MfExec **place = &self->first; *place != NULL;) {
    MfExec *exec = *place;
    mf_exec_io_dispatch(exec, poller);
    bool taken = exec->in.base > exec->in_told;
    if (taken && (exec->in.base == exec->in.end || exec->in.base - exec->in_told >= TELL_AFTER))
      tell_input(self, exec);
    for (int i = 0; i < MF_EXEC_STREAMS; i++)
      if (exec->finished && exec->out[i].window.base == exec->out[i].window.end)
        mf_stream_clear(&exec->out[i].window);
    if (exec->acknowledged && exec->monitor == 0)
      forget(self, place);
    else
      place = &exec->next;
  }
}

/* With its monitor gone the last process of the exec is: only now its cgroup can go. */
void
mf_exec_reaped(MfExecTable *self, pid_t pid)
{
  for (MfExec *exec = self->first; exec != NULL; exec = exec->next) {
    if (exec->monitor != pid)
      continue;
    exec->monitor = 0;
    if (exec->group != NULL)
      mf_tree_group_remove(exec->group);
  }
}
