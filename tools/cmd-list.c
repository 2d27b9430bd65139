/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly list: the jobs there are. */
#include <stdio.h>

#include "tools/client.h"
#include "tools/commands.h"
#include "tools/document.h"
#include "tools/outcome.h"
#include "tools/table.h"

typedef struct {
  gboolean all;
  gboolean quiet;
} Options;

const MfOption mf_cmd_list_options[] = {
    {"all", 'a', MF_OPTION_FLAG, NULL, "finished jobs too", G_STRUCT_OFFSET(Options, all)},
    {"quiet", 'q', MF_OPTION_FLAG, NULL, "only their ids", G_STRUCT_OFFSET(Options, quiet)},
    {0},
};
const gsize mf_cmd_list_options_size = sizeof(Options);

/* What is happening to it, or how it ended. */
static char *
describe(MfJson *job)
{
  const char *phase = mf_document_text(job, "phase");
  if (mf_document_has(job, "position")) {
    const char *why = mf_document_text(job, "queued_for");
    return g_strdup_printf("number %" G_GUINT64_FORMAT "%s%s", mf_document_uint(job, "position"),
                           why != NULL ? ": " : "", why != NULL ? why : "");
  }
  if (phase != NULL)
    return g_strdup(phase);
  return g_strdup(mf_document_text(job, "reason"));
}

static void
add_row(MfTable *table, MfJson *job, double now)
{
  g_autofree char *state = mf_outcome_describe_state(job);
  g_autofree char *age = mf_document_format_age(mf_document_number(job, "created"), now);
  g_autofree char *what = describe(job);
  mf_table_add(table, mf_document_text(job, "id"), state, mf_document_text(job, "template"),
               mf_document_text(job, "owner_name"), age, mf_document_text(job, "ip"),
               mf_document_text(job, "name"), what);
}

int
mf_cmd_list(const MfCommon *common, gconstpointer data, char **argv, GError **error)
{
  const Options *options = data;
  g_autoptr(MfClient) client = mf_client_new(common->socket);
  const char *path = options->all ? "/v1/jobs?state=all" : "/v1/jobs?state=active";
  g_autoptr(MfJson) answer = mf_client_call(client, "GET", path, NULL, error);
  if (answer == NULL)
    return MF_EXIT_FAILURE;
  if (mf_command_wants_json(common)) {
    mf_document_print(answer);
    return MF_EXIT_OK;
  }
  MfJson *jobs = mf_document_member(answer, "jobs");
  double now = (double)g_get_real_time() / G_USEC_PER_SEC;
  g_autoptr(MfTable) table =
      mf_table_new("ID", "STATE", "TEMPLATE", "OWNER", "AGE", "ADDRESS", "NAME", "WHAT", NULL);
  for (gsize i = 0; i < mf_document_count(jobs); i++) {
    MfJson *job = mf_document_item(jobs, i);
    if (options->quiet)
      puts(mf_document_text(job, "id"));
    else
      add_row(table, job, now);
  }
  if (!options->quiet)
    mf_table_print(table);
  return MF_EXIT_OK;
}
