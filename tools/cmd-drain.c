/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly drain: take no new jobs, or take them again. */
#include <stdio.h>

#include "tools/client.h"
#include "tools/commands.h"
#include "tools/document.h"

typedef struct {
  gboolean off;
} Options;

const MfOption mf_cmd_drain_options[] = {
    {"off", 0, MF_OPTION_FLAG, NULL, "take jobs again", G_STRUCT_OFFSET(Options, off)},
    {0},
};
const gsize mf_cmd_drain_options_size = sizeof(Options);

int
mf_cmd_drain(const MfCommon *common, gconstpointer data, char **argv, GError **error)
{
  const Options *options = data;
  g_autoptr(MfClient) client = mf_client_new(common->socket);
  g_autoptr(MfJson) body = json_object_new_object();
  json_object_object_add(body, "drain", json_object_new_boolean(!options->off));
  g_autoptr(MfJson) answer = mf_client_call(client, "POST", "/v1/drain", body, error);
  if (answer == NULL)
    return MF_EXIT_FAILURE;
  if (mf_command_wants_json(common))
    mf_document_print(answer);
  else
    puts(options->off
             ? "New jobs are taken again."
             : "No new jobs are taken; those that run go on. mayfly drain --off ends this.");
  return MF_EXIT_OK;
}
