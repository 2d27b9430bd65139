/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly gitlab config: what gitlab-runner has to know before it prepares a job. */
#include <stdio.h>

#include "daemon/json.h"
#include "daemon/paths.h"
#include "tools/commands.h"
#include "tools/gitlab-config.h"
#include "tools/gitlab-contract.h"

static MfJson *
answer(const MfGitlabConfig *config)
{
  MfJson *driver = json_object_new_object();
  mf_json_add_string(driver, "name", "mayfly");
  mf_json_add_string(driver, "version", "v" MF_VERSION);
  MfJson *json = json_object_new_object();
  mf_json_add(json, "driver", driver);
  mf_json_add_string(json, "builds_dir", config->builds_dir);
  mf_json_add_string(json, "cache_dir", config->cache_dir);
  mf_json_add_bool(json, "builds_dir_is_shared", FALSE);
  mf_json_add_string(json, "hostname", g_get_host_name());
  /* Ours reads no other language, whatever config.toml says; a runner before 15.10 passes over it.
   */
  mf_json_add_string(json, "shell", "bash");
  return json;
}

int
mf_cmd_gitlab_config(const MfCommon *common, gconstpointer options, char **argv, GError **error)
{
  MfGitlabContract contract;
  g_autoptr(GError) local = NULL;
  g_autofree char *path = mf_path_gitlab_config();
  g_autoptr(MfGitlabConfig) config = mf_gitlab_config_load(path, &local);
  mf_gitlab_contract_read(&contract);
  if (config == NULL)
    return mf_gitlab_contract_fail(contract.system_failure, local);
  g_autoptr(MfJson) json = answer(config);
  /* Without a newline: the runner takes all of it for one document. */
  fputs(
      json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
      stdout);
  return MF_EXIT_OK;
}
