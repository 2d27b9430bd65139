/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One stage of a GitLab job, as a process: whose job it is, its line to mayflyd, and the wish of
 * the runner that it ends. Calls wait on the main loop, so that such a wish is heard meanwhile;
 * never call them from a callback. Main context only.
 */

#include "tools/client.h"
#include "tools/gitlab-contract.h"
#include "tools/gitlab-job.h"

/* The query of a call that waits for an end: it comes back soon, so that a wish to stop is heard.
 */
#define MF_GITLAB_WAIT_FINISHED "?wait=finished&timeout=5"

typedef struct {
  MfGitlabContract contract;
  MfGitlabJob *job;
  MfClient *client;
  gboolean stopped;      /* the runner wants an end, or is gone */
  gboolean orphaned;     /* it is gone */
  gboolean told_waiting; /* the log knows that mayflyd does not answer */
  pid_t parent;
  gint64 stopped_at;
  guint sources[4];
} MfGitlabSession;

/* Reads the environment and the job. @self is always to be cleared. */
gboolean mf_gitlab_session_open(MfGitlabSession *self, const char *socket,
                                GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* From now on SIGTERM and the like, and the end of our parent, do not end us but set @stopped. */
void mf_gitlab_session_heed_stop(MfGitlabSession *self);

/* One request, tried again while mayflyd is being restarted, up to a minute, less once stopped. So
 * it must be one that may come twice. (transfer full) */
MfJson *mf_gitlab_session_call(MfGitlabSession *self, const char *method, const char *path,
                               MfJson *body, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Documents of the jobs that are machines of ours for this GitLab job, oldest first; @all: finished
 * ones too. (transfer full) */
GPtrArray *mf_gitlab_session_list(MfGitlabSession *self, gboolean all,
                                  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Ends one, whatever it does. One that is gone is fine. */
gboolean mf_gitlab_session_cancel(MfGitlabSession *self, const char *id, const char *reason,
                                  GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Until nothing is left of it. CANCELLED: stopped meanwhile. */
gboolean mf_gitlab_session_wait_gone(MfGitlabSession *self, const char *id,
                                     GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Lets the main loop run for so long, or until stopped. */
void mf_gitlab_session_pause(MfGitlabSession *self, guint milliseconds);

/* CANCELLED, for a stage that ends early. */
void mf_gitlab_session_set_stopped_error(const MfGitlabSession *self, GError **error);

void mf_gitlab_session_clear(MfGitlabSession *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(MfGitlabSession, mf_gitlab_session_clear)
