/* SPDX-License-Identifier: Apache-2.0 */
#include <gio/gio.h>

#include "daemon/error.h"

static void
test_names_and_statuses(void)
{
  for (int i = 0; i < MF_ERROR_LAST_; i++) {
    const char *name = mf_error_code_to_string((MfErrorCode)i);
    g_assert_nonnull(name);
    g_assert_cmpint(mf_error_code_from_string(name), ==, i);
    guint http = mf_error_code_to_http((MfErrorCode)i);
    g_assert_true(http >= 400 && http < 600);
  }
  g_assert_cmpint(mf_error_code_from_string("no such code"), ==, MF_ERROR_FAILED);
}

static void
test_code_of_foreign_errors(void)
{
  g_autoptr(GError) cancelled = g_error_new_literal(G_IO_ERROR, G_IO_ERROR_CANCELLED, "x");
  g_autoptr(GError) full = g_error_new_literal(G_FILE_ERROR, G_FILE_ERROR_NOSPC, "x");
  g_autoptr(GError) late = g_error_new_literal(G_IO_ERROR, G_IO_ERROR_TIMED_OUT, "x");
  g_autoptr(GError) missing = g_error_new_literal(G_IO_ERROR, G_IO_ERROR_NOT_FOUND, "x");
  g_autoptr(GError) ours = g_error_new_literal(MF_ERROR, MF_ERROR_BUSY, "x");
  g_assert_cmpint(mf_error_code(cancelled), ==, MF_ERROR_CANCELLED);
  g_assert_cmpint(mf_error_code(full), ==, MF_ERROR_NO_SPACE);
  g_assert_cmpint(mf_error_code(late), ==, MF_ERROR_TIMEOUT);
  g_assert_cmpint(mf_error_code(missing), ==, MF_ERROR_NOT_FOUND);
  g_assert_cmpint(mf_error_code(ours), ==, MF_ERROR_BUSY);
  g_assert_cmpint(mf_error_code(NULL), ==, MF_ERROR_FAILED);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/error/names-and-statuses", test_names_and_statuses);
  g_test_add_func("/error/foreign", test_code_of_foreign_errors);
  return g_test_run();
}
