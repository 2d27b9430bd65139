/* SPDX-License-Identifier: Apache-2.0 */
/* Prepared layers, with a program in the place of mayfly-inject that notes its plan. */
#include "daemon/inject.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/error.h"
#include "daemon/tree.h"

typedef struct {
  char *folder;
  char *agent;
  char *runner; /* NULL: there is none */
  char *program;
  char *cache;
  MfImage *image;
  guint waiting;
  char *path;
  GError *error;
} Fixture;

static void
put(const char *folder, const char *name, const char *text, int mode)
{
  g_autofree char *path = g_build_filename(folder, name, NULL);
  g_autofree char *parent = g_path_get_dirname(path);
  g_assert_cmpint(g_mkdir_with_parents(parent, 0755), ==, 0);
  g_assert_true(
      g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, mode, NULL));
}

static void
set_up(Fixture *f, gconstpointer unused)
{
  f->folder = g_dir_make_tmp("mayfly-prepare-XXXXXX", NULL);
  f->agent = g_build_filename(f->folder, "mayfly-agent", NULL);
  f->program = g_build_filename(f->folder, "program", NULL);
  f->cache = g_build_filename(f->folder, "cache", NULL);
  put(f->folder, "mayfly-agent", "agent", 0755);
  put(f->folder, "data/agent/mayfly-agent.service", "unit", 0644);
  put(f->folder, "data/agent/mayfly-agent.init", "script", 0755);
  put(f->folder, "data/agent/mayfly-agent.openrc", "openrc", 0755);
  g_autofree char *data = g_build_filename(f->folder, "data", NULL);
  g_setenv("MAYFLY_DATADIR", data, TRUE);

  f->image = g_new0(MfImage, 1);
  g_atomic_ref_count_init(&f->image->refs);
  f->image->name = g_strdup("test");
  f->image->directory = g_build_filename(f->folder, "image", NULL);
  f->image->disk = g_build_filename(f->image->directory, "disk.qcow2", NULL);
  f->image->root_device = g_strdup("/dev/sda");
  f->image->root_fstype = g_strdup("ext4");
  f->image->init = g_strdup("systemd");
  g_assert_cmpint(g_mkdir(f->image->directory, 0755), ==, 0);
  g_autoptr(GSubprocess) child =
      g_subprocess_new(G_SUBPROCESS_FLAGS_NONE, NULL, "qemu-img", "create", "-q", "-f", "qcow2",
                       f->image->disk, "1M", NULL);
  g_assert_true(g_subprocess_wait_check(child, NULL, NULL));
}

static void
tear_down(Fixture *f, gconstpointer unused)
{
  g_assert_true(mf_tree_remove(f->folder));
  mf_image_unref(f->image);
  g_free(f->folder);
  g_free(f->agent);
  g_free(f->runner);
  g_free(f->program);
  g_free(f->cache);
  g_free(f->path);
  g_clear_error(&f->error);
}

static void
on_prepared(GObject *source, GAsyncResult *result, gpointer data)
{
  Fixture *f = data;
  g_clear_error(&f->error);
  g_autofree char *path = mf_image_prepare_finish(result, &f->error);
  if (f->path != NULL && path != NULL)
    g_assert_cmpstr(f->path, ==, path);
  if (path != NULL) {
    g_free(f->path);
    f->path = g_steal_pointer(&path);
  }
  f->waiting--;
}

static void
begin(Fixture *f, GCancellable *cancellable)
{
  MfInjectOptions options = {f->program, "tcg", 20, f->cache, NULL};
  f->waiting++;
  mf_image_prepare_async(f->image, f->agent, f->runner, &options, cancellable, on_prepared, f);
}

static void
until(Fixture *f, guint waiting)
{
  while (f->waiting > waiting)
    g_main_context_iteration(NULL, TRUE);
}

static void
program(Fixture *f, const char *script)
{
  g_autofree char *text =
      g_strdup_printf("#!/bin/sh\ncd %s\necho x >> runs\n%s\n", f->folder, script);
  put(f->folder, "program", text, 0755);
}

static gsize
count_runs(Fixture *f)
{
  g_autofree char *path = g_build_filename(f->folder, "runs", NULL), *text = NULL;
  gsize length = 0;
  g_file_get_contents(path, &text, &length, NULL);
  return length / 2;
}

static guint
count_files(Fixture *f)
{
  guint count = 0;
  g_autoptr(GDir) dir = g_dir_open(f->image->directory, 0, NULL);
  while (g_dir_read_name(dir) != NULL)
    count++;
  return count;
}

#define DONE "head -n 1 > plan; echo '{\"event\":\"done\"}'"

static void
expect_in_plan(Fixture *f, const char *word, gboolean there)
{
  g_autofree char *path = g_build_filename(f->folder, "plan", NULL), *plan = NULL;
  g_assert_true(g_file_get_contents(path, &plan, NULL, NULL));
  g_autoptr(GString) plain = g_string_new(plan);
  g_string_replace(plain, "\\/", "/", 0);
  if ((strstr(plain->str, word) != NULL) != there)
    g_error("%s %s %s", plain->str, there ? "lacks" : "has", word);
}

static void
test_once(Fixture *f, gconstpointer unused)
{
  struct stat st;
  program(f, "sleep 0.2; " DONE);
  put(f->image->directory, ".prepared-0000000000000000.qcow2", "of a dead daemon", 0644);
  begin(f, NULL);
  begin(f, NULL);
  until(f, 0);
  g_assert_no_error(f->error);
  g_assert_cmpuint(count_runs(f), ==, 1);
  g_assert_cmpuint(count_files(f), ==, 2);
  g_assert_cmpint(stat(f->path, &st), ==, 0);
  g_assert_cmpint(st.st_mode & 07777, ==, 0444);
  g_assert_true(g_str_has_prefix(f->path, f->image->directory));
  g_assert_nonnull(strstr(f->path, "/prepared-"));
  expect_in_plan(f, "/usr/local/lib/mayfly/mayfly-agent", TRUE);
  expect_in_plan(f, "/etc/systemd/system/mayfly-agent.service", TRUE);
  expect_in_plan(f, "init.d", FALSE);

  begin(f, NULL);
  until(f, 0);
  g_assert_no_error(f->error);
  g_assert_cmpuint(count_runs(f), ==, 1);

  /* Another agent is another layer. */
  g_autofree char *first = g_steal_pointer(&f->path);
  put(f->folder, "mayfly-agent", "newer agent", 0755);
  begin(f, NULL);
  until(f, 0);
  g_assert_cmpstr(f->path, !=, first);
  g_assert_cmpuint(count_runs(f), ==, 2);
}

/* A copy of the host's gitlab-runner: a new one makes a new layer, and the old ones go. */
static void
test_runner(Fixture *f, gconstpointer unused)
{
  program(f, DONE);
  begin(f, NULL);
  until(f, 0);
  g_autofree char *without = g_steal_pointer(&f->path);
  f->runner = g_build_filename(f->folder, "gitlab-runner", NULL);
  put(f->folder, "gitlab-runner", "first", 0755);
  begin(f, NULL);
  until(f, 0);
  g_assert_no_error(f->error);
  g_assert_cmpstr(f->path, !=, without);
  expect_in_plan(f, "/usr/local/bin/gitlab-runner", TRUE);
  expect_in_plan(f, f->runner, TRUE);
  g_autofree char *with = g_steal_pointer(&f->path);
  put(f->folder, "gitlab-runner", "second one", 0755);
  begin(f, NULL);
  until(f, 0);
  g_assert_cmpstr(f->path, !=, with);
  g_assert_cmpuint(count_files(f), ==, 4);
  mf_image_prepare_sweep(f->image, f->agent, f->runner);
  g_assert_cmpuint(count_files(f), ==, 2);
  g_assert_true(g_file_test(f->path, G_FILE_TEST_EXISTS));
}

static void
test_inits(Fixture *f, gconstpointer unused)
{
  static const struct {
    const char *init, *word, *other;
  } cases[] = {
      {"sysv", "/etc/rc2.d/S01mayfly-agent", "systemd"},
      {"openrc", "/etc/runlevels/", "systemd"},
      {"busybox", "/usr/local/lib/mayfly/mayfly-agent", "init.d"},
      {"unknown", "mayfly-agent.service", "runlevels"},
  };
  program(f, DONE);
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_free(f->image->init);
    f->image->init = g_strdup(cases[i].init);
    begin(f, NULL);
    until(f, 0);
    g_assert_no_error(f->error);
    expect_in_plan(f, cases[i].word, TRUE);
    expect_in_plan(f, cases[i].other, FALSE);
    g_unlink(f->path);
  }
}

static void
test_agent_in_initrd(Fixture *f, gconstpointer unused)
{
  program(f, DONE);
  f->image->agent_in_initrd = TRUE;
  begin(f, NULL);
  until(f, 0);
  g_assert_no_error(f->error);
  expect_in_plan(f, "/usr/local/lib/mayfly/mayfly-agent", TRUE);
  expect_in_plan(f, "mayfly-agent.service", FALSE);
}

static void
test_failure_leaves_nothing(Fixture *f, gconstpointer unused)
{
  program(f, "echo '{\"event\":\"error\",\"code\":\"no-space\",\"message\":\"full\"}'; exit 1");
  begin(f, NULL);
  begin(f, NULL);
  until(f, 0);
  g_assert_error(f->error, MF_ERROR, MF_ERROR_NO_SPACE);
  g_assert_nonnull(strstr(f->error->message, "image test"));
  g_assert_cmpuint(count_files(f), ==, 1);
  /* And the next one may succeed. */
  program(f, DONE);
  begin(f, NULL);
  until(f, 0);
  g_assert_no_error(f->error);
}

static void
test_missing_parts(Fixture *f, gconstpointer unused)
{
  program(f, DONE);
  g_autofree char *unit = g_build_filename(f->folder, "data/agent/mayfly-agent.service", NULL);
  g_unlink(unit);
  begin(f, NULL);
  until(f, 0);
  g_assert_error(f->error, MF_ERROR, MF_ERROR_UNAVAILABLE);
  g_unlink(f->image->disk);
  begin(f, NULL);
  until(f, 0);
  g_assert_nonnull(strstr(f->error->message, "No such file"));
  g_assert_null(strchr(f->error->message, '\n'));
  g_unlink(f->agent);
  begin(f, NULL);
  until(f, 0);
  g_assert_nonnull(strstr(f->error->message, "mayfly-agent"));
}

/* One that gives up does not take the others' layer away; when all have, the run ends. */
static void
test_cancel(Fixture *f, gconstpointer unused)
{
  g_autoptr(GCancellable) one = g_cancellable_new();
  g_autoptr(GCancellable) other = g_cancellable_new();
  program(f, "sleep 0.3; " DONE);
  begin(f, one);
  begin(f, NULL);
  g_cancellable_cancel(one);
  until(f, 1);
  g_assert_error(f->error, MF_ERROR, MF_ERROR_CANCELLED);
  until(f, 0);
  g_assert_no_error(f->error);
  g_assert_cmpuint(count_runs(f), ==, 1);
  g_unlink(f->path);

  program(f, "sleep 20");
  begin(f, other);
  g_cancellable_cancel(other);
  until(f, 0);
  g_assert_error(f->error, MF_ERROR, MF_ERROR_CANCELLED);
  /* Somebody comes while it is being given up. */
  program(f, DONE);
  begin(f, NULL);
  until(f, 0);
  g_assert_no_error(f->error);
  g_assert_cmpuint(count_files(f), ==, 2);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
#define CASE(name, func) g_test_add("/prepare/" name, Fixture, NULL, set_up, func, tear_down)
  CASE("once", test_once);
  CASE("runner", test_runner);
  CASE("inits", test_inits);
  CASE("agent-in-initrd", test_agent_in_initrd);
  CASE("failure-leaves-nothing", test_failure_leaves_nothing);
  CASE("missing-parts", test_missing_parts);
  CASE("cancel", test_cancel);
  return g_test_run();
}
