/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly inspect: all about one job. */

#include "tools/client.h"
#include "tools/commands.h"
#include "tools/document.h"
#include "tools/jobs.h"
#include "tools/outcome.h"
#include "tools/table.h"

static void
add_time(MfTable *table, const char *label, MfJson *job, const char *key)
{
  if (!mf_document_has(job, key))
    return;
  g_autofree char *time = mf_document_format_time(mf_document_number(job, key));
  mf_table_add(table, label, time);
}

static void
add_text(MfTable *table, const char *label, MfJson *job, const char *key)
{
  if (mf_document_text(job, key) != NULL)
    mf_table_add(table, label, mf_document_text(job, key));
}

static void
add_machine(MfTable *table, MfJson *job)
{
  g_autofree char *memory = mf_document_format_size(mf_document_uint(job, "memory"));
  g_autofree char *disk = mf_document_format_size(mf_document_uint(job, "disk"));
  g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT " CPU, %s memory, %s disk",
                                          mf_document_uint(job, "cpus"), memory, disk);
  add_text(table, "template", job, "template");
  add_text(table, "image", job, "image");
  mf_table_add(table, "machine", size);
  add_text(table, "acceleration", job, "accel");
  add_text(table, "started", job, "how");
  add_text(table, "address", job, "ip");
  add_text(table, "port", job, "port");
}

static void
add_timings(MfTable *table, MfJson *job)
{
  static const char *const names[] = {"queue",  "prepare",      "clone",   "wait",
                                      "inject", "port",         "start",   "hello",
                                      "boot",   "first_output", "teardown"};
  MfJson *timings = mf_document_member(job, "timings");
  g_autoptr(GString) text = g_string_new(NULL);
  for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
    if (!mf_document_has(timings, names[i]))
      continue;
    g_autofree char *seconds = mf_document_format_seconds(mf_document_number(timings, names[i]));
    g_string_append_printf(text, "%s%s %s", text->len > 0 ? ", " : "", names[i], seconds);
  }
  if (text->len > 0)
    mf_table_add(table, "timings", g_strdelimit(text->str, "_", ' '));
}

static void
add_exec(MfTable *table, MfJson *exec)
{
  g_autofree char *state = mf_outcome_describe_exec(exec);
  g_autofree char *command = mf_outcome_describe_command(exec);
  g_autofree char *text = g_strconcat(state, ": ", command, NULL);
  g_autofree char *label =
      g_strdup_printf("exec %" G_GUINT64_FORMAT, mf_document_uint(exec, "number"));
  mf_table_add(table, label, text);
}

static void
print_text(MfJson *job)
{
  g_autoptr(MfTable) table = mf_table_new("", "", NULL);
  g_autofree char *state = mf_outcome_describe_state(job);
  add_text(table, "id", job, "id");
  add_text(table, "name", job, "name");
  mf_table_add(table, "state", state);
  add_text(table, "reason", job, "reason");
  add_text(table, "phase", job, "phase");
  add_text(table, "waits because", job, "queued_for");
  add_text(table, "owner", job, "owner_name");
  add_machine(table, job);
  add_time(table, "created", job, "created");
  add_time(table, "running since", job, "started");
  add_time(table, "finished", job, "finished");
  add_time(table, "deadline", job, "deadline");
  add_time(table, "kept until", job, "kept_until");
  add_timings(table, job);
  MfJson *execs = mf_document_member(job, "execs");
  for (gsize i = 0; i < mf_document_count(execs); i++)
    add_exec(table, mf_document_item(execs, i));
  MfJson *tail = mf_document_member(job, "console_tail");
  for (gsize i = 0; i < mf_document_count(tail); i++)
    mf_table_add(table, "console", json_object_get_string(mf_document_item(tail, i)));
  mf_table_print(table);
}

int
mf_cmd_inspect(const MfCommon *common, gconstpointer data, char **argv, GError **error)
{
  g_autoptr(MfClient) client = mf_client_new(common->socket);
  g_autoptr(MfJson) job = mf_jobs_get(client, argv[0], error);
  if (job == NULL)
    return MF_EXIT_FAILURE;
  if (mf_command_wants_json(common))
    mf_document_print(job);
  else
    print_text(job);
  return MF_EXIT_OK;
}
