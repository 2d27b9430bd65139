/* SPDX-License-Identifier: Apache-2.0 */
/* Scheduler: the machines as /v1/machines shows them, whoever has them. */
#include "daemon/json.h"
#include "daemon/scheduler-private.h"

MfJson *
mf_scheduler_machine_json(MfJob *job, const MfConfig *config)
{
  MfJson *json = json_object_new_object();
  mf_json_add_string(json, "id", job->machine);
  mf_json_add_string(json, "job", job->id);
  mf_json_add_string(json, "name", job->name);
  mf_json_add_string(json, "template", job->template_name);
  mf_json_add_uint(json, "owner", job->owner);
  mf_json_add_string(json, "owner_name", mf_job_get_owner_name(job));
  mf_json_add_string(json, "state", mf_job_state_to_string(job->state));
  mf_json_add_string(json, "how", job->how);
  mf_json_add_uint(json, "cpus", job->grant.cpus);
  mf_json_add_uint(json, "memory", job->grant.memory);
  mf_json_add_uint(json, "guaranteed", mf_policy_guaranteed(config, job->grant.memory));
  mf_json_add(json, "since",
              job->started > 0 ? json_object_new_double((double)job->started / G_USEC_PER_SEC)
                               : NULL);
  return json;
}

MfJson *
mf_scheduler_host_json(const MfUsage *size, const MfHostMemory *memory, MfMemoryLevel level)
{
  MfJson *json = json_object_new_object();
  MfJson *pressure = NULL;
  mf_json_add_uint(json, "cpus", size->cpus);
  mf_json_add_uint(json, "memory", size->memory);
  mf_json_add(json, "memory_available",
              memory != NULL ? json_object_new_uint64(memory->available) : NULL);
  mf_json_add_string(json, "memory_level", mf_memory_level_to_string(level));
  if (memory != NULL && memory->has_pressure) {
    pressure = json_object_new_object();
    mf_json_add(pressure, "some", json_object_new_double(memory->some));
    mf_json_add(pressure, "full", json_object_new_double(memory->full));
  }
  mf_json_add(json, "pressure", pressure);
  return json;
}

MfJson *
mf_scheduler_machines(MfScheduler *self)
{
  MfHostMemory memory;
  MfJson *json = json_object_new_object();
  MfJson *machines = json_object_new_array();
  mf_json_add(json, "host",
              mf_scheduler_host_json(&self->host_size,
                                     mf_host_memory_read(&memory) ? &memory : NULL,
                                     mf_scheduler_memory_level(self)));
  mf_json_add(json, "limits", mf_scheduler_usage_json(&self->capacity));
  mf_json_add(json, "used", mf_scheduler_usage_json(&self->used));
  /* By the state: a machine of before a restart is not taken on while libvirt is away. */
  for (guint i = 0; i < self->entries->len; i++) {
    MfJob *job = ((MfEntry *)g_ptr_array_index(self->entries, i))->job;
    if (job->state != MF_JOB_QUEUED && job->state != MF_JOB_FINISHED)
      json_object_array_add(machines, mf_scheduler_machine_json(job, self->config));
  }
  mf_pool_add_machines(self->pool, machines);
  mf_json_add(json, "machines", machines);
  return json;
}
