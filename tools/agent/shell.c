/* SPDX-License-Identifier: Apache-2.0 */

/* Starting scripts: see shell.h. */

#include "tools/agent/shell.h"

#include "tools/agent/util.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

pid_t
mf_shell_start(const char *script)
{
  pid_t pid = fork();
  if (pid != 0)
    return pid;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  /* A service that it starts must not have what protects the agent. */
  for (int number = 1; number < 32; number++)
    signal(number, SIG_DFL);
  int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (score >= 0)
    (void)!write(score, "0", 1);
  int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3; fd++)
    dup2(nothing, fd);
  setsid();
  execl("/bin/sh", "sh", "-c", script, (char *)NULL);
  _exit(127);
}

bool
mf_shell_run(const char *script)
{
  int status = -1;
  pid_t pid = mf_shell_start(script);
  return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
         WEXITSTATUS(status) == 0;
}
