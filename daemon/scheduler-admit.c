/* SPDX-License-Identifier: Apache-2.0 */
/* Scheduler: who starts next, in which machine. */
#include "daemon/scheduler-private.h"

#define BACKGROUND_MS 300
#define GETTING_READY "mayflyd is getting ready"
/* Machines that waited and could not be handed over, until a job has one made for it. */
#define MOST_USELESS 3

static guint
held_by(uid_t owner, gpointer data)
{
  MfScheduler *self = data;
  guint held = 0;
  for (guint i = 0; i < self->entries->len; i++) {
    const MfEntry *entry = g_ptr_array_index(self->entries, i);
    held += entry->counted && entry->job->owner == owner;
  }
  return held;
}

static void
set_position(MfEntry *entry, guint position, const char *why)
{
  MfJob *job = entry->job;
  if (job->position == position && g_strcmp0(job->queued_for, why) == 0)
    return;
  job->position = position;
  g_free(job->queued_for);
  job->queued_for = g_strdup(why);
  mf_job_emit_changed(job);
}

/* Whatever the machine; @ahead of need. (transfer full) */
static char *
why_none(MfScheduler *self, gboolean ahead)
{
  if (self->draining)
    return g_strdup("this host is being drained: it starts no new jobs");
  const char *problem = mf_scheduler_problem(self);
  if (problem != NULL)
    return g_strdup(problem);
  if (!self->prepared || !self->cleared || self->host.accel == NULL)
    return g_strdup(GETTING_READY);
  return mf_scheduler_memory_why_not(self, ahead);
}

static char *
why_not(MfScheduler *self, const MfGrant *grant)
{
  return mf_policy_admit(&self->capacity, &self->used, grant, mf_scheduler_disk_free(self),
                         self->config);
}

char *
mf_scheduler_why_not_ahead(const MfGrant *grant, gpointer data)
{
  char *why = why_none(data, TRUE);
  if (why == NULL)
    why = mf_scheduler_memory_has_room(data, grant);
  return why != NULL ? why : why_not(data, grant);
}

/* One that waits. (transfer full); NULL: none is as the job asks. */
static MfMachine *
take_machine(MfScheduler *self, const MfEntry *entry)
{
  const MfJob *job = entry->job;
  return entry->useless < MOST_USELESS && mf_machine_can_bring(job)
             ? mf_pool_take(self->pool, job->template, job->image, &job->grant)
             : NULL;
}

static void
admit(MfScheduler *self, MfEntry *entry, MfMachine *machine)
{
  mf_queue_remove(self->queue, entry);
  mf_scheduler_count(entry, TRUE);
  mf_job_set_timing(entry->job, MF_TIMING_QUEUE,
                    (double)(g_get_real_time() - entry->job->created) / G_USEC_PER_SEC);
  if (machine != NULL)
    mf_entry_start_with(entry, machine);
  else
    mf_entry_start(entry);
}

/* Strictly in order: a large job at the head is not overtaken by small ones for ever. */
static gboolean
admit_next(MfScheduler *self)
{
  g_autoptr(GPtrArray) order = mf_queue_order(self->queue, held_by, self);
  if (order->len == 0)
    return FALSE;
  MfEntry *head = g_ptr_array_index(order, 0);
  g_autofree char *why = why_none(self, FALSE);
  /* What no job could start now is no reason to end those that wait. */
  gboolean able = why == NULL;
  MfMachine *machine = able ? take_machine(self, head) : NULL;
  if (why == NULL && machine == NULL)
    why = why_not(self, &head->job->grant);
  if (why == NULL) {
    admit(self, head, machine);
    return TRUE;
  }
  if (able && !mf_pool_make_room(self->pool, head->job->template->name))
    mf_forks_make_room(self->forks);
  for (guint i = 0; i < order->len; i++)
    set_position(g_ptr_array_index(order, i), i + 1, why);
  return FALSE;
}

static gboolean
on_later(gpointer data)
{
  MfScheduler *self = data;
  self->later_timer = 0;
  mf_scheduler_pump(self);
  return G_SOURCE_REMOVE;
}

/* What failed is tried again in time, and what is too old goes, although nothing happens. */
static void
look_later(MfScheduler *self)
{
  gint64 next = mf_background_sooner(mf_forks_next(self->forks), mf_pool_next(self->pool));
  gint64 left = next - g_get_real_time();
  g_clear_handle_id(&self->later_timer, g_source_remove);
  if (next > 0 && left > 0)
    self->later_timer =
        g_timeout_add((guint)CLAMP(left / 1000 + 1, BACKGROUND_MS, G_MAXINT), on_later, self);
}

/* Once for each mistake: jobs that name the template are told by themselves. */
static void
tell_bad(MfScheduler *self, GHashTable *bad)
{
  GHashTableIter iter;
  gpointer name, problem;
  g_hash_table_iter_init(&iter, bad);
  while (g_hash_table_iter_next(&iter, &name, &problem))
    if (g_strcmp0(problem, g_hash_table_lookup(self->bad_templates, name)) != 0)
      g_message("template %s: %s", (char *)name, (char *)problem);
  g_hash_table_unref(self->bad_templates);
  self->bad_templates = g_hash_table_ref(bad);
}

char *
mf_scheduler_why_no_look(MfScheduler *self)
{
  if (self->prepared && self->cleared && self->host.accel != NULL &&
      mf_hypervisor_is_up(self->hypervisor))
    return NULL;
  const char *problem = mf_scheduler_problem(self);
  return g_strdup(problem != NULL ? problem : GETTING_READY);
}

void
mf_scheduler_look(MfScheduler *self)
{
  g_autofree char *why = mf_scheduler_why_no_look(self);
  if (why != NULL || self->reaping)
    return;
  gboolean busy = mf_queue_length(self->queue) > 0;
  g_autoptr(GHashTable) bad = NULL;
  g_autoptr(GPtrArray) templates =
      mf_template_load_good(self->config->template_directory, &bad, NULL);
  if (templates == NULL)
    return;
  tell_bad(self, bad);
  mf_forks_look(self->forks, templates, bad, busy);
  mf_pool_look(self->pool, templates, bad, busy);
  look_later(self);
}

static gboolean
on_background(gpointer data)
{
  MfScheduler *self = data;
  self->background_timer = 0;
  mf_scheduler_look(self);
  return G_SOURCE_REMOVE;
}

static gboolean
on_pump(gpointer data)
{
  MfScheduler *self = data;
  self->pump_idle = 0;
  while (admit_next(self))
    ;
  /* Soon, not at once: jobs that come together go first, and reading templates has its price. */
  if (self->background_timer == 0)
    self->background_timer = g_timeout_add(BACKGROUND_MS, on_background, self);
  return G_SOURCE_REMOVE;
}

void
mf_scheduler_pump(MfScheduler *self)
{
  if (self->pump_idle == 0)
    self->pump_idle = g_idle_add_full(G_PRIORITY_DEFAULT, on_pump, self, NULL);
}
