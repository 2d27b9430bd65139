/* SPDX-License-Identifier: Apache-2.0 */
/* What image build and import are made of: qemu-img's answers, image.conf, programs at work,
 * progress. */
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/image.h"
#include "daemon/tree.h"
#include "tools/cmd-image.h"
#include "tools/commands.h"
#include "tools/disk-info.h"
#include "tools/image-conf.h"
#include "tools/process.h"

static void
expect(GError **error, MfErrorCode code, const char *word)
{
  g_assert_error(*error, MF_ERROR, (int)code);
  if (strstr((*error)->message, word) == NULL)
    g_error("\"%s\" does not say %s", (*error)->message, word);
  g_clear_error(error);
}

static void
test_disk_info(void)
{
  static const struct {
    const char *json, *word;
  } bad[] = {
      {"{\"format\":\"vmdk\",\"virtual-size\":5}", "neither qcow2 nor raw"},
      {"{\"virtual-size\":5}", "neither qcow2 nor raw"},
      {"{\"format\":\"qcow2\",\"virtual-size\":5,\"backing-filename\":\"/etc/shadow\"}", "layer"},
      {"{\"format\":\"qcow2\",\"virtual-size\":5,\"full-backing-filename\":\"nbd:x\"}", "layer"},
      {"{\"format\":\"qcow2\",\"virtual-size\":5,\"encrypted\":true}", "encrypted"},
      {"{\"format\":\"qcow2\",\"virtual-size\":0}", "empty"},
      {"{\"format\":\"qcow2\",\"virtual-size\":5,\"format-specific\":{\"type\":\"qcow2\",\"data\":{"
       "\"data-file\":\"/etc/"
       "shadow\"}}}",
       "another file"},
      {"{\"format\":\"qcow2\",\"virtual-size\":5,\"format-specific\":{\"data\":{\"encrypt\":{"
       "\"format\":\"luks\"}}}}",
       "encrypted"},
      {"{\"format\":\"qcow2\",\"virtual-size\":5,\"format-specific\":{\"data\":{\"corrupt\":true}}"
       "}",
       "corrupt"},
      {"{\"format\":\"qcow2\",\"virtual-size\":5,\"format-specific\":7}", "format-specific"},
      {"nonsense", "qemu-img"},
  };
  static const char good[] =
      "{\"format\":\"qcow2\",\"virtual-size\":1073741824,\"encrypted\":false,"
      "\"format-specific\":{\"type\":\"qcow2\",\"data\":{\"compat\":\"1.1\",\"corrupt\":false}}}";
  g_autoptr(GError) error = NULL;
  g_autoptr(MfDiskInfo) info = mf_disk_info_parse(good, strlen(good), "x", &error);
  g_assert_no_error(error);
  g_assert_cmpstr(info->format, ==, "qcow2");
  g_assert_cmpuint(info->virtual_size, ==, 1 << 30);
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_assert_null(mf_disk_info_parse(bad[i].json, strlen(bad[i].json), "a\nb", &error));
    expect(&error, MF_ERROR_INVALID, bad[i].word);
  }
}

/* Names that qemu-img would take for an option, a protocol or a description of a disk. */
static void
test_hostile_names(void)
{
  static const char *const names[] = {"--help", "nbd:localhost:1", "json:{\"driver\":\"null-co\"}",
                                      "a,b=c", "x\n\033[2J"};
  g_autofree char *folder = g_dir_make_tmp("mayfly-disk-XXXXXX", NULL);
  g_autofree char *here = g_get_current_dir();
  g_autofree char *content = g_strnfill(4096, 'x');
  g_assert_cmpint(g_chdir(folder), ==, 0);
  for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
    g_autoptr(GError) error = NULL;
    g_assert_true(g_file_set_contents(names[i], content, 4096, NULL));
    g_autoptr(MfDiskInfo) info = mf_disk_info_read(names[i], NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(info->format, ==, "raw");
    g_assert_cmpuint(info->virtual_size, ==, 4096);
  }
  g_autoptr(GError) error = NULL;
  g_assert_null(mf_disk_info_read("not there \033[2J", NULL, &error));
  g_assert_null(strchr(error->message, '\033'));
  g_assert_cmpint(g_chdir(here), ==, 0);
  g_assert_true(mf_tree_remove(folder));
}

static void
test_image_conf(void)
{
  g_autoptr(MfImageMeta) meta = mf_image_meta_new();
  g_autoptr(GError) error = NULL;
  g_assert_true(mf_image_conf_parse(
      "# of a recipe\n\nos=Debian = 12\ninit=systemd\nroot-device=/dev/sda\n root-fstype=ext4 \n"
      "cmdline=root=/dev/vda rw\nagent-in-initrd=true\n",
      meta, &error));
  g_assert_no_error(error);
  g_assert_cmpstr(meta->os, ==, "Debian = 12");
  g_assert_cmpstr(meta->root_fstype, ==, "ext4");
  g_assert_cmpstr(meta->cmdline, ==, "root=/dev/vda rw");
  g_assert_true(meta->agent_in_initrd);

  static const struct {
    const char *text, *word;
  } bad[] = {{"os=x\nboot=y\n", "line 2"},
             {"nonsense", "line 1"},
             {"agent-in-initrd=yes", "line 1"},
             {"os=x\n", "init="}};
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(MfImageMeta) other = mf_image_meta_new();
    g_assert_false(mf_image_conf_parse(bad[i].text, other, &error));
    expect(&error, MF_ERROR_INVALID, bad[i].word);
  }
}

typedef struct {
  FILE *to;
  char *text;
  size_t length;
  MfSteps *progress;
  GCancellable *cancellable;
} Fixture;

static void
set_up(Fixture *f, gconstpointer live)
{
  f->to = open_memstream(&f->text, &f->length);
  f->progress = mf_steps_new(f->to, live != NULL);
  f->cancellable = g_cancellable_new();
}

static void
tear_down(Fixture *f, gconstpointer live)
{
  mf_steps_free(f->progress);
  fclose(f->to);
  free(f->text);
  g_object_unref(f->cancellable);
}

static gboolean
run(Fixture *f, const char *script, char **ret_tail, GError **error)
{
  char *argv[] = {(char *)"sh", (char *)"-c", (char *)script, NULL};
  MfProcess process = {.argv = argv, .progress = f->progress, .what = "the script"};
  gboolean ok = mf_process_run(&process, f->cancellable, ret_tail, error);
  mf_steps_end(f->progress, ok);
  return ok;
}

static void
test_steps(Fixture *f, gconstpointer live)
{
  g_autoptr(GError) error = NULL;
  g_assert_true(run(
      f,
      "echo '==> one'; echo noise; echo '==> two \033[2J'; printf '   (50.00/100%%)\\r'; sleep 1.1",
      NULL, &error));
  g_assert_no_error(error);
  fflush(f->to);
  g_assert_nonnull(strstr(f->text, "==> one"));
  g_assert_nonnull(strstr(f->text, "==> two ^[[2J"));
  g_assert_null(strstr(f->text, "noise"));
  g_assert_null(strstr(f->text, "\033[2J"));
  g_assert_nonnull(strstr(f->text, live != NULL ? "50 %" : "done in 1 s"));
}

static void
test_failure(Fixture *f, gconstpointer live)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *tail = NULL;
  g_assert_false(run(f, "seq 1 30; exit 3", &tail, &error));
  expect(&error, MF_ERROR_FAILED, "status 3");
  g_assert_null(strstr(tail, " 10\n"));
  g_assert_nonnull(strstr(tail, " 11\n"));
  g_assert_false(run(f, "echo 'error: no network'; echo more; exit 1", NULL, &error));
  expect(&error, MF_ERROR_FAILED, "the script: no network");
  g_assert_false(run(f, "kill -SEGV $$", NULL, &error));
  expect(&error, MF_ERROR_FAILED, "signal 11");
}

static gboolean
cancel(gpointer data)
{
  g_cancellable_cancel(data);
  return G_SOURCE_REMOVE;
}

static void
test_cancel(Fixture *f, gconstpointer live)
{
  g_autoptr(GError) error = NULL;
  g_timeout_add(100, cancel, f->cancellable);
  gint64 start = g_get_monotonic_time();
  g_assert_false(run(f, "sleep 30 & trap '' INT TERM; wait", NULL, &error));
  g_assert_cmpint((int)mf_error_code(error), ==, MF_ERROR_CANCELLED);
  g_assert_cmpint(g_get_monotonic_time() - start, <, 5 * G_USEC_PER_SEC);
}

/* The whole of image build with a recipe of our own, where this process may make namespaces. */
static void
test_build(void)
{
  g_autofree char *folder = g_dir_make_tmp("mayfly-build-XXXXXX", NULL);
  g_autofree char *recipes = g_build_filename(folder, "recipes", NULL);
  g_autofree char *images = g_build_filename(folder, "images", NULL);
  g_autofree char *cache = g_build_filename(folder, "cache", NULL);
  g_autofree char *recipe = g_build_filename(recipes, "small.recipe", NULL);
  g_autofree char *config = g_build_filename(folder, "mayfly.conf", NULL);
  g_autoptr(GError) error = NULL;
  int status = -1;
  if (!g_spawn_command_line_sync("unshare --fork --pid --mount --mount-proc --map-root-user true",
                                 NULL, NULL, &status, NULL) ||
      status != 0) {
    g_test_skip("this process may not make namespaces");
    return;
  }
  g_assert_cmpint(g_mkdir(recipes, 0755), ==, 0);
  g_setenv("MAYFLY_DATADIR", folder, TRUE);
  g_setenv("MAYFLY_CONFIG", config, TRUE);
  g_assert_true(g_file_set_contents(
      recipe,
      "set -eu\n[ -z \"${SECRET:-}\" ]; [ \"$$\" -lt 5 ]; [ \"$PWD\" = \"$WORK\" ]\n"
      "truncate -s 1M \"$OUT/disk.raw\"; echo k > \"$OUT/kernel\"; echo x > \"$CACHE/kept\"\n"
      "printf 'os=Small\\ninit=busybox\\nroot-device=/dev/sda\\nroot-fstype=ext4\\n' > "
      "\"$OUT/image.conf\"\n",
      -1, NULL));
  g_setenv("SECRET", "x", TRUE);
  MfCommon common = {0};
  MfImageBuildOptions options = {.images = images, .cache = cache, .name = "mine"};
  char *argv[] = {(char *)"small", NULL};
  g_assert_cmpint(mf_cmd_image_build(&common, &options, argv, &error), ==, MF_EXIT_OK);
  g_assert_no_error(error);
  g_autoptr(MfImage) image = mf_image_find(images, "mine", &error);
  g_assert_no_error(error);
  g_assert_cmpuint(image->virtual_size, ==, 1 << 20);
  g_assert_nonnull(image->kernel);
  g_assert_true(mf_image_verify(image, NULL, NULL, NULL, NULL));

  char *unknown[] = {(char *)"../small", NULL};
  g_assert_cmpint(mf_cmd_image_build(&common, &options, unknown, &error), ==, MF_EXIT_FAILURE);
  expect(&error, MF_ERROR_NOT_FOUND, "there are: small");
  g_assert_true(g_file_set_contents(recipe, "echo 'error: it cannot be'; exit 1\n", -1, NULL));
  g_assert_cmpint(mf_cmd_image_build(&common, &options, argv, &error), ==, MF_EXIT_FAILURE);
  expect(&error, MF_ERROR_FAILED, "it cannot be");
  g_assert_true(g_file_set_contents(recipe, "exit 0\n", -1, NULL));
  g_assert_cmpint(mf_cmd_image_build(&common, &options, argv, &error), ==, MF_EXIT_FAILURE);
  expect(&error, MF_ERROR_INVALID, "image.conf");

  /* Of the failures nothing is left. */
  guint entries = 0;
  g_autoptr(GDir) dir = g_dir_open(images, 0, NULL);
  for (const char *name; (name = g_dir_read_name(dir)) != NULL;)
    entries += *name != '.' || g_str_has_prefix(name, ".new");
  g_assert_cmpuint(entries, ==, 1);
  g_assert_true(mf_tree_remove(folder));
}

static void
test_import(void)
{
  g_autofree char *folder = g_dir_make_tmp("mayfly-import-XXXXXX", NULL);
  g_autofree char *images = g_build_filename(folder, "images", NULL);
  g_autofree char *disk = g_build_filename(folder, "My Disk (1).img", NULL);
  g_autofree char *overlay = g_build_filename(folder, "overlay.qcow2", NULL);
  g_autofree char *content = g_strnfill(1 << 20, 'x');
  g_autoptr(GError) error = NULL;
  g_assert_true(g_file_set_contents(disk, content, 1 << 20, NULL));
  MfCommon common = {0};
  MfImageImportOptions options = {
      .images = images, .root_device = "/dev/sda", .root_fstype = "ext4"};
  char *argv[] = {disk, NULL};
  g_assert_cmpint(mf_cmd_image_import(&common, &options, argv, &error), ==, MF_EXIT_OK);
  g_assert_no_error(error);
  g_autoptr(MfImage) image = mf_image_find(images, "My-Disk--1", &error);
  g_assert_no_error(error);
  g_assert_null(image->kernel);

  g_autoptr(GSubprocess) child =
      g_subprocess_new(G_SUBPROCESS_FLAGS_NONE, NULL, "qemu-img", "create", "-q", "-f", "qcow2",
                       "-F", "raw", "-b", disk, overlay, NULL);
  g_assert_true(g_subprocess_wait_check(child, NULL, NULL));
  char *layer[] = {overlay, NULL}, *missing[] = {(char *)"/nonexistent", NULL},
       *nameless[] = {(char *)"/tmp/...", NULL};
  g_assert_cmpint(mf_cmd_image_import(&common, &options, layer, &error), ==, MF_EXIT_FAILURE);
  expect(&error, MF_ERROR_INVALID, "layer");
  g_assert_cmpint(mf_cmd_image_import(&common, &options, missing, &error), ==, MF_EXIT_FAILURE);
  expect(&error, MF_ERROR_NOT_FOUND, "/nonexistent");
  g_assert_cmpint(mf_cmd_image_import(&common, &options, nameless, &error), ==, MF_EXIT_FAILURE);
  expect(&error, MF_ERROR_INVALID, "--name");
  options.root_fstype = NULL;
  g_assert_cmpint(mf_cmd_image_import(&common, &options, argv, &error), ==, MF_EXIT_FAILURE);
  expect(&error, MF_ERROR_INVALID, "belong together");
  g_assert_true(mf_tree_remove(folder));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/image-build/disk-info", test_disk_info);
  g_test_add_func("/image-build/hostile-names", test_hostile_names);
  g_test_add_func("/image-build/image-conf", test_image_conf);
  g_test_add("/image-build/steps", Fixture, NULL, set_up, test_steps, tear_down);
  g_test_add("/image-build/steps-live", Fixture, "live", set_up, test_steps, tear_down);
  g_test_add("/image-build/failure", Fixture, NULL, set_up, test_failure, tear_down);
  g_test_add("/image-build/cancel", Fixture, NULL, set_up, test_cancel, tear_down);
  g_test_add_func("/image-build/build", test_build);
  g_test_add_func("/image-build/import", test_import);
  return g_test_run();
}
