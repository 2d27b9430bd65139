/* SPDX-License-Identifier: Apache-2.0 */
/* The tiny guest in a real QEMU: it runs under TCG, which every host has; so where it does not run
 * under KVM, KVM is at fault. */
#include <gio/gio.h>
#include <glib/gstdio.h>

#include "daemon/accel-run.h"
#include "daemon/accel.h"
#include "daemon/config.h"

static MfConfig *config;

static void
test_guest_is_sound(void)
{
  g_auto(MfAccelRun) run = {0};
  g_autoptr(GError) error = NULL;
  gboolean ran = mf_accel_run(config->emulator, "tcg", "max", 30000, NULL, &run, &error);
  g_assert_no_error(error);
  g_assert_true(ran);
  g_test_message("%u ms", run.milliseconds);
  g_assert_true(run.whole);
  g_assert_cmpuint(run.printed, ==, 2);
}

static void
on_ready(GObject *source, GAsyncResult *result, gpointer slot)
{
  *(GAsyncResult **)slot = g_object_ref(result);
}

static MfAccel *
probe(void)
{
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;
  mf_accel_probe_async(config, NULL, on_ready, &result);
  while (result == NULL)
    g_main_context_iteration(NULL, TRUE);
  MfAccel *accel = mf_accel_probe_finish(result, &error);
  g_assert_no_error(error);
  return accel;
}

static void
test_verdict_stays(void)
{
  g_autoptr(MfAccel) first = probe();
  gint64 begin = g_get_monotonic_time();
  g_autoptr(MfAccel) second = probe();
  g_test_message("%s: %s", first->kvm ? "kvm" : "tcg", first->reason);
  g_assert_cmpstr(first->reason, ==, second->reason);
  g_assert_cmpint(first->kvm, ==, second->kvm);
  g_assert_cmpint(g_get_monotonic_time() - begin, <, 2 * G_USEC_PER_SEC);
}

int
main(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *folder = g_dir_make_tmp("sys-accel-XXXXXX", NULL);

  config = mf_config_load(NULL, &error);
  g_assert_no_error(error);
  if (!g_file_test(config->emulator, G_FILE_TEST_IS_EXECUTABLE)) {
    g_print("1..0 # SKIP needs %s; install qemu-system-x86\n", config->emulator);
    return 0;
  }
  g_test_init(&argc, &argv, NULL);
  g_free(config->state_directory);
  config->state_directory = g_strdup(folder);
  g_test_add_func("/accel/guest-is-sound", test_guest_is_sound);
  g_test_add_func("/accel/verdict-stays", test_verdict_stays);
  int status = g_test_run();
  g_autofree char *cache = g_build_filename(folder, "accel.json", NULL);
  g_unlink(cache);
  g_rmdir(folder);
  mf_config_free(config);
  return status;
}
