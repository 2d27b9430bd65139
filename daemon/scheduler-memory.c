/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scheduler: the host's memory. Every few seconds: how much is left; when it is little, machines
 * give back what they do not use; when it is very little and stays so, something ends before the
 * host swaps. Asks libvirt for nothing while there is enough and nothing was taken.
 */
#include "daemon/json.h"
#include "daemon/scheduler-private.h"
#include "daemon/units.h"

#define ROUND_SECONDS 5
/* What was read last is still true. */
#define FRESH_US (2 * G_USEC_PER_SEC)
/* Critical rounds before something ends, and between two ends: what was done shows by then. While
 * something is still on its way out, twice as many. */
#define PATIENCE 3
#define MIB_REST ((G_GUINT64_CONSTANT(1) << 20) - 1)

static char *
size_text(guint64 bytes)
{
  return mf_size_format(bytes & ~MIB_REST);
}

static guint64
reserve_of(MfScheduler *self)
{
  return self->config->memory_reserve > 0 ? self->config->memory_reserve
                                          : self->host_size.memory / 10;
}

/* In numbers. (transfer full) */
static char *
shortage(MfScheduler *self)
{
  const MfHostMemory *host = &self->memory.host;
  g_autofree char *available = size_text(host->available);
  g_autofree char *reserve = size_text(reserve_of(self));
  g_autofree char *waits =
      host->has_pressure && host->some >= 1
          ? g_strdup_printf(", and tasks wait for it %.0f %% of the time", host->some)
          : g_strdup("");
  return g_strdup_printf("the host is short of memory: %s are available, %s should be "
                         "(memory-reserve)%s",
                         available, reserve, waits);
}

static void
set_level(MfScheduler *self, MfMemoryLevel level)
{
  MfSchedulerMemory *memory = &self->memory;
  if (memory->level == level)
    return;
  memory->level = level;
  g_autofree char *why = shortage(self);
  if (level == MF_MEMORY_WELL)
    g_message("the host has enough memory again");
  else
    g_message("%s%s", why,
              level == MF_MEMORY_CRITICAL ? "; no job starts"
                                          : "; machines give back what they do not use");
  mf_scheduler_pump(self);
}

static void
look(MfScheduler *self)
{
  MfSchedulerMemory *memory = &self->memory;
  if (!mf_host_memory_read(&memory->host))
    return;
  memory->read_at = g_get_monotonic_time();
  set_level(self, mf_memory_level(&memory->host, reserve_of(self), memory->level));
}

MfMemoryLevel
mf_scheduler_memory_level(MfScheduler *self)
{
  if (g_get_monotonic_time() - self->memory.read_at > FRESH_US)
    look(self);
  return self->memory.level;
}

char *
mf_scheduler_memory_why_not(MfScheduler *self, gboolean ahead)
{
  MfMemoryLevel level = mf_scheduler_memory_level(self);
  gboolean is_short = level == MF_MEMORY_CRITICAL || (ahead && level == MF_MEMORY_LOW);
  /* Without numbers: those change all the time, and everybody who waits would be told anew. */
  return is_short ? g_strdup("the host is short of memory: little is available, or tasks wait for "
                             "it (memory-reserve)")
                  : NULL;
}

/* Of jobs and the pool, what is promised to machines that have not taken it yet. */
static guint64
starting(MfScheduler *self)
{
  guint64 sum = mf_pool_starting(self->pool);
  for (guint i = 0; i < self->entries->len; i++) {
    const MfJob *job = ((MfEntry *)g_ptr_array_index(self->entries, i))->job;
    if (job->state == MF_JOB_STARTING)
      sum += mf_policy_guaranteed(self->config, job->grant.memory);
  }
  return sum;
}

char *
mf_scheduler_memory_has_room(MfScheduler *self, const MfGrant *grant)
{
  guint64 need = mf_memory_edge(reserve_of(self)) + starting(self) +
                 mf_policy_guaranteed(self->config, grant->memory);
  mf_scheduler_memory_level(self);
  return self->memory.host.available >= need
             ? NULL
             : g_strdup("one more would leave the host short of memory (memory-reserve)");
}

/* Somebody has to go */

static MfEntry *
newest(MfScheduler *self, gboolean kept)
{
  for (guint i = self->entries->len; i > 0; i--) {
    MfEntry *entry = g_ptr_array_index(self->entries, i - 1);
    const MfJob *job = entry->job;
    if (entry->machine == NULL || job->state >= MF_JOB_STOPPING)
      continue;
    if (entry->again != NULL)
      continue;
    if (kept ? job->kept_until > 0 : job->kept_until == 0 && job->retryable)
      return entry;
  }
  return NULL;
}

/* Nothing of it has run: it goes back to its place in the queue. */
static gboolean
put_back(MfScheduler *self)
{
  for (guint i = self->entries->len; i > 0; i--) {
    MfEntry *entry = g_ptr_array_index(self->entries, i - 1);
    if (entry->machine == NULL || entry->job->state != MF_JOB_STARTING || entry->again != NULL)
      continue;
    entry->again = "the host is short of memory";
    mf_machine_stop(entry->machine, FALSE);
    return TRUE;
  }
  return FALSE;
}

static gboolean
is_going(MfScheduler *self)
{
  for (guint i = 0; i < self->entries->len; i++) {
    const MfEntry *entry = g_ptr_array_index(self->entries, i);
    if (entry->machine != NULL && mf_machine_is_stopping(entry->machine))
      return TRUE;
  }
  return mf_pool_is_leaving(self->pool);
}

/* What nobody waits for goes first, then what was kept to be looked into, then who has not begun,
 * then who can come again. */
static void
end_one(MfScheduler *self)
{
  g_autofree char *why = shortage(self);
  gboolean waited = mf_pool_end_all(self->pool, why);
  if (mf_forks_end_all(self->forks, why) || waited)
    return;
  MfEntry *entry = newest(self, TRUE);
  if (entry != NULL) {
    mf_entry_log(entry, "its machine is not kept any longer: %s", why);
    mf_entry_end(entry, entry->job->result, entry->job->exit_code, NULL);
    /* Not even to say good-bye. */
    mf_machine_stop(entry->machine, FALSE);
    return;
  }
  if (put_back(self))
    return;
  entry = newest(self, FALSE);
  if (entry == NULL)
    return;
  g_autofree char *reason =
      g_strdup_printf("%s, and this was the newest job that may be tried again", why);
  mf_entry_end(entry, MF_RESULT_SYSTEM_FAILURE, -1, reason);
}

/* As things are, not while they are not clearly better: one short peak must not end one after the
 * other. */
static void
consider_an_end(MfScheduler *self)
{
  MfSchedulerMemory *memory = &self->memory;
  gboolean critical =
      mf_memory_level(&memory->host, reserve_of(self), MF_MEMORY_WELL) == MF_MEMORY_CRITICAL;
  memory->critical = critical ? memory->critical + 1 : 0;
  /* Without libvirt nothing that ends gives anything back. */
  if (memory->critical < PATIENCE || !mf_hypervisor_is_up(self->hypervisor) ||
      (memory->critical < 2 * PATIENCE && is_going(self)))
    return;
  memory->critical = 0;
  end_one(self);
}

/* Who gives, who gets */

static void
on_told(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(GError) error = NULL;
  if (!mf_hypervisor_set_memory_finish(MF_HYPERVISOR(source), result, &error))
    g_debug("%s, ignoring", error->message);
}

/* What is known of a machine from the rounds before; one that is new is added to @now. */
static void
add_machine(MfScheduler *self, MfEntry *entry, const MfDomainStats *stats, GHashTable *now)
{
  const char *id = entry->job->machine;
  MfMemoryMachine *before = g_hash_table_lookup(self->memory.machines, id);
  MfMemoryMachine *machine =
      before != NULL ? g_memdup2(before, sizeof *before) : g_new0(MfMemoryMachine, 1);
  guint64 guaranteed = mf_policy_guaranteed(self->config, entry->job->grant.memory);
  const MfTemplate *template = entry->job->template;
  machine->maximum = stats->balloon_maximum;
  machine->guaranteed = MIN(guaranteed, machine->maximum);
  machine->floor = template != NULL ? MIN(template->memory_floor, machine->maximum) : 0;
  machine->current = stats->balloon_current;
  machine->usable = stats->balloon_usable;
  g_hash_table_insert(now, g_strdup(id), machine);
}

static void
balance(MfScheduler *self, const MfHostStats *stats)
{
  MfSchedulerMemory *memory = &self->memory;
  GHashTable *now = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  for (guint i = 0; i < self->entries->len; i++) {
    MfEntry *entry = g_ptr_array_index(self->entries, i);
    const MfDomainStats *own = entry->machine != NULL && mf_machine_is_up(entry->machine)
                                   ? g_hash_table_lookup(stats->machines, entry->job->machine)
                                   : NULL;
    if (own != NULL && own->balloon_current > 0)
      add_machine(self, entry, own, now);
  }
  g_hash_table_unref(memory->machines);
  memory->machines = now;
  guint count = 0;
  g_autofree char **ids = (char **)g_hash_table_get_keys_as_array(now, &count);
  g_autofree MfMemoryMachine *machines = g_new(MfMemoryMachine, count);
  for (guint i = 0; i < count; i++)
    machines[i] = *(MfMemoryMachine *)g_hash_table_lookup(now, ids[i]);
  mf_memory_plan(memory->level, &memory->host, reserve_of(self), machines, count);
  memory->taken = 0;
  for (guint i = 0; i < count; i++) {
    *(MfMemoryMachine *)g_hash_table_lookup(now, ids[i]) = machines[i];
    memory->taken += machines[i].maximum - MIN(machines[i].current, machines[i].maximum);
    if (machines[i].goal == 0)
      continue;
    g_debug("machine %s: memory %" G_GUINT64_FORMAT " -> %" G_GUINT64_FORMAT, ids[i],
            machines[i].current, machines[i].goal);
    mf_hypervisor_set_memory_async(self->hypervisor, ids[i], machines[i].goal, self->cancellable,
                                   on_told, NULL);
  }
}

static void
on_stats(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfScheduler) self = data;
  g_autoptr(GError) error = NULL;
  g_autoptr(MfHostStats) stats =
      mf_hypervisor_all_stats_finish(MF_HYPERVISOR(source), result, &error);
  self->memory.asking = FALSE;
  if (stats == NULL || self->memory.machines == NULL)
    return;
  self->memory.looked = TRUE;
  balance(self, stats);
}

static gboolean
on_round(gpointer data)
{
  MfScheduler *self = data;
  MfSchedulerMemory *memory = &self->memory;
  if (self->used.machines == 0 && mf_queue_length(self->queue) == 0) {
    g_hash_table_remove_all(memory->machines);
    memory->taken = 0;
    memory->critical = 0;
    return G_SOURCE_CONTINUE;
  }
  look(self);
  consider_an_end(self);
  /* A daemon before this one may have taken something. */
  if ((memory->level == MF_MEMORY_WELL && memory->taken == 0 && memory->looked) || memory->asking ||
      !self->recovered || !mf_hypervisor_is_up(self->hypervisor))
    return G_SOURCE_CONTINUE;
  memory->asking = TRUE;
  mf_hypervisor_all_stats_async(self->hypervisor, self->cancellable, on_stats, g_object_ref(self));
  return G_SOURCE_CONTINUE;
}

MfJson *
mf_scheduler_memory_json(MfScheduler *self)
{
  MfSchedulerMemory *memory = &self->memory;
  MfJson *json = json_object_new_object();
  mf_json_add_string(json, "level", mf_memory_level_to_string(mf_scheduler_memory_level(self)));
  mf_json_add_uint(json, "available", memory->host.available);
  mf_json_add_uint(json, "reserve", reserve_of(self));
  mf_json_add_uint(json, "taken", memory->taken);
  return json;
}

void
mf_scheduler_memory_begin(MfScheduler *self)
{
  g_autofree char *reserve = size_text(reserve_of(self));
  if (reserve_of(self) > self->host_size.memory)
    g_warning("memory-reserve is %s, more than this host has: no job will start", reserve);
  self->memory.machines = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  self->memory.timer = g_timeout_add_seconds(ROUND_SECONDS, on_round, self);
}

void
mf_scheduler_memory_end(MfScheduler *self)
{
  g_clear_handle_id(&self->memory.timer, g_source_remove);
  g_clear_pointer(&self->memory.machines, g_hash_table_unref);
}
