/* SPDX-License-Identifier: Apache-2.0 */
/* Machine: what it is, and how it gets through the steps of its start. */
#include <errno.h>
#include <glib/gstdio.h>

#include "daemon/error.h"
#include "daemon/machine-private.h"

G_DEFINE_FINAL_TYPE(MfMachine, mf_machine, G_TYPE_OBJECT)

guint mf_machine_signals[MF_MACHINE_N_SIGNALS];

static void
leave_limiter(MfMachine *self)
{
  if (self->limiter == NULL)
    return;
  if (self->place_held)
    mf_limiter_leave(self->limiter);
  else
    mf_limiter_withdraw(self->limiter, self->limiter_id);
  self->limiter = NULL;
  self->place_held = FALSE;
}

void
mf_machine_enter_limiter(MfMachine *self, MfLimiter *limiter, GSourceOnceFunc callback)
{
  self->limiter = limiter;
  self->limiter_id = mf_limiter_enter(limiter, self->job == NULL, callback, self);
}

static void
run_step(MfMachine *self)
{
  self->step_began = g_get_monotonic_time();
  self->in_step = TRUE;
  if (self->job != NULL)
    mf_job_set_phase(self->job, self->steps[self->step].phase);
  self->steps[self->step].run(self);
}

void
mf_machine_begin(MfMachine *self, const MfMachineStep *steps)
{
  self->steps = steps;
  self->step = 0;
  run_step(self);
}

void
mf_machine_set_timing(MfMachine *self, MfTiming timing, double seconds)
{
  self->timings[timing] = seconds;
  if (self->job != NULL)
    mf_job_set_timing(self->job, timing, seconds);
}

void
mf_machine_got_place(MfMachine *self)
{
  gint64 now = g_get_monotonic_time();
  double waited = (double)(now - self->step_began) / G_USEC_PER_SEC;
  self->place_held = TRUE;
  self->step_began = now;
  mf_machine_set_timing(self, MF_TIMING_WAIT, MAX(self->timings[MF_TIMING_WAIT], 0) + waited);
}

void
mf_machine_fail(MfMachine *self, const char *reason)
{
  if (self->down || self->stopping)
    return;
  self->down = TRUE;
  g_signal_emit(self, mf_machine_signals[MF_MACHINE_DOWN], 0, reason);
}

void
mf_machine_guest_failed(MfMachine *self, const char *reason)
{
  /* What made it fail may be what it was saved with. */
  self->did_not_wake = self->did_not_wake || (self->domain && !self->up);
  mf_machine_fail(self, reason);
}

void
mf_machine_step_done(MfMachine *self, GError *error)
{
  g_autoptr(GError) failure = error;
  g_autoptr(MfMachine) keep = g_object_ref(self);
  self->in_step = self->booting = FALSE;
  /* The place for a start is held until the machine has booted: that is what costs. */
  if (failure != NULL || self->stopping || self->steps[self->step].timing != MF_TIMING_START)
    leave_limiter(self);
  g_clear_handle_id(&self->timer, g_source_remove);
  if (self->stopping) {
    mf_machine_stop_continue(self);
    return;
  }
  if (failure != NULL) {
    MfTiming timing = self->steps[self->step].timing;
    self->lost_libvirt = mf_error_code(failure) == MF_ERROR_UNAVAILABLE &&
                         (timing == MF_TIMING_CLONE || timing == MF_TIMING_START);
    self->did_not_wake =
        self->domain && !self->lost_libvirt && mf_hypervisor_is_up(self->host->hypervisor);
    g_autofree char *reason =
        g_strdup_printf("%s: %s", self->steps[self->step].phase, failure->message);
    mf_machine_fail(self, reason);
    return;
  }
  double seconds = (double)(g_get_monotonic_time() - self->step_began) / G_USEC_PER_SEC;
  if (self->steps[self->step].timing != MF_TIMING_LAST_)
    mf_machine_set_timing(self, self->steps[self->step].timing, seconds);
  if (self->steps[++self->step].run != NULL) {
    run_step(self);
    return;
  }
  self->up = TRUE;
  self->up_since = g_get_monotonic_time();
  g_signal_emit(self, mf_machine_signals[MF_MACHINE_UP], 0);
}

char *
mf_machine_socket_path(MfMachine *self, const char *name)
{
  return g_build_filename(self->sockets, name, NULL);
}

guint64
mf_machine_start_timeout(MfMachine *self)
{
  return self->template->start_timeout > 0 ? self->template->start_timeout
                                           : self->host->config->start_timeout;
}

gboolean
mf_machine_make_folder(MfMachine *self, GError **error)
{
  /* 0711: QEMU's user reaches the sockets by name, and lists nothing. */
  if (g_mkdir_with_parents(self->sockets, 0711) == 0)
    return TRUE;
  g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "cannot make %s: %s", self->sockets,
              g_strerror(errno));
  return FALSE;
}

gboolean
mf_machine_connect(MfMachine *self, GError **error)
{
  g_autofree char *console = mf_machine_socket_path(self, "console.sock");
  if (self->output == NULL)
    self->output = mf_output_log_open(self->log, self->host->config->console_limit, error);
  if (self->output == NULL)
    return FALSE;
  if (self->job != NULL && self->job->console == NULL)
    self->job->console = mf_output_log_ref(self->output);
  self->console = mf_console_open(console, self->output, error);
  return self->console != NULL && mf_machine_link_open(self, error);
}

static void
on_resumed(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfMachine) self = data;
  GError *error = NULL;
  if (mf_hypervisor_resume_finish(MF_HYPERVISOR(source), result, &error))
    g_clear_error(&error);
  mf_machine_step_done(self, error);
}

void
mf_machine_resume(MfMachine *self)
{
  self->resumed = g_get_monotonic_time();
  mf_hypervisor_resume_async(self->host->hypervisor, self->id, self->cancellable, on_resumed,
                             g_object_ref(self));
}

char *
mf_machine_new_id(void)
{
  static const char letters[] = "abcdefghjkmnpqrstuvwxyz23456789";
  char id[11] = {0};
  for (guint i = 0; i < sizeof id - 1; i++)
    id[i] = letters[g_random_int_range(0, (gint32)sizeof letters - 1)];
  return g_strdup(id);
}

static MfMachine *
machine_new(const MfHost *host, const MfMachineSpec *spec)
{
  MfMachine *self = g_object_new(mf_machine_get_type(), NULL);
  self->host = host;
  self->id = g_strdup(spec->id);
  self->template = spec->template != NULL ? mf_template_ref(spec->template) : NULL;
  self->image = spec->image != NULL ? mf_image_ref(spec->image) : NULL;
  self->grant = spec->grant;
  self->portless = spec->portless;
  self->log = g_strdup(spec->console);
  self->sockets = g_build_filename(host->config->runtime_directory, "machines", spec->id, NULL);
  return self;
}

MfMachine *
mf_machine_new(const MfHost *host, MfJob *job)
{
  g_autofree char *console = g_build_filename(job->folder, "console.log", NULL);
  MfMachineSpec spec = {
      .id = job->machine,
      .template = job->template,
      .image = job->image,
      .grant = job->grant,
      .console = console,
  };
  MfMachine *self = machine_new(host, &spec);
  self->job = g_object_ref(job);
  self->uuid = g_strdup(job->uuid);
  self->agent = g_strdup(job->agent);
  if (job->console != NULL)
    self->output = mf_output_log_ref(job->console);
  return self;
}

MfMachine *
mf_machine_new_waiting(const MfHost *host, const MfMachineSpec *spec)
{
  MfMachine *self = machine_new(host, spec);
  self->uuid = g_uuid_string_random();
  return self;
}

void
mf_machine_set_memory_image(MfMachine *self, MfMemoryImage *image)
{
  g_clear_pointer(&self->memory_image, mf_memory_image_unref);
  self->memory_image = mf_memory_image_ref(image);
}

MfMemoryImage *
mf_machine_get_memory_image(MfMachine *self)
{
  return self->memory_image;
}

gboolean
mf_machine_did_not_wake(MfMachine *self)
{
  return self->memory_image != NULL && self->did_not_wake;
}

gboolean
mf_machine_lost_libvirt(MfMachine *self)
{
  return self->lost_libvirt;
}

const char *
mf_machine_get_id(MfMachine *self)
{
  return self->id;
}

void
mf_machine_start(MfMachine *self)
{
  if (self->job != NULL) {
    self->job->accel = self->host->accel->kvm ? "kvm" : "tcg";
    self->job->how = self->memory_image != NULL ? "fork" : "cold";
  }
  mf_machine_begin(self,
                   self->memory_image != NULL ? mf_machine_fork_steps : mf_machine_cold_steps);
}

static gboolean
on_adopted_silent(gpointer data)
{
  MfMachine *self = data;
  self->timer = 0;
  mf_machine_fail(
      self, "mayflyd was restarted and the agent in the machine does not answer (agent-timeout)");
  return G_SOURCE_REMOVE;
}

void
mf_machine_adopt(MfMachine *self)
{
  g_autoptr(GError) error = NULL;
  self->domain = TRUE;
  if (self->job->port != NULL)
    self->port = mf_network_claim(self->host->network, self->job->port, self->job->id);
  if (self->port == NULL) {
    mf_machine_fail(self,
                    "mayflyd was restarted and the machine's network port is no longer there");
    return;
  }
  if (!mf_machine_connect(self, &error)) {
    g_autofree char *reason = g_strdup_printf("mayflyd was restarted and %s", error->message);
    mf_machine_fail(self, reason);
    return;
  }
  self->up = TRUE;
  self->up_since = g_get_monotonic_time();
  /* The link counts the agent's silence only after its first word. */
  self->timer =
      g_timeout_add_seconds((guint)self->host->config->agent_timeout, on_adopted_silent, self);
}

void
mf_machine_discard(MfMachine *self)
{
  self->domain = TRUE;
  if (self->job->port != NULL)
    self->port = mf_network_claim(self->host->network, self->job->port, self->job->id);
  mf_machine_stop(self, FALSE);
}

gboolean
mf_machine_is_stopping(MfMachine *self)
{
  return self->stopping;
}

gboolean
mf_machine_is_up(MfMachine *self)
{
  return self->up && !self->stopping && !self->down;
}

gboolean
mf_machine_was_up(MfMachine *self, gint64 time)
{
  return mf_machine_is_up(self) && self->up_since < time;
}

void
mf_machine_domain_event(MfMachine *self, MfDomainEvent event, const char *detail)
{
  /* To be saved is to end; whether that went well is for the answer to say. */
  if (self->saving)
    return;
  switch (event) {
  case MF_DOMAIN_EVENT_STARTED:
    return;
  case MF_DOMAIN_EVENT_SHUTDOWN:
    if (self->stopping)
      mf_machine_stop(self, FALSE);
    else
      mf_machine_guest_failed(self, "the machine powered itself off before the job was done");
    return;
  case MF_DOMAIN_EVENT_DESTROYED:
    mf_machine_fail(self, "the machine was destroyed by somebody else, not by mayfly");
    return;
  case MF_DOMAIN_EVENT_PANICKED:
    mf_machine_guest_failed(self, "the kernel in the machine panicked");
    return;
  case MF_DOMAIN_EVENT_CRASHED: {
    g_autofree char *reason = g_strdup_printf("QEMU ended unexpectedly (%s)",
                                              detail && *detail ? detail : "no reason given");
    mf_machine_guest_failed(self, reason);
    return;
  }
  case MF_DOMAIN_EVENT_IO_ERROR: {
    g_autofree char *reason =
        g_strcmp0(detail, "enospc") == 0
            ? g_strdup_printf("the host's disk is full: free some space under %s",
                              self->host->config->state_directory)
            : g_strdup_printf("the machine's disk failed on the host (%s)",
                              detail && *detail ? detail : "no reason given");
    mf_machine_fail(self, reason);
    return;
  }
  default:
    return;
  }
}

static void
mf_machine_finalize(GObject *object)
{
  MfMachine *self = MF_MACHINE(object);
  leave_limiter(self);
  g_clear_signal_handler(&self->available, self->host->network);
  g_clear_handle_id(&self->timer, g_source_remove);
  g_clear_handle_id(&self->stop_timer, g_source_remove);
  mf_machine_link_close(self);
  g_clear_pointer(&self->console, mf_console_close);
  g_clear_object(&self->cancellable);
  g_clear_object(&self->job);
  g_clear_pointer(&self->template, mf_template_unref);
  g_clear_pointer(&self->image, mf_image_unref);
  g_clear_pointer(&self->output, mf_output_log_unref);
  g_clear_pointer(&self->memory_image, mf_memory_image_unref);
  g_clear_handle_id(&self->shrink.timer, g_source_remove);
  g_free(self->token);
  g_free(self->work);
  g_free(self->id);
  g_free(self->uuid);
  g_free(self->log);
  g_free(self->agent);
  g_free(self->lost);
  g_free(self->overlay);
  g_free(self->prepared);
  g_free(self->sockets);
  G_OBJECT_CLASS(mf_machine_parent_class)->finalize(object);
}

static void
mf_machine_class_init(MfMachineClass *class)
{
  G_OBJECT_CLASS(class)->finalize = mf_machine_finalize;
  GType type = G_TYPE_FROM_CLASS(class);
  mf_machine_signals[MF_MACHINE_UP] =
      g_signal_new("up", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
  mf_machine_signals[MF_MACHINE_DOWN] = g_signal_new("down", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                                     NULL, G_TYPE_NONE, 1, G_TYPE_STRING);
  mf_machine_signals[MF_MACHINE_EXEC_FINISHED] =
      g_signal_new("exec-finished", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 1,
                   mf_exec_get_type());
  mf_machine_signals[MF_MACHINE_SAVED] =
      g_signal_new("saved", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
  mf_machine_signals[MF_MACHINE_GONE] =
      g_signal_new("gone", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
}

static void
mf_machine_init(MfMachine *self)
{
  self->cancellable = g_cancellable_new();
  for (int i = 0; i < MF_TIMING_LAST_; i++)
    self->timings[i] = -1;
}
