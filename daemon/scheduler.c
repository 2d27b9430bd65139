/* SPDX-License-Identifier: Apache-2.0 */
/* Scheduler: jobs in, a fair queue, admission. */
#include "daemon/scheduler.h"

#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>

#include "daemon/error.h"
#include "daemon/image.h"
#include "daemon/json.h"
#include "daemon/paths.h"
#include "daemon/record.h"
#include "daemon/scheduler-private.h"
#include "daemon/units.h"

#define DEFAULT_TEMPLATE "default"
#define REAP_SECONDS     60

G_DEFINE_FINAL_TYPE(MfScheduler, mf_scheduler, G_TYPE_OBJECT)

enum { EVENT, N_SIGNALS };
static guint signals[N_SIGNALS];

static void
entry_free(gpointer data)
{
  MfEntry *entry = data;
  mf_entry_stop_timers(entry);
  g_clear_object(&entry->machine);
  g_signal_handlers_disconnect_by_data(entry->job, entry);
  g_object_unref(entry->job);
  g_free(entry);
}

static void
emit(MfEntry *entry, const char *type)
{
  MfJob *job = entry->job;
  g_autoptr(MfJson) json = json_object_new_object();
  mf_json_add(json, "time", json_object_new_double((double)g_get_real_time() / G_USEC_PER_SEC));
  mf_json_add_string(json, "type", type);
  mf_json_add_string(json, "job", job->id);
  mf_json_add_uint(json, "owner", job->owner);
  mf_json_add_string(json, "state", mf_job_state_to_string(job->state));
  mf_json_add_string(json, "result",
                     job->result == MF_RESULT_NONE ? NULL : mf_result_to_string(job->result));
  mf_json_add_string(json, "phase", job->phase);
  mf_json_add_string(json, "reason", job->reason);
  g_signal_emit(entry->scheduler, signals[EVENT], 0, json);
}

static void
on_job_state_changed(MfJob *job, gpointer data)
{
  emit(data, "job.state");
}

static void
on_job_changed(MfJob *job, gpointer data)
{
  emit(data, "job.changed");
}

MfEntry *
mf_scheduler_add(MfScheduler *self, MfJob *job)
{
  MfEntry *entry = g_new0(MfEntry, 1);
  entry->scheduler = self;
  entry->job = g_object_ref(job);
  g_signal_connect(job, "state-changed", G_CALLBACK(on_job_state_changed), entry);
  g_signal_connect(job, "changed", G_CALLBACK(on_job_changed), entry);
  g_ptr_array_add(self->entries, entry);
  g_hash_table_insert(self->by_id, job->id, entry);
  return entry;
}

void
mf_scheduler_remove(MfScheduler *self, MfEntry *entry)
{
  g_hash_table_remove(self->by_id, entry->job->id);
  g_ptr_array_remove(self->entries, entry);
}

static void
count(const MfGrant *grant, gboolean counted, gpointer data)
{
  MfScheduler *self = data;
  MfUsage *used = &self->used;
  guint64 memory = mf_policy_guaranteed(self->config, grant->memory);
  used->machines += counted ? 1u : -1u;
  used->cpus += counted ? grant->cpus : -grant->cpus;
  used->memory += counted ? memory : -memory;
}

void
mf_scheduler_count(MfEntry *entry, gboolean counted)
{
  if (entry->counted != counted)
    count(&entry->job->grant, counted, entry->scheduler);
  entry->counted = counted;
}

guint64
mf_scheduler_disk_free(MfScheduler *self)
{
  struct statvfs vfs;
  return statvfs(self->config->state_directory, &vfs) == 0 ? (guint64)vfs.f_bavail * vfs.f_frsize
                                                           : 0;
}

const char *
mf_scheduler_problem(MfScheduler *self)
{
  if (self->accel_problem != NULL)
    return self->accel_problem;
  if (!mf_hypervisor_is_up(self->hypervisor) && mf_hypervisor_problem(self->hypervisor) != NULL)
    return mf_hypervisor_problem(self->hypervisor);
  return mf_network_problem(self->network);
}

/* Jobs in */

static char *
new_id(MfScheduler *self)
{
  for (;;) {
    g_autofree char *id = mf_machine_new_id();
    if (!g_hash_table_contains(self->by_id, id))
      return g_steal_pointer(&id);
  }
}

static gboolean
check_open(MfScheduler *self, GError **error)
{
  /* Just started: the job waits as others do, until libvirtd has answered. */
  const char *problem = mf_hypervisor_is_connecting(self->hypervisor) ? self->accel_problem
                                                                      : mf_scheduler_problem(self);
  if (self->draining)
    g_set_error_literal(error, MF_ERROR, MF_ERROR_BUSY,
                        "this host is being drained and takes no new jobs until that is over");
  else if (problem != NULL)
    g_set_error_literal(error, MF_ERROR, MF_ERROR_UNAVAILABLE, problem);
  else if (mf_queue_length(self->queue) >= self->config->queue_length)
    g_set_error(error, MF_ERROR, MF_ERROR_BUSY,
                "%u jobs wait already, which is as many as may (queue-length): there is room when some "
                "have started",
                mf_queue_length(self->queue));
  else
    return TRUE;
  return FALSE;
}

/* With machines running, space may come free; without any, waiting helps nobody. */
static gboolean
check_disk(MfScheduler *self, const MfGrant *grant, GError **error)
{
  MfUsage nothing = {0};
  MfUsage plenty = {.machines = G_MAXUINT, .cpus = G_MAXUINT, .memory = G_MAXUINT64};
  g_autofree char *why =
      self->used.machines > 0
          ? NULL
          : mf_policy_admit(&plenty, &nothing, grant, mf_scheduler_disk_free(self), self->config);
  if (why == NULL)
    return TRUE;
  g_set_error_literal(error, MF_ERROR, MF_ERROR_NO_SPACE, why);
  return FALSE;
}

MfJob *
mf_scheduler_submit(MfScheduler *self, MfJobSpec *spec, uid_t owner, GError **error)
{
  if (!check_open(self, error))
    return NULL;
  MfGrant grant;
  g_autofree char *images = g_build_filename(self->config->state_directory, "images", NULL);
  g_autoptr(MfTemplate) template = mf_template_find(
      self->config->template_directory, spec->template ? spec->template : DEFAULT_TEMPLATE, error);
  g_autoptr(MfImage) image = template ? mf_image_find(images, template->image, error) : NULL;
  if (image == NULL ||
      !mf_policy_grant(spec, template, self->config, image->virtual_size, &grant, error) ||
      !mf_policy_possible(&self->capacity, &grant, self->config, error) || !check_disk(self, &grant, error))
    return NULL;
  g_autofree char *id = new_id(self);
  g_autoptr(MfJob) job = mf_job_new(id, owner, self->jobs_folder, spec, template, image, &grant);
  if (!mf_job_create_record(job, error))
    return NULL;
  if (spec->exec != NULL) {
    g_autoptr(MfExec) exec = mf_exec_new(job, 1, spec->exec, self->config->output_limit, error);
    if (exec == NULL) {
      g_autoptr(GError) also = NULL;
      if (!mf_record_remove(job->folder, &also))
        g_warning("%s, ignoring", also->message);
      return NULL;
    }
    mf_job_add_exec(job, exec);
    mf_job_save(job);
  }
  MfEntry *entry = mf_scheduler_add(self, job);
  mf_queue_push(self->queue, entry, owner, job->created);
  mf_entry_log(entry, "queued for uid %u, template %s", owner, template->name);
  emit(entry, "job.state");
  mf_entry_check_lease(entry);
  mf_scheduler_pump(self);
  return entry->job;
}

static MfEntry *
entry_of(MfScheduler *self, MfJob *job)
{
  return g_hash_table_lookup(self->by_id, job->id);
}

void
mf_scheduler_cancel(MfScheduler *self, MfJob *job, const char *reason)
{
  MfEntry *entry = entry_of(self, job);
  if (entry != NULL)
    mf_entry_end(entry, MF_RESULT_CANCELLED, -1, reason);
}

gboolean
mf_scheduler_end(MfScheduler *self, MfJob *job, MfResult result, int exit_code, GError **error)
{
  MfEntry *entry = entry_of(self, job);
  if (entry == NULL || job->result != MF_RESULT_NONE || job->state >= MF_JOB_STOPPING) {
    g_set_error(error, MF_ERROR, MF_ERROR_CONFLICT, "job %s is over already", job->id);
    return FALSE;
  }
  mf_entry_end(entry, result, exit_code,
               result == MF_RESULT_TIMED_OUT ? "its client says that its time was up" : NULL);
  return TRUE;
}

MfExec *
mf_scheduler_add_exec(MfScheduler *self, MfJob *job, MfExecSpec *spec, GError **error)
{
  MfEntry *entry = entry_of(self, job);
  if (entry == NULL || job->state >= MF_JOB_STOPPING) {
    g_set_error(error, MF_ERROR, MF_ERROR_CONFLICT,
                "job %s is %s: nothing more can run in its machine", job->id,
                mf_job_state_to_string(job->state));
    return NULL;
  }
  g_autoptr(MfExec) exec =
      mf_exec_new(job, job->execs->len + 1, spec, self->config->output_limit, error);
  if (exec == NULL)
    return NULL;
  if (!mf_job_keep_exec(job, exec, error))
    return NULL;
  mf_job_add_exec(job, exec);
  mf_job_save(job);
  mf_entry_run_execs(entry);
  return exec;
}

void
mf_scheduler_watch(MfScheduler *self, MfJob *job)
{
  MfEntry *entry = entry_of(self, job);
  if (entry == NULL)
    return;
  entry->watchers++;
  mf_entry_check_lease(entry);
}

void
mf_scheduler_unwatch(MfScheduler *self, MfJob *job)
{
  MfEntry *entry = entry_of(self, job);
  if (entry == NULL || entry->watchers == 0)
    return;
  entry->watchers--;
  mf_entry_check_lease(entry);
}

void
mf_scheduler_renew(MfScheduler *self, MfJob *job, guint64 seconds)
{
  MfEntry *entry = entry_of(self, job);
  if (entry == NULL || job->state >= MF_JOB_STOPPING)
    return;
  job->lease = seconds;
  g_clear_handle_id(&entry->lease_timer, g_source_remove);
  mf_entry_check_lease(entry);
  mf_job_save(job);
}

void
mf_scheduler_set_draining(MfScheduler *self, gboolean draining)
{
  self->draining = draining;
  mf_pool_set_closed(self->pool, draining);
  mf_forks_set_closed(self->forks, draining);
  g_message(draining ? "draining: no new jobs are taken" : "no longer draining");
  mf_scheduler_pump(self);
}

gboolean
mf_scheduler_get_draining(MfScheduler *self)
{
  return self->draining;
}

const MfConfig *
mf_scheduler_get_config(MfScheduler *self)
{
  return self->config;
}

MfHypervisor *
mf_scheduler_get_hypervisor(MfScheduler *self)
{
  return self->hypervisor;
}

/* What the rest of the host tells */

static void
on_prepared(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfScheduler) self = data;
  g_autoptr(GError) error = NULL;
  if (!mf_hypervisor_prepare_finish(MF_HYPERVISOR(source), result, &error)) {
    g_warning("libvirt cannot be prepared: %s", error->message);
    return;
  }
  self->prepared = TRUE;
  mf_scheduler_recover(self);
  mf_scheduler_pump(self);
}

static void
prepare(MfScheduler *self)
{
  mf_hypervisor_prepare_async(self->hypervisor, self->cancellable, on_prepared, g_object_ref(self));
}

static void
on_connection(MfHypervisor *hypervisor, gboolean up, gpointer data)
{
  MfScheduler *self = data;
  self->prepared = FALSE;
  g_hash_table_remove_all(self->reaped);
  if (up)
    prepare(self);
  else
    g_message("%s", mf_hypervisor_problem(hypervisor));
  mf_scheduler_pump(self);
}

static void
on_domain_event(MfHypervisor *hypervisor, const char *id, int event, const char *detail,
                gpointer data)
{
  MfScheduler *self = data;
  MfEntry *entry = mf_scheduler_by_machine(self, id);
  MfMachine *machine = entry != NULL ? entry->machine : mf_scheduler_idle_machine(self, id);
  if (machine != NULL)
    mf_machine_domain_event(machine, (MfDomainEvent)event, detail);
}

static void
on_port_lost(MfNetwork *network, const char *id, const char *reason, gpointer data)
{
  MfScheduler *self = data;
  MfEntry *entry = g_hash_table_lookup(self->by_id, id);
  MfMachine *machine = entry != NULL ? entry->machine : mf_scheduler_idle_machine(self, id);
  if (machine != NULL)
    mf_machine_fail(machine, reason);
}

static void
on_network_available(MfNetwork *network, gpointer data)
{
  mf_scheduler_pump(data);
}

static void
on_accel(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfScheduler) self = data;
  g_autoptr(GError) error = NULL;
  self->host.accel = mf_accel_probe_finish(result, &error);
  if (self->host.accel == NULL) {
    self->accel_problem = g_strdup(error->message);
    g_warning("%s", error->message);
  } else {
    g_message("acceleration: %s (%s)", self->host.accel->kvm ? "kvm" : "tcg",
              self->host.accel->reason);
  }
  mf_scheduler_recover(self);
  mf_scheduler_pump(self);
}

static gboolean
on_reap(gpointer data)
{
  MfScheduler *self = data;
  /* What libvirt refused once is asked for again, or jobs would wait for ever. */
  if (!self->prepared && mf_hypervisor_is_up(self->hypervisor))
    prepare(self);
  else
    mf_scheduler_recover(self);
  mf_scheduler_pump(self);
  return G_SOURCE_CONTINUE;
}

static void
on_background_changed(gpointer data)
{
  mf_scheduler_pump(data);
}

MfScheduler *
mf_scheduler_new(const MfConfig *config, MfHypervisor *hypervisor, MfNetwork *network)
{
  MfScheduler *self = g_object_new(mf_scheduler_get_type(), NULL);
  struct sysinfo info = {0};
  sysinfo(&info);
  self->config = config;
  self->hypervisor = g_object_ref(hypervisor);
  self->network = g_object_ref(network);
  self->jobs_folder = g_build_filename(config->state_directory, "jobs", NULL);
  self->host_size =
      (MfUsage){.cpus = g_get_num_processors(), .memory = (guint64)info.totalram * info.mem_unit};
  self->capacity = mf_policy_capacity(config, &self->host_size, mf_network_size(network));
  self->host = (MfHost){
      .config = config,
      .hypervisor = hypervisor,
      .network = network,
      .agent = mf_path_libexec("mayfly-agent"),
      .inject = mf_path_libexec("mayfly-inject"),
      .runner = mf_runner_new(config->gitlab_runner),
      .cache = g_build_filename(config->state_directory, "cache", NULL),
      .injects = mf_limiter_new(config->parallel_injects),
      .starts = mf_limiter_new(config->parallel_starts),
  };
  const MfBackground hooks = {mf_scheduler_why_not_ahead, count, on_background_changed};
  self->forks = mf_forks_new(&self->host, &hooks, self);
  self->pool = mf_pool_new(&self->host, self->forks, &hooks, self);
  mf_scheduler_load(self);
  g_signal_connect_object(hypervisor, "connection", G_CALLBACK(on_connection), self, 0);
  g_signal_connect_object(hypervisor, "domain-event", G_CALLBACK(on_domain_event), self, 0);
  g_signal_connect_object(network, "port-lost", G_CALLBACK(on_port_lost), self, 0);
  g_signal_connect_object(network, "available", G_CALLBACK(on_network_available), self, 0);
  mf_accel_probe_async(config, self->cancellable, on_accel, g_object_ref(self));
  self->reap_timer = g_timeout_add_seconds(REAP_SECONDS, on_reap, self);
  mf_scheduler_memory_begin(self);
  return self;
}

static void
mf_scheduler_dispose(GObject *object)
{
  MfScheduler *self = MF_SCHEDULER(object);
  g_cancellable_cancel(self->cancellable);
  g_clear_handle_id(&self->pump_idle, g_source_remove);
  g_clear_handle_id(&self->reap_timer, g_source_remove);
  g_clear_handle_id(&self->background_timer, g_source_remove);
  g_clear_handle_id(&self->later_timer, g_source_remove);
  mf_scheduler_memory_end(self);
  G_OBJECT_CLASS(mf_scheduler_parent_class)->dispose(object);
}

static void
mf_scheduler_finalize(GObject *object)
{
  MfScheduler *self = MF_SCHEDULER(object);
  mf_queue_free(self->queue);
  g_hash_table_unref(self->by_id);
  g_hash_table_unref(self->reaped);
  g_hash_table_unref(self->bad_templates);
  g_ptr_array_unref(self->entries);
  g_clear_pointer(&self->pool, mf_pool_free);
  g_clear_pointer(&self->forks, mf_forks_free);
  mf_limiter_free(self->host.injects);
  mf_limiter_free(self->host.starts);
  g_clear_pointer(&self->host.accel, mf_accel_free);
  g_free(self->host.agent);
  g_free(self->host.inject);
  g_clear_pointer(&self->host.runner, mf_runner_free);
  g_free(self->host.cache);
  g_free(self->accel_problem);
  g_free(self->jobs_folder);
  g_clear_object(&self->network);
  g_clear_object(&self->hypervisor);
  g_clear_object(&self->cancellable);
  G_OBJECT_CLASS(mf_scheduler_parent_class)->finalize(object);
}

static void
mf_scheduler_class_init(MfSchedulerClass *class)
{
  G_OBJECT_CLASS(class)->dispose = mf_scheduler_dispose;
  G_OBJECT_CLASS(class)->finalize = mf_scheduler_finalize;
  signals[EVENT] = g_signal_new("event", G_TYPE_FROM_CLASS(class), G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                NULL, G_TYPE_NONE, 1, G_TYPE_POINTER);
}

static void
mf_scheduler_init(MfScheduler *self)
{
  self->queue = mf_queue_new();
  self->entries = g_ptr_array_new_with_free_func(entry_free);
  self->by_id = g_hash_table_new(g_str_hash, g_str_equal);
  self->reaped = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  self->bad_templates = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  self->cancellable = g_cancellable_new();
}
