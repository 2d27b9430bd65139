/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The bytes of one exec, and how its end is seen.
 *
 * An exec is over when its main process is, not when its streams are: a daemon it left behind may
 * hold them open for ever. So what was in the pipes at that moment is read, however long the host
 * takes; then stragglers have until they have been quiet for a moment. What they write later is
 * read and thrown away: closing the pipe would kill them.
 */

#include "tools/agent/exec.h"

#include "tools/agent/script.h"
#include "tools/agent/spawn.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

#define QUIET_MS      500
#define STRAGGLERS_MS 10000
#define READ_SIZE     65536u
#define READS_A_ROUND 8

void
mf_exec_io_set_window_size(const MfExec *self, int rows, int cols)
{
  bool sane = rows > 0 && rows < 10000 && cols > 0 && cols < 10000;
  struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols};
  if (self->tty && sane && self->out[0].fd >= 0)
    ioctl(self->out[0].fd, TIOCSWINSZ, &size);
}

void
mf_exec_io_close_input(MfExec *self)
{
  mf_util_close(&self->in_fd);
  mf_stream_skip(&self->in);
  mf_stream_clear(&self->in);
}

static void
finish(MfExec *self)
{
  self->finished = true;
  mf_exec_io_close_input(self);
  if (self->script_folder != NULL)
    mf_script_remove(self->script_folder);
  free(self->script_folder);
  self->script_folder = NULL;
}

void
mf_exec_refuse(MfExec *self, int code, char *error)
{
  free(self->error);
  self->error = error;
  self->exited = true;
  self->status = W_EXITCODE(code, 0);
  for (int i = 0; i < MF_EXEC_STREAMS; i++)
    mf_util_close(&self->out[i].fd);
  mf_util_close(&self->report_fd);
  finish(self);
}

static void
see_exit(MfExec *self, int status)
{
  self->exited = true;
  self->status = status;
  self->exited_at = self->quiet_since = mf_util_now_ms();
  for (int i = 0; i < MF_EXEC_STREAMS; i++) {
    int waiting = 0;
    if (self->out[i].fd >= 0 && ioctl(self->out[i].fd, FIONREAD, &waiting) == 0 && waiting > 0)
      self->out[i].owed = (size_t)waiting;
  }
}

static void
read_report(MfExec *self)
{
  MfSpawnReport report;
  ssize_t got = read(self->report_fd, &report, sizeof report);
  if (got < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (got != (ssize_t)sizeof report) {
    mf_util_close(&self->report_fd);
    if (!self->exited && self->error == NULL)
      self->error =
          mf_util_strdup("the agent's process that watches over this exec was killed, so its exit "
                         "status is not known");
    if (!self->exited)
      see_exit(self, SIGKILL);
    return;
  }
  report.text[sizeof report.text - 1] = '\0';
  if (report.kind == MF_SPAWN_EXITED)
    see_exit(self, report.value);
  else if (self->error == NULL)
    self->error = mf_util_strdup(report.text);
}

static void
throw_away(MfExecOutput *output)
{
  static char nowhere[READ_SIZE];
  for (int reads = 0; reads < READS_A_ROUND; reads++) {
    ssize_t got = read(output->fd, nowhere, sizeof nowhere);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
      mf_util_close(&output->fd);
    if (got <= 0)
      return;
  }
}

/* As much as there is at once: a writer that finds room takes the processor from us. */
static void
read_output(MfExec *self, MfExecOutput *output, int64_t now)
{
  for (int reads = 0; reads < READS_A_ROUND && mf_stream_room(&output->window) > 0; reads++) {
    ssize_t got = mf_stream_fill(&output->window, output->fd, MF_FRAME_WINDOW);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
      return;
    /* A terminal ends with EIO, when the last process has closed it. */
    if (got <= 0) {
      mf_util_close(&output->fd);
      output->owed = 0;
      return;
    }
    output->owed -= output->owed < (size_t)got ? output->owed : (size_t)got;
    self->quiet_since = now;
  }
}

static bool
waits_for_host(const MfExec *self)
{
  for (int i = 0; i < MF_EXEC_STREAMS; i++)
    if (self->out[i].fd >= 0 && mf_stream_room(&self->out[i].window) == 0)
      return true;
  return false;
}

static void
look_for_end(MfExec *self, int64_t now)
{
  if (!self->exited || self->finished)
    return;
  bool open = self->out[0].fd >= 0 || self->out[1].fd >= 0;
  bool owed = self->out[0].owed > 0 || self->out[1].owed > 0;
  if (waits_for_host(self))
    self->quiet_since = now;
  bool quiet = now - self->quiet_since >= QUIET_MS || now - self->exited_at >= STRAGGLERS_MS;
  if (!open || (!owed && quiet))
    finish(self);
}

static void
write_input(MfExec *self)
{
  if (self->in.end > self->in.base) {
    ssize_t wrote = mf_stream_drain(&self->in, self->in_fd);
    if (wrote < 0 && errno != EAGAIN && errno != EINTR)
      mf_exec_io_close_input(self);
  }
  if (self->in_fd < 0 || !self->in_ends || self->in.base < self->in_end)
    return;
  /* A terminal does not end by closing it: the end is what its user types for it. */
  char end_of_file = 4;
  if (self->tty)
    (void)!write(self->in_fd, &end_of_file, 1);
  mf_exec_io_close_input(self);
}

void
mf_exec_io_prepare(MfExec *self, MfPoller *poller)
{
  look_for_end(self, poller->now);
  self->report_place = self->report_fd >= 0 ? mf_poller_add(poller, self->report_fd, POLLIN) : -1;
  bool input = self->in.end > self->in.base || (self->in_ends && self->in.base >= self->in_end);
  self->in_place = self->in_fd >= 0 && input ? mf_poller_add(poller, self->in_fd, POLLOUT) : -1;
  for (int i = 0; i < MF_EXEC_STREAMS; i++) {
    MfExecOutput *output = &self->out[i];
    bool wanted = output->fd >= 0 && (self->finished || mf_stream_room(&output->window) > 0);
    output->place = wanted ? mf_poller_add(poller, output->fd, POLLIN) : -1;
  }
  if (self->exited && !self->finished && !waits_for_host(self))
    mf_poller_wake_at(poller, self->quiet_since + QUIET_MS);
}

void
mf_exec_io_dispatch(MfExec *self, const MfPoller *poller)
{
  for (int i = 0; i < MF_EXEC_STREAMS; i++) {
    if (mf_poller_got(poller, self->out[i].place) == 0)
      continue;
    if (self->finished)
      throw_away(&self->out[i]);
    else
      read_output(self, &self->out[i], poller->now);
  }
  if (mf_poller_got(poller, self->in_place) != 0 && self->in_fd >= 0)
    write_input(self);
  if (mf_poller_got(poller, self->report_place) != 0 && self->report_fd >= 0)
    read_report(self);
  look_for_end(self, poller->now);
}
