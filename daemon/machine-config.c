/* SPDX-License-Identifier: Apache-2.0 */
/* Machine: what it is told about its job, before it starts or when it gets one. */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/frame.h"
#include "daemon/json.h"
#include "daemon/machine-private.h"

char *
mf_machine_hostname(MfMachine *self)
{
  return g_strdup_printf("mayfly-%s", self->job != NULL ? self->job->id : self->id);
}

static char *
hosts_of(const char *hostname)
{
  return g_strdup_printf("127.0.0.1 localhost\n127.0.1.1 %s\n", hostname);
}

/* /etc/mayfly/job.json, readable by the guest's root only. (transfer full) */
static MfJson *
job_document(const MfJob *job, const char *hostname)
{
  MfJson *json = json_object_new_object();
  mf_json_add_string(json, "id", job->id);
  mf_json_add_string(json, "name", job->name);
  mf_json_add_string(json, "template", job->template_name);
  mf_json_add_string(json, "image", job->image_ref);
  mf_json_add_string(json, "hostname", hostname);
  mf_json_add_uint(json, "cpus", job->grant.cpus);
  mf_json_add_uint(json, "memory", job->grant.memory);
  mf_json_add_uint(json, "timeout", job->grant.timeout);
  MfJson *env = json_object_new_object();
  for (char **pair = job->spec->env; pair != NULL && *pair != NULL; pair++) {
    const char *equals = strchr(*pair, '=');
    g_autofree char *name = g_strndup(*pair, (gsize)(equals - *pair));
    json_object_object_add(env, name, json_object_new_string(equals + 1));
  }
  mf_json_add(json, "env", env);
  return json;
}

static void
plan_text(MfInjectPlan *plan, const char *path, guint mode, const char *text)
{
  mf_inject_plan_file(plan, path, mode, 0, 0, text, strlen(text));
}

MfInjectPlan *
mf_machine_plan(MfMachine *self)
{
  const MfJob *job = self->job;
  MfInjectPlan *plan = mf_inject_plan_new(self->overlay, self->image);
  g_autofree char *hostname = mf_machine_hostname(self);
  g_autofree char *hostname_line = g_strdup_printf("%s\n", hostname);
  g_autofree char *hosts = hosts_of(hostname);
  g_autoptr(MfJson) json = job_document(job, hostname);
  plan_text(plan, "/etc/mayfly/job.json", 0600,
            json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN));
  plan_text(plan, "/etc/hostname", 0644, hostname_line);
  plan_text(plan, "/etc/hosts", 0644, hosts);
  for (guint i = 0; job->spec->files != NULL && i < job->spec->files->len; i++) {
    const MfFile *file = g_ptr_array_index(job->spec->files, i);
    gsize length;
    const void *data = g_bytes_get_data(file->content, &length);
    mf_inject_plan_file(plan, file->path, file->mode, 0, 0, data, length);
  }
  return plan;
}

void
mf_machine_send(MfMachine *self, guint type, MfJson *document)
{
  mf_agent_link_send_document(self->link, type, MF_MACHINE_CONFIG, document);
}

static void
send_file(MfMachine *self, const char *path, guint mode, const void *data, gsize length)
{
  g_autoptr(MfJson) json = json_object_new_object();
  g_autofree char *mode_text = g_strdup_printf("%04o", mode);
  g_autofree char *text = g_base64_encode(data, length);
  mf_json_add_string(json, "path", path);
  mf_json_add_string(json, "mode", mode_text);
  mf_json_add_string(json, "content_base64", text);
  mf_machine_send(self, MF_FRAME_PUT, json);
  explicit_bzero(text, strlen(text));
}

/* What stands in such a document beside path and content, and a byte of a path as JSON. */
#define PUT_REST 128
#define PUT_BYTE 6

gboolean
mf_machine_can_bring(const MfJob *job)
{
  for (guint i = 0; job->spec->files != NULL && i < job->spec->files->len; i++) {
    const MfFile *file = g_ptr_array_index(job->spec->files, i);
    gsize base64 = (g_bytes_get_size(file->content) + 2) / 3 * 4;
    if (base64 + strlen(file->path) * PUT_BYTE + PUT_REST > MF_FRAME_MAX_DOCUMENT)
      return FALSE;
  }
  return TRUE;
}

/* Frames are handled in order: an exec that is sent after this finds all of it. */
void
mf_machine_send_config(MfMachine *self)
{
  const MfJob *job = self->job;
  g_autofree char *hostname = mf_machine_hostname(self);
  g_autofree char *hosts = hosts_of(hostname);
  g_autoptr(MfJson) document = job_document(job, hostname);
  send_file(self, "/etc/hosts", 0644, hosts, strlen(hosts));
  mf_machine_send(self, MF_FRAME_CONFIG, document);
  for (guint i = 0; job->spec->files != NULL && i < job->spec->files->len; i++) {
    const MfFile *file = g_ptr_array_index(job->spec->files, i);
    gsize length;
    const void *data = g_bytes_get_data(file->content, &length);
    send_file(self, file->path, file->mode, data, length);
  }
}
