/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What work in the background, ahead of jobs, needs of the scheduler; and when it is tried again.
 */

#include "daemon/auto.h"
#include "daemon/policy.h"

typedef struct {
  /* May one more machine of @grant start now? NULL, or why not (transfer full). */
  char *(*may_start)(const MfGrant *grant, gpointer data);
  /* A machine of @grant counts, or no longer counts, against the host's limits. */
  void (*count)(const MfGrant *grant, gboolean counted, gpointer data);
  /* Something is different: a machine waits, or is gone. */
  void (*changed)(gpointer data);
} MfBackground;

/* Why nothing is begun while a job is in the queue. */
#define MF_BACKGROUND_BUSY "jobs wait, which go first"

/* How the last tries went. */
typedef struct {
  char *problem;   /* NULL: none */
  guint failures;  /* in a row */
  gint64 retry_at; /* real time, 0 = now */
} MfTries;

/* @problem: NULL forgets the failures before. Otherwise the next try is later and later. */
void mf_tries_note(MfTries *self, const char *problem);
/* Why nothing is tried now; nothing failed. @problem: taken */
void mf_tries_set_reason(MfTries *self, char *problem);
gboolean mf_tries_may(const MfTries *self);
void mf_tries_clear(MfTries *self);
/* "problem":text|null, "failures":n and, while it is still to come, "retry":t, otherwise null. */
void mf_tries_add_to(const MfTries *self, MfJson *document);

/* @next (0 = never), or @at if that is sooner and still to come. */
gint64 mf_background_sooner(gint64 next, gint64 at);
