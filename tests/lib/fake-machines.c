/* SPDX-License-Identifier: Apache-2.0 */
/* Machines without libvirt: one of every job that is not finished, and one that waits. Of the one
 * with the id p-a there are statistics. */
#include "daemon/error.h"
#include "daemon/json.h"
#include "tests/lib/fake-scheduler.h"

static MfJson *
machine_json(const char *id, MfJob *job)
{
  MfJson *json = json_object_new_object();
  mf_json_add_string(json, "id", id);
  mf_json_add_string(json, "job", job != NULL ? job->id : NULL);
  mf_json_add(json, "owner", job != NULL ? json_object_new_uint64(job->owner) : NULL);
  mf_json_add_string(json, "state", job != NULL ? mf_job_state_to_string(job->state) : "waiting");
  mf_json_add_uint(json, "cpus", 1);
  mf_json_add_uint(json, "memory", 1 << 30);
  mf_json_add_uint(json, "guaranteed", 1 << 29);
  return json;
}

MfJson *
mf_scheduler_machines(MfScheduler *self)
{
  static const char text[] = "{\"host\":{\"cpus\":2,\"memory\":4096,\"memory_available\":1024,"
                             "\"memory_level\":\"low\",\"pressure\":null},"
                             "\"limits\":{\"machines\":4},\"used\":{\"machines\":3}}";
  MfJson *json = json_tokener_parse(text);
  MfJson *machines = json_object_new_array();
  for (guint i = 0; i < self->jobs->len; i++) {
    MfJob *job = self->jobs->pdata[i];
    if (job->state != MF_JOB_FINISHED)
      json_object_array_add(machines, machine_json(job->machine, job));
  }
  json_object_array_add(machines, machine_json("p-waits", NULL));
  mf_json_add(json, "machines", machines);
  return json;
}

static void
clear_host_stats(gpointer data)
{
  g_hash_table_unref(((MfHostStats *)data)->machines);
}

void
mf_host_stats_unref(MfHostStats *self)
{
  g_rc_box_release_full(self, clear_host_stats);
}

static void
unref_host_stats(gpointer data)
{
  mf_host_stats_unref(data);
}

void
mf_hypervisor_all_stats_async(MfHypervisor *self, GCancellable *cancellable,
                              GAsyncReadyCallback callback, gpointer data)
{
  g_autoptr(GTask) task = g_task_new(self, cancellable, callback, data);
  if (self->is_down) {
    g_task_return_new_error(task, MF_ERROR, MF_ERROR_UNAVAILABLE, "There is no libvirtd.");
    return;
  }
  MfHostStats *stats = g_rc_box_new0(MfHostStats);
  MfDomainStats *one = g_new0(MfDomainStats, 1);
  one->cpu_time_ns = 7;
  one->disk_written_bytes = MF_STATS_UNKNOWN;
  stats->time = 1500 * G_TIME_SPAN_MILLISECOND;
  stats->machines = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  g_hash_table_insert(stats->machines, g_strdup("p-a"), one);
  g_task_return_pointer(task, stats, unref_host_stats);
}

MfHostStats *
mf_hypervisor_all_stats_finish(MfHypervisor *self, GAsyncResult *result, GError **error)
{
  return g_task_propagate_pointer(G_TASK(result), error);
}
