/* SPDX-License-Identifier: Apache-2.0 */
/* Tries, and when the next is due: see background.h. */
#include "daemon/background.h"

#include "daemon/json.h"

#define RETRY_FIRST   (5 * G_USEC_PER_SEC)
#define RETRY_LONGEST (300 * G_USEC_PER_SEC)

void
mf_tries_note(MfTries *self, const char *problem)
{
  if (problem == NULL) {
    mf_tries_clear(self);
    return;
  }
  gint64 pause = RETRY_FIRST << MIN(self->failures, 8);
  mf_tries_set_reason(self, g_strdup(problem));
  self->failures++;
  self->retry_at = g_get_real_time() + MIN(pause, RETRY_LONGEST);
}

void
mf_tries_set_reason(MfTries *self, char *problem)
{
  g_free(self->problem);
  self->problem = problem;
}

gboolean
mf_tries_may(const MfTries *self)
{
  return self->retry_at <= g_get_real_time();
}

void
mf_tries_clear(MfTries *self)
{
  g_clear_pointer(&self->problem, g_free);
  self->failures = 0;
  self->retry_at = 0;
}

void
mf_tries_add_to(const MfTries *self, MfJson *document)
{
  double retry = (double)self->retry_at / G_USEC_PER_SEC;
  mf_json_add_string(document, "problem", self->problem);
  mf_json_add_uint(document, "failures", self->failures);
  mf_json_add(document, "retry", mf_tries_may(self) ? NULL : json_object_new_double(retry));
}

gint64
mf_background_sooner(gint64 next, gint64 at)
{
  /* What is due waits for something else: a place, or that a drain is over. */
  if (at <= g_get_real_time())
    return next;
  return next == 0 ? at : MIN(next, at);
}
