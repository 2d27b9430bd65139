/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "daemon/error.h"
#include "daemon/port.h"

static MfPortTable *
table(const char *subnet, guint ports, guint64 rest, GError **error)
{
  g_autofree char *copy = g_strdup(subnet);
  MfConfig config = {.subnet = copy, .ports = ports, .port_rest = rest};
  return mf_port_table_new(&config, error);
}

static void
bind_all(MfPortTable *self)
{
  for (guint i = 0; i < mf_port_table_size(self); i++)
    mf_port_table_get(self, i)->bound = TRUE;
}

static void
test_names_and_addresses(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfPortTable) self = table("10.177.0.0/16", 1000, 5, &error);
  g_assert_no_error(error);
  g_assert_cmpstr(mf_port_table_gateway(self), ==, "10.177.0.1");
  g_assert_cmpuint(mf_port_table_prefix(self), ==, 16);
  g_assert_cmpuint(mf_port_table_size(self), ==, 1000);
  const MfPort *first = mf_port_table_get(self, 0);
  g_assert_cmpstr(first->tap, ==, "mf0");
  g_assert_cmpstr(first->mac, ==, "52:54:00:6d:00:00");
  g_assert_cmpstr(first->ip, ==, "10.177.0.16");
  const MfPort *last = mf_port_table_get(self, 999);
  g_assert_cmpstr(last->tap, ==, "mf999");
  g_assert_cmpstr(last->mac, ==, "52:54:00:6d:03:e7");
  g_assert_cmpstr(last->ip, ==, "10.177.3.247");
  g_assert_cmpuint(last->index, ==, 999);
}

static void
test_room(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfPortTable) fits = table("192.168.7.0/24", 239, 0, &error);
  g_assert_no_error(error);
  g_assert_cmpstr(mf_port_table_get(fits, 238)->ip, ==, "192.168.7.254");
  g_assert_null(table("192.168.7.0/24", 240, 0, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
  g_assert_nonnull(strstr(error->message, "239"));
  g_clear_error(&error);
  g_assert_null(table("192.168.7.0/24", 0, 0, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
  g_clear_error(&error);
  g_assert_null(table("10.0.0.0/8", 65536, 0, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
}

static void
test_bad_subnets(void)
{
  static const char *const bad[] = {"",
                                    "10.177.0.0",
                                    "10.177.0.0/",
                                    "10.177.0.0/24x",
                                    "10.177.0.0/7",
                                    "10.177.0.0/28",
                                    "10.177.0/24",
                                    "10.177.0.1/24",
                                    "fd00::/24",
                                    "8.8.8.0/24",
                                    "172.32.0.0/24",
                                    "192.0.0.0/9",
                                    "10.177.0.0/-24",
                                    "010.177.0.0/24",
                                    " 10.177.0.0/24"};
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GError) error = NULL;
    g_assert_null(table(bad[i], 1, 0, &error));
    g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
  }
  g_autoptr(GError) error = NULL;
  g_assert_null(table(NULL, 1, 0, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
}

static void
test_least_recently_used(void)
{
  g_autoptr(MfPortTable) self = table("10.177.0.0/24", 3, 0, NULL);
  g_assert_null(mf_port_table_take(self, "early", 1)); /* nothing is bound yet */
  bind_all(self);
  MfPort *a = mf_port_table_take(self, "a", 10);
  MfPort *b = mf_port_table_take(self, "b", 10);
  g_assert_cmpuint(a->index, ==, 0);
  g_assert_cmpuint(b->index, ==, 1);
  g_assert_cmpstr(a->job, ==, "a");
  mf_port_table_release(self, b, 20);
  mf_port_table_release(self, a, 30);
  g_assert_null(a->job);
  g_assert_cmpuint(mf_port_table_take(self, "c", 40)->index, ==, 2); /* never used */
  g_assert_cmpuint(mf_port_table_take(self, "d", 40)->index, ==, 1);
  g_assert_cmpuint(mf_port_table_take(self, "e", 40)->index, ==, 0);
  g_assert_null(mf_port_table_take(self, "f", 40));
  g_assert_cmpuint(mf_port_table_available(self, 40), ==, 0);
}

static void
test_rest(void)
{
  g_autoptr(MfPortTable) self = table("10.177.0.0/24", 1, 5, NULL);
  bind_all(self);
  gint64 now = 100 * G_USEC_PER_SEC;
  MfPort *port = mf_port_table_take(self, "a", now);
  mf_port_table_release(self, port, now);
  g_assert_null(mf_port_table_take(self, "b", now + 5 * G_USEC_PER_SEC - 1));
  g_assert_cmpuint(mf_port_table_available(self, now + 5 * G_USEC_PER_SEC - 1), ==, 0);
  g_assert_cmpuint(mf_port_table_available(self, now + 5 * G_USEC_PER_SEC), ==, 1);
  g_assert_true(mf_port_table_take(self, "b", now + 5 * G_USEC_PER_SEC) == port);
  /* Released at time 0 it is still a used one. */
  mf_port_table_release(self, port, 0);
  g_assert_cmpint(port->released, >, 0);
}

static void
test_faults(void)
{
  g_autoptr(MfPortTable) self = table("10.177.0.0/24", 2, 0, NULL);
  bind_all(self);
  MfPort *port = mf_port_table_get(self, 0);
  mf_port_set_fault(port, "the tap is gone");
  mf_port_set_fault(port, port->fault);
  g_assert_cmpstr(port->fault, ==, "the tap is gone");
  g_assert_cmpuint(mf_port_table_available(self, 1), ==, 1);
  g_assert_cmpuint(mf_port_table_take(self, "a", 1)->index, ==, 1);
  g_assert_null(mf_port_table_take(self, "b", 1));
  mf_port_set_fault(port, NULL);
  port->bound = FALSE;
  g_assert_null(mf_port_table_take(self, "b", 1));
  port->bound = TRUE;
  g_assert_cmpuint(mf_port_table_take(self, "b", 1)->index, ==, 0);
}

static void
test_claim(void)
{
  g_autoptr(MfPortTable) self = table("10.177.0.0/24", 2, 0, NULL);
  /* A machine that runs keeps its port whatever is known of the binding so far. */
  g_assert_true(mf_port_table_claim(self, "mf1", "a"));
  g_assert_true(mf_port_table_claim(self, "mf1", "a"));
  g_assert_false(mf_port_table_claim(self, "mf1", "b"));
  g_assert_false(mf_port_table_claim(self, "mf2", "b"));
  g_assert_false(mf_port_table_claim(self, NULL, "b"));
  bind_all(self);
  g_assert_cmpuint(mf_port_table_take(self, "b", 1)->index, ==, 0);
  g_assert_null(mf_port_table_take(self, "c", 1));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/port/names-and-addresses", test_names_and_addresses);
  g_test_add_func("/port/room", test_room);
  g_test_add_func("/port/bad-subnets", test_bad_subnets);
  g_test_add_func("/port/least-recently-used", test_least_recently_used);
  g_test_add_func("/port/rest", test_rest);
  g_test_add_func("/port/faults", test_faults);
  g_test_add_func("/port/claim", test_claim);
  return g_test_run();
}
