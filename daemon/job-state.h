/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The states of a job and the only transitions there are. Pure.
 *
 *   queued ⇄ starting ─→ ready ⇄ running
 *      │          │          │       │
 *      └──────────┴──→ stopping ←────┘      stopping ─→ finished
 *
 * queued    posted, checked, recorded; holds nothing on the host. Left by admission or by its end.
 * starting  admitted: counts against the host's limits; overlay, port and domain come to be, in that order of recording.
 *           Back to queued when the daemon was ended meanwhile: nothing of the job has run yet.
 * ready     the machine is up to what its template names; no exec runs. Also: a failed machine that is kept.
 * running   at least one exec runs.
 * stopping  the result is decided; the one teardown runs. Every state but finished may go here.
 * finished  nothing of it is left on the host but its record and output. Final.
 */

#include <glib.h>

typedef enum {
  MF_JOB_QUEUED,
  MF_JOB_STARTING,
  MF_JOB_READY,
  MF_JOB_RUNNING,
  MF_JOB_STOPPING,
  MF_JOB_FINISHED,
  MF_JOB_STATE_LAST_
} MfJobState;

typedef enum {
  MF_RESULT_NONE,
  MF_RESULT_SUCCEEDED,
  MF_RESULT_FAILED,         /* exit code or signal */
  MF_RESULT_CANCELLED,
  MF_RESULT_TIMED_OUT,
  MF_RESULT_SYSTEM_FAILURE, /* reason */
  MF_RESULT_LAST_
} MfResult;

gboolean mf_job_state_allows(MfJobState from, MfJobState to);
const char *mf_job_state_to_string(MfJobState state);
gboolean mf_job_state_from_string(const char *text, MfJobState *ret_state);
const char *mf_result_to_string(MfResult result);
gboolean mf_result_from_string(const char *text, MfResult *ret_result);
