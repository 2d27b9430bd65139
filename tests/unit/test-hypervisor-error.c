/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/hypervisor-private.h"

#include <errno.h>

#include "daemon/error.h"

static void
test_decisions(void)
{
  static const struct {
    int number, domain, os_error;
    MfErrorCode code;
  } cases[] = {
      {VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU, 0, MF_ERROR_NOT_FOUND},
      {VIR_ERR_NO_NWFILTER_BINDING, VIR_FROM_NWFILTER, 0, MF_ERROR_NOT_FOUND},
      {VIR_ERR_STORAGE_VOL_EXIST, VIR_FROM_STORAGE, 0, MF_ERROR_CONFLICT},
      {VIR_ERR_OPERATION_TIMEOUT, VIR_FROM_QEMU, 0, MF_ERROR_BUSY},
      {VIR_ERR_XML_ERROR, VIR_FROM_DOMAIN, 0, MF_ERROR_INVALID},
      {VIR_ERR_SYSTEM_ERROR, VIR_FROM_STORAGE, ENOSPC, MF_ERROR_NO_SPACE},
      {VIR_ERR_SYSTEM_ERROR, VIR_FROM_NONE, EBUSY, MF_ERROR_BUSY},
      {VIR_ERR_SYSTEM_ERROR, VIR_FROM_STORAGE, EIO, MF_ERROR_FAILED},
      {VIR_ERR_INTERNAL_ERROR, VIR_FROM_RPC, 0, MF_ERROR_UNAVAILABLE},
      {VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU, 0, MF_ERROR_FAILED},
      {VIR_ERR_AUTH_FAILED, VIR_FROM_REMOTE, 0, MF_ERROR_UNAVAILABLE},
  };
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++)
    g_assert_cmpint(mf_hypervisor_error_code(cases[i].number, cases[i].domain, cases[i].os_error),
                    ==, cases[i].code);
}

static void
test_taken_from_this_thread(void)
{
  g_autoptr(GError) error = NULL;
  g_assert_null(virDomainLookupByName(NULL, "x"));
  int number = mf_hypervisor_take_error(&error, "cannot look for machine %s", "x");
  g_assert_cmpint(number, ==, VIR_ERR_INVALID_CONN);
  g_assert_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE);
  g_assert_true(g_str_has_prefix(error->message, "cannot look for machine x: "));
}

static void
test_no_error_is_still_an_error(void)
{
  g_autoptr(GError) error = NULL;
  virResetLastError();
  mf_hypervisor_take_error(&error, "x");
  g_assert_error(error, MF_ERROR, MF_ERROR_FAILED);
}

static void
test_open_problem(void)
{
  g_assert_null(virConnectOpen("qemu+unix:///system?socket=/nonexistent/libvirt-sock"));
  g_autofree char *problem = mf_hypervisor_open_problem("qemu:///system");
  g_assert_true(
      g_str_has_prefix(problem, "libvirtd is not running or not reachable at qemu:///system: "));
  g_assert_true(g_str_has_suffix(problem, "; start it with systemctl start libvirtd"));
  g_assert_null(strchr(problem, '\n'));
}

static void
test_names(void)
{
  g_assert_cmpstr(mf_hypervisor_domain_id("mayfly-abc-1"), ==, "abc-1");
  g_assert_null(mf_hypervisor_domain_id("mayfly-"));
  g_assert_null(mf_hypervisor_domain_id("mayfly-../x"));
  g_assert_null(mf_hypervisor_domain_id("mayfly-Abc"));
  g_assert_null(mf_hypervisor_domain_id("other-abc"));
  g_assert_null(mf_hypervisor_domain_id(NULL));
  g_assert_false(
      mf_hypervisor_is_id("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
  for (int i = MF_DOMAIN_EVENT_STARTED; i <= MF_DOMAIN_EVENT_IO_ERROR; i++)
    g_assert_nonnull(mf_domain_event_to_string((MfDomainEvent)i));
}

static void
ignore_error(void *user_data, virErrorPtr error)
{
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  virInitialize();
  virSetErrorFunc(NULL, ignore_error);
  g_test_add_func("/hypervisor-error/decisions", test_decisions);
  g_test_add_func("/hypervisor-error/taken-from-this-thread", test_taken_from_this_thread);
  g_test_add_func("/hypervisor-error/none-is-an-error", test_no_error_is_still_an_error);
  g_test_add_func("/hypervisor-error/open-problem", test_open_problem);
  g_test_add_func("/hypervisor-error/names", test_names);
  return g_test_run();
}
