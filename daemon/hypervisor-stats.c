/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What machines use, one or all, in one call that does not wait: of a machine whose job lock is
 * held, libvirt tells what it knows without asking QEMU. What the guest itself said is passed on
 * only as long as it is fresh.
 */
#include "daemon/hypervisor-private.h"

#include <sys/stat.h>

/* The template asks for guest statistics every 2 s; three missed reports are none. */
#define GUEST_STATS_MAX_AGE 10

/* Of all machines: when the first call is late, in seconds; each after it gets twice the time of
 * the one before, for it may be libvirtd that is slow. How many may be out because they were:
 * others want the connection, too. */
#define STATS_LATE  2
#define STATS_CALLS 2

#define KINDS                                                                                      \
  (VIR_DOMAIN_STATS_BALLOON | VIR_DOMAIN_STATS_BLOCK | VIR_DOMAIN_STATS_CPU_TOTAL |                \
   VIR_DOMAIN_STATS_INTERFACE)

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

/* --- reading --- */

typedef struct {
  virTypedParameterPtr params;
  int count;
} Record;

static guint64
number_or(const Record *record, const char *name, guint64 otherwise)
{
  unsigned long long value = otherwise;

  virTypedParamsGetULLong(record->params, record->count, name, &value);
  return value;
}

static guint64
bytes_of(const Record *record, const char *name)
{
  return number_or(record, name, 0) * 1024;
}

static guint64
counter(const Record *record, const char *name)
{
  return number_or(record, name, MF_STATS_UNKNOWN);
}

void
mf_hypervisor_read_stats(virTypedParameterPtr params, int count, guint64 now, MfDomainStats *ret)
{
  const Record record = {params, count};

  ret->balloon_current = bytes_of(&record, "balloon.current");
  ret->balloon_maximum = bytes_of(&record, "balloon.maximum");
  if (number_or(&record, "balloon.last-update", 0) + GUEST_STATS_MAX_AGE >= now)
    ret->balloon_usable = bytes_of(&record, "balloon.usable");
  ret->resident = bytes_of(&record, "balloon.rss");
  ret->cpu_time_ns = counter(&record, "cpu.time");
  /* A template's domain has one disk and one interface. */
  ret->disk_read_bytes = counter(&record, "block.0.rd.bytes");
  ret->disk_written_bytes = counter(&record, "block.0.wr.bytes");
  ret->net_rx_bytes = counter(&record, "net.0.rx.bytes");
  ret->net_tx_bytes = counter(&record, "net.0.tx.bytes");
}

/* Worker. */
static void
read_record(virDomainStatsRecordPtr record, const char *overlay, MfDomainStats *ret)
{
  struct stat st;

  mf_hypervisor_read_stats(record->params, record->nparams,
                           (guint64)(g_get_real_time() / G_USEC_PER_SEC), ret);
  /* libvirt's "allocation" is the highest offset written to, which a discard does not lower. */
  if (stat(overlay, &st) == 0)
    ret->disk_allocated = (guint64)st.st_blocks * 512;
}

/* --- one machine --- */

static gboolean
stats_work(virConnectPtr connection, gpointer data, GCancellable *cancellable, GError **error)
{
  Stats *self = data;
  virDomainStatsRecordPtr *records = NULL;
  g_autoptr(virDomain) domain = mf_hypervisor_find_domain(connection, self->id, error);

  if (domain == NULL)
    return FALSE;
  virDomainPtr domains[] = {domain, NULL};
  int count =
      virDomainListGetStats(domains, KINDS, &records, VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT);
  if (count < 0) {
    mf_hypervisor_take_error(error, "cannot read what machine %s uses", self->id);
    return FALSE;
  }
  if (count > 0)
    read_record(records[0], self->overlay, &self->stats);
  virDomainStatsRecordListFree(records);
  if (count == 0)
    g_set_error(error, MF_ERROR, MF_ERROR_NOT_FOUND, "machine %s is not running any more",
                self->id);
  return count > 0;
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

/* --- all machines --- */

typedef struct {
  MfHypervisor *hypervisor; /* kept by the call; of it, only its configuration is looked at */
  MfHostStats *stats;
} All;

static void
host_stats_clear(gpointer data)
{
  g_hash_table_unref(((MfHostStats *)data)->machines);
}

void
mf_host_stats_unref(MfHostStats *self)
{
  g_rc_box_release_full(self, host_stats_clear);
}

static void
unref_host_stats(gpointer data)
{
  mf_host_stats_unref(data);
}

static void
all_free(gpointer data)
{
  All *self = data;

  mf_host_stats_unref(self->stats);
  g_free(self);
}

static gboolean
all_work(virConnectPtr connection, gpointer data, GCancellable *cancellable, GError **error)
{
  const All *self = data;
  virDomainStatsRecordPtr *records = NULL;
  int count = virConnectGetAllDomainStats(connection, KINDS, &records,
                                          VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE |
                                              VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT);

  if (count < 0) {
    mf_hypervisor_take_error(error, "cannot read what the machines use");
    return FALSE;
  }
  self->stats->time = g_get_real_time();
  for (int i = 0; i < count; i++) {
    const char *id = mf_hypervisor_domain_id(virDomainGetName(records[i]->dom));
    if (id == NULL)
      continue;
    MfDomainStats *stats = g_new0(MfDomainStats, 1);
    g_autofree char *overlay = mf_hypervisor_overlay_path(self->hypervisor, id);
    read_record(records[i], overlay, stats);
    g_hash_table_insert(self->stats->machines, g_strdup(id), stats);
  }
  virDomainStatsRecordListFree(records);
  return TRUE;
}

static void ask_for_all(MfHypervisor *self);

/* The answer of a call that was late is of no time in particular. */
static void
on_all(GObject *source, GAsyncResult *result, gpointer number)
{
  MfHypervisor *self = MF_HYPERVISOR(source);
  g_autoptr(GError) error = NULL;
  const All *all = mf_hypervisor_call_finish(self, result, all_work, &error);

  self->stats_out--;
  if (GPOINTER_TO_UINT(number) != self->stats_newest) {
    if (self->stats_waiters != NULL && self->stats_late == 0)
      ask_for_all(self);
    return;
  }
  g_clear_handle_id(&self->stats_late, g_source_remove);
  g_autoptr(GPtrArray) waiters = g_steal_pointer(&self->stats_waiters);
  for (guint i = 0; i < waiters->len; i++) {
    GTask *task = g_ptr_array_index(waiters, i);
    if (all != NULL)
      g_task_return_pointer(task, g_rc_box_acquire(all->stats), unref_host_stats);
    else
      g_task_return_error(task, g_error_copy(error));
  }
}

/* A QEMU that does not answer holds up the call that came to it first, and has its job lock held
 * by that: the next call does not wait for it. */
static gboolean
on_late(gpointer data)
{
  MfHypervisor *self = data;

  self->stats_late = 0;
  self->stats_patience *= 2;
  if (self->stats_out < STATS_CALLS)
    ask_for_all(self);
  return G_SOURCE_REMOVE;
}

static void
ask_for_all(MfHypervisor *self)
{
  All *all = g_new0(All, 1);

  all->hypervisor = self;
  all->stats = g_rc_box_new0(MfHostStats);
  all->stats->machines = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  self->stats_newest++;
  self->stats_out++;
  self->stats_late = g_timeout_add_seconds(self->stats_patience, on_late, self);
  /* Whoever asked first may go: others wait for the same answer. */
  mf_hypervisor_call_async(self, MF_CONNECTION_EVENTS, all_work, all, all_free, NULL, on_all,
                           GUINT_TO_POINTER(self->stats_newest));
}

void
mf_hypervisor_all_stats_async(MfHypervisor *self, GCancellable *c, GAsyncReadyCallback cb,
                              gpointer data)
{
  GTask *task = g_task_new(self, c, cb, data);

  g_task_set_source_tag(task, mf_hypervisor_all_stats_async);
  if (self->stats_waiters != NULL) {
    g_ptr_array_add(self->stats_waiters, task);
    return;
  }
  self->stats_waiters = g_ptr_array_new_with_free_func(g_object_unref);
  g_ptr_array_add(self->stats_waiters, task);
  self->stats_patience = STATS_LATE;
  ask_for_all(self);
}

MfHostStats *
mf_hypervisor_all_stats_finish(MfHypervisor *self, GAsyncResult *r, GError **error)
{
  g_return_val_if_fail(g_task_is_valid(r, self), NULL);
  return g_task_propagate_pointer(G_TASK(r), error);
}
