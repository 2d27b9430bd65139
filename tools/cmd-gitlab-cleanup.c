/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly gitlab cleanup: the end of a GitLab job's machine, with the job's result. Called after
 * each try of prepare, also where there is nothing to end, or while a stage is still alive. */
#include <stdio.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/json.h"
#include "tools/commands.h"
#include "tools/document.h"
#include "tools/gitlab-stage.h"

static const struct {
  const char *status; /* CI_JOB_STATUS */
  const char *result; /* for mayflyd; NULL: the job is cancelled */
  const char *reason;
} ends[] = {
    {"success", "succeeded", NULL},
    {"failed", "failed", NULL},
    {"timedout", "timed-out", NULL},
    {"canceled", NULL, "cancelled in GitLab"},
};

static gboolean
post_end(MfGitlabSession *session, MfJson *job, const char *result, GError **error)
{
  g_autoptr(GError) local = NULL;
  g_autofree char *path = mf_client_path("jobs", mf_document_text(job, "id"), "end", NULL);
  g_autoptr(MfJson) body = json_object_new_object();
  mf_json_add_string(body, "result", result);
  if (strcmp(result, "failed") == 0)
    mf_json_add_uint(body, "exit_code", (guint64)mf_gitlab_stage_failed_with(job));
  g_autoptr(MfJson) answer = mf_gitlab_session_call(session, "POST", path, body, &local);
  /* It may be on its end already. */
  if (answer != NULL || g_error_matches(local, MF_ERROR, MF_ERROR_NOT_FOUND) ||
      g_error_matches(local, MF_ERROR, MF_ERROR_CONFLICT))
    return TRUE;
  g_propagate_error(error, g_steal_pointer(&local));
  return FALSE;
}

/* A machine that never came to a script has nothing to look at. */
static gboolean
ask_for_end(MfGitlabSession *session, MfJson *job, GError **error)
{
  const char *state = mf_document_text(job, "state");
  const char *status = session->contract.job_status;
  gboolean up = g_strcmp0(state, "ready") == 0 || g_strcmp0(state, "running") == 0;
  if (g_strcmp0(status, "running") == 0 && mf_gitlab_stage_failed_early(job))
    status = "failed";
  const char *reason = "its GitLab job ended before it was prepared";
  for (guint i = 0; up && i < G_N_ELEMENTS(ends); i++) {
    if (g_strcmp0(status, ends[i].status) != 0)
      continue;
    if (ends[i].result != NULL)
      return post_end(session, job, ends[i].result, error);
    reason = ends[i].reason;
  }
  return mf_gitlab_session_cancel(session, mf_document_text(job, "id"), reason, error);
}

static gboolean
is_kept(MfGitlabSession *session, const char *id)
{
  g_autofree char *path = mf_client_path("jobs", id, NULL);
  g_autoptr(MfJson) job = mf_gitlab_session_call(session, "GET", path, NULL, NULL);
  return mf_document_has(job, "kept_until") &&
         g_strcmp0(mf_document_text(job, "state"), "ready") == 0;
}

static gboolean
end_machine(MfGitlabSession *session, MfJson *job, GError **error)
{
  const char *id = mf_document_text(job, "id");
  if (mf_document_has(job, "kept_until") || !ask_for_end(session, job, error))
    return mf_document_has(job, "kept_until");
  if (!is_kept(session, id))
    return mf_gitlab_session_wait_gone(session, id, error);
  printf("mayfly: machine %s is kept\n", id);
  return TRUE;
}

int
mf_cmd_gitlab_cleanup(const MfCommon *common, gconstpointer options, char **argv, GError **error)
{
  g_auto(MfGitlabSession) session = {0};
  g_autoptr(GError) local = NULL;
  if (!mf_gitlab_session_open(&session, common->socket, &local))
    return mf_gitlab_contract_fail(session.contract.system_failure, local);
  g_autoptr(GPtrArray) jobs = mf_gitlab_session_list(&session, FALSE, &local);
  for (guint i = 0; jobs != NULL && i < jobs->len; i++)
    if (!end_machine(&session, g_ptr_array_index(jobs, i), &local))
      break;
  if (local != NULL)
    return mf_gitlab_contract_fail(session.contract.system_failure, local);
  return MF_EXIT_OK;
}
