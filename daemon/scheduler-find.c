/* SPDX-License-Identifier: Apache-2.0 */
/* Scheduler: looking a job up. */
#include "daemon/error.h"
#include "daemon/scheduler-private.h"

MfJob *
mf_scheduler_find(MfScheduler *self, const char *id, GError **error)
{
  MfEntry *entry = g_hash_table_lookup(self->by_id, id);
  gboolean whole = entry != NULL;
  for (guint i = 0; !whole && *id != '\0' && i < self->entries->len; i++) {
    MfEntry *candidate = g_ptr_array_index(self->entries, i);
    if (!g_str_has_prefix(candidate->job->id, id))
      continue;
    if (entry != NULL) {
      g_set_error(error, MF_ERROR, MF_ERROR_CONFLICT,
                  "more than one job begins with '%s': give more of the id", id);
      return NULL;
    }
    entry = candidate;
  }
  if (entry == NULL) {
    g_set_error(error, MF_ERROR, MF_ERROR_NOT_FOUND,
                "there is no job '%.32s': 'mayfly list --all' shows those there are", id);
    return NULL;
  }
  return entry->job;
}

MfEntry *
mf_scheduler_by_machine(MfScheduler *self, const char *id)
{
  for (guint i = 0; i < self->entries->len; i++) {
    MfEntry *entry = g_ptr_array_index(self->entries, i);
    if (entry->job->state != MF_JOB_FINISHED && g_strcmp0(entry->job->machine, id) == 0)
      return entry;
  }
  return NULL;
}

MfMachine *
mf_scheduler_idle_machine(MfScheduler *self, const char *id)
{
  MfMachine *waits = mf_pool_find(self->pool, id);
  return waits != NULL ? waits : mf_forks_find_machine(self->forks, id);
}

MfJob *
mf_scheduler_find_key(MfScheduler *self, const char *key, uid_t owner)
{
  for (guint i = 0; i < self->entries->len; i++) {
    MfJob *job = ((MfEntry *)g_ptr_array_index(self->entries, i))->job;
    if (job->owner == owner && job->state != MF_JOB_FINISHED && g_strcmp0(job->key, key) == 0)
      return job;
  }
  return NULL;
}

GPtrArray *
mf_scheduler_list(MfScheduler *self)
{
  GPtrArray *jobs = g_ptr_array_sized_new(self->entries->len);
  for (guint i = 0; i < self->entries->len; i++)
    g_ptr_array_add(jobs, ((MfEntry *)g_ptr_array_index(self->entries, i))->job);
  return jobs;
}

gboolean
mf_scheduler_uses_image(MfScheduler *self, const char *digest)
{
  for (guint i = 0; i < self->entries->len; i++) {
    const MfEntry *entry = g_ptr_array_index(self->entries, i);
    if (entry->job->state != MF_JOB_FINISHED && g_strcmp0(entry->job->image_digest, digest) == 0)
      return TRUE;
  }
  return mf_pool_uses_image(self->pool, digest) || mf_forks_uses_image(self->forks, digest);
}
