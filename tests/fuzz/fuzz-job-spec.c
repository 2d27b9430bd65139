/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A request body as mayflyd takes it: as a job, and as an exec. What is accepted must be within the
 * bounds that job-spec.h promises, and fit the agent's document.
 */

#include <stdlib.h>
#include <string.h>

#include "daemon/frame.h"
#include "daemon/job-spec.h"
#include "daemon/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(gboolean condition)
{
  if (!condition)
    abort();
}

static void
check_env(char *const *env)
{
  for (; env != NULL && *env != NULL; env++)
    require(strchr(*env, '=') != NULL && **env != '=' && strlen(*env) < 131072);
}

static void
check_exec(const MfExecSpec *spec, char *const *base_env)
{
  require((spec->argv == NULL) != (spec->script == NULL));
  require(spec->argv == NULL || (spec->argv[0] != NULL && g_strv_length(spec->argv) <= 4096));
  require(spec->cwd == NULL || spec->cwd[0] == '/');
  require(spec->user == NULL || spec->user[0] != '\0');
  check_env(spec->env);
  g_autoptr(MfJson) frame = mf_exec_spec_to_frame(spec, base_env);
  size_t length = 0;
  (void)json_object_to_json_string_length(frame, JSON_C_TO_STRING_PLAIN, &length);
  require(length <= MF_FRAME_MAX_DOCUMENT);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  g_autoptr(MfJson) json = mf_json_parse(data, size, "The body", NULL);
  if (json == NULL)
    return 0;
  g_autoptr(GError) job_error = NULL;
  g_autoptr(MfJobSpec) job = mf_job_spec_from_json(json, &job_error);
  require((job == NULL) == (job_error != NULL));
  if (job != NULL) {
    check_env(job->env);
    require(job->exec != NULL || job->hold);
    for (guint i = 0; i < job->files->len; i++) {
      const MfFile *file = job->files->pdata[i];
      require(file->path[0] == '/' && file->mode <= 07777 && file->content != NULL);
    }
    if (job->exec != NULL)
      check_exec(job->exec, job->env);
  }
  g_autoptr(GError) exec_error = NULL;
  g_autoptr(MfExecSpec) exec = mf_exec_spec_from_json(json, &exec_error);
  require((exec == NULL) == (exec_error != NULL));
  if (exec != NULL)
    check_exec(exec, NULL);
  return 0;
}
