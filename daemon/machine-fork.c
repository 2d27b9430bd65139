/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machine: started from saved memory instead of booted. It wakes up as the machine that was saved,
 * and is made one of its own before it is told anything of a job: an interface on its own port, its
 * time, random numbers, names and ids. Only what the agent sends after it has done that counts.
 */
#include <string.h>
#include <sys/random.h>

#include "daemon/domain-fork.h"
#include "daemon/domain-xml.h"
#include "daemon/error.h"
#include "daemon/frame.h"
#include "daemon/json.h"
#include "daemon/machine-private.h"

#define ENTROPY 64 /* bytes */

static void
step_clone(MfMachine *self)
{
  mf_machine_clone(self, self->memory_image->disk);
}

static void
on_attached(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfMachine) self = data;
  g_autoptr(GError) error = NULL;
  if (!mf_hypervisor_attach_finish(MF_HYPERVISOR(source), result, &error) || self->stopping ||
      !mf_machine_connect(self, &error)) {
    mf_machine_step_done(self, g_steal_pointer(&error));
    return;
  }
  mf_machine_resume(self);
}

static void
on_restored(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfMachine) self = data;
  g_autoptr(GError) error = NULL;
  g_autofree char *xml = NULL;
  if (mf_hypervisor_restore_finish(MF_HYPERVISOR(source), result, &error) && !self->stopping)
    xml = mf_domain_interface_xml(self->port, self->template, &error);
  if (xml == NULL) {
    mf_machine_step_done(self, g_steal_pointer(&error));
    return;
  }
  /* While it is paused: the guest finds it when it wakes up. */
  mf_hypervisor_attach_async(self->host->hypervisor, self->id, xml, self->cancellable, on_attached,
                             g_object_ref(self));
}

static GBytes *
front_of(MfMachine *self, GError **error)
{
  g_autofree char *agent = mf_machine_socket_path(self, "agent.sock");
  g_autofree char *console = mf_machine_socket_path(self, "console.sock");
  MfForkSpec spec = {
      .id = self->id,
      .uuid = self->uuid,
      .overlay = self->overlay,
      .disk = self->memory_image->disk,
      .agent_socket = agent,
      .console_socket = console,
      .deadline = g_get_real_time() / G_USEC_PER_SEC +
                  (gint64)(mf_machine_start_timeout(self) + self->grant.timeout),
  };
  g_autofree char *xml = mf_domain_fork_xml(self->memory_image->header->xml, &spec, error);
  return xml != NULL ? mf_save_header_build(self->memory_image->header, xml) : NULL;
}

static void
start_now(gpointer data)
{
  MfMachine *self = data;
  GError *error = NULL;
  mf_machine_got_place(self);
  g_autoptr(GBytes) front = mf_machine_make_folder(self, &error) ? front_of(self, &error) : NULL;
  if (error != NULL) {
    mf_machine_step_done(self, error);
    return;
  }
  g_autofree char *fifo = mf_machine_socket_path(self, "memory.fifo");
  self->domain = TRUE;
  mf_hypervisor_restore_async(self->host->hypervisor, fifo, front, self->memory_image->memory,
                              self->memory_image->header->length, self->cancellable, on_restored,
                              g_object_ref(self));
}

static void
step_start(MfMachine *self)
{
  mf_machine_enter_limiter(self, self->host->starts, start_now);
}

/* The machine's own */

static char *
random_hex(gsize length)
{
  g_autofree guint8 *bytes = g_malloc(length);
  for (gsize have = 0; have < length;) {
    ssize_t got = getrandom(bytes + have, length - have, 0);
    have += got > 0 ? (gsize)got : 0;
  }
  char *hex = g_malloc(2 * length + 1);
  for (gsize i = 0; i < length; i++)
    g_snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
  explicit_bzero(bytes, length);
  return hex;
}

static MfJson *
network_json(MfMachine *self)
{
  MfJson *json = json_object_new_object();
  mf_json_add_string(json, "mac", self->port->mac);
  mf_json_add_string(json, "address", self->port->ip);
  mf_json_add_uint(json, "prefix", mf_network_prefix(self->host->network));
  mf_json_add_string(json, "gateway", mf_network_gateway(self->host->network));
  return json;
}

static void
make_own(MfMachine *self)
{
  g_autoptr(MfJson) json = json_object_new_object();
  g_autofree char *entropy = random_hex(ENTROPY);
  g_autofree char *machine_id = random_hex(16);
  g_autofree char *hostname = mf_machine_hostname(self);
  mf_json_add_string(json, "entropy", entropy);
  mf_json_add_string(json, "machine_id", machine_id);
  mf_json_add_string(json, "hostname", hostname);
  mf_json_add(json, "network", network_json(self));
  mf_machine_ask(self, json);
  explicit_bzero(entropy, strlen(entropy));
}

void
mf_machine_fork_greeted(MfMachine *self, const char *token)
{
  if (self->memory_image == NULL || self->in_time || self->link == NULL)
    return;
  if (self->asks == 0) {
    make_own(self);
    return;
  }
  /* What the saved agent says of itself is not an answer. */
  if (!mf_machine_has_answered(self, token))
    return;
  self->in_time = TRUE;
  if (self->job != NULL) {
    mf_machine_give_memory_soon(self);
    mf_machine_send_config(self);
  }
  if (self->booting && mf_machine_is_ready(self))
    mf_machine_step_done(self, NULL);
}

const MfMachineStep mf_machine_fork_steps[] = {
    {"cloning the disk", MF_TIMING_CLONE, step_clone},
    {"waiting for a network port", MF_TIMING_PORT, mf_machine_step_port},
    {"starting the domain from memory", MF_TIMING_START, step_start},
    {"making the machine its own", MF_TIMING_BOOT, mf_machine_step_boot},
    {0},
};
