/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly pool list: how many machines wait for jobs, and why not more. */
#include "tools/client.h"
#include "tools/commands.h"
#include "tools/document.h"
#include "tools/table.h"

static void
add_row(MfTable *table, MfJson *pool, double now)
{
  static const char *const counts[] = {"wanted", "ready", "starting"};
  char text[G_N_ELEMENTS(counts)][24];
  for (gsize i = 0; i < G_N_ELEMENTS(counts); i++)
    g_snprintf(text[i], sizeof text[i], "%" G_GUINT64_FORMAT, mf_document_uint(pool, counts[i]));
  g_autofree char *problem = mf_document_format_problem(pool, now);
  mf_table_add(table, mf_document_text(pool, "template"), text[0], text[1], text[2],
               problem != NULL ? problem : "");
}

int
mf_cmd_pool_list(const MfCommon *common, gconstpointer data, char **argv, GError **error)
{
  g_autoptr(MfClient) client = mf_client_new(common->socket);
  g_autoptr(MfJson) answer = mf_client_call(client, "GET", "/v1/pools", NULL, error);
  if (answer == NULL)
    return MF_EXIT_FAILURE;
  if (mf_command_wants_json(common)) {
    mf_document_print(answer);
    return MF_EXIT_OK;
  }
  MfJson *pools = mf_document_member(answer, "pools");
  double now = (double)g_get_real_time() / G_USEC_PER_SEC;
  g_autoptr(MfTable) table =
      mf_table_new("TEMPLATE", "WANTED", "READY", "STARTING", "PROBLEM", NULL);
  for (gsize i = 0; i < mf_document_count(pools); i++)
    add_row(table, mf_document_item(pools, i), now);
  mf_table_print(table);
  return MF_EXIT_OK;
}
