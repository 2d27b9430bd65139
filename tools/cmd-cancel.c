/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly cancel: end jobs, and wait until nothing is left of their machines. */
#include <stdio.h>

#include "tools/client.h"
#include "tools/commands.h"
#include "tools/document.h"
#include "tools/jobs.h"

typedef struct {
  const char *reason;
  gboolean no_wait;
} Options;

const MfOption mf_cmd_cancel_options[] = {
    {"reason", 0, MF_OPTION_TEXT, "TEXT", "why, for the job's record",
     G_STRUCT_OFFSET(Options, reason)},
    {"no-wait", 0, MF_OPTION_FLAG, NULL, "only ask for it", G_STRUCT_OFFSET(Options, no_wait)},
    {0},
};
const gsize mf_cmd_cancel_options_size = sizeof(Options);

static gboolean
cancel(MfClient *client, const char *id, const Options *options, GError **error)
{
  g_autofree char *usual = g_strdup_printf("cancelled by %s", g_get_user_name());
  const char *reason = options->reason != NULL ? options->reason : usual;
  g_autoptr(MfJson) job = mf_jobs_cancel(client, id, reason, error);
  if (job == NULL)
    return FALSE;
  const char *whole_id = mf_document_text(job, "id");
  if (options->no_wait || whole_id == NULL)
    return TRUE;
  g_autoptr(MfJson) finished = mf_jobs_wait_finished(client, whole_id, error);
  return finished != NULL;
}

int
mf_cmd_cancel(const MfCommon *common, gconstpointer data, char **argv, GError **error)
{
  g_autoptr(MfClient) client = mf_client_new(common->socket);
  int status = MF_EXIT_OK;
  if (!mf_client_check(client, error))
    return MF_EXIT_FAILURE;
  for (; *argv != NULL; argv++) {
    g_autoptr(GError) local = NULL;
    if (cancel(client, *argv, data, &local)) {
      puts(*argv);
      continue;
    }
    fprintf(stderr, "mayfly: %s\n", local->message);
    status = MF_EXIT_FAILURE;
  }
  return status;
}
