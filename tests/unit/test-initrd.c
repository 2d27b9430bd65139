/* SPDX-License-Identifier: Apache-2.0 */

/* mayfly-mkinitrd on a module folder made up here, and how its /init reads the kernel's command
 * line. */

#include <glib.h>
#include <glib/gstdio.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/agent/init.h"

static void
expect_parameter(const char *command_line, const char *key, const char *expected)
{
  char *value = mf_init_root_parameter(command_line, key);
  g_assert_cmpstr(value, ==, expected);
  free(value);
}

static void
test_parameter(void)
{
  expect_parameter("quiet root=/dev/vda rw\n", "root", "/dev/vda");
  expect_parameter("root=LABEL=a=b", "root", "LABEL=a=b");
  expect_parameter("rootwait=5 root=a root=b", "root", "b");
  expect_parameter("rootwait=5", "root", NULL);
  expect_parameter("quiet ro", "ro", "");
  expect_parameter("root= ", "root", "");
  expect_parameter("", "root", NULL);
  expect_parameter("  \n", "root", NULL);
}

/*
 * On a busy host the image's init has taken over before the agent looks: the other end is closed
 * then, with what the agent said unread, which the kernel makes an error of ours that comes before
 * the root.
 */
static void
test_late_follower(void)
{
  int ends[2];
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), ==, 0);
  g_assert_cmpint(write(ends[1], "", 1), ==, 1);
  int root = open("/usr", O_PATH | O_DIRECTORY | O_CLOEXEC);
  g_assert_true(mf_init_send_root(ends[0], root));
  close(root);
  close(ends[0]);
  pid_t child = fork();
  if (child == 0) {
    if (geteuid() != 0 && unshare(CLONE_NEWUSER) != 0)
      _exit(77);
    _exit(mf_init_follow_root(ends[1]) && access("/bin", F_OK) == 0 && access("/usr", F_OK) != 0
              ? 0
              : 1);
  }
  int status;
  g_assert_cmpint(waitpid(child, &status, 0), ==, child);
  close(ends[1]);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
    g_test_skip("this user may not make namespaces; run it as root");
  else
    g_assert_cmpint(status, ==, 0);
}

static void
put(const char *folder, const char *path, const char *text)
{
  g_autofree char *name = g_build_filename(folder, path, NULL);
  g_autofree char *parent = g_path_get_dirname(name);
  g_assert_cmpint(g_mkdir_with_parents(parent, 0755), ==, 0);
  g_assert_true(g_file_set_contents(name, text, -1, NULL));
}

/* Return: the exit status; *@ret_out is what a shell said. */
static int
run(const char *folder, const char *command, char **ret_out)
{
  const char *argv[] = {"sh", "-c", command, NULL};
  g_autofree char *errors = NULL;
  int status;
  g_autoptr(GError) error = NULL;
  g_spawn_sync(folder, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, ret_out, &errors,
               &status, &error);
  g_assert_no_error(error);
  if (errors[0] != '\0') {
    g_free(*ret_out);
    *ret_out = g_steal_pointer(&errors);
  }
  return status;
}

static void
test_make(void)
{
  g_autofree char *folder = g_dir_make_tmp("mayfly-initrd-XXXXXX", NULL);
  put(folder, "m/kernel/virtio_ring.ko", "ring");
  put(folder, "m/kernel/virtio.ko", "virtio");
  put(folder, "m/kernel/virtio-pci.ko", "pci");
  put(folder, "m/kernel/virtio_console.ko", "console");
  put(folder, "m/extra/virtio_blk.ko", "block");
  put(folder, "m/kernel/unwanted.ko", "unwanted");
  put(folder, "m/modules.dep",
      "kernel/unwanted.ko: kernel/virtio.ko\n"
      "kernel/virtio_ring.ko:\n"
      "kernel/virtio.ko: kernel/virtio_ring.ko\n"
      "extra/virtio_blk.ko.gz: kernel/virtio.ko kernel/virtio_ring.ko\n"
      "kernel/virtio_console.ko: kernel/virtio.ko kernel/virtio_ring.ko\n"
      "kernel/virtio-pci.ko: kernel/virtio.ko kernel/virtio_ring.ko\n");
  put(folder, "agent", "the agent");
  g_autofree char *out = NULL;
  int status = run(folder,
                   "gzip m/extra/virtio_blk.ko && chmod 755 agent && " MF_TEST_MKINITRD
                   " m agent out/initrd && sleep 0.01 && touch m/kernel/* && " MF_TEST_MKINITRD
                   " m/ agent second && cmp out/initrd second && mkdir x && cd x && "
                   "cpio -id --quiet <../second && cat init modules.list && "
                   "cat lib/modules/virtio_blk.ko && find . | sort | tr '\\n' ' '",
                   &out);
  g_assert_cmpstr(
      out, ==,
      "the agentvirtio_ring.ko\nvirtio.ko\nvirtio-pci.ko\nvirtio_console.ko\nvirtio_blk.ko\n"
      "block. ./init ./lib ./lib/modules ./lib/modules/virtio-pci.ko ./lib/modules/virtio.ko "
      "./lib/modules/virtio_blk.ko ./lib/modules/virtio_console.ko "
      "./lib/modules/virtio_ring.ko ./modules.list ");
  g_assert_cmpint(status, ==, 0);

  g_autofree char *refused = NULL;
  g_assert_cmpint(run(folder, MF_TEST_MKINITRD " out agent third", &refused), !=, 0);
  g_assert_nonnull(strstr(refused, "out/modules.dep does not exist"));
  g_autofree char *remove = g_strdup_printf("ls third 2>/dev/null; rm -rf '%s'", folder);
  g_autofree char *nothing = NULL;
  run(folder, remove, &nothing);
  g_assert_cmpstr(nothing, ==, "");
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/initrd/late-follower", test_late_follower);
  g_test_add_func("/initrd/parameter", test_parameter);
  g_test_add_func("/initrd/make", test_make);
  return g_test_run();
}
