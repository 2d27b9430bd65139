/* SPDX-License-Identifier: Apache-2.0 */

/* ssh host keys of forks: see ssh-keys.h. */

#include "tools/agent/ssh-keys.h"

#include "tools/agent/ready.h"
#include "tools/agent/util.h"

#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define KEYS "/etc/ssh/ssh_host_*_key*"

/* They survive the saving: a fork finds them as they were left. */
static bool had_keys, had_daemon;

static pid_t
run_shell(const char *script)
{
  pid_t pid = fork();
  if (pid != 0)
    return pid;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  /* sshd and its sessions must not have what protects the agent. */
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

static bool
is_running(void)
{
  bool found = false;
  glob_t all;
  if (glob("/proc/[0-9]*/comm", 0, NULL, &all) != 0)
    return false;
  for (size_t i = 0; i < all.gl_pathc && !found; i++) {
    MF_AUTO_FREE char *name = mf_util_read_file(all.gl_pathv[i], 4096, NULL);
    found = name != NULL && strcmp(name, "sshd\n") == 0;
  }
  globfree(&all);
  return found;
}

void
mf_ssh_keys_drop(void)
{
  glob_t keys;
  if (glob(KEYS, 0, NULL, &keys) != 0)
    return;
  had_keys = true;
  had_daemon = is_running();
  if (had_daemon) {
    const char *stop = mf_ready_has_systemd() ? "systemctl stop ssh.service sshd.service"
                                              : "kill $(cat /run/sshd.pid /var/run/sshd.pid)";
    pid_t pid = run_shell(stop);
    if (pid > 0)
      waitpid(pid, NULL, 0);
  }
  for (size_t i = 0; i < keys.gl_pathc; i++)
    unlink(keys.gl_pathv[i]);
  globfree(&keys);
}

void
mf_ssh_keys_make(void)
{
  if (!had_keys)
    return;
  had_keys = false;
  MF_AUTO_FREE char *script = mf_util_printf(
      "ssh-keygen -A; %s", !had_daemon ? ":"
                           : mf_ready_has_systemd()
                               ? "systemctl --no-block start ssh.service || systemctl start sshd"
                               : "/usr/sbin/sshd");
  run_shell(script);
}
