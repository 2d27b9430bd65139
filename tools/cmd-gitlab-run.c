/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly gitlab run: one of a GitLab job's scripts in its machine. Called up to ten times a job, so
 * it asks mayflyd as little as it can. */
#include <stdio.h>

#include "daemon/error.h"
#include "tools/commands.h"
#include "tools/document.h"
#include "tools/gitlab-report.h"
#include "tools/gitlab-stage.h"
#include "tools/outcome.h"

static void
tell_kept(MfJson *job, const char *when)
{
  g_autofree char *text = mf_gitlab_report_kept(job, when);
  puts(text);
}

/* There is none that runs: what became of the one there was? */
static void
set_gone(MfGitlabSession *session, GError **error)
{
  g_autoptr(GPtrArray) all = mf_gitlab_session_list(session, TRUE, error);
  if (all == NULL)
    return;
  MfJson *last = all->len > 0 ? g_ptr_array_index(all, all->len - 1) : NULL;
  g_autofree char *why = last != NULL ? mf_outcome_explain(last) : NULL;
  if (last != NULL && why == NULL)
    why = mf_outcome_describe_state(last);
  g_set_error(error, MF_ERROR, MF_ERROR_NOT_FOUND, "the machine of this job is gone: %s",
              why != NULL ? why : "there never was one");
}

/* (transfer full) */
static MfJson *
find_machine(MfGitlabSession *session, GError **error)
{
  g_autoptr(GPtrArray) jobs = mf_gitlab_session_list(session, FALSE, error);
  if (jobs == NULL)
    return NULL;
  MfJson *job = jobs->len > 0 ? g_ptr_array_index(jobs, jobs->len - 1) : NULL;
  if (job != NULL && !mf_document_has(job, "result"))
    return json_object_get(job);
  set_gone(session, error);
  return NULL;
}

static GBytes *
read_script(const char *path, GError **error)
{
  char *data;
  gsize length;
  if (!g_file_get_contents(path, &data, &length, error))
    return NULL;
  return g_bytes_new_take(data, length);
}

/*
 * A machine that stays is announced where the log of the job ends: in the last stage of a failed
 * job; in the first one if that fails, for then no other follows; or when the runner ends a script,
 * which may be because the job's time is up.
 */
static void
tell_end(const MfGitlabSession *session, MfJson *job, const char *stage, MfGitlabStageEnd end,
         int code)
{
  const char *status = session->contract.job_status;
  gboolean failed = g_strcmp0(status, "failed") == 0 ||
                    (g_strcmp0(status, "running") == 0 && mf_gitlab_stage_failed_early(job));
  gboolean last = g_strcmp0(stage, "cleanup_file_variables") == 0 && failed;
  gboolean first = g_strcmp0(stage, "prepare_script") == 0 && code != 0;
  if (mf_document_uint(job, "keep_on_failure") == 0 || end == MF_GITLAB_STAGE_LOST)
    return;
  if (end == MF_GITLAB_STAGE_EXITED && (last || first))
    tell_kept(job, "This job failed");
  else if (end == MF_GITLAB_STAGE_STOPPED && !session->orphaned)
    tell_kept(job, "If this job's time is up (not if it was cancelled)");
}

static int
run(MfGitlabSession *session, const char *script_path, const char *stage, GError **error)
{
  int code = 0;
  mf_gitlab_contract_forget(&session->contract);
  g_autoptr(GBytes) script = read_script(script_path, error);
  g_autoptr(MfJson) job = script != NULL ? find_machine(session, error) : NULL;
  if (job == NULL)
    return session->contract.system_failure;
  MfGitlabStageEnd end = mf_gitlab_stage_run(session, job, stage, script, &code, error);
  tell_end(session, job, stage, end, code);
  if (end != MF_GITLAB_STAGE_EXITED)
    return session->contract.system_failure;
  return mf_gitlab_contract_report(&session->contract, code);
}

int
mf_cmd_gitlab_run(const MfCommon *common, gconstpointer options, char **argv, GError **error)
{
  g_auto(MfGitlabSession) session = {0};
  g_autoptr(GError) local = NULL;
  if (!mf_gitlab_session_open(&session, common->socket, &local))
    return mf_gitlab_contract_fail(session.contract.system_failure, local);
  mf_gitlab_session_heed_stop(&session);
  int status = run(&session, argv[0], argv[1], &local);
  if (local != NULL)
    mf_gitlab_contract_fail(status, local);
  return status;
}
