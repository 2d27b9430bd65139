/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly template list, inspect: what machines can be made from. */
#include <stdio.h>

#include "tools/client.h"
#include "tools/commands.h"
#include "tools/document.h"
#include "tools/table.h"

static void
add_row(MfTable *table, MfJson *template)
{
  g_autofree char *memory = mf_document_format_size(mf_document_uint(template, "memory"));
  g_autofree char *disk = mf_document_format_size(mf_document_uint(template, "disk"));
  g_autofree char *cpus = g_strdup_printf("%" G_GUINT64_FORMAT, mf_document_uint(template, "cpus"));
  g_autofree char *image =
      g_strdup_printf("%s%s", mf_document_text(template, "image"),
                      mf_document_flag(template, "image_available") ? "" : " (missing)");
  mf_table_add(table, mf_document_text(template, "name"), image, cpus, memory, disk,
               mf_document_text(template, "description"));
}

static void
print_errors(MfJson *errors)
{
  for (gsize i = 0; i < mf_document_count(errors); i++) {
    const char *text = mf_document_text(mf_document_item(errors, i), "error");
    if (text != NULL)
      fprintf(stderr, "mayfly: %s\n", text);
  }
}

/* What is wrong with some does not take the others away; nothing but wrong ones is a failure. */
int
mf_cmd_template_list(const MfCommon *common, gconstpointer data, char **argv, GError **error)
{
  g_autoptr(MfClient) client = mf_client_new(common->socket);
  g_autoptr(MfJson) answer = mf_client_call(client, "GET", "/v1/templates", NULL, error);
  if (answer == NULL)
    return MF_EXIT_FAILURE;
  MfJson *templates = mf_document_member(answer, "templates");
  MfJson *errors = mf_document_member(answer, "errors");
  gboolean good = mf_document_count(templates) > 0 || mf_document_count(errors) == 0;
  if (mf_command_wants_json(common)) {
    mf_document_print(answer);
    if (good)
      return MF_EXIT_OK;
    print_errors(errors);
    return MF_EXIT_FAILURE;
  }
  g_autoptr(MfTable) table =
      mf_table_new("NAME", "IMAGE", "CPUS", "MEMORY", "DISK", "WHAT IT IS", NULL);
  for (gsize i = 0; i < mf_document_count(templates); i++)
    add_row(table, mf_document_item(templates, i));
  mf_table_print(table);
  print_errors(errors);
  return good ? MF_EXIT_OK : MF_EXIT_FAILURE;
}

/* "ready, 70.7 MiB, made …", "none: …; again in 40s" (transfer full) */
static char *
describe_fork(MfJson *fork)
{
  g_autoptr(GString) text = g_string_new(mf_document_text(fork, "state"));
  if (mf_document_has(fork, "size")) {
    g_autofree char *size = mf_document_format_size(mf_document_uint(fork, "size"));
    g_string_append_printf(text, ", %s", size);
  }
  if (mf_document_has(fork, "made")) {
    g_autofree char *made = mf_document_format_time((double)mf_document_uint(fork, "made"));
    g_string_append_printf(text, ", made %s", made);
  }
  g_autofree char *problem =
      mf_document_format_problem(fork, (double)g_get_real_time() / G_USEC_PER_SEC);
  if (problem != NULL)
    g_string_append_printf(text, ": %s", problem);
  return g_string_free(g_steal_pointer(&text), FALSE);
}

int
mf_cmd_template_inspect(const MfCommon *common, gconstpointer data, char **argv, GError **error)
{
  g_autoptr(MfClient) client = mf_client_new(common->socket);
  g_autofree char *path = mf_client_path("templates", argv[0], NULL);
  g_autoptr(MfJson) template = mf_client_call(client, "GET", path, NULL, error);
  if (template == NULL)
    return MF_EXIT_FAILURE;
  if (mf_command_wants_json(common)) {
    mf_document_print(template);
    return MF_EXIT_OK;
  }
  if (mf_document_has(template, "fork")) {
    g_autofree char *fork = describe_fork(mf_document_member(template, "fork"));
    json_object_object_add(template, "fork", json_object_new_string(fork));
  }
  mf_table_print_document(template);
  return MF_EXIT_OK;
}
