/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly wait: until a job has ended, with its exit status. */
#include <stdio.h>

#include "tools/client.h"
#include "tools/commands.h"
#include "tools/document.h"
#include "tools/jobs.h"
#include "tools/outcome.h"

int
mf_cmd_wait(const MfCommon *common, gconstpointer data, char **argv, GError **error)
{
  g_autoptr(MfClient) client = mf_client_new(common->socket);
  g_autoptr(MfJson) job = mf_jobs_wait_finished(client, argv[0], error);
  if (job == NULL)
    return MF_EXIT_FAILURE;
  if (mf_command_wants_json(common))
    mf_document_print(job);
  g_autofree char *why = mf_outcome_explain(job);
  if (why != NULL)
    fprintf(stderr, "mayfly: %s\n", why);
  return mf_outcome_of_job(job);
}
