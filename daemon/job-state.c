/* SPDX-License-Identifier: Apache-2.0 */
/* Job states: names and the table of transitions. */
#include "daemon/job-state.h"

static const char *const state_names[] = {
    [MF_JOB_QUEUED] = "queued",   [MF_JOB_STARTING] = "starting", [MF_JOB_READY] = "ready",
    [MF_JOB_RUNNING] = "running", [MF_JOB_STOPPING] = "stopping", [MF_JOB_FINISHED] = "finished",
};
G_STATIC_ASSERT(G_N_ELEMENTS(state_names) == MF_JOB_STATE_LAST_);

static const char *const result_names[] = {
    [MF_RESULT_NONE] = "none",           [MF_RESULT_SUCCEEDED] = "succeeded",
    [MF_RESULT_FAILED] = "failed",       [MF_RESULT_CANCELLED] = "cancelled",
    [MF_RESULT_TIMED_OUT] = "timed-out", [MF_RESULT_SYSTEM_FAILURE] = "system-failure",
};
G_STATIC_ASSERT(G_N_ELEMENTS(result_names) == MF_RESULT_LAST_);

static const gboolean allowed[MF_JOB_STATE_LAST_][MF_JOB_STATE_LAST_] = {
    [MF_JOB_QUEUED] = {[MF_JOB_STARTING] = TRUE, [MF_JOB_STOPPING] = TRUE},
    [MF_JOB_STARTING] = {[MF_JOB_QUEUED] = TRUE, [MF_JOB_READY] = TRUE, [MF_JOB_STOPPING] = TRUE},
    [MF_JOB_READY] = {[MF_JOB_RUNNING] = TRUE, [MF_JOB_STOPPING] = TRUE},
    [MF_JOB_RUNNING] = {[MF_JOB_READY] = TRUE, [MF_JOB_STOPPING] = TRUE},
    [MF_JOB_STOPPING] = {[MF_JOB_FINISHED] = TRUE},
};

gboolean
mf_job_state_allows(MfJobState from, MfJobState to)
{
  g_return_val_if_fail((guint)from < MF_JOB_STATE_LAST_ && (guint)to < MF_JOB_STATE_LAST_, FALSE);
  return allowed[from][to];
}

static gboolean
find(const char *const *names, guint n, const char *text, guint *ret_index)
{
  for (guint i = 0; i < n; i++)
    if (g_strcmp0(names[i], text) == 0) {
      *ret_index = i;
      return TRUE;
    }
  return FALSE;
}

const char *
mf_job_state_to_string(MfJobState state)
{
  g_return_val_if_fail((guint)state < MF_JOB_STATE_LAST_, NULL);
  return state_names[state];
}

gboolean
mf_job_state_from_string(const char *text, MfJobState *ret_state)
{
  guint i;
  if (!find(state_names, G_N_ELEMENTS(state_names), text, &i))
    return FALSE;
  *ret_state = (MfJobState)i;
  return TRUE;
}

const char *
mf_result_to_string(MfResult result)
{
  g_return_val_if_fail((guint)result < MF_RESULT_LAST_, NULL);
  return result_names[result];
}

gboolean
mf_result_from_string(const char *text, MfResult *ret_result)
{
  guint i;
  if (!find(result_names, G_N_ELEMENTS(result_names), text, &i))
    return FALSE;
  *ret_result = (MfResult)i;
  return TRUE;
}
