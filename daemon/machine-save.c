/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machine: becoming a memory image. The less it holds, the faster it is forked: it waits until the
 * guest rests, lets it drop its caches, takes what is free by the balloon, and saves what is left.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/frame.h"
#include "daemon/json.h"
#include "daemon/machine-private.h"

#define LOOK_MS 1000
/* At rest: this part of one processor and no more, so many looks in a row. */
#define REST_PERCENT 12
#define REST_LOOKS   3
/* A guest that never rests is saved as it is. */
#define MOST_LOOKS 90
/* What is left free: to live on until the balloon gives back. */
#define MARGIN (48ull << 20)
/* The guest counts in pages, and gives what it can. */
#define NEAR (4ull << 20)

enum { RESTING, SETTLING, SHRINKING, SAVING };

static gboolean on_look(gpointer data);

static void
look_again(MfMachine *self)
{
  self->timer = g_timeout_add(LOOK_MS, on_look, self);
}

static void
enter(MfMachine *self, guint stage)
{
  self->save_stage = stage;
  self->save_looks = 0;
  self->save_number = 0;
}

/* Ends the saving: @error is taken; NULL: it went well. */
static void
finish(MfMachine *self, GError *error)
{
  g_autoptr(GError) failure = error;
  self->in_step = FALSE;
  g_clear_handle_id(&self->timer, g_source_remove);
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
  enter(self, SAVING);
  /* Its end is not the machine's failure, nor its answer awaited: the agent is in the image. */
  mf_machine_link_close(self);
  self->saving = TRUE;
  mf_hypervisor_save_async(self->host->hypervisor, self->id, memory, NULL, on_saved,
                           g_object_ref(self));
}

static void
on_shrunk(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfMachine) self = data;
  g_autoptr(GError) error = NULL;
  if (!mf_hypervisor_set_memory_finish(MF_HYPERVISOR(source), result, &error) || self->stopping)
    finish(self, g_steal_pointer(&error));
  else
    look_again(self);
}

static void
rest(MfMachine *self, const MfDomainStats *stats)
{
  guint64 used = stats->cpu_time_ns - MIN(self->save_number, stats->cpu_time_ns);
  gboolean first = self->save_number == 0;
  self->save_number = stats->cpu_time_ns;
  gboolean rests = !first && used < LOOK_MS * 1000000ull * REST_PERCENT / 100;
  self->save_rests = rests ? self->save_rests + 1 : 0;
  if (self->save_rests < REST_LOOKS && ++self->save_looks < MOST_LOOKS) {
    look_again(self);
    return;
  }
  enter(self, SETTLING);
  g_autoptr(MfJson) json = json_object_new_object();
  g_free(self->token);
  self->token = mf_machine_new_id();
  mf_json_add_string(json, "token", self->token);
  mf_machine_send(self, MF_FRAME_SETTLE, json);
  look_again(self);
}

/* After it has dropped its caches, which its statistics show a little later. */
static void
shrink(MfMachine *self, const MfDomainStats *stats)
{
  if (self->save_looks++ == 0 || (stats->balloon_usable == 0 && self->save_looks < 10)) {
    look_again(self);
    return;
  }
  if (self->save_number == 0) {
    guint64 used = stats->balloon_current - MIN(stats->balloon_usable, stats->balloon_current);
    self->save_number = MIN(used + MARGIN, stats->balloon_current);
    self->save_looks = 1;
    /* One that says nothing of its memory keeps it. */
    if (stats->balloon_usable == 0 || self->save_number + NEAR > stats->balloon_current) {
      save(self);
      return;
    }
    mf_hypervisor_set_memory_async(self->host->hypervisor, self->id, self->save_number,
                                   self->cancellable, on_shrunk, g_object_ref(self));
    return;
  }
  if (stats->balloon_current <= self->save_number + NEAR || self->save_looks > 10)
    save(self);
  else
    look_again(self);
}

static void
on_stats(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfMachine) self = data;
  g_autoptr(GError) error = NULL;
  g_autofree MfDomainStats *stats =
      mf_hypervisor_stats_finish(MF_HYPERVISOR(source), result, &error);
  if (stats == NULL || self->stopping || self->down) {
    finish(self, g_steal_pointer(&error));
    return;
  }
  if (self->save_stage == RESTING)
    rest(self, stats);
  else
    shrink(self, stats);
}

static gboolean
on_look(gpointer data)
{
  MfMachine *self = data;
  self->timer = 0;
  if (self->save_stage != SETTLING) {
    mf_hypervisor_stats_async(self->host->hypervisor, self->id, self->cancellable, on_stats,
                              g_object_ref(self));
  } else if (++self->save_looks < MOST_LOOKS) {
    look_again(self);
  } else {
    finish(self, g_error_new_literal(MF_ERROR, MF_ERROR_TIMEOUT,
                                     "the agent did not settle the guest in time"));
  }
  return G_SOURCE_REMOVE;
}

void
mf_machine_save_greeted(MfMachine *self, const char *token)
{
  if (self->work != NULL && self->save_stage == SETTLING && self->token != NULL &&
      g_strcmp0(token, self->token) == 0)
    enter(self, SHRINKING);
}

void
mf_machine_save(MfMachine *self, const char *work)
{
  g_return_if_fail(self->portless && self->up && self->work == NULL);
  self->work = g_strdup(work);
  self->in_step = TRUE;
  enter(self, RESTING);
  look_again(self);
}
