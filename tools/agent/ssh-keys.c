/* SPDX-License-Identifier: Apache-2.0 */

/* ssh host keys of forks: see ssh-keys.h. */

#include "tools/agent/ssh-keys.h"

#include "tools/agent/ready.h"
#include "tools/agent/shell.h"
#include "tools/agent/util.h"

#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define KEYS "/etc/ssh/ssh_host_*_key*"

/* They survive the saving: a fork finds them as they were left. */
static bool had_keys, had_daemon;

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
    mf_shell_run(stop);
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
  mf_shell_start(script);
}
