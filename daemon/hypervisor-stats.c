/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a machine uses, in one call that does not wait: of a machine whose job lock is held, libvirt
 * tells what it knows without asking QEMU. What the guest itself said is passed on only as long as
 * it is fresh.
 */
#include "daemon/hypervisor-private.h"

#include <sys/stat.h>

/* The template asks for guest statistics every 2 s; three missed reports are none. */
#define GUEST_STATS_MAX_AGE 10

typedef struct {
  char *id;
  char *overlay;
  MfDomainStats stats;
} Stats;

static void
stats_free(gpointer data)
{
  Stats *self = data;

  g_free(self->id);
  g_free(self->overlay);
  g_free(self);
}

static guint64
number(virDomainStatsRecordPtr record, const char *name)
{
  unsigned long long value = 0;

  virTypedParamsGetULLong(record->params, record->nparams, name, &value);
  return value;
}

static void
read_record(virDomainStatsRecordPtr record, MfDomainStats *stats)
{
  guint64 now = (guint64)(g_get_real_time() / G_USEC_PER_SEC);

  stats->balloon_current = number(record, "balloon.current") * 1024;
  stats->balloon_maximum = number(record, "balloon.maximum") * 1024;
  if (number(record, "balloon.last-update") + GUEST_STATS_MAX_AGE >= now)
    stats->balloon_usable = number(record, "balloon.usable") * 1024;
  stats->resident = number(record, "balloon.rss") * 1024;
  stats->cpu_time_ns = number(record, "cpu.time");
  stats->net_rx_bytes = number(record, "net.0.rx.bytes");
  stats->net_tx_bytes = number(record, "net.0.tx.bytes");
}

static gboolean
stats_work(virConnectPtr connection, gpointer data, GCancellable *cancellable, GError **error)
{
  Stats *self = data;
  virDomainStatsRecordPtr *records = NULL;
  g_autoptr(virDomain) domain = mf_hypervisor_find_domain(connection, self->id, error);
  struct stat st;

  if (domain == NULL)
    return FALSE;
  virDomainPtr domains[] = {domain, NULL};
  int count = virDomainListGetStats(
      domains, VIR_DOMAIN_STATS_BALLOON | VIR_DOMAIN_STATS_CPU_TOTAL | VIR_DOMAIN_STATS_INTERFACE,
      &records, VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT);
  if (count < 0) {
    mf_hypervisor_take_error(error, "cannot read what machine %s uses", self->id);
    return FALSE;
  }
  if (count > 0)
    read_record(records[0], &self->stats);
  virDomainStatsRecordListFree(records);
  /* libvirt's "allocation" is the highest offset written to, which a discard does not lower. */
  if (stat(self->overlay, &st) == 0)
    self->stats.disk_allocated = (guint64)st.st_blocks * 512;
  return TRUE;
}

void
mf_hypervisor_stats_async(MfHypervisor *self, const char *id, GCancellable *c,
                          GAsyncReadyCallback cb, gpointer data)
{
  Stats *stats = g_new0(Stats, 1);
  stats->id = g_strdup(id);
  stats->overlay = mf_hypervisor_overlay_path(self, id);
  mf_hypervisor_call_async(self, MF_CONNECTION_CONTROL, stats_work, stats, stats_free, c, cb, data);
}

MfDomainStats *
mf_hypervisor_stats_finish(MfHypervisor *self, GAsyncResult *r, GError **error)
{
  Stats *stats = mf_hypervisor_call_finish(self, r, stats_work, error);
  return stats != NULL ? g_memdup2(&stats->stats, sizeof stats->stats) : NULL;
}
