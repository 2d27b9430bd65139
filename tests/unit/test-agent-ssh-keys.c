/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the agent does about ssh's host keys, on a host of the test's own: /etc, /run and /proc are
 * empty, and what ssh and systemd bring is written down instead of done.
 */

#include "tools/agent/ready.h"
#include "tools/agent/ssh-keys.h"
#include "tools/agent/util.h"
#include "tests/lib/own-child.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEY  "/etc/ssh/ssh_host_ed25519_key"
#define DONE "/run/done"

static bool has_systemd;

/* In ready.c's place, which asks the first process. */
bool
mf_ready_has_systemd(void)
{
  return has_systemd;
}

static void
put(const char *path, mode_t mode, const char *text)
{
  g_assert_true(mf_util_write_file(path, mode, text, strlen(text)));
}

/* In a child from here on */

static gboolean
tell_kernel(const char *path, const char *text)
{
  MF_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
  return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static void
enter_own_host(void)
{
  static const char *const empty[] = {"/etc", "/run", "/usr/sbin", "/proc"};
  /* Root needs no user namespace, and may not be allowed one. */
  gboolean root = geteuid() == 0;
  g_autofree char *user = g_strdup_printf("0 %u 1", geteuid());
  g_autofree char *group = g_strdup_printf("0 %u 1", getegid());
  own_child_need(unshare((root ? 0 : CLONE_NEWUSER) | CLONE_NEWNS) == 0);
  own_child_need(root || (tell_kernel("/proc/self/uid_map", user) &&
                          tell_kernel("/proc/self/setgroups", "deny") &&
                          tell_kernel("/proc/self/gid_map", group)));
  own_child_need(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
  for (guint i = 0; i < G_N_ELEMENTS(empty); i++)
    own_child_need(mount("tmpfs", empty[i], "tmpfs", 0, NULL) == 0);
  g_assert_true(g_setenv("PATH", "/run/bin:/usr/bin:/bin", TRUE));
  put("/run/bin/ssh-keygen", 0755,
      "#!/bin/sh\necho \"keygen $*\" >>" DONE "; echo new | tee " KEY " >" KEY ".pub\n");
  put("/run/bin/systemctl", 0755,
      "#!/bin/sh\necho \"systemctl $* $(cat " KEY ".pub)\" >>" DONE "\n");
  put("/usr/sbin/sshd", 0755, "#!/bin/sh\necho \"sshd $(cat " KEY ".pub)\" >>" DONE "\n");
}

static void
put_keys(void)
{
  put(KEY, 0600, "saved");
  put(KEY ".pub", 0644, "saved");
  put("/etc/ssh/ssh_host_rsa_key", 0600, "saved");
  put("/etc/ssh/sshd_config", 0644, "the image's");
}

/* Return: a process to be taken for sshd. */
static pid_t
run_daemon(void)
{
  pid_t pid = fork();
  if (pid == 0)
    for (;;)
      pause();
  g_autofree char *text = g_strdup_printf("%d\n", (int)pid);
  put("/run/sshd.pid", 0644, text);
  put("/proc/41/comm", 0444, "sshd-keygen\n");
  put("/proc/42/comm", 0444, "sshd\n");
  return pid;
}

static void
expect_no_keys(void)
{
  g_assert_cmpint(access(KEY, F_OK), !=, 0);
  g_assert_cmpint(access(KEY ".pub", F_OK), !=, 0);
  g_assert_cmpint(access("/etc/ssh/ssh_host_rsa_key", F_OK), !=, 0);
}

static void
expect_done(const char *expected)
{
  g_autofree char *done = NULL;
  g_file_get_contents(DONE, &done, NULL, NULL);
  g_assert_cmpstr(done, ==, expected);
}

/* What was started in the background has ended, and there was something. */
static void
await_end(void)
{
  int status = -1;
  g_assert_cmpint(waitpid(-1, &status, 0), >, 0);
  g_assert_cmpint(status, ==, 0);
}

static void
expect_nothing_started(void)
{
  g_assert_cmpint(waitpid(-1, NULL, 0), ==, -1);
  g_assert_cmpint(errno, ==, ECHILD);
}

static void
none_there(void)
{
  enter_own_host();
  mf_ssh_keys_drop();
  mf_ssh_keys_make();
  expect_nothing_started();
  expect_done(NULL);
}

static void
no_daemon(void)
{
  enter_own_host();
  put_keys();
  put("/proc/41/comm", 0444, "sshd-keygen\n");
  mf_ssh_keys_drop();
  expect_no_keys();
  g_assert_cmpint(access("/etc/ssh/sshd_config", F_OK), ==, 0);
  expect_done(NULL);
  mf_ssh_keys_make();
  await_end();
  expect_done("keygen -A\n");
  /* It is made its own once; whoever asks again changes no keys. */
  mf_ssh_keys_make();
  expect_nothing_started();
}

static void
with_daemon(void)
{
  int status = -1;
  enter_own_host();
  put_keys();
  pid_t daemon = run_daemon();
  mf_ssh_keys_drop();
  g_assert_cmpint(waitpid(daemon, &status, 0), ==, daemon);
  g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
  expect_no_keys();
  mf_ssh_keys_make();
  await_end();
  expect_done("keygen -A\nsshd new\n");
}

static void
with_systemd(void)
{
  enter_own_host();
  has_systemd = true;
  put_keys();
  pid_t daemon = run_daemon();
  mf_ssh_keys_drop();
  expect_no_keys();
  expect_done("systemctl stop ssh.service sshd.service saved\n");
  g_assert_cmpint(kill(daemon, SIGKILL), ==, 0);
  g_assert_cmpint(waitpid(daemon, NULL, 0), ==, daemon);
  mf_ssh_keys_make();
  await_end();
  expect_done("systemctl stop ssh.service sshd.service saved\nkeygen -A\n"
              "systemctl --no-block start ssh.service new\n");
}

int
main(int argc, char **argv)
{
  static const OwnChild none = {none_there}, keys = {no_daemon}, daemon = {with_daemon},
                        systemd = {with_systemd};
  g_test_init(&argc, &argv, NULL);
  g_test_add_data_func("/agent-ssh-keys/none", &none, own_child_test);
  g_test_add_data_func("/agent-ssh-keys/no-daemon", &keys, own_child_test);
  g_test_add_data_func("/agent-ssh-keys/daemon", &daemon, own_child_test);
  g_test_add_data_func("/agent-ssh-keys/systemd", &systemd, own_child_test);
  return g_test_run();
}
