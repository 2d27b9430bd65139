/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly image list, inspect, verify, remove: through mayflyd, which knows what is in use. */
#include <stdio.h>

#include "daemon/error.h"
#include "tools/client.h"
#include "tools/commands.h"
#include "tools/document.h"
#include "tools/table.h"

static void
add_row(MfTable *table, MfJson *image, double now)
{
  g_autofree char *size = mf_document_format_size(mf_document_uint(image, "file_size"));
  g_autofree char *disk = mf_document_format_size(mf_document_uint(image, "virtual_size"));
  g_autofree char *age = mf_document_format_age(mf_document_number(image, "created"), now);
  mf_table_add(table, mf_document_text(image, "ref"), size, disk, age,
               mf_document_flag(image, "in_use") ? "yes" : "no", mf_document_text(image, "init"),
               mf_document_text(image, "os"));
}

int
mf_cmd_image_list(const MfCommon *common, gconstpointer data, char **argv, GError **error)
{
  g_autoptr(MfClient) client = mf_client_new(common->socket);
  g_autoptr(MfJson) answer = mf_client_call(client, "GET", "/v1/images", NULL, error);
  if (answer == NULL)
    return MF_EXIT_FAILURE;
  if (mf_command_wants_json(common)) {
    mf_document_print(answer);
    return MF_EXIT_OK;
  }
  MfJson *images = mf_document_member(answer, "images");
  double now = (double)g_get_real_time() / G_USEC_PER_SEC;
  g_autoptr(MfTable) table =
      mf_table_new("IMAGE", "SIZE", "DISK", "AGE", "IN USE", "INIT", "SYSTEM", NULL);
  for (gsize i = 0; i < mf_document_count(images); i++)
    add_row(table, mf_document_item(images, i), now);
  mf_table_print(table);
  if (mf_table_rows(table) == 0)
    fputs("mayfly: there are no images yet: make one with mayfly image build tiny\n", stderr);
  return MF_EXIT_OK;
}

/* What every other verb does with the answer about one image. */
static int
answer_with(const MfCommon *common, MfJson *answer, const char *sentence)
{
  if (answer == NULL)
    return MF_EXIT_FAILURE;
  if (mf_command_wants_json(common))
    mf_document_print(answer);
  else if (sentence != NULL)
    puts(sentence);
  else
    mf_table_print_document(answer);
  return MF_EXIT_OK;
}

int
mf_cmd_image_inspect(const MfCommon *common, gconstpointer data, char **argv, GError **error)
{
  g_autoptr(MfClient) client = mf_client_new(common->socket);
  g_autofree char *path = mf_client_path("images", argv[0], NULL);
  g_autoptr(MfJson) answer = mf_client_call(client, "GET", path, NULL, error);
  return answer_with(common, answer, NULL);
}

int
mf_cmd_image_verify(const MfCommon *common, gconstpointer data, char **argv, GError **error)
{
  g_autoptr(MfClient) client = mf_client_new(common->socket);
  g_autofree char *path = mf_client_path("images", argv[0], "verify", NULL);
  g_autoptr(GError) local = NULL;
  g_autoptr(MfJson) answer = mf_client_call(client, "POST", path, NULL, &local);
  if (g_error_matches(local, MF_ERROR, MF_ERROR_DAMAGED)) {
    fprintf(stderr, "mayfly: %s\n", local->message);
    return MF_EXIT_PROBLEM;
  }
  if (answer == NULL)
    g_propagate_error(error, g_steal_pointer(&local));
  return answer_with(common, answer, "The image is as it was made: every digest is right.");
}

int
mf_cmd_image_remove(const MfCommon *common, gconstpointer data, char **argv, GError **error)
{
  g_autoptr(MfClient) client = mf_client_new(common->socket);
  g_autofree char *path = mf_client_path("images", argv[0], NULL);
  g_autoptr(MfJson) answer = mf_client_call(client, "DELETE", path, NULL, error);
  return answer_with(common, answer, "Removed.");
}
