/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One script in the machine of a GitLab job: its output to stdout byte for byte as it comes, and
 * what became of it. It ends when the runner wishes so (SIGTERM to everything it started, then
 * SIGKILL), and the machine stays. Main context only.
 */

#include "tools/gitlab-session.h"

typedef enum {
  MF_GITLAB_STAGE_EXITED,  /* with a status of its own */
  MF_GITLAB_STAGE_STOPPED, /* the runner ended it, or is gone */
  MF_GITLAB_STAGE_LOST,    /* not its own doing: see the error */
} MfGitlabStageEnd;

/* @job: the machine's document; @stage: what the runner calls it; @script: any bytes; @ret_code: of
 * EXITED, 128 + n for signal n. */
MfGitlabStageEnd mf_gitlab_stage_run(MfGitlabSession *session, MfJson *job, const char *stage,
                                     GBytes *script, int *ret_code, GError **error);

/* A stage before its script failed, so that there was none: of such a job the runner says to the
 * end that it is running. @job: its document. */
gboolean mf_gitlab_stage_failed_early(MfJson *job);

/* The status that a failed job is recorded with: that of its own script, even if after_script or an
 * upload failed as well; 1 if no stage says. @job: its document. */
int mf_gitlab_stage_failed_with(MfJson *job);
