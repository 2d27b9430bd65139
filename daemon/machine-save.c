/* SPDX-License-Identifier: Apache-2.0 */
/* Machine: becoming a memory image. The less it holds, the faster it is forked: it is made small
 * first (machine-shrink.c). */
#include <errno.h>
#include <glib/gstdio.h>

#include "daemon/error.h"
#include "daemon/machine-private.h"

/* Ends the saving: @error is taken; NULL: it went well. */
static void
finish(MfMachine *self, GError *error)
{
  g_autoptr(GError) failure = error;
  self->in_step = FALSE;
  if (self->stopping || self->down) {
    mf_machine_stop_continue(self);
  } else if (failure != NULL) {
    self->saving = FALSE;
    g_autofree char *reason = g_strdup_printf("saving the machine: %s", failure->message);
    mf_machine_fail(self, reason);
  } else {
    self->domain = FALSE;
    g_signal_emit(self, mf_machine_signals[MF_MACHINE_SAVED], 0);
  }
}

/* The overlay is the same file under another name: nothing may run on it any more. */
static gboolean
take_disk(MfMachine *self, GError **error)
{
  g_autofree char *disk = g_build_filename(self->work, "disk.qcow2", NULL);
  if (g_rename(self->overlay, disk) == 0)
    return TRUE;
  g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "cannot move %s to %s: %s", self->overlay, disk,
              g_strerror(errno));
  return FALSE;
}

static void
on_saved(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfMachine) self = data;
  GError *error = NULL;
  if (mf_hypervisor_save_finish(MF_HYPERVISOR(source), result, &error) && !self->stopping &&
      take_disk(self, &error))
    g_clear_error(&error);
  finish(self, error);
}

static void
save(MfMachine *self)
{
  g_autofree char *memory = g_build_filename(self->work, "memory", NULL);
  /* Its end is not the machine's failure, nor its answer awaited: the agent is in the image. */
  mf_machine_link_close(self);
  self->saving = TRUE;
  mf_hypervisor_save_async(self->host->hypervisor, self->id, memory, NULL, on_saved,
                           g_object_ref(self));
}

void
mf_machine_save_shrunk(MfMachine *self, GError *error)
{
  if (error != NULL || self->stopping || self->down)
    finish(self, error);
  else
    save(self);
}

void
mf_machine_save(MfMachine *self, const char *work)
{
  g_return_if_fail(self->portless && self->up && self->work == NULL);
  self->work = g_strdup(work);
  self->in_step = TRUE;
  mf_machine_shrink(self);
}
