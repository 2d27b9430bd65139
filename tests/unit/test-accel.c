/* SPDX-License-Identifier: Apache-2.0 */
/* The verdict on KVM and its memory, with shell scripts in QEMU's place. */
#include "daemon/accel.h"

#include <glib/gstdio.h>

#include "daemon/accel-cache.h"
#include "daemon/accel-run.h"
#include "daemon/error.h"

static char *folder;

static MfAccelKey
a_key(void)
{
  MfAccelKey key = {.kernel = (char *)"6.1.0",
                    .boot = (char *)"b-1",
                    .emulator = (char *)"/usr/bin/qemu",
                    .version = (char *)"QEMU emulator version 7.2.22"};
  return key;
}

static void
test_remembered(void)
{
  MfAccelKey key = a_key();
  g_autoptr(MfAccel) accel = mf_accel_new(FALSE, "because \"%s\"", "of that");
  g_autofree char *text = mf_accel_cache_write(&key, accel);
  g_autoptr(MfAccel) read = mf_accel_cache_read(text, strlen(text), &key);
  g_assert_nonnull(read);
  g_assert_false(read->kvm);
  g_assert_cmpstr(read->reason, ==, "because \"of that\"");
}

static void
test_asked_again_when_something_changed(void)
{
  MfAccelKey key = a_key();
  g_autoptr(MfAccel) accel = mf_accel_new(TRUE, "fine");
  g_autofree char *text = mf_accel_cache_write(&key, accel);
  char **const fields[] = {&key.kernel, &key.boot, &key.emulator, &key.version};
  for (guint i = 0; i < G_N_ELEMENTS(fields); i++) {
    char *was = *fields[i];
    *fields[i] = (char *)"other";
    g_assert_null(mf_accel_cache_read(text, strlen(text), &key));
    *fields[i] = was;
  }
  g_autoptr(MfAccel) read = mf_accel_cache_read(text, strlen(text), &key);
  g_assert_true(read->kvm);
}

static void
test_damaged_memory(void)
{
  static const char *const texts[] = {
      "",
      "{",
      "[]",
      "null",
      "{\"version\":1}",
      "{\"version\":2,\"kernel\":\"6.1.0\",\"boot\":\"b-1\",\"emulator\":\"/usr/bin/qemu\","
      "\"emulator_version\":\"QEMU emulator version 7.2.22\",\"kvm\":true,\"reason\":\"x\"}",
      "{\"version\":1,\"kernel\":\"6.1.0\",\"boot\":\"b-1\",\"emulator\":\"/usr/bin/qemu\","
      "\"emulator_version\":\"QEMU emulator version 7.2.22\",\"kvm\":\"yes\",\"reason\":\"x\"}",
      "{\"version\":1,\"kernel\":\"6.1.0\",\"boot\":\"b-1\",\"emulator\":\"/usr/bin/qemu\","
      "\"emulator_version\":\"QEMU emulator version 7.2.22\",\"kvm\":true}",
      "{\"version\":1,\"kernel\":6,\"boot\":\"b-1\",\"emulator\":\"/usr/bin/qemu\","
      "\"emulator_version\":\"QEMU emulator version 7.2.22\",\"kvm\":true,\"reason\":\"x\"}",
  };
  MfAccelKey key = a_key();
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
    g_assert_null(mf_accel_cache_read(texts[i], strlen(texts[i]), &key));
}

/* (transfer full) */
static char *
make_emulator(const char *name, const char *script)
{
  g_autoptr(GError) error = NULL;
  char *path = g_build_filename(folder, name, NULL);
  g_autofree char *text = g_strdup_printf(
      "#!/bin/sh\n[ \"$1\" = --version ] && echo 'QEMU emulator version 0' && exit\n%s\n", script);
  g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_NONE, 0755, &error);
  g_assert_no_error(error);
  return path;
}

static void
run(const char *script, MfAccelRun *ret)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *emulator = make_emulator("run", script);
  gboolean ran = mf_accel_run(emulator, "kvm", "host", 200, NULL, ret, &error);
  g_assert_no_error(error);
  g_assert_true(ran);
}

static void
test_run(void)
{
  g_auto(MfAccelRun) good = {0};
  run("printf RK; exec sleep 30", &good);
  g_assert_true(good.whole);
  g_assert_false(good.hung);
  g_assert_cmpuint(good.milliseconds, <, 200);

  g_auto(MfAccelRun) hung = {0};
  run("printf R; exec sleep 30", &hung);
  g_assert_false(hung.whole);
  g_assert_true(hung.hung);
  g_assert_cmpuint(hung.printed, ==, 1);

  g_auto(MfAccelRun) dead = {0};
  run("echo 'qemu: error: failed to set MSR 0x10a' >&2; echo more >&2; kill -ABRT $$", &dead);
  g_assert_false(dead.whole || dead.hung);
  g_assert_cmpstr(dead.complaint, ==, "qemu: error: failed to set MSR 0x10a");

  g_auto(MfAccelRun) wrong = {0};
  run("head -c 100000 /dev/zero; head -c 100000 /dev/zero >&2", &wrong);
  g_assert_false(wrong.whole || wrong.hung);
}

static void
test_no_emulator(void)
{
  g_auto(MfAccelRun) none = {0};
  g_autoptr(GError) error = NULL;
  g_assert_false(mf_accel_run("/nonexistent/qemu", "kvm", "host", 200, NULL, &none, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE);
}

static void
test_cancelled(void)
{
  g_auto(MfAccelRun) none = {0};
  g_autoptr(GError) error = NULL;
  g_autoptr(GCancellable) cancellable = g_cancellable_new();
  g_autofree char *emulator = make_emulator("cancel", "exec sleep 30");
  g_cancellable_cancel(cancellable);
  g_assert_false(mf_accel_run(emulator, "kvm", "host", 200, cancellable, &none, &error));
  g_assert_cmpint(mf_error_code(error), ==, MF_ERROR_CANCELLED);
}

static void
on_ready(GObject *source, GAsyncResult *result, gpointer slot)
{
  *(GAsyncResult **)slot = g_object_ref(result);
}

static MfAccel *
probe(const char *mode, const char *script, GError **error)
{
  g_autofree char *emulator = make_emulator("probe", script);
  MfConfig config = {.accel = (char *)mode, .emulator = emulator, .state_directory = folder};
  g_autoptr(GAsyncResult) result = NULL;
  mf_accel_probe_async(&config, NULL, on_ready, &result);
  while (result == NULL)
    g_main_context_iteration(NULL, TRUE);
  return mf_accel_probe_finish(result, error);
}

static void
test_configured(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfAccel) tcg = probe("tcg", "exit 1", &error);
  g_assert_no_error(error);
  g_assert_false(tcg->kvm);
  g_assert_true(g_str_has_prefix(tcg->reason, "accel = tcg is configured"));

  g_assert_null(probe("kvm", "echo no >&2", &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE);
}

/* With or without /dev/kvm where this runs, a QEMU that dies is no KVM; the second time nothing is
 * run. */
static void
test_auto(void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *mark = g_build_filename(folder, "ran", NULL);
  g_autofree char *script = g_strdup_printf("echo x >> %s; echo dead >&2", mark);
  g_autofree char *cache = g_build_filename(folder, "accel.json", NULL);
  g_unlink(cache);
  for (guint i = 0; i < 2; i++) {
    g_autoptr(MfAccel) accel = probe("auto", script, &error);
    g_assert_no_error(error);
    g_assert_false(accel->kvm);
    g_assert_nonnull(strstr(accel->reason, "TCG"));
  }
  g_autofree char *ran = NULL;
  if (g_file_get_contents(mark, &ran, NULL, NULL))
    g_assert_cmpstr(ran, ==, "x\n");
}

static void
remove_folder(void)
{
  g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
  const char *name;
  while ((name = g_dir_read_name(dir)) != NULL) {
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_unlink(path);
  }
  g_rmdir(folder);
  g_free(folder);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  folder = g_dir_make_tmp("test-accel-XXXXXX", NULL);
  g_assert_nonnull(folder);
  g_test_add_func("/accel/remembered", test_remembered);
  g_test_add_func("/accel/asked-again", test_asked_again_when_something_changed);
  g_test_add_func("/accel/damaged-memory", test_damaged_memory);
  g_test_add_func("/accel/run", test_run);
  g_test_add_func("/accel/no-emulator", test_no_emulator);
  g_test_add_func("/accel/cancelled", test_cancelled);
  g_test_add_func("/accel/configured", test_configured);
  g_test_add_func("/accel/auto", test_auto);
  int status = g_test_run();
  remove_folder();
  return status;
}
