/* SPDX-License-Identifier: Apache-2.0 */
/* Machine: a cold start, step by step. */
#include <errno.h>
#include <glib/gstdio.h>

#include "daemon/domain-xml.h"
#include "daemon/error.h"
#include "daemon/machine-private.h"

/* Ports are counted at admission; this covers their rest between two machines, and a filter being
 * made anew. */
#define PORT_WAIT 60
/* A fork has booted already: if it does not come, it is better booted. It speaks within a second of
 * its waking, or many on a busy host, or never. */
#define FORK_SECONDS   60
#define SILENT_SECONDS 20

static MfInjectOptions
inject_options(MfMachine *self)
{
  return (MfInjectOptions){
      .program = self->host->inject,
      .accel = self->host->accel->kvm ? "kvm" : "tcg",
      .timeout = self->host->config->inject_timeout,
      .cache_dir = self->host->cache,
  };
}

static void
on_prepared(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfMachine) self = data;
  g_autoptr(GError) error = NULL;
  self->prepared = mf_image_prepare_finish(result, &error);
  mf_machine_step_done(self, g_steal_pointer(&error));
}

static void
step_prepare(MfMachine *self)
{
  MfInjectOptions options = inject_options(self);
  mf_image_prepare_async(self->image, self->host->agent, mf_runner_path(self->host->runner),
                         &options, self->cancellable, on_prepared, g_object_ref(self));
}

static void
on_cloned(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfMachine) self = data;
  g_autoptr(GError) error = NULL;
  self->overlay = mf_hypervisor_create_overlay_finish(MF_HYPERVISOR(source), result, &error);
  mf_machine_step_done(self, g_steal_pointer(&error));
}

void
mf_machine_clone(MfMachine *self, const char *backing)
{
  mf_hypervisor_create_overlay_async(self->host->hypervisor, self->id, backing, self->grant.disk,
                                     self->cancellable, on_cloned, g_object_ref(self));
}

static void
step_clone(MfMachine *self)
{
  mf_machine_clone(self, self->prepared);
}

static void
on_injected(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfMachine) self = data;
  GError *error = NULL;
  if (mf_inject_run_finish(result, &error))
    g_clear_error(&error);
  mf_machine_step_done(self, error);
}

static void
inject_now(gpointer data)
{
  MfMachine *self = data;
  mf_machine_got_place(self);
  g_autoptr(MfInjectPlan) plan = mf_machine_plan(self);
  MfInjectOptions options = inject_options(self);
  mf_inject_run_async(plan, &options, self->cancellable, on_injected, g_object_ref(self));
}

static void
step_inject(MfMachine *self)
{
  /* A job that comes later brings its config over the agent's link. */
  if (self->job == NULL) {
    mf_machine_step_done(self, NULL);
    return;
  }
  mf_machine_enter_limiter(self, self->host->injects, inject_now);
}

static void
stop_waiting_for_port(MfMachine *self)
{
  g_clear_signal_handler(&self->available, self->host->network);
  g_clear_handle_id(&self->timer, g_source_remove);
}

static gboolean
try_port(MfMachine *self)
{
  self->port = mf_network_take(self->host->network, self->job != NULL ? self->job->id : self->id);
  if (self->port == NULL)
    return FALSE;
  stop_waiting_for_port(self);
  /* The record comes before the machine that it names a port for. */
  if (self->job != NULL) {
    self->job->port = g_strdup(self->port->tap);
    self->job->ip = g_strdup(self->port->ip);
    mf_job_save(self->job);
  }
  mf_machine_step_done(self, NULL);
  return TRUE;
}

static void
on_port_available(MfNetwork *network, gpointer data)
{
  try_port(data);
}

static gboolean
on_port_tick(gpointer data)
{
  MfMachine *self = data;
  if (try_port(self))
    return G_SOURCE_REMOVE;
  if (g_get_monotonic_time() - self->step_began < PORT_WAIT * G_USEC_PER_SEC)
    return G_SOURCE_CONTINUE;
  const char *problem = mf_network_problem(self->host->network);
  self->timer = 0;
  stop_waiting_for_port(self);
  mf_machine_step_done(
      self,
      g_error_new(MF_ERROR, MF_ERROR_UNAVAILABLE, "no port came free within %d seconds: %s",
                  PORT_WAIT, problem ? problem : "'mayfly doctor' shows what each is used for"));
  return G_SOURCE_REMOVE;
}

void
mf_machine_step_port(MfMachine *self)
{
  if (self->portless) {
    mf_machine_step_done(self, NULL);
    return;
  }
  if (try_port(self))
    return;
  self->available =
      g_signal_connect(self->host->network, "available", G_CALLBACK(on_port_available), self);
  self->timer = g_timeout_add(200, on_port_tick, self);
}

static char *
domain_xml(MfMachine *self, GError **error)
{
  g_autofree char *text = NULL;
  if (!g_file_get_contents(self->template->domain, &text, NULL, error))
    return NULL;
  g_autofree char *agent = mf_machine_socket_path(self, "agent.sock");
  g_autofree char *console = mf_machine_socket_path(self, "console.sock");
  MfDomainSpec spec = {
      .id = self->id,
      .uuid = self->uuid,
      .kvm = self->host->accel->kvm,
      .emulator = self->host->config->emulator,
      .cpus = self->grant.cpus,
      .memory = self->grant.memory,
      .overlay = self->overlay,
      .prepared = self->prepared,
      .image = self->image,
      .port = self->port,
      .agent_socket = agent,
      .console_socket = console,
      .deadline = g_get_real_time() / G_USEC_PER_SEC +
                  (gint64)(mf_machine_start_timeout(self) + self->grant.timeout),
      .label = mf_hypervisor_label(self->host->hypervisor),
      .template = self->template,
  };
  return mf_domain_xml(text, &spec, error);
}

static void
on_started(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfMachine) self = data;
  g_autoptr(GError) error = NULL;
  /* Connected while it is paused: no byte of console or agent is missed. */
  if (!mf_hypervisor_start_finish(MF_HYPERVISOR(source), result, &error) || self->stopping ||
      !mf_machine_connect(self, &error)) {
    mf_machine_step_done(self, g_steal_pointer(&error));
    return;
  }
  mf_machine_resume(self);
}

static void
start_now(gpointer data)
{
  MfMachine *self = data;
  GError *error = NULL;
  mf_machine_got_place(self);
  g_autofree char *xml = mf_machine_make_folder(self, &error) ? domain_xml(self, &error) : NULL;
  if (error != NULL) {
    mf_machine_step_done(self, error);
    return;
  }
  self->domain = TRUE;
  mf_hypervisor_start_async(self->host->hypervisor, xml, self->cancellable, on_started,
                            g_object_ref(self));
}

static void
step_start(MfMachine *self)
{
  mf_machine_enter_limiter(self, self->host->starts, start_now);
}

static gboolean
on_boot_deadline(gpointer data)
{
  MfMachine *self = data;
  self->timer = 0;
  self->booting = FALSE;
  const char *got =
      self->greeted ? "its agent spoke, but it did not get further" : "its agent never spoke";
  mf_machine_step_done(self,
                       g_error_new(MF_ERROR, MF_ERROR_TIMEOUT,
                                   "the machine was not ready ('%s') in time%s: %s",
                                   mf_ready_to_string(mf_machine_wanted_level(self)),
                                   self->memory_image != NULL ? "" : " (start-timeout)", got));
  return G_SOURCE_REMOVE;
}

static gboolean
on_silence_over(gpointer data)
{
  MfMachine *self = data;
  guint64 seconds = MIN(mf_machine_start_timeout(self), FORK_SECONDS);
  if (!self->greeted || seconds <= SILENT_SECONDS)
    return on_boot_deadline(data);
  self->timer = g_timeout_add_seconds((guint)(seconds - SILENT_SECONDS), on_boot_deadline, self);
  return G_SOURCE_REMOVE;
}

void
mf_machine_step_boot(MfMachine *self)
{
  if (mf_machine_is_ready(self)) {
    mf_machine_step_done(self, NULL);
    return;
  }
  guint64 seconds = mf_machine_start_timeout(self);
  gboolean fork = self->memory_image != NULL;
  self->booting = TRUE;
  self->timer = g_timeout_add_seconds((guint)(fork ? MIN(seconds, SILENT_SECONDS) : seconds),
                                      fork ? on_silence_over : on_boot_deadline, self);
}

const MfMachineStep mf_machine_cold_steps[] = {
    {"preparing the image", MF_TIMING_PREPARE, step_prepare},
    {"cloning the disk", MF_TIMING_CLONE, step_clone},
    {"injecting the job's config", MF_TIMING_INJECT, step_inject},
    {"waiting for a network port", MF_TIMING_PORT, mf_machine_step_port},
    {"starting the domain", MF_TIMING_START, step_start},
    {"booting", MF_TIMING_BOOT, mf_machine_step_boot},
    {0},
};
