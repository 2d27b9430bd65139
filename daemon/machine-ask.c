/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machine: what its agent is asked for before anything of a job runs in it, and the time with it.
 * Only what the agent sends after it has done that counts; how long it took says how right the
 * guest's clock is.
 */
#include <string.h>

#include "daemon/frame.h"
#include "daemon/json.h"
#include "daemon/machine-private.h"

/* The guest's clock is wrong by less than a request and its answer take: then that is little
 * enough. Under load, or where the agent had something else to do first, it is asked for again, a
 * few times. */
#define CLOCK_US   (40 * 1000)
#define CLOCK_ASKS 5

/* A token of its own each time: an earlier request's answer that comes twice must not pass for a
 * quick one. */
static void
send_with_time(MfMachine *self, MfJson *request)
{
  g_free(self->token);
  self->token = mf_machine_new_id();
  mf_json_add_string(request, "token", self->token);
  self->asked = g_get_monotonic_time();
  self->asks++;
  mf_json_add(request, "time_ns", json_object_new_int64(g_get_real_time() * 1000));
  mf_machine_send(self, MF_FRAME_RESEED, request);
}

void
mf_machine_ask(MfMachine *self, MfJson *request)
{
  self->asks = 0;
  send_with_time(self, request);
}

gboolean
mf_machine_has_answered(MfMachine *self, const char *token)
{
  if (self->link == NULL || self->asks == 0 || g_strcmp0(token, self->token) != 0)
    return FALSE;
  self->own = TRUE;
  gint64 took = g_get_monotonic_time() - self->asked;
  if (took <= CLOCK_US)
    return TRUE;
  if (self->asks <= CLOCK_ASKS) {
    g_autoptr(MfJson) time_alone = json_object_new_object();
    send_with_time(self, time_alone);
    return FALSE;
  }
  g_info("machine %s: its clock may be wrong by %" G_GINT64_FORMAT " ms", self->id, took / 1000);
  return TRUE;
}
