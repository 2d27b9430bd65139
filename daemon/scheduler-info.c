/* SPDX-License-Identifier: Apache-2.0 */
/* Scheduler: the host as /v1/info shows it. */
#include "daemon/image.h"
#include "daemon/json.h"
#include "daemon/scheduler-private.h"

static MfJson *
accel_json(MfScheduler *self)
{
  const MfAccel *accel = self->host.accel;
  MfJson *json = json_object_new_object();
  mf_json_add_string(json, "mode", self->config->accel);
  mf_json_add(json, "kvm", accel ? json_object_new_boolean(accel->kvm) : NULL);
  mf_json_add_string(json, "reason", accel ? accel->reason : self->accel_problem);
  return json;
}

static MfJson *
libvirt_json(MfScheduler *self)
{
  MfJson *json = json_object_new_object();
  mf_json_add_bool(json, "up", mf_hypervisor_is_up(self->hypervisor));
  mf_json_add_string(json, "problem", mf_hypervisor_problem(self->hypervisor));
  mf_json_add_string(
      json, "versions",
      mf_hypervisor_is_up(self->hypervisor) ? mf_hypervisor_versions(self->hypervisor) : NULL);
  return json;
}

MfJson *
mf_scheduler_usage_json(const MfUsage *usage)
{
  MfJson *json = json_object_new_object();
  mf_json_add_uint(json, "machines", usage->machines);
  mf_json_add_uint(json, "memory", usage->memory);
  mf_json_add_uint(json, "cpus", usage->cpus);
  return json;
}

static guint
count_running(MfScheduler *self)
{
  guint n = 0;
  for (guint i = 0; i < self->entries->len; i++)
    n += ((MfEntry *)g_ptr_array_index(self->entries, i))->counted;
  return n;
}

MfJson *
mf_scheduler_info(MfScheduler *self)
{
  MfJson *json = json_object_new_object();
  mf_json_add_string(json, "version", MF_VERSION);
  mf_json_add(json, "accel", accel_json(self));
  mf_json_add(json, "libvirt", libvirt_json(self));
  MfJson *host = json_object_new_object();
  mf_json_add_uint(host, "cpus", self->host_size.cpus);
  mf_json_add_uint(host, "memory", self->host_size.memory);
  mf_json_add(json, "host", host);
  MfJson *limits = mf_scheduler_usage_json(&self->capacity);
  mf_json_add_uint(limits, "disk_reserve", self->config->disk_reserve);
  mf_json_add_uint(limits, "queue", self->config->queue_length);
  mf_json_add_uint(limits, "timeout", self->config->max_timeout);
  mf_json_add_uint(limits, "keep", self->config->max_keep);
  mf_json_add(json, "limits", limits);
  MfJson *used = mf_scheduler_usage_json(&self->used);
  mf_json_add_uint(used, "disk_free", mf_scheduler_disk_free(self));
  mf_json_add(json, "used", used);
  mf_json_add(json, "memory", mf_scheduler_memory_json(self));
  mf_json_add_uint(json, "queue", mf_queue_length(self->queue));
  mf_json_add_uint(json, "running", count_running(self));
  mf_json_add_bool(json, "draining", self->draining);
  mf_json_add(json, "network", mf_network_to_json(self->network));
  mf_json_add(json, "gitlab_runner", mf_runner_to_json(self->host.runner));
  g_autofree char *folder = g_build_filename(self->config->state_directory, "images", NULL);
  g_autoptr(GPtrArray) images = mf_image_list(folder, NULL);
  g_autoptr(GPtrArray) templates =
      mf_template_load_good(self->config->template_directory, NULL, NULL);
  mf_json_add_uint(json, "images", images ? images->len : 0);
  mf_json_add_uint(json, "templates", templates ? templates->len : 0);
  return json;
}

MfJson *
mf_scheduler_pools(MfScheduler *self)
{
  g_autofree char *why = mf_scheduler_why_no_look(self);
  g_autoptr(GPtrArray) templates =
      why != NULL ? mf_template_load_good(self->config->template_directory, NULL, NULL) : NULL;
  if (templates != NULL)
    mf_pool_expect(self->pool, templates, why);
  return mf_pool_to_json(self->pool);
}

MfJson *
mf_scheduler_fork(MfScheduler *self, const MfTemplate *template)
{
  g_autofree char *why = mf_scheduler_why_no_look(self);
  return mf_forks_to_json(self->forks, template, why);
}
