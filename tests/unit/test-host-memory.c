/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/host-memory.h"

static const char meminfo[] = "MemTotal:        4000000 kB\nMemFree:          100000 kB\n"
                              "MemAvailable:    2000000 kB\nHugepagesize:       2048 kB\n";

static void
test_all(void)
{
  static const char pressure[] = "some avg10=1.25 avg60=0.00 avg300=0.00 total=12\n"
                                 "full avg10=0.50 avg60=0.00 avg300=0.00 total=7\n";
  MfHostMemory memory;
  g_assert_true(mf_host_memory_parse(meminfo, pressure, &memory));
  g_assert_cmpuint(memory.available, ==, G_GUINT64_CONSTANT(2000000) * 1024);
  g_assert_true(memory.has_pressure);
  g_assert_cmpfloat(memory.some, ==, 1.25);
  g_assert_cmpfloat(memory.full, ==, 0.5);
}

static void
test_no_pressure(void)
{
  static const char *const texts[] = {NULL, "", "some avg10=1.00 total=1\n",
                                      "some avg10=\nfull avg10=\n"};
  for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
    MfHostMemory memory;
    g_assert_true(mf_host_memory_parse(meminfo, texts[i], &memory));
    g_assert_false(memory.has_pressure);
  }
}

static void
test_no_memory(void)
{
  static const char *const texts[] = {"", "MemTotal: 1 kB\n", "MemAvailable:\n",
                                      "NotMemAvailable: 1 kB\n"};
  for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
    MfHostMemory memory;
    g_assert_false(mf_host_memory_parse(texts[i], NULL, &memory));
  }
}

static void
test_this_host(void)
{
  MfHostMemory memory;
  g_assert_true(mf_host_memory_read(&memory));
  g_assert_cmpuint(memory.available, >, 0);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/host-memory/all", test_all);
  g_test_add_func("/host-memory/no-pressure", test_no_pressure);
  g_test_add_func("/host-memory/no-memory", test_no_memory);
  g_test_add_func("/host-memory/this-host", test_this_host);
  return g_test_run();
}
