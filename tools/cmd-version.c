/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly version: this program's and the daemon's. */
#include <stdio.h>

#include "tools/client.h"
#include "tools/commands.h"
#include "tools/document.h"

int
mf_cmd_version(const MfCommon *common, gconstpointer options, char **argv, GError **error)
{
  g_autoptr(GError) local = NULL;
  g_autoptr(MfClient) client = mf_client_new(common->socket);
  g_autoptr(MfJson) info = mf_client_call(client, "GET", "/v1/info", NULL, &local);
  const char *version = mf_document_text(info, "version");
  if (mf_command_wants_json(common)) {
    g_autoptr(MfJson) answer = json_object_new_object();
    json_object_object_add(answer, "mayfly", json_object_new_string(MF_VERSION));
    json_object_object_add(answer, "mayflyd",
                           version != NULL ? json_object_new_string(version) : NULL);
    mf_document_print(answer);
    return MF_EXIT_OK;
  }
  printf("mayfly   %s\n", MF_VERSION);
  if (info != NULL)
    printf("mayflyd  %s\n", version != NULL ? version : "unknown");
  else
    printf("mayflyd  unknown: %s\n", local->message);
  return MF_EXIT_OK;
}
