/* SPDX-License-Identifier: Apache-2.0 */
/* The caller's side, against programs that behave and misbehave as mayfly-inject might. */
#include "daemon/inject.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/error.h"
#include "daemon/inject-plan.h"
#include "daemon/tree.h"

typedef struct {
  char *folder;
  MfInjectPlan *plan;
  GMainLoop *loop;
  gboolean ok;
  GError *error;
  MfInjectSystem *system;
} Fixture;

static void
set_up(Fixture *f, gconstpointer unused)
{
  MfImage image = {.root_device = (char *)"/dev/sda1", .root_fstype = (char *)"ext4"};
  f->folder = g_dir_make_tmp("mayfly-inject-XXXXXX", NULL);
  f->plan = mf_inject_plan_new("/nonexistent/disk.qcow2", &image);
  mf_inject_plan_file(f->plan, "/etc/mayfly/job.json", 0600, 0, 0, "hush\n", 5);
  mf_inject_plan_file(f->plan, "/empty", 0644, 1, 2, "", 0);
  mf_inject_plan_symlink(f->plan, "/etc/wants/x", "../x");
  mf_inject_plan_remove(f->plan, "/etc/machine-id");
  f->loop = g_main_loop_new(NULL, FALSE);
}

static void
tear_down(Fixture *f, gconstpointer unused)
{
  g_assert_true(mf_tree_remove(f->folder));
  g_free(f->folder);
  mf_inject_plan_free(f->plan);
  g_main_loop_unref(f->loop);
  g_clear_error(&f->error);
  mf_inject_system_free(f->system);
}

static char *
write_program(Fixture *f, const char *script)
{
  char *path = g_build_filename(f->folder, "program", NULL);
  g_autofree char *text = g_strconcat("#!/bin/sh\n", script, "\n", NULL);
  g_assert_true(g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0755, NULL));
  return path;
}

static void
on_run(GObject *source, GAsyncResult *result, gpointer data)
{
  Fixture *f = data;
  f->ok = mf_inject_run_finish(result, &f->error);
  g_main_loop_quit(f->loop);
}

static void
on_inspect(GObject *source, GAsyncResult *result, gpointer data)
{
  Fixture *f = data;
  f->system = mf_inject_inspect_finish(result, &f->error);
  g_main_loop_quit(f->loop);
}

static void
run(Fixture *f, const char *script, guint64 timeout, GCancellable *cancellable)
{
  g_autofree char *program = write_program(f, script);
  g_autofree char *cache = g_build_filename(f->folder, "cache", NULL);
  MfInjectOptions options = {program, "tcg", timeout, cache, NULL};
  mf_inject_run_async(f->plan, &options, cancellable, on_run, f);
  g_main_loop_run(f->loop);
  /* Nothing of the run is left behind. */
  g_autoptr(GDir) dir = g_dir_open(cache, 0, NULL);
  for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;)
    g_assert_false(g_str_has_prefix(name, "run-"));
}

static void
expect(Fixture *f, MfErrorCode code, const char *word)
{
  g_assert_false(f->ok);
  g_assert_error(f->error, MF_ERROR, (int)code);
  if (strstr(f->error->message, word) == NULL)
    g_error("\"%s\" does not say %s", f->error->message, word);
}

static void
test_hands_over(Fixture *f, gconstpointer unused)
{
  g_autofree char *script = g_strdup_printf(
      "read -r line; echo \"$line\" > %s/line; head -c 5 > %s/content; echo \"$@\" > %s/argv\n"
      "env > %s/env; echo '{\"event\":\"done\"}'",
      f->folder, f->folder, f->folder, f->folder);
  run(f, script, 10, NULL);
  g_assert_no_error(f->error);
  g_assert_true(f->ok);
  g_autofree char *line_path = g_build_filename(f->folder, "line", NULL), *line = NULL;
  g_assert_true(g_file_get_contents(line_path, &line, NULL, NULL));
  g_assert_nonnull(strstr(line, "\"root_device\":\"\\/dev\\/sda1\""));
  g_assert_null(strstr(line, "hush"));
  g_autofree char *env_path = g_build_filename(f->folder, "env", NULL), *env = NULL;
  g_assert_true(g_file_get_contents(env_path, &env, NULL, NULL));
  g_assert_null(strstr(env, "hush"));
  g_autofree char *argv_path = g_build_filename(f->folder, "argv", NULL), *argv = NULL;
  g_assert_true(g_file_get_contents(argv_path, &argv, NULL, NULL));
  g_assert_cmpstr(argv, ==, "\n");
}

static void
test_its_own_error(Fixture *f, gconstpointer unused)
{
  run(f,
      "echo '{\"event\":\"phase\",\"phase\":\"write\"}'; echo noise\n"
      "echo '{\"event\":\"error\",\"code\":\"no-space\",\"message\":\"the disk is full\"}'; exit 1",
      10, NULL);
  expect(f, MF_ERROR_NO_SPACE, "the disk is full");
}

static void
test_silent_end(Fixture *f, gconstpointer unused)
{
  run(f, "echo first >&2; printf 'last \\033[2J words' >&2; exit 7", 10, NULL);
  expect(f, MF_ERROR_FAILED, "status 7");
  g_assert_nonnull(strstr(f->error->message, "last ^[[2J words"));
  g_assert_null(strstr(f->error->message, "first"));
}

static void
test_success_needs_done(Fixture *f, gconstpointer unused)
{
  run(f, "exit 0", 10, NULL);
  expect(f, MF_ERROR_FAILED, "without saying why");
}

static void
test_signal(Fixture *f, gconstpointer unused)
{
  run(f, "echo '{\"event\":\"done\"}'; kill -ABRT $$", 10, NULL);
  expect(f, MF_ERROR_FAILED, "signal 6");
}

static void
test_no_program(Fixture *f, gconstpointer unused)
{
  g_autofree char *cache = g_build_filename(f->folder, "cache", NULL);
  MfInjectOptions options = {"/nonexistent/mayfly-inject", "tcg", 5, cache, NULL};
  mf_inject_run_async(f->plan, &options, NULL, on_run, f);
  g_main_loop_run(f->loop);
  expect(f, MF_ERROR_UNAVAILABLE, "/nonexistent/mayfly-inject");
}

static pid_t
pid_in(Fixture *f)
{
  g_autofree char *path = g_build_filename(f->folder, "pid", NULL), *text = NULL;
  g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
  return (pid_t)g_ascii_strtoll(text, NULL, 10);
}

static gboolean
is_gone(pid_t pid)
{
  /* A dead child of a dead child may wait for PID 1 to take notice. */
  g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid), *stat = NULL;
  for (int i = 0; i < 100; i++) {
    g_clear_pointer(&stat, g_free);
    if (!g_file_get_contents(path, &stat, NULL, NULL) || strstr(stat, ") Z ") != NULL)
      return TRUE;
    g_usleep(10000);
  }
  return FALSE;
}

#define HANG "sleep 60 & echo $! > %s/pid; echo stuck >&2; trap '' TERM; wait; sleep 60"

static void
test_deadline(Fixture *f, gconstpointer unused)
{
  g_autofree char *script = g_strdup_printf(HANG, f->folder);
  run(f, script, 1, NULL);
  expect(f, MF_ERROR_TIMEOUT, "more than 1 s");
  g_assert_nonnull(strstr(f->error->message, "stuck"));
  g_assert_true(is_gone(pid_in(f)));
}

static gboolean
cancel_it(gpointer data)
{
  g_cancellable_cancel(data);
  return G_SOURCE_REMOVE;
}

static void
test_cancel(Fixture *f, gconstpointer unused)
{
  g_autofree char *script = g_strdup_printf(HANG, f->folder);
  g_autoptr(GCancellable) cancellable = g_cancellable_new();
  g_timeout_add(150, cancel_it, cancellable);
  run(f, script, 30, cancellable);
  expect(f, MF_ERROR_CANCELLED, "cancelled");
  g_assert_true(is_gone(pid_in(f)));
  g_clear_error(&f->error);
  run(f, script, 30, cancellable);
  g_assert_cmpint((int)mf_error_code(f->error), ==, MF_ERROR_CANCELLED);
}

/* A child that reads nothing of a plan larger than a pipe must not block us. */
static void
test_does_not_read(Fixture *f, gconstpointer unused)
{
  g_autofree char *big = g_strnfill(1 << 20, 'x');
  mf_inject_plan_file(f->plan, "/big", 0644, 0, 0, big, 1 << 20);
  run(f, "echo '{\"event\":\"error\",\"code\":\"damaged\",\"message\":\"no\"}'; exit 1", 10, NULL);
  expect(f, MF_ERROR_DAMAGED, "no");
}

static void
test_floods(Fixture *f, gconstpointer unused)
{
  run(f,
      "head -c 300000 /dev/zero; head -c 300000 /dev/zero | tr '\\0' 'x' >&2; echo; echo "
      "'{\"event\":\"done\"}'",
      10, NULL);
  g_assert_no_error(f->error);
}

static void
test_bad_path(Fixture *f, gconstpointer unused)
{
  static const char *const bad[] = {"relative", "/", "/a/../b", "/a/./b", "/a/", ""};
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    MfInjectPlan *plan = mf_inject_plan_copy(f->plan);
    mf_inject_plan_file(plan, bad[i], 0644, 0, 0, "x", 1);
    MfInjectPlan *kept = f->plan;
    f->plan = plan;
    run(f, "exit 0", 1, NULL);
    expect(f, MF_ERROR_INVALID, "absolute");
    g_clear_error(&f->error);
    mf_inject_plan_free(plan);
    f->plan = kept;
  }
}

static void
test_inspect(Fixture *f, gconstpointer unused)
{
  g_autofree char *cache = g_build_filename(f->folder, "cache", NULL);
  g_autofree char *program = write_program(f, "echo "
                                              "'{\"event\":\"system\",\"root_device\":\"/dev/"
                                              "sda1\",\"root_fstype\":\"xfs\",\"os\":\"Rocky 9\","
                                              "\"distro\":\"rocky\",\"init\":\"systemd\",\"boot_"
                                              "kernel\":true}'; echo '{\"event\":\"done\"}'");
  MfInjectOptions options = {program, "kvm", 5, cache, NULL};
  mf_inject_inspect_async("/nonexistent/disk", &options, NULL, on_inspect, f);
  g_main_loop_run(f->loop);
  g_assert_no_error(f->error);
  g_assert_cmpstr(f->system->root_device, ==, "/dev/sda1");
  g_assert_cmpstr(f->system->root_fstype, ==, "xfs");
  g_assert_cmpstr(f->system->os, ==, "Rocky 9");
  g_assert_cmpstr(f->system->init, ==, "systemd");
  g_assert_true(f->system->boot_kernel);
}

static void
test_inspect_silent(Fixture *f, gconstpointer unused)
{
  g_autofree char *cache = g_build_filename(f->folder, "cache", NULL);
  g_autofree char *program = write_program(f, "echo '{\"event\":\"done\"}'");
  MfInjectOptions options = {program, "kvm", 5, cache, NULL};
  mf_inject_inspect_async("/nonexistent/disk", &options, NULL, on_inspect, f);
  g_main_loop_run(f->loop);
  g_assert_error(f->error, MF_ERROR, MF_ERROR_FAILED);
}

static void
test_plan_round_trip(Fixture *f, gconstpointer unused)
{
  gsize length;
  f->plan->timeout = 9;
  f->plan->tied = TRUE;
  f->plan->tmp_dir = g_strdup("/tmp/x");
  g_autofree guint8 *bytes = mf_inject_plan_serialize(f->plan, &length);
  const guint8 *newline = memchr(bytes, '\n', length);
  g_assert_cmpuint(mf_inject_plan_total((const char *)bytes, (gsize)(newline - bytes)), ==, length);
  g_autoptr(GError) error = NULL;
  g_autoptr(MfInjectPlan) plan = mf_inject_plan_parse(bytes, length, &error);
  g_assert_no_error(error);
  g_assert_cmpstr(plan->disk, ==, "/nonexistent/disk.qcow2");
  g_assert_cmpstr(plan->root_fstype, ==, "ext4");
  g_assert_cmpstr(plan->tmp_dir, ==, "/tmp/x");
  g_assert_null(plan->cache_dir);
  g_assert_cmpuint(plan->timeout, ==, 9);
  g_assert_true(plan->tied);
  g_assert_false(plan->kvm);
  g_assert_cmpuint(plan->files->len, ==, 2);
  MfInjectFile *file = plan->files->pdata[0], *empty = plan->files->pdata[1];
  g_assert_cmpstr(file->path, ==, "/etc/mayfly/job.json");
  g_assert_cmpmem(file->data, file->length, "hush\n", 5);
  g_assert_cmpuint(file->mode, ==, 0600);
  g_assert_cmpuint(empty->length, ==, 0);
  g_assert_cmpuint(empty->gid, ==, 2);
  g_assert_cmpstr(((MfInjectSymlink *)plan->symlinks->pdata[0])->target, ==, "../x");
  g_assert_cmpstr(plan->remove->pdata[0], ==, "/etc/machine-id");

  /* Cut short or with something behind it, it is refused. */
  for (gsize cut = 0; cut < length; cut++)
    g_assert_null(mf_inject_plan_parse(bytes, cut, NULL));
  g_autofree guint8 *longer = g_malloc0(length + 1);
  memcpy(longer, bytes, length);
  g_assert_null(mf_inject_plan_parse(longer, length + 1, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
}

static void
test_plan_refuses(Fixture *f, gconstpointer unused)
{
  static const char *const bad[] = {
      "{}",
      "{\"disk\":\"/d\"}",
      "{\"disk\":\"/d\",\"accel\":\"xen\"}",
      "{\"disk\":\"/d\",\"accel\":\"tcg\",\"root_device\":\"/dev/sda\"}",
      "{\"disk\":\"/d\",\"accel\":\"tcg\",\"other\":1}",
      "{\"disk\":\"/d\",\"accel\":\"tcg\",\"files\":[{\"path\":\"x\"}]}",
      "{\"disk\":\"/d\",\"accel\":\"tcg\",\"files\":[{\"path\":\"/x\",\"mode\":99999}]}",
      "{\"disk\":\"/d\",\"accel\":\"tcg\",\"files\":[{\"path\":\"/x\",\"length\":5}]}",
      "{\"disk\":\"/d\",\"accel\":\"tcg\",\"files\":[1]}",
      "{\"disk\":\"/d\",\"accel\":\"tcg\",\"symlinks\":[{\"path\":\"/x\"}]}",
      "{\"disk\":\"/d\",\"accel\":\"tcg\",\"remove\":[\"..\"]}",
      "{\"disk\":\"/d\",\"accel\":\"tcg\",\"content\":99999999999}",
  };
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GError) error = NULL;
    g_autofree char *line = g_strconcat(bad[i], "\n", NULL);
    g_assert_null(mf_inject_plan_parse((const guint8 *)line, strlen(line), &error));
    g_assert_nonnull(error);
  }
  g_assert_cmpuint(mf_inject_plan_total("nonsense", 8), ==, 0);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
#define CASE(name, func) g_test_add("/inject/" name, Fixture, NULL, set_up, func, tear_down)
  CASE("hands-over", test_hands_over);
  CASE("its-own-error", test_its_own_error);
  CASE("silent-end", test_silent_end);
  CASE("success-needs-done", test_success_needs_done);
  CASE("signal", test_signal);
  CASE("no-program", test_no_program);
  CASE("deadline", test_deadline);
  CASE("cancel", test_cancel);
  CASE("does-not-read", test_does_not_read);
  CASE("floods", test_floods);
  CASE("bad-path", test_bad_path);
  CASE("inspect", test_inspect);
  CASE("inspect-silent", test_inspect_silent);
  CASE("plan-round-trip", test_plan_round_trip);
  CASE("plan-refuses", test_plan_refuses);
  return g_test_run();
}
