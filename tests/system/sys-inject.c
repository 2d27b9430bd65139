/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing into real disks with the real libguestfs, under TCG. What was written is read back by
 * debugfs, which shares nothing with what wrote it.
 */
#include <glib/gstdio.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/error.h"
#include "daemon/image-store.h"
#include "daemon/inject.h"
#include "daemon/tree.h"

enum { PATIENCE = 120 }; /* seconds: the machine may be busy with other things */

static char *folder, *cache, *program, *golden;
static MfImage image = {
    .root_device = (char *)"/dev/sda", .root_fstype = (char *)"ext4", .init = (char *)"systemd"};

static char *
in_folder(const char *name)
{
  return g_build_filename(folder, name, NULL);
}

/* printf-like, with the shell; must succeed. (transfer full) */
static char *G_GNUC_PRINTF(1, 2) shell(const char *format, ...)
{
  va_list args;
  va_start(args, format);
  g_autofree char *command = g_strdup_vprintf(format, args);
  va_end(args);
  const char *argv[] = {"sh", "-ec", command, NULL};
  g_autofree char *output = NULL;
  int status;
  g_assert_true(g_spawn_sync(folder, (char **)argv, NULL,
                             G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, &output,
                             NULL, &status, NULL));
  if (status != 0)
    g_error("failed: %s", command);
  return g_steal_pointer(&output);
}

static void
run_shell(const char *command)
{
  g_free(shell("%s", command));
}

static char *
new_overlay(const char *name)
{
  g_free(shell("rm -f %s; qemu-img create -q -f qcow2 -F qcow2 -b %s %s", name, golden, name));
  return in_folder(name);
}

typedef struct {
  GMainLoop *loop;
  GError *error;
  MfInjectSystem *system;
  char *path;
} Result;

static void
on_run(GObject *source, GAsyncResult *result, gpointer data)
{
  Result *r = data;
  g_assert_cmpint(mf_inject_run_finish(result, &r->error), ==, r->error == NULL);
  g_main_loop_quit(r->loop);
}

static void
on_inspect(GObject *source, GAsyncResult *result, gpointer data)
{
  Result *r = data;
  r->system = mf_inject_inspect_finish(result, &r->error);
  g_main_loop_quit(r->loop);
}

static void
on_prepare(GObject *source, GAsyncResult *result, gpointer data)
{
  Result *r = data;
  r->path = mf_image_prepare_finish(result, &r->error);
  g_main_loop_quit(r->loop);
}

static GError *
inject_within(const MfInjectPlan *plan, guint64 timeout)
{
  g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
  Result result = {.loop = loop};
  MfInjectOptions options = {program, "tcg", timeout, cache, NULL};
  gint64 start = g_get_monotonic_time();
  mf_inject_run_async(plan, &options, NULL, on_run, &result);
  g_main_loop_run(loop);
  g_test_message("took %.1f s", (double)(g_get_monotonic_time() - start) / G_USEC_PER_SEC);
  return result.error;
}

static GError *
inject(const MfInjectPlan *plan)
{
  return inject_within(plan, PATIENCE);
}

/* What debugfs says about @request in the overlay's content. */
static char *
debugfs(const char *disk, const char *request)
{
  return shell("qemu-img convert -O raw %s look.raw; debugfs -R '%s' look.raw; rm look.raw", disk,
               request);
}

static void
has(const char *text, const char *word)
{
  if (strstr(text, word) == NULL)
    g_error("\"%s\" does not say %s", text, word);
}

static guchar *
big_content(gsize length)
{
  guchar *data = g_malloc(length);
  guint32 x = 12345;
  for (gsize i = 0; i < length; i++)
    data[i] = (guchar)((x = x * 1664525 + 1013904223) >> 24);
  return data;
}

static void
test_writes(void)
{
  g_autofree char *disk = new_overlay("writes.qcow2");
  g_autoptr(MfInjectPlan) plan = mf_inject_plan_new(disk, &image);
  const gsize big_length = 5 * 1024 * 1024 + 3;
  g_autofree guchar *big = big_content(big_length);
  mf_inject_plan_file(plan, "/etc/hostname", 0644, 0, 0, "job-7\n", 6);
  mf_inject_plan_file(plan, "/etc/mayfly/deep/secret", 0600, 0, 0, "line 1\nl\0ne 2\n\n", 15);
  mf_inject_plan_file(plan, "/opt/tool", 04755, 12, 34, big, big_length);
  mf_inject_plan_file(plan, "/opt/empty", 0400, 0, 0, "", 0);
  mf_inject_plan_file(plan, "/opt/with space \xc3\xa9 $(x)'\"", 0644, 0, 0, "odd", 3);
  mf_inject_plan_file(plan, "/etc/link", 0644, 0, 0, "no link any more", 16);
  mf_inject_plan_symlink(plan, "/etc/systemd/system/x.wants/y", "../y");
  mf_inject_plan_symlink(plan, "/etc/was-file", "elsewhere");
  mf_inject_plan_remove(plan, "/var/old");
  mf_inject_plan_remove(plan, "/var/never-was");
  g_autoptr(GError) error = inject(plan);
  g_assert_no_error(error);

  g_autofree char *hostname = debugfs(disk, "cat /etc/hostname");
  g_assert_cmpstr(hostname, ==, "job-7\n");
  g_autofree char *secret = debugfs(disk, "stat /etc/mayfly/deep/secret");
  has(secret, "Mode:  0600");
  has(secret, "Size: 15");
  g_autofree char *parent = debugfs(disk, "stat /etc/mayfly/deep");
  has(parent, "Mode:  0755");
  g_autofree char *tool = debugfs(disk, "stat /opt/tool");
  has(tool, "Mode:  04755");
  has(tool, "User:    12   Group:    34");
  g_autofree char *sum = shell(
      "qemu-img convert -O raw %s look.raw; debugfs -R 'dump /opt/tool out' look.raw; rm look.raw; "
      "sha256sum < out; rm out",
      disk);
  g_autofree char *expected = g_compute_checksum_for_data(G_CHECKSUM_SHA256, big, big_length);
  g_assert_true(g_str_has_prefix(sum, expected));
  g_autofree char *opt = debugfs(disk, "ls -p /opt");
  has(opt, "with space \xc3\xa9 $(x)'\"");
  has(opt, "/100400/0/0/empty/0/");
  g_autofree char *replaced = debugfs(disk, "cat /etc/link");
  g_assert_cmpstr(replaced, ==, "no link any more");
  g_autofree char *target = debugfs(disk, "cat /etc/target");
  g_assert_cmpstr(target, ==, "target\n");
  g_autofree char *link = debugfs(disk, "stat /etc/systemd/system/x.wants/y");
  has(link, "Fast link dest: \"../y\"");
  g_autofree char *was = debugfs(disk, "stat /etc/was-file");
  has(was, "Fast link dest: \"elsewhere\"");
  g_autofree char *var = debugfs(disk, "ls -p /var");
  g_assert_null(strstr(var, "old"));
  run_shell("qemu-img convert -O raw writes.qcow2 look.raw; e2fsck -fn look.raw; rm look.raw; "
            "qemu-img check -q writes.qcow2");
}

/* As the daemon runs it: a user who may nothing, with a folder of its own. */
static void
test_unprivileged(void)
{
  g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
  g_autofree char *disk = new_overlay("unprivileged.qcow2");
  g_autofree char *own_cache = in_folder("cache-nobody");
  Result result = {.loop = loop};
  /* The build may lie where only its owner gets. */
  g_autofree char *copy = in_folder("mayfly-inject");
  g_autofree char *install = g_strdup_printf("install -m 755 '%s' '%s'", program, copy);
  run_shell(install);
  MfInjectOptions options = {copy, "tcg", PATIENCE, own_cache, "nobody"};
  g_autoptr(MfInjectPlan) plan = mf_inject_plan_new(disk, &image);
  mf_inject_plan_file(plan, "/etc/hostname", 0644, 0, 0, "nobody's\n", 9);
  run_shell("chmod 755 .; chown nobody unprivileged.qcow2");
  mf_inject_run_async(plan, &options, NULL, on_run, &result);
  g_main_loop_run(loop);
  g_assert_no_error(result.error);
  g_autofree char *hostname = debugfs(disk, "cat /etc/hostname");
  g_assert_cmpstr(hostname, ==, "nobody's\n");

  /* What is not its own it cannot write. */
  run_shell("chown root unprivileged.qcow2; chmod 644 unprivileged.qcow2");
  mf_inject_run_async(plan, &options, NULL, on_run, &result);
  g_main_loop_run(loop);
  g_assert_error(result.error, MF_ERROR, MF_ERROR_FAILED);
  g_clear_error(&result.error);
}

/* Processes whose command line names @word. */
static guint
count_processes(const char *word)
{
  guint count = 0;
  g_autoptr(GDir) proc = g_dir_open("/proc", 0, NULL);
  for (const char *name; (name = g_dir_read_name(proc)) != NULL;) {
    g_autofree char *path = g_strdup_printf("/proc/%s/cmdline", name), *line = NULL;
    gsize length;
    if (!g_ascii_isdigit(*name) || !g_file_get_contents(path, &line, &length, NULL))
      continue;
    count += memmem(line, length, word, strlen(word)) != NULL;
  }
  return count;
}

static void
test_deadline(void)
{
  g_autofree char *disk = new_overlay("deadline.qcow2");
  g_autoptr(MfInjectPlan) plan = mf_inject_plan_new(disk, &image);
  mf_inject_plan_file(plan, "/etc/hostname", 0644, 0, 0, "x\n", 2);
  g_autoptr(GError) error = inject_within(plan, 2);
  g_assert_error(error, MF_ERROR, MF_ERROR_TIMEOUT);
  for (int i = 0; i < 100 && count_processes(disk) > 0; i++)
    g_usleep(20 * 1000);
  g_assert_cmpuint(count_processes(disk), ==, 0);
  g_autofree char *left = shell("ls %s | grep -c ^run- || true", cache);
  g_assert_cmpstr(left, ==, "0\n");
  /* Nobody holds the disk: it can be written to again. */
  g_autoptr(GError) again = inject(plan);
  g_assert_no_error(again);
}

/* One sentence, without a line break. */
static void
one_sentence(const GError *error, const char *word)
{
  g_assert_nonnull(error);
  has(error->message, word);
  g_assert_null(strchr(error->message, '\n'));
  g_assert_cmpuint(strlen(error->message), <, 700);
  g_test_message("%s", error->message);
}

static void
test_damaged(void)
{
  g_autofree char *disk = in_folder("damaged.qcow2");
  run_shell(
      "head -c 8M /dev/urandom > noise.raw; qemu-img convert -O qcow2 noise.raw damaged.qcow2");
  g_autoptr(MfInjectPlan) plan = mf_inject_plan_new(disk, &image);
  mf_inject_plan_file(plan, "/etc/hostname", 0644, 0, 0, "x\n", 2);
  g_autoptr(GError) error = inject(plan);
  one_sentence(error, "mayfly image verify");

  run_shell("head -c 1M /dev/urandom > damaged.qcow2");
  g_autoptr(GError) no_qcow2 = inject(plan);
  one_sentence(no_qcow2, "damaged.qcow2");
  g_assert_error(no_qcow2, MF_ERROR, MF_ERROR_DAMAGED);
  /* Somebody has it open: QEMU's own words get through. */
  g_autofree char *busy = new_overlay("busy.qcow2");
  g_autoptr(MfInjectPlan) locked = mf_inject_plan_new(busy, &image);
  g_autoptr(GSubprocess) holder =
      g_subprocess_new(G_SUBPROCESS_FLAGS_STDOUT_SILENCE | G_SUBPROCESS_FLAGS_STDERR_SILENCE, NULL,
                       "qemu-io", "-f", "qcow2", "-c", "sleep 100000", busy, NULL);
  g_usleep(1500 * 1000);
  g_autoptr(GError) in_use = inject(locked);
  one_sentence(in_use, "lock");
  g_subprocess_force_exit(holder);
  g_assert_true(g_subprocess_wait(holder, NULL, NULL));
  run_shell("rm damaged.qcow2");
  g_autoptr(GError) missing = inject(plan);
  one_sentence(missing, "damaged.qcow2");
}

/* In the way of a file is a folder with content; the overlay is thrown away by the caller, but told
 * why. */
static void
test_in_the_way(void)
{
  g_autofree char *disk = new_overlay("way.qcow2");
  g_autoptr(MfInjectPlan) plan = mf_inject_plan_new(disk, &image);
  mf_inject_plan_file(plan, "/etc", 0644, 0, 0, "x\n", 2);
  g_autoptr(GError) error = inject(plan);
  one_sentence(error, "/etc");
}

static void
test_full_host(void)
{
  g_autofree char *small = in_folder("small");
  g_assert_cmpint(g_mkdir(small, 0755), ==, 0);
  g_assert_cmpint(mount("tmpfs", small, "tmpfs", 0, "size=8M"), ==, 0);
  g_autofree char *disk = new_overlay("small/full.qcow2");
  g_autoptr(MfInjectPlan) plan = mf_inject_plan_new(disk, &image);
  mf_inject_plan_file(plan, "/etc/hostname", 0644, 0, 0, "x\n", 2);
  g_autoptr(GError) error = inject(plan);
  g_assert_error(error, MF_ERROR, MF_ERROR_NO_SPACE);
  one_sentence(error, "free some space");
  g_assert_cmpint(umount(small), ==, 0);
}

static void
test_prepare(void)
{
  g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
  g_autofree char *agent = in_folder("agent");
  g_autofree char *runner = in_folder("gitlab-runner");
  run_shell("head -c 1M /dev/urandom > agent; mkdir -p image; cp golden.qcow2 image/disk.qcow2; "
            "head -c 6M /dev/urandom > gitlab-runner; chmod 755 gitlab-runner");
  MfImage *made = g_new0(MfImage, 1);
  g_atomic_ref_count_init(&made->refs);
  made->name = g_strdup("test");
  made->directory = in_folder("image");
  made->disk = in_folder("image/disk.qcow2");
  made->root_device = g_strdup(image.root_device);
  made->root_fstype = g_strdup(image.root_fstype);
  made->init = g_strdup("systemd");
  Result result = {.loop = loop};
  MfInjectOptions options = {program, "tcg", PATIENCE, cache, NULL};
  mf_image_prepare_async(made, agent, runner, &options, NULL, on_prepare, &result);
  g_main_loop_run(loop);
  g_assert_no_error(result.error);
  struct stat st;
  g_assert_cmpint(stat(result.path, &st), ==, 0);
  g_assert_cmpint(st.st_mode & 07777, ==, 0444);
  g_autofree char *stat_runner = debugfs(result.path, "stat /usr/local/bin/gitlab-runner");
  has(stat_runner, "Mode:  0755");
  has(stat_runner, "Size: 6291456");
  g_autofree char *stat_agent = debugfs(result.path, "stat /usr/local/lib/mayfly/mayfly-agent");
  has(stat_agent, "Mode:  0755");
  g_autofree char *link =
      debugfs(result.path, "stat /etc/systemd/system/sysinit.target.wants/mayfly-agent.service");
  has(link, "../mayfly-agent.service");
  g_free(result.path);
  mf_image_unref(made);
}

static void
test_inspect(void)
{
  g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
  Result result = {.loop = loop};
  MfInjectOptions options = {program, "tcg", PATIENCE, cache, NULL};
  mf_inject_inspect_async(golden, &options, NULL, on_inspect, &result);
  g_main_loop_run(loop);
  g_assert_no_error(result.error);
  g_assert_cmpstr(result.system->root_device, ==, "/dev/sda");
  g_assert_cmpstr(result.system->root_fstype, ==, "ext4");
  g_assert_cmpstr(result.system->os, ==, "Debian GNU/Linux 12 (bookworm)");
  g_assert_cmpstr(result.system->init, ==, "systemd");
  g_assert_true(result.system->boot_kernel);
  mf_inject_system_free(result.system);

  g_autofree char *empty = in_folder("empty.qcow2");
  run_shell("qemu-img create -q -f qcow2 empty.qcow2 8M");
  Result nothing = {.loop = loop};
  mf_inject_inspect_async(empty, &options, NULL, on_inspect, &nothing);
  g_main_loop_run(loop);
  g_assert_error(nothing.error, MF_ERROR, MF_ERROR_INVALID);
  one_sentence(nothing.error, "--root-device");
  g_clear_error(&nothing.error);
}

/* A small system: enough of Debian that libguestfs knows it. */
static void
make_golden(void)
{
  run_shell(
      "mkdir -p tree/etc/init.d tree/usr/bin tree/usr/lib/systemd tree/usr/sbin tree/var/old/x "
      "tree/boot tree/opt tree/dev "
      "tree/proc tree/sys\n"
      "ln -s usr/bin tree/bin; ln -s usr/sbin tree/sbin; ln -s usr/lib tree/lib\n"
      "touch tree/boot/vmlinuz-6.1.0 tree/etc/fstab tree/usr/lib/systemd/systemd\n"
      "ln -s ../lib/systemd/systemd tree/usr/sbin/init\n"
      "echo target > tree/etc/target; ln -s target tree/etc/link; echo file > tree/etc/was-file\n"
      "echo 12.5 > tree/etc/debian_version\n"
      "printf 'ID=debian\\nVERSION_ID=\"12\"\\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\\n' "
      "> tree/etc/os-release\n"
      "mke2fs -q -t ext4 -d tree golden.raw 64M; qemu-img convert -O qcow2 golden.raw "
      "golden.qcow2; rm golden.raw");
  golden = in_folder("golden.qcow2");
}

static int
skip(const char *why)
{
  printf("1..0 # SKIP %s\n", why);
  return g_getenv("MF_MUST_RUN") != NULL ? 1 : 0;
}

int
main(int argc, char **argv)
{
  const char *build = g_getenv("MAYFLY_BUILD"), *source = g_getenv("MAYFLY_SOURCE");
  if (build == NULL || source == NULL)
    return skip("MAYFLY_BUILD and MAYFLY_SOURCE are not set; run it with ctest -L system");
  if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 ||
      mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
    return skip("it needs root; sudo ctest -L system");
  if (access("/usr/sbin/debugfs", X_OK) != 0)
    return skip("debugfs is missing; apt-get install e2fsprogs");
  g_test_init(&argc, &argv, NULL);

  folder = g_strdup("/var/tmp/mayfly-sys-inject-XXXXXX");
  g_assert_nonnull(g_mkdtemp(folder));
  cache = in_folder("cache");
  program = g_build_filename(build, "daemon", "mayfly-inject", NULL);
  g_autofree char *libexec = in_folder("libexec"), *data = in_folder("data");
  g_free(shell(
      "mkdir libexec data; cp %s/tools/mayfly-mkappliance libexec; ln -s %s/tools/agent data/agent",
      source, source));
  g_setenv("MAYFLY_LIBEXECDIR", libexec, TRUE);
  g_setenv("MAYFLY_DATADIR", data, TRUE);
  make_golden();

  g_test_add_func("/inject/writes", test_writes);
  g_test_add_func("/inject/unprivileged", test_unprivileged);
  g_test_add_func("/inject/deadline", test_deadline);
  g_test_add_func("/inject/damaged", test_damaged);
  g_test_add_func("/inject/in-the-way", test_in_the_way);
  g_test_add_func("/inject/full-host", test_full_host);
  g_test_add_func("/inject/prepare", test_prepare);
  g_test_add_func("/inject/inspect", test_inspect);
  int result = g_test_run();
  g_assert_true(mf_tree_remove(folder));
  return result;
}
