/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a GitLab job's log says about its machine. Pure: documents in, lines out, without their
 * newline at the end. GitLab shows colours; whatever mayflyd says is made visible.
 */

#include "daemon/auto.h"

typedef struct {
  gint64 spoken_at; /* monotonic, of the last line */
  gint64 phase_since;
  guint64 position;  /* in the queue, as last told */
  gboolean waited;   /* a line about the queue was printed */
  guint told;        /* phases whose time was told, as bits */
  const char *phase; /* interned */
} MfGitlabReport;

/* What is new in @job at the time @now; also to be called every few seconds, for a sign of life.
 * NULL: nothing. (transfer full) */
char *mf_gitlab_report_progress(MfGitlabReport *self, MfJson *job, gint64 now);

/* mayflyd takes no new jobs for now, and says why. (transfer full) */
char *mf_gitlab_report_refused(const char *why);

/* The machine is ready: what it is and how long each phase of its start took. (transfer full) */
char *mf_gitlab_report_summary(MfJson *job);

/* How to look into a machine that stays, and how to end it; @when: "This job failed". (transfer
 * full) */
char *mf_gitlab_report_kept(MfJson *job, const char *when);

/* Those that a job's author should see at a glance. (transfer full) */
char *mf_gitlab_report_warning(const char *text);
