/* SPDX-License-Identifier: Apache-2.0 */
/* Output: begun safely, and at the end known to be written. */
#include "tools/output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "tools/command.h"

/* What the first flush that failed said: stdio keeps only that there was an error. 0: none, or it
 * came between two. */
static int problem;

void
mf_output_begin(void)
{
  /* Lowest first: open() takes the lowest number that is free. Writing to stdout must go on to
   * fail. */
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
    if (fcntl(fd, F_GETFD) < 0 &&
        open("/dev/null", (fd == STDERR_FILENO ? O_WRONLY : O_RDONLY) | O_NOCTTY) != fd)
      g_debug("standard descriptor %d stays closed, ignoring", fd);
  /* A reader that is gone is an error of writing, not our death; GIO has it so too, from its first
   * socket on. */
  signal(SIGPIPE, SIG_IGN);
}

/* Nobody will ever read what is written there. */
static gboolean
is_abandoned(void)
{
  struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
  return poll(&out, 1, 0) == 1 && (out.revents & (POLLERR | POLLHUP)) != 0;
}

gboolean
mf_output_flush(void)
{
  if (fflush(stdout) != 0 && problem == 0)
    problem = errno;
  return ferror(stdout) == 0 && problem == 0;
}

int
mf_output_end(int status)
{
  if (mf_output_flush())
    return status;
  if (problem == EPIPE || is_abandoned())
    return status == MF_EXIT_OK ? MF_EXIT_PIPE : status;
  fprintf(stderr, "mayfly: the output could not be written%s%s\n", problem != 0 ? ": " : " in full",
          problem != 0 ? g_strerror(problem) : "");
  return status == MF_EXIT_OK ? MF_EXIT_FAILURE : status;
}
