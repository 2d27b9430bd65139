/* SPDX-License-Identifier: Apache-2.0 */
/* Machine: becoming a memory image. The less it holds, the faster it is forked: it is made small
 * first (machine-shrink.c). */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>

#include "daemon/auto.h"
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
take_disk(const char *overlay, const char *disk, GError **error)
{
  if (g_rename(overlay, disk) == 0)
    return TRUE;
  g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "cannot move %s to %s: %s", overlay, disk,
              g_strerror(errno));
  return FALSE;
}

static gboolean
sync_file(const char *path, GError **error)
{
  g_auto(MfFd) fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd >= 0 && fsync(fd) == 0)
    return TRUE;
  g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "cannot bring %s to the disk: %s", path,
              g_strerror(errno));
  return FALSE;
}

/* Hundreds of megabytes, of which neither QEMU nor libvirt has synced any. */
static void
keep_on_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  const char *const *paths = data; /* overlay, disk, memory */
  GError *error = NULL;
  if (take_disk(paths[0], paths[1], &error) && sync_file(paths[1], &error) &&
      sync_file(paths[2], &error))
    g_task_return_boolean(task, TRUE);
  else
    g_task_return_error(task, error);
}

static void
on_kept(GObject *source, GAsyncResult *result, gpointer data)
{
  GError *error = NULL;
  if (g_task_propagate_boolean(G_TASK(result), &error))
    g_clear_error(&error);
  finish(MF_MACHINE(source), error);
}

static void
on_saved(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfMachine) self = data;
  GError *error = NULL;
  if (!mf_hypervisor_save_finish(MF_HYPERVISOR(source), result, &error) || self->stopping) {
    finish(self, error);
    return;
  }
  char **paths = g_new0(char *, 4);
  paths[0] = g_strdup(self->overlay);
  paths[1] = g_build_filename(self->work, "disk.qcow2", NULL);
  paths[2] = g_build_filename(self->work, "memory", NULL);
  g_autoptr(GTask) task = g_task_new(self, NULL, on_kept, NULL);
  g_task_set_task_data(task, paths, (GDestroyNotify)g_strfreev);
  g_task_run_in_thread(task, keep_on_thread);
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
