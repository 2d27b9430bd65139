/* SPDX-License-Identifier: Apache-2.0 */

/* Monitor and main process of an exec: see spawn.h. */

#include "tools/agent/spawn.h"

#include "tools/agent/tree.h"
#include "tools/agent/util.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define CODE_NOT_FOUND 127 /* as shells do */
#define CODE_CANNOT    126

static void __attribute__((format(printf, 3, 4), noreturn))
fail(int report_fd, int code, const char *format, ...)
{
  MfSpawnReport report = {.kind = MF_SPAWN_FAILED, .value = code};
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(report.text, sizeof report.text, format, arguments);
  va_end(arguments);
  (void)!write(report_fd, &report, sizeof report);
  _exit(code);
}

/* Ignored signals and the mask would be inherited, and a job that cannot be interrupted is a
 * surprise. */
static void
reset_signals(void)
{
  struct sigaction action = {.sa_handler = SIG_DFL};
  for (int i = 1; i < NSIG; i++)
    sigaction(i, &action, NULL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The agent is protected from the OOM killer; what it runs is not. */
static void
reset_oom_score(void)
{
  MF_AUTO_CLOSE int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd >= 0)
    (void)!write(fd, "0", 1);
}

static void
set_streams(const MfSpawn *spawn, int report_fd)
{
  if (spawn->tty && ioctl(spawn->in, TIOCSCTTY, 0) != 0)
    fail(report_fd, CODE_CANNOT, "the terminal could not be set up: %s", strerror(errno));
  /* First out of the way of 0, 1 and 2: one of them may be one of the three where the agent was
   * started without. */
  int from[3] = {spawn->in, spawn->out, spawn->err};
  for (int i = 0; i < 3; i++)
    from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 3);
  for (int i = 0; i < 3; i++)
    if (from[i] < 0 || dup2(from[i], i) < 0)
      fail(report_fd, CODE_CANNOT, "standard streams could not be set up: %s", strerror(errno));
}

static void
become_user(const MfUser *user, int report_fd)
{
  if (geteuid() != 0) {
    if (user->uid != geteuid())
      fail(report_fd, CODE_CANNOT, "the agent does not run as root and cannot become user %s",
           user->name);
    return;
  }
  if (setgroups(user->group_count, user->groups) != 0 ||
      setresgid(user->gid, user->gid, user->gid) != 0 ||
      setresuid(user->uid, user->uid, user->uid) != 0)
    fail(report_fd, CODE_CANNOT, "user %s could not be taken on: %s", user->name, strerror(errno));
}

static void
enter_folder(const MfSpawn *spawn, int report_fd)
{
  if (spawn->cwd != NULL) {
    if (chdir(spawn->cwd) != 0)
      fail(report_fd, CODE_CANNOT, "the working directory \"%.400s\" cannot be entered: %s",
           spawn->cwd, strerror(errno));
  } else if (chdir(spawn->user->home) != 0 && chdir("/") != 0) {
    fail(report_fd, CODE_CANNOT, "neither \"%.400s\" nor / can be entered: %s", spawn->user->home,
         strerror(errno));
  }
}

static void __attribute__((noreturn)) run_main(const MfSpawn *spawn, int report_fd)
{
  prctl(PR_SET_NAME, "mayfly-exec");
  reset_oom_score();
  setsid();
  if (spawn->group != NULL)
    mf_tree_group_enter(spawn->group);
  set_streams(spawn, report_fd);
  become_user(spawn->user, report_fd);
  umask(022);
  enter_folder(spawn, report_fd);
  reset_signals();
  environ = (char **)spawn->env;
  execvp(spawn->argv[0], spawn->argv);

  int error = errno;
  if (error == ENOENT && strchr(spawn->argv[0], '/') == NULL)
    fail(report_fd, CODE_NOT_FOUND, "command \"%.400s\" is not in this machine's PATH (%.400s)",
         spawn->argv[0], getenv("PATH") != NULL ? getenv("PATH") : "unset");
  if (error == ENOENT && access(spawn->argv[0], F_OK) == 0)
    fail(report_fd, CODE_NOT_FOUND,
         "\"%.400s\" needs an interpreter that this machine does not have: look at "
         "its first line, or for a missing dynamic loader",
         spawn->argv[0]);
  if (error == ENOENT)
    fail(report_fd, CODE_NOT_FOUND, "\"%.400s\" does not exist in this machine", spawn->argv[0]);
  fail(report_fd, CODE_CANNOT, "\"%.400s\" cannot be executed: %s", spawn->argv[0],
       strerror(error));
}

/* What the monitor would hold open keeps others from seeing its end: the exec's streams, or the
 * agent's own. */
static void
close_all_but(int keep)
{
  int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3 && nothing >= 0; fd++)
    dup2(nothing, fd);
  if (keep > 3)
    syscall(SYS_close_range, 3u, (unsigned)keep - 1, 0u);
  if (syscall(SYS_close_range, (unsigned)keep + 1, ~0u, 0u) == 0)
    return;
  for (int fd = 3; fd < 4096; fd++) /* before Linux 5.9 */
    if (fd != keep)
      close(fd);
}

static void __attribute__((noreturn)) run_monitor(const MfSpawn *spawn, int report_fd)
{
  struct sched_param none = {0};
  sched_setscheduler(0, SCHED_OTHER, &none);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  prctl(PR_SET_NAME, "mayfly-monitor");
  pid_t child = fork();
  if (child == 0)
    run_main(spawn, report_fd);
  if (child < 0)
    fail(report_fd, CODE_CANNOT, "this machine cannot start another process: %s", strerror(errno));
  /* The other ends of the exec's pipes are here too: open, they would keep the streams from ending.
   */
  close_all_but(report_fd);
  for (;;) {
    int status;
    pid_t pid = waitpid(-1, &status, 0);
    if (pid == child) {
      MfSpawnReport report = {.kind = MF_SPAWN_EXITED, .value = status};
      (void)!write(report_fd, &report, sizeof report);
    } else if (pid < 0 && errno == ECHILD) {
      _exit(0);
    }
  }
}

pid_t
mf_spawn_start(const MfSpawn *spawn, int *ret_report_fd)
{
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0)
    return -1;
  pid_t monitor = fork();
  if (monitor == 0)
    run_monitor(spawn, report[1]);
  close(report[1]);
  if (monitor < 0) {
    int error = errno;
    close(report[0]);
    errno = error;
    return -1;
  }
  fcntl(report[0], F_SETFL, O_NONBLOCK);
  *ret_report_fd = report[0];
  return monitor;
}
