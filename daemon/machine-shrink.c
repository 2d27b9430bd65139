/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machine: made small, because it is to wait for a job or to be saved. It waits until the guest
 * rests, lets it drop its caches, and takes what is free by the balloon; a job gets it again.
 */
#include <string.h>

#include "daemon/error.h"
#include "daemon/frame.h"
#include "daemon/json.h"
#include "daemon/machine-private.h"

#define LOOK_MS 1000
/* At rest: this part of one processor and no more, so many looks in a row. */
#define REST_PERCENT 12
#define REST_LOOKS   3
/* A guest that never rests is saved as it is; one that waits is looked at on and on. */
#define MOST_LOOKS 90
/* After what went wrong. */
#define AGAIN_SECONDS 30
#define GIVE_AGAIN    2 /* seconds */
/* A guest that takes back hundreds of MiB does little else meanwhile, and the job's first command
 * waits for that: it goes first. What needs more at once has it by the balloon's own deflation. */
#define GIVE_MS 200
/* What is left free: to live on until the balloon gives back. */
#define MARGIN (48ull << 20)
/* The guest counts in pages, and gives what it can. */
#define NEAR (4ull << 20)

enum { NOT_AT_ALL, RESTING, SETTLING, SHRINKING };

static gboolean on_look(gpointer data);

static void
look_again(MfMachine *self)
{
  self->shrink.timer = g_timeout_add(LOOK_MS, on_look, self);
}

static void
enter(MfMachine *self, guint stage)
{
  self->shrink.stage = stage;
  self->shrink.looks = 0;
  self->shrink.number = 0;
}

/* @error: taken; NULL: it is as small as it gets. */
static void
done(MfMachine *self, GError *error)
{
  mf_machine_shrink_stop(self);
  if (self->work != NULL) {
    mf_machine_save_shrunk(self, error);
    return;
  }
  if (error == NULL)
    return;
  g_debug("machine %s is not made smaller: %s", self->id, error->message);
  g_error_free(error);
  if (self->stopping || self->down)
    return;
  enter(self, RESTING);
  self->shrink.timer = g_timeout_add_seconds(AGAIN_SECONDS, on_look, self);
}

static void
on_shrunk(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfMachine) self = data;
  GError *error = NULL;
  gboolean good = mf_hypervisor_set_memory_finish(MF_HYPERVISOR(source), result, &error);
  if (self->shrink.stage == NOT_AT_ALL) {
    g_clear_error(&error);
    /* A job came meanwhile: the order of the two calls is not known. */
    if (self->job != NULL)
      mf_machine_give_memory(self);
  } else if (!good || self->stopping || self->work == NULL) {
    done(self, error);
  } else {
    look_again(self);
  }
}

static void
rest(MfMachine *self, const MfDomainStats *stats)
{
  guint64 used = stats->cpu_time_ns - MIN(self->shrink.number, stats->cpu_time_ns);
  gboolean first = self->shrink.number == 0;
  self->shrink.number = stats->cpu_time_ns;
  gboolean rests = !first && used < LOOK_MS * 1000000ull * REST_PERCENT / 100;
  self->shrink.rests = rests ? self->shrink.rests + 1 : 0;
  if (self->shrink.rests < REST_LOOKS &&
      (++self->shrink.looks < MOST_LOOKS || self->work == NULL)) {
    look_again(self);
    return;
  }
  enter(self, SETTLING);
  g_autoptr(MfJson) json = json_object_new_object();
  g_free(self->token);
  self->token = mf_machine_new_id();
  mf_json_add_string(json, "token", self->token);
  mf_json_add_bool(json, "saved", self->work != NULL);
  mf_machine_send(self, MF_FRAME_SETTLE, json);
  look_again(self);
}

/* After it has dropped its caches, which its statistics show a little later. */
static void
shrink(MfMachine *self, const MfDomainStats *stats)
{
  guint64 current = stats->balloon_current;
  if (self->shrink.looks++ == 0 || (stats->balloon_usable == 0 && self->shrink.looks < 10)) {
    look_again(self);
    return;
  }
  if (self->shrink.number == 0) {
    guint64 used = current - MIN(stats->balloon_usable, current);
    guint64 floor = self->work == NULL ? self->template->memory_floor : 0;
    self->shrink.number = MIN(MAX(used + MARGIN, floor), current);
    self->shrink.looks = 1;
    /* One that says nothing of its memory keeps it. */
    if (stats->balloon_usable == 0 || self->shrink.number + NEAR > current) {
      done(self, NULL);
      return;
    }
    self->shrunk = TRUE;
    mf_hypervisor_set_memory_async(self->host->hypervisor, self->id, self->shrink.number,
                                   self->cancellable, on_shrunk, g_object_ref(self));
    return;
  }
  if (current <= self->shrink.number + NEAR || self->shrink.looks > 10)
    done(self, NULL);
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
  if (self->shrink.stage == NOT_AT_ALL)
    return;
  if (stats == NULL || self->stopping || self->down)
    done(self, g_steal_pointer(&error));
  else if (self->shrink.stage == RESTING)
    rest(self, stats);
  else
    shrink(self, stats);
}

static gboolean
on_look(gpointer data)
{
  MfMachine *self = data;
  self->shrink.timer = 0;
  if (self->shrink.stage != SETTLING) {
    mf_hypervisor_stats_async(self->host->hypervisor, self->id, self->cancellable, on_stats,
                              g_object_ref(self));
  } else if (++self->shrink.looks < MOST_LOOKS) {
    look_again(self);
  } else {
    done(self, g_error_new_literal(MF_ERROR, MF_ERROR_TIMEOUT,
                                   "the agent did not settle the guest in time"));
  }
  return G_SOURCE_REMOVE;
}

void
mf_machine_shrink_greeted(MfMachine *self, const char *token)
{
  if (self->shrink.stage == SETTLING && g_strcmp0(token, self->token) == 0)
    enter(self, SHRINKING);
}

void
mf_machine_shrink_stop(MfMachine *self)
{
  g_clear_handle_id(&self->shrink.timer, g_source_remove);
  self->shrink.stage = NOT_AT_ALL;
}

void
mf_machine_shrink(MfMachine *self)
{
  /* A fork was made small before it was saved. */
  if (self->memory_image != NULL || self->shrink.stage != NOT_AT_ALL)
    return;
  enter(self, RESTING);
  look_again(self);
}

static gboolean
on_give(gpointer data)
{
  MfMachine *self = data;
  self->shrink.timer = 0;
  mf_machine_give_memory(self);
  return G_SOURCE_REMOVE;
}

/* libvirtd may be away just now, which is no reason to end a job: until it is back the guest gets
 * what it needs from its balloon by itself. */
static void
on_memory_given(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfMachine) self = data;
  g_autoptr(GError) error = NULL;
  if (mf_hypervisor_set_memory_finish(MF_HYPERVISOR(source), result, &error) || self->stopping ||
      self->down)
    return;
  g_info("machine %s cannot be given its memory yet: %s", self->id, error->message);
  if (self->shrink.timer == 0)
    self->shrink.timer = g_timeout_add_seconds(GIVE_AGAIN, on_give, self);
}

void
mf_machine_give_memory(MfMachine *self)
{
  if (self->memory_image == NULL && !self->shrunk)
    return;
  mf_hypervisor_set_memory_async(self->host->hypervisor, self->id, self->grant.memory,
                                 self->cancellable, on_memory_given, g_object_ref(self));
}

void
mf_machine_give_memory_soon(MfMachine *self)
{
  if (self->shrink.timer == 0)
    self->shrink.timer = g_timeout_add(GIVE_MS, on_give, self);
}
