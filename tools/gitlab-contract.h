/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What gitlab-runner says to the custom executor's programs by their environment, and hears by
 * their exit status. Anything but these two statuses and 0 would be taken for a fault of the
 * runner's.
 */

#include <glib.h>

typedef struct {
  int build_failure;          /* the job is at fault: never tried again */
  int system_failure;         /* anything else is: may be tried again */
  const char *exit_code_file; /* takes the script's own status; NULL: a runner before 17.9 */
  const char *response_file;  /* NULL: this is no runner */
  const char *job_status;     /* "running", "success", "failed", "canceled", "timedout", or NULL */
} MfGitlabContract;

void mf_gitlab_contract_read(MfGitlabContract *self);

/* Of a script: 0, or the status by which the runner learns @code. */
int mf_gitlab_contract_report(const MfGitlabContract *self, int code);

/* No status of a stage before stands there any more. */
void mf_gitlab_contract_forget(const MfGitlabContract *self);

/* One sentence on stderr, which goes into the job's log, but for cleanup. Returns: @status. */
int mf_gitlab_contract_fail(int status, const GError *error);
