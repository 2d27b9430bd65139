/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machine: one that waited is given its job. Nobody has looked at it for a while: the job's first
 * command is sent when its agent has answered, and until then the job may go to another machine.
 */
#include "daemon/error.h"
#include "daemon/frame.h"
#include "daemon/json.h"
#include "daemon/machine-private.h"

/* A guest that runs answers at once. One that has just begun to give back its caches, on a loaded
 * host, does so in this time. */
#define ANSWER_SECONDS 10

static gboolean
on_silent(gpointer data)
{
  MfMachine *self = data;
  self->timer = 0;
  mf_machine_step_done(self,
                       g_error_new(MF_ERROR, MF_ERROR_TIMEOUT,
                                   "its agent has not answered for %d seconds", ANSWER_SECONDS));
  return G_SOURCE_REMOVE;
}

static void
wait_for_answer(MfMachine *self)
{
  g_clear_handle_id(&self->timer, g_source_remove);
  self->timer = g_timeout_add_seconds(ANSWER_SECONDS, on_silent, self);
}

static void
step_hand_over(MfMachine *self)
{
  g_autoptr(MfJson) time_alone = json_object_new_object();
  g_autoptr(MfJson) identity = json_object_new_object();
  g_autofree char *hostname = mf_machine_hostname(self);
  mf_json_add_string(identity, "hostname", hostname);
  wait_for_answer(self);
  mf_machine_ask(self, time_alone);
  /* Not after the answer: frames are handled in order, so it is there before any exec anyway. */
  mf_machine_send(self, MF_FRAME_RESEED, identity);
  mf_machine_send_config(self);
}

static const MfMachineStep hand_over_steps[] = {
    {"handing the machine over", MF_TIMING_LAST_, step_hand_over},
    {0},
};

void
mf_machine_assign_greeted(MfMachine *self, const char *token)
{
  guint asks = self->asks;
  if (!mf_machine_was_assigned(self) || !self->in_step)
    return;
  if (mf_machine_has_answered(self, token))
    mf_machine_step_done(self, NULL);
  else if (self->asks > asks)
    wait_for_answer(self);
}

static void
replace(char **place, const char *text)
{
  g_free(*place);
  *place = g_strdup(text);
}

gboolean
mf_machine_assign(MfMachine *self, MfJob *job, GError **error)
{
  g_return_val_if_fail(self->job == NULL, FALSE);
  g_autofree char *log = g_build_filename(job->folder, "console.log", NULL);
  if (!mf_machine_is_up(self) || self->lost != NULL || !self->greeted) {
    g_set_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE, "machine %s is no longer up", self->id);
    return FALSE;
  }
  if (!mf_output_log_move(self->output, log, error))
    return FALSE;
  replace(&self->log, log);
  self->job = g_object_ref(job);
  replace(&job->machine, self->id);
  replace(&job->uuid, self->uuid);
  replace(&job->agent, self->agent);
  replace(&job->port, self->port->tap);
  replace(&job->ip, self->port->ip);
  mf_network_pass_on(self->host->network, self->port, job->id);
  g_clear_pointer(&job->console, mf_output_log_unref);
  job->console = mf_output_log_ref(self->output);
  job->accel = self->host->accel->kvm ? "kvm" : "tcg";
  job->how = "pool";
  mf_machine_shrink_stop(self);
  mf_machine_give_memory_soon(self);
  self->up = FALSE;
  mf_machine_begin(self, hand_over_steps);
  return TRUE;
}

gboolean
mf_machine_was_assigned(MfMachine *self)
{
  return self->steps == hand_over_steps;
}
