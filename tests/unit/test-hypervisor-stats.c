/* SPDX-License-Identifier: Apache-2.0 */
/* What is made of libvirt's record of a domain. */
#include "daemon/hypervisor-private.h"

typedef struct {
  virTypedParameterPtr params;
  int count, room;
} List;

static void
add(List *self, const char *name, unsigned long long value)
{
  g_assert_cmpint(virTypedParamsAddULLong(&self->params, &self->count, &self->room, name, value),
                  ==, 0);
}

#define NOW 1000

static void
test_whole(void)
{
  List list = {0};
  MfDomainStats stats = {0};
  add(&list, "balloon.current", 512);
  add(&list, "balloon.maximum", 1024);
  add(&list, "balloon.usable", 256);
  add(&list, "balloon.last-update", NOW - 3);
  add(&list, "balloon.rss", 700);
  add(&list, "cpu.time", 5);
  add(&list, "block.0.rd.bytes", 6);
  add(&list, "block.0.wr.bytes", 7);
  add(&list, "net.0.rx.bytes", 8);
  add(&list, "net.0.tx.bytes", 9);
  mf_hypervisor_read_stats(list.params, list.count, NOW, &stats);
  g_assert_cmpuint(stats.balloon_current, ==, 512 * 1024);
  g_assert_cmpuint(stats.balloon_maximum, ==, 1024 * 1024);
  g_assert_cmpuint(stats.balloon_usable, ==, 256 * 1024);
  g_assert_cmpuint(stats.resident, ==, 700 * 1024);
  g_assert_cmpuint(stats.cpu_time_ns, ==, 5);
  g_assert_cmpuint(stats.disk_read_bytes, ==, 6);
  g_assert_cmpuint(stats.disk_written_bytes, ==, 7);
  g_assert_cmpuint(stats.net_rx_bytes, ==, 8);
  g_assert_cmpuint(stats.net_tx_bytes, ==, 9);
  virTypedParamsFree(list.params, list.count);
}

/* Of a machine whose job lock is held: a counter that is not told has not gone back to 0. */
static void
test_little(void)
{
  List list = {0};
  MfDomainStats stats = {0};
  add(&list, "balloon.current", 512);
  add(&list, "cpu.time", 5);
  mf_hypervisor_read_stats(list.params, list.count, NOW, &stats);
  g_assert_cmpuint(stats.balloon_current, ==, 512 * 1024);
  g_assert_cmpuint(stats.balloon_usable, ==, 0);
  g_assert_cmpuint(stats.resident, ==, 0);
  g_assert_cmpuint(stats.cpu_time_ns, ==, 5);
  g_assert_cmpuint(stats.disk_written_bytes, ==, MF_STATS_UNKNOWN);
  g_assert_cmpuint(stats.net_tx_bytes, ==, MF_STATS_UNKNOWN);
  virTypedParamsFree(list.params, list.count);
}

static void
test_stale(void)
{
  List list = {0};
  MfDomainStats stats = {0};
  add(&list, "balloon.usable", 256);
  add(&list, "balloon.last-update", NOW - 60);
  mf_hypervisor_read_stats(list.params, list.count, NOW, &stats);
  g_assert_cmpuint(stats.balloon_usable, ==, 0);
  virTypedParamsFree(list.params, list.count);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_assert_cmpint(virInitialize(), ==, 0);
  g_test_add_func("/hypervisor-stats/whole", test_whole);
  g_test_add_func("/hypervisor-stats/little", test_little);
  g_test_add_func("/hypervisor-stats/stale", test_stale);
  return g_test_run();
}
