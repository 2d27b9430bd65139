/* SPDX-License-Identifier: Apache-2.0 */
/* Machine: the one teardown, whatever came before. */
#include <glib/gstdio.h>

#include "daemon/error.h"
#include "daemon/fifo.h"
#include "daemon/machine-private.h"

#define RETRY_SECONDS 2
/* After so many the reaper, which looks again and again, takes over. */
#define OVERLAY_TRIES 5

static void destroy(MfMachine *self);
static void delete_overlay(MfMachine *self);

static void
gone(MfMachine *self)
{
  g_autoptr(MfMachine) keep = g_object_ref(self);
  static const char *const names[] = {"agent.sock", "console.sock"};
  for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
    g_autofree char *path = mf_machine_socket_path(self, names[i]);
    g_unlink(path);
  }
  g_autofree char *fifo = mf_machine_socket_path(self, "memory.fifo");
  mf_fifo_remove(fifo);
  g_rmdir(self->sockets);
  /* Of a machine that no job got, nobody asks for what its console said. */
  if (self->job == NULL)
    g_unlink(self->log);
  if (self->port != NULL)
    mf_network_release(self->host->network, g_steal_pointer(&self->port));
  mf_machine_set_timing(self, MF_TIMING_TEARDOWN,
                        (double)(g_get_monotonic_time() - self->stop_began) / G_USEC_PER_SEC);
  g_signal_emit(self, mf_machine_signals[MF_MACHINE_GONE], 0);
}

static gboolean
on_retry_destroy(gpointer data)
{
  MfMachine *self = data;
  self->stop_timer = 0;
  destroy(self);
  return G_SOURCE_REMOVE;
}

static gboolean
on_retry_overlay(gpointer data)
{
  MfMachine *self = data;
  self->stop_timer = 0;
  delete_overlay(self);
  return G_SOURCE_REMOVE;
}

static void
on_overlay_deleted(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfMachine) self = data;
  g_autoptr(GError) error = NULL;
  if (mf_hypervisor_delete_overlay_finish(MF_HYPERVISOR(source), result, &error)) {
    gone(self);
  } else if (++self->overlay_tries < OVERLAY_TRIES) {
    self->stop_timer = g_timeout_add_seconds(RETRY_SECONDS, on_retry_overlay, self);
  } else {
    g_warning("machine %s: its overlay stays for now: %s", self->id, error->message);
    gone(self);
  }
}

static void
delete_overlay(MfMachine *self)
{
  mf_hypervisor_delete_overlay_async(self->host->hypervisor, self->id, NULL, on_overlay_deleted,
                                     g_object_ref(self));
}

static void
on_destroyed(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfMachine) self = data;
  g_autoptr(GError) error = NULL;
  if (!mf_hypervisor_destroy_finish(MF_HYPERVISOR(source), result, &error)) {
    /* Nothing may follow before QEMU is gone: it has the overlay open and the port in use. */
    if (self->stop_timer == 0)
      self->stop_timer = g_timeout_add_seconds(RETRY_SECONDS, on_retry_destroy, self);
    g_info("machine %s: its domain cannot be destroyed yet: %s", self->id, error->message);
    return;
  }
  self->domain = FALSE;
  g_clear_pointer(&self->console, mf_console_close);
  delete_overlay(self);
}

static void
destroy(MfMachine *self)
{
  if (self->domain)
    mf_hypervisor_destroy_async(self->host->hypervisor, self->id, NULL, on_destroyed,
                                g_object_ref(self));
  else
    delete_overlay(self);
}

static void
tear_down(MfMachine *self)
{
  if (self->torn)
    return;
  self->torn = TRUE;
  g_clear_handle_id(&self->stop_timer, g_source_remove);
  mf_machine_link_close(self);
  destroy(self);
}

void
mf_machine_stop_continue(MfMachine *self)
{
  if (self->stopping && !self->in_step && !self->shutdown_sent)
    tear_down(self);
}

static gboolean
on_grace_over(gpointer data)
{
  MfMachine *self = data;
  self->stop_timer = 0;
  tear_down(self);
  return G_SOURCE_REMOVE;
}

static void
on_shutdown_sent(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfMachine) self = data;
  g_autoptr(GError) error = NULL;
  if (!mf_hypervisor_shutdown_finish(MF_HYPERVISOR(source), result, &error))
    tear_down(self);
}

void
mf_machine_stop(MfMachine *self, gboolean graceful)
{
  if (self->stopping) {
    if (self->shutdown_sent && !graceful)
      tear_down(self);
    return;
  }
  gboolean ask = graceful && self->up && !self->down && self->template != NULL;
  self->stopping = TRUE;
  self->stop_began = g_get_monotonic_time();
  if (ask) {
    self->shutdown_sent = TRUE;
    self->stop_timer =
        g_timeout_add_seconds((guint)MAX(self->template->grace, 1), on_grace_over, self);
    mf_hypervisor_shutdown_async(self->host->hypervisor, self->id, NULL, on_shutdown_sent,
                                 g_object_ref(self));
    return;
  }
  /* A saved one's is a step, and answers. */
  gboolean shrinks = self->work != NULL && self->shrink.timer != 0;
  if (shrinks || self->work == NULL)
    mf_machine_shrink_stop(self);
  if (!self->in_step) {
    tear_down(self);
    return;
  }
  /* A step that waits for us alone (a place, a port, the guest) will not answer by itself. */
  g_cancellable_cancel(self->cancellable);
  gboolean waits = (self->limiter != NULL && !self->place_held) || self->available != 0 ||
                   self->timer != 0 || shrinks;
  g_clear_signal_handler(&self->available, self->host->network);
  if (waits)
    mf_machine_step_done(self, NULL);
}
