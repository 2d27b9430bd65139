/* SPDX-License-Identifier: Apache-2.0 */
/* Scheduler: what a restarted daemon finds, and the reaper of what nobody owns. */
#include <glib/gstdio.h>

#include "daemon/error.h"
#include "daemon/fifo.h"
#include "daemon/inject.h"
#include "daemon/record.h"
#include "daemon/scheduler-private.h"

/* The entries as they are now, for loops in which some may go. (transfer container) */
static GPtrArray *
entries_now(MfScheduler *self)
{
  GPtrArray *copy = g_ptr_array_sized_new(self->entries->len);
  for (guint i = 0; i < self->entries->len; i++)
    g_ptr_array_add(copy, g_ptr_array_index(self->entries, i));
  return copy;
}

/* Reading the records */

static gint
by_creation(gconstpointer a, gconstpointer b)
{
  const MfEntry *first = *(MfEntry *const *)a, *second = *(MfEntry *const *)b;
  return first->job->created < second->job->created ? -1
                                                    : first->job->created > second->job->created;
}

/* Nobody goes on with such a job. What has nothing but secrets was being made when the daemon
 * ended, and its client was never told of it; other files are not touched. */
static void
drop_unloadable(const char *folder)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *begun = g_build_filename(folder, "record.json.new", NULL);
  if (!mf_record_wipe_secrets(folder, &error))
    g_warning("%s, ignoring", error->message);
  g_unlink(begun);
  if (g_rmdir(folder) == 0)
    g_message("%s was not finished, and is removed", folder);
}

static void
load_one(MfScheduler *self, const char *name)
{
  g_autofree char *folder = g_build_filename(self->jobs_folder, name, NULL);
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJob) job = mf_job_load(folder, self->config->output_limit, &error);
  if (job == NULL) {
    g_warning("%s, ignoring", error->message);
    drop_unloadable(folder);
    return;
  }
  if (job->state != MF_JOB_FINISHED) {
    g_autofree char *images = g_build_filename(self->config->state_directory, "images", NULL);
    job->template = mf_template_find(self->config->template_directory, job->template_name, NULL);
    job->image = mf_image_find(images, job->image_ref, NULL);
  }
  mf_scheduler_add(self, job)->loaded = TRUE;
}

/* Before libvirtd is asked for any domain (fifo.h). */
static void
release_fifos(MfScheduler *self)
{
  g_autofree char *machines = g_build_filename(self->config->runtime_directory, "machines", NULL);
  g_autoptr(GDir) dir = g_dir_open(machines, 0, NULL);
  for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;) {
    g_autofree char *path = g_build_filename(machines, name, "memory.fifo", NULL);
    mf_fifo_remove(path);
  }
}

void
mf_scheduler_load(MfScheduler *self)
{
  release_fifos(self);
  g_autoptr(GDir) dir = g_dir_open(self->jobs_folder, 0, NULL);
  const char *name;
  while (dir != NULL && (name = g_dir_read_name(dir)) != NULL)
    load_one(self, name);
  g_ptr_array_sort(self->entries, by_creation);
}

/* Going on with them, once libvirt and the acceleration are known */

void
mf_scheduler_requeue(MfEntry *entry)
{
  MfJob *job = entry->job;
  if (job->spec == NULL || job->template == NULL || job->image == NULL) {
    mf_entry_end(entry, MF_RESULT_SYSTEM_FAILURE, -1,
                 "mayflyd was restarted, and the job's template or image is no longer there");
    return;
  }
  if (job->spec->exec != NULL && job->execs->len == 0) {
    mf_entry_end(entry, MF_RESULT_SYSTEM_FAILURE, -1,
                 "mayflyd was ended while it accepted the job");
    return;
  }
  mf_queue_push(entry->scheduler->queue, entry, job->owner, job->created);
  mf_entry_check_lease(entry);
}

/* The exit of the job's command was recorded, and then the daemon ended: nobody will say it again.
 */
static gboolean
is_over(MfJob *job)
{
  MfExec *first = mf_job_get_exec(job, 1);
  if (first == NULL || !mf_exec_is_done(first) || job->hold || job->result != MF_RESULT_NONE)
    return FALSE;
  int code = first->signal > 0 ? 128 + first->signal : first->exit_code;
  mf_job_set_result(job, code == 0 ? MF_RESULT_SUCCEEDED : MF_RESULT_FAILED, code, first->error);
  return TRUE;
}

static void
go_on(MfEntry *entry, const char *const *domains)
{
  MfJob *job = entry->job;
  gboolean alive = job->machine != NULL && g_strv_contains(domains, job->machine);
  /* A job that came since we started is on its way already. */
  if (!entry->loaded)
    return;
  entry->loaded = FALSE;
  switch (job->state) {
  case MF_JOB_QUEUED:
    mf_scheduler_requeue(entry);
    break;
  case MF_JOB_STARTING:
    mf_entry_discard(entry, "mayflyd was restarted while its machine was starting");
    break;
  case MF_JOB_READY:
  case MF_JOB_RUNNING:
    if (is_over(job)) {
      mf_entry_discard(entry, NULL);
      break;
    }
    if (alive && job->template != NULL) {
      mf_entry_adopt(entry);
      break;
    }
    mf_job_set_result(job, MF_RESULT_SYSTEM_FAILURE, -1,
                      alive ? "mayflyd was restarted, and the job's template is no longer there"
                            : "mayflyd was restarted, and the machine had ended meanwhile");
    mf_entry_discard(entry, NULL);
    break;
  case MF_JOB_STOPPING:
    mf_entry_discard(entry, NULL);
    break;
  case MF_JOB_FINISHED:
  case MF_JOB_STATE_LAST_:
  default:
    break;
  }
}

static void
on_domains(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfScheduler) self = data;
  g_autoptr(GError) error = NULL;
  g_auto(GStrv) domains = mf_hypervisor_list_domains_finish(MF_HYPERVISOR(source), result, &error);
  if (domains == NULL || self->recovered) {
    if (domains == NULL)
      g_message("machines of before the restart are not known yet: %s", error->message);
    return;
  }
  self->recovered = TRUE;
  g_autoptr(GPtrArray) entries = entries_now(self);
  for (guint i = 0; i < entries->len; i++)
    go_on(g_ptr_array_index(entries, i), (const char *const *)domains);
  mf_scheduler_reap(self);
  mf_scheduler_pump(self);
}

void
mf_scheduler_recover(MfScheduler *self)
{
  /* After a reconnect to libvirtd, too: events of the time between were lost. */
  if (self->recovered)
    mf_scheduler_reap(self);
  else if (self->prepared && (self->host.accel != NULL || self->accel_problem != NULL))
    mf_hypervisor_list_domains_async(self->hypervisor, self->cancellable, on_domains,
                                     g_object_ref(self));
}

/* The reaper */

static gboolean
is_owned(MfScheduler *self, const char *id)
{
  return mf_scheduler_by_machine(self, id) != NULL || mf_scheduler_idle_machine(self, id) != NULL;
}

/* A machine that waited when the daemon before this one ended still has its port, which looks free:
 * nothing starts before it is gone, or cannot be ended now. */
static void
check_cleared(MfScheduler *self)
{
  if (self->cleared || self->leftovers > 0)
    return;
  self->cleared = TRUE;
  /* Before the first job: its machine may be forked. */
  mf_scheduler_look(self);
  mf_scheduler_pump(self);
}

typedef struct {
  MfScheduler *scheduler;
  char *id;
} Reaped;

static void
on_reaped_domain(GObject *source, GAsyncResult *result, gpointer data)
{
  Reaped *reaped = data;
  g_autoptr(MfScheduler) self = reaped->scheduler;
  g_autofree char *id = reaped->id;
  g_autoptr(GError) error = NULL;
  g_free(reaped);
  if (!mf_hypervisor_destroy_finish(MF_HYPERVISOR(source), result, &error)) {
    g_info("a left-over domain stays for now: %s", error->message);
    g_hash_table_remove(self->reaped, id);
  }
  if (self->cleared)
    return;
  self->leftovers--;
  check_cleared(self);
}

/* Once for each time that libvirtd comes: what it still lists then it will not let go of. */
static void
reap_domain(MfScheduler *self, const char *id)
{
  if (!g_hash_table_add(self->reaped, g_strdup(id)))
    return;
  Reaped *reaped = g_new0(Reaped, 1);
  reaped->scheduler = g_object_ref(self);
  reaped->id = g_strdup(id);
  g_message("domain %s%s belongs to no job: destroying it", MF_DOMAIN_PREFIX, id);
  self->leftovers += !self->cleared;
  mf_hypervisor_destroy_async(self->hypervisor, id, NULL, on_reaped_domain, reaped);
}

static void
on_reaped_overlay(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(GError) error = NULL;
  if (!mf_hypervisor_delete_overlay_finish(MF_HYPERVISOR(source), result, &error))
    g_info("a left-over overlay stays for now: %s", error->message);
}

/* A machine that libvirt no longer has, whose end we were not told of. One that came up after the
 * list was asked for need not be in it. */
static void
find_lost(MfScheduler *self, const char *const *domains)
{
  g_autoptr(GPtrArray) entries = entries_now(self);
  for (guint i = 0; i < entries->len; i++) {
    MfEntry *entry = g_ptr_array_index(entries, i);
    if (entry->machine != NULL && mf_machine_was_up(entry->machine, self->reaping_since) &&
        !g_strv_contains(domains, entry->job->machine))
      mf_machine_fail(entry->machine, "the machine is gone from libvirt, and nobody said why");
  }
}

static void
on_reap_domains(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfScheduler) self = data;
  g_auto(GStrv) domains = mf_hypervisor_list_domains_finish(MF_HYPERVISOR(source), result, NULL);
  self->reaping = FALSE;
  if (domains == NULL)
    return;
  for (char **id = domains; *id != NULL; id++)
    if (!is_owned(self, *id))
      reap_domain(self, *id);
  check_cleared(self);
  find_lost(self, (const char *const *)domains);
  /* What looked while the list was made looked in vain. */
  mf_scheduler_pump(self);
}

static void
on_reap_overlays(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfScheduler) self = data;
  g_auto(GStrv) overlays = mf_hypervisor_list_overlays_finish(MF_HYPERVISOR(source), result, NULL);
  for (char **id = overlays; id != NULL && *id != NULL; id++)
    if (!is_owned(self, *id)) {
      g_message("overlay of machine %s belongs to no job: removing it", *id);
      mf_hypervisor_delete_overlay_async(self->hypervisor, *id, NULL, on_reaped_overlay, NULL);
    }
}

static void
reap_sockets(MfScheduler *self)
{
  g_autofree char *machines = g_build_filename(self->config->runtime_directory, "machines", NULL);
  g_autoptr(GDir) dir = g_dir_open(machines, 0, NULL);
  const char *name;
  while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
    if (is_owned(self, name))
      continue;
    g_autofree char *folder = g_build_filename(machines, name, NULL);
    g_autofree char *agent = g_build_filename(folder, "agent.sock", NULL);
    g_autofree char *console = g_build_filename(folder, "console.sock", NULL);
    g_autofree char *memory = g_build_filename(folder, "memory.fifo", NULL);
    g_unlink(agent);
    g_unlink(console);
    mf_fifo_remove(memory);
    g_rmdir(folder);
  }
}

/* Of jobs that are over: those that are old, and of the others what memory need not have. */
static void
drop_old_records(MfScheduler *self)
{
  gint64 oldest = g_get_real_time() - (gint64)self->config->keep_records * G_USEC_PER_SEC;
  g_autoptr(GPtrArray) entries = entries_now(self);
  for (guint i = 0; i < entries->len; i++) {
    MfEntry *entry = g_ptr_array_index(entries, i);
    g_autoptr(GError) error = NULL;
    if (entry->job->state != MF_JOB_FINISHED || entry->watchers > 0)
      continue;
    if (entry->job->finished > oldest) {
      mf_job_file(entry->job);
      continue;
    }
    if (mf_record_remove(entry->job->folder, &error))
      mf_scheduler_remove(self, entry);
    else
      g_warning("%s, ignoring", error->message);
  }
}

/* Of agents and runners that were replaced: once no machine is left that may stand on one. */
static void
drop_old_layers(MfScheduler *self)
{
  g_autofree char *folder = g_build_filename(self->config->state_directory, "images", NULL);
  g_autoptr(GPtrArray) images = mf_image_list(folder, NULL);
  for (guint i = 0; images != NULL && i < images->len; i++) {
    MfImage *image = g_ptr_array_index(images, i);
    if (!mf_scheduler_uses_image(self, image->digest))
      mf_image_prepare_sweep(image, self->host.agent, mf_runner_path(self->host.runner));
  }
}

void
mf_scheduler_reap(MfScheduler *self)
{
  if (!self->recovered)
    return;
  drop_old_records(self);
  drop_old_layers(self);
  reap_sockets(self);
  if (!self->prepared || self->reaping)
    return;
  self->reaping = TRUE;
  self->reaping_since = g_get_monotonic_time();
  mf_hypervisor_list_domains_async(self->hypervisor, self->cancellable, on_reap_domains,
                                   g_object_ref(self));
  mf_hypervisor_list_overlays_async(self->hypervisor, self->cancellable, on_reap_overlays,
                                    g_object_ref(self));
}
