/* SPDX-License-Identifier: Apache-2.0 */
/* Runner process: see runner-process.h. */
#include "tests/gitlab/runner-process.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/auto.h"

#define TICK_MS 10

void
context_init(Context *self, Context *parent, gint64 milliseconds)
{
  self->parent = parent;
  self->deadline = milliseconds > 0 ? g_get_monotonic_time() + milliseconds * 1000 : 0;
  g_atomic_int_set(&self->cause, CAUSE_NONE);
}

/* What ended it first stays its cause. */
void
context_end(Context *self, Cause cause)
{
  g_atomic_int_compare_and_exchange(&self->cause, CAUSE_NONE, (gint)cause);
}

Cause
context_cause(Context *self)
{
  for (; self != NULL; self = self->parent) {
    if (self->deadline > 0 && g_get_monotonic_time() >= self->deadline)
      context_end(self, CAUSE_TIMEOUT);
    Cause cause = (Cause)g_atomic_int_get(&self->cause);
    if (cause != CAUSE_NONE)
      return cause;
  }
  return CAUSE_NONE;
}

gboolean
context_sleep(Context *self, guint milliseconds)
{
  gint64 end = g_get_monotonic_time() + (gint64)milliseconds * 1000;
  while (context_cause(self) == CAUSE_NONE && g_get_monotonic_time() < end)
    g_usleep(TICK_MS * 1000);
  return context_cause(self) == CAUSE_NONE;
}

/* --- one process --- */

typedef struct {
  const Process *process;
  pid_t pid;
  MfFd out, err;
  gboolean reaped;
  int status;
} Running;

/* After fork, in a program with threads: nothing but system calls. */
static _Noreturn void
become(const Process *process, int out, int err, int report)
{
  int null = open("/dev/null", O_RDONLY);
  if (setpgid(0, 0) == 0 && chdir(process->folder) == 0 && null >= 0 && dup2(null, 0) >= 0 &&
      dup2(out, 1) >= 0 && dup2(err, 2) >= 0)
    execvpe(process->argv[0], process->argv, process->environment);
  int problem = errno;
  ssize_t ignored = write(report, &problem, sizeof problem);
  (void)ignored;
  _exit(127);
}

/* Returns: errno, or 0. */
static int
start(Running *running)
{
  int out[2], err[2], report[2], problem = 0;
  if (!g_unix_open_pipe(out, FD_CLOEXEC, NULL) || !g_unix_open_pipe(err, FD_CLOEXEC, NULL) ||
      !g_unix_open_pipe(report, FD_CLOEXEC, NULL))
    g_error("pipe: %s", g_strerror(errno));
  running->pid = fork();
  if (running->pid < 0)
    g_error("fork: %s", g_strerror(errno));
  if (running->pid == 0)
    become(running->process, out[1], err[1], report[1]);
  close(out[1]);
  close(err[1]);
  close(report[1]);
  running->out = out[0];
  running->err = err[0];
  /* The end of this pipe is the success of execve. */
  if (read(report[0], &problem, sizeof problem) != sizeof problem)
    problem = 0;
  close(report[0]);
  if (problem != 0)
    waitpid(running->pid, NULL, 0);
  return problem;
}

static void
drain(MfFd *fd, ProcessSink sink, gpointer data)
{
  char buffer[65536];
  ssize_t n = read(*fd, buffer, sizeof buffer);
  if (n > 0 && sink != NULL)
    sink(data, buffer, (gsize)n);
  if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
    mf_fd_clear(fd);
}

/* Takes what there is for at most a tick. Returns: whether all of it is over. */
static gboolean
turn(Running *running)
{
  const Process *process = running->process;
  struct pollfd fds[] = {{.fd = running->out, .events = POLLIN},
                         {.fd = running->err, .events = POLLIN}};
  if (poll(fds, 2, TICK_MS) > 0) {
    if (fds[0].revents != 0)
      drain(&running->out, process->out, process->out_data);
    if (fds[1].revents != 0)
      drain(&running->err, process->err, process->err_data);
  }
  int status = 0;
  if (!running->reaped && waitpid(running->pid, &status, WNOHANG) == running->pid) {
    running->reaped = TRUE;
    running->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  return running->reaped && running->out < 0 && running->err < 0;
}

/* Returns: whether it was over within the time. */
static gboolean
turn_for(Running *running, guint seconds)
{
  gint64 end = g_get_monotonic_time() + (gint64)seconds * G_USEC_PER_SEC;
  while (g_get_monotonic_time() < end)
    if (turn(running))
      return TRUE;
  return FALSE;
}

ProcessEnd
process_run(const Process *process, Context *context)
{
  Running running = {.process = process, .out = -1, .err = -1, .status = -1};
  ProcessEnd end = {.error = start(&running), .status = -1};
  if (end.error == 0) {
    gboolean over = FALSE;
    while (!over && context_cause(context) == CAUSE_NONE)
      over = turn(&running);
    /* What is left of the group has its number even if its first process is gone. */
    if (!over) {
      kill(-running.pid, SIGTERM);
      over = turn_for(&running, process->graceful_kill);
    }
    if (!over) {
      kill(-running.pid, SIGKILL);
      over = turn_for(&running, process->force_kill);
    }
    end.abandoned = !over;
    end.status = over ? running.status : -1;
  }
  mf_fd_clear(&running.out);
  mf_fd_clear(&running.err);
  return end;
}
