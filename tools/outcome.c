/* SPDX-License-Identifier: Apache-2.0 */
/* Outcomes: results of the daemon translated for shells and their users. */
#include "tools/outcome.h"

#include <string.h>

#include "daemon/text.h"
#include "tools/command.h"
#include "tools/document.h"

MfJson *
mf_outcome_find_exec(MfJson *job, guint number)
{
  MfJson *execs = mf_document_member(job, "execs");
  for (gsize i = 0; i < mf_document_count(execs); i++)
    if (mf_document_uint(mf_document_item(execs, i), "number") == number)
      return mf_document_item(execs, i);
  return NULL;
}

int
mf_outcome_of_exec(MfJson *exec)
{
  if (mf_document_has(exec, "signal"))
    return 128 + (int)mf_document_uint(exec, "signal");
  if (mf_document_has(exec, "exit_code"))
    return (int)mf_document_uint(exec, "exit_code");
  /* A command that cannot be started has the code that shells give it; this one was cut off. */
  return MF_EXIT_FAILURE;
}

char *
mf_outcome_describe_exec(MfJson *exec)
{
  const char *state = mf_document_text(exec, "state");
  const char *problem = mf_document_text(exec, "error");
  g_autoptr(GString) text = g_string_new(state != NULL ? state : "?");
  if (g_strcmp0(state, "finished") == 0) {
    if (mf_document_has(exec, "signal") || mf_document_has(exec, "exit_code"))
      g_string_append_printf(text, " with %d", mf_outcome_of_exec(exec));
    else
      g_string_assign(text, "did not finish");
  }
  if (problem != NULL)
    g_string_append_printf(text, " (%s)", problem);
  return g_strdup(text->str);
}

char *
mf_outcome_describe_command(MfJson *exec)
{
  MfJson *argv = mf_document_member(exec, "argv");
  const char *key = mf_document_text(exec, "key");
  const char *slash = key != NULL ? strchr(key, '/') : NULL;
  g_autoptr(GString) text = g_string_new(NULL);
  for (gsize i = 0; i < mf_document_count(argv); i++)
    g_string_append_printf(text, "%s%s", i > 0 ? " " : "",
                           json_object_get_string(mf_document_item(argv, i)));
  if (text->len > 0)
    return g_strdup(text->str);
  if (slash == NULL)
    return g_strdup("a script");
  return g_strdup_printf("a script, %.*s", (int)(slash - key), key);
}

int
mf_outcome_of_job(MfJson *job)
{
  const char *result = mf_document_text(job, "result");
  if (g_strcmp0(result, "succeeded") == 0)
    return MF_EXIT_OK;
  if (g_strcmp0(result, "timed-out") == 0)
    return MF_EXIT_TIMEOUT;
  if (g_strcmp0(result, "cancelled") == 0)
    return MF_EXIT_INTERRUPT;
  if (g_strcmp0(result, "failed") != 0)
    return MF_EXIT_FAILURE;
  /* Of a job that was held, its client said it: its first exec may have gone well. */
  if (mf_document_has(job, "exit_code"))
    return (int)mf_document_uint(job, "exit_code");
  MfJson *exec = mf_outcome_find_exec(job, 1);
  return exec != NULL ? mf_outcome_of_exec(exec) : MF_EXIT_FAILURE;
}

static void
append_visible(GString *out, const char *text)
{
  MfTextVisible visible = {0};
  mf_text_visible_feed(&visible, text, strlen(text), out);
  mf_text_visible_end(&visible, out);
}

static void
append_console(GString *out, MfJson *job)
{
  MfJson *tail = mf_document_member(job, "console_tail");
  if (mf_document_count(tail) == 0)
    return;
  g_string_append(out, "\nthe machine's console ended with:");
  for (gsize i = 0; i < mf_document_count(tail); i++) {
    g_string_append(out, "\n  | ");
    append_visible(out, json_object_get_string(mf_document_item(tail, i)));
  }
}

char *
mf_outcome_explain(MfJson *job)
{
  const char *result = mf_document_text(job, "result");
  const char *reason = mf_document_text(job, "reason");
  g_autoptr(GString) out = g_string_new(NULL);
  if (g_strcmp0(result, "failed") == 0) {
    const char *problem = mf_document_text(mf_outcome_find_exec(job, 1), "error");
    if (problem == NULL)
      return NULL;
    append_visible(out, problem);
    return g_strdup(out->str);
  }
  if (g_strcmp0(result, "succeeded") == 0)
    return NULL;
  if (g_strcmp0(result, "timed-out") == 0)
    g_string_append(out, "the job's time was up");
  else if (g_strcmp0(result, "cancelled") == 0)
    g_string_append(out, "the job was cancelled");
  else
    g_string_append(out, "the job could not be carried out");
  if (reason != NULL) {
    g_string_append(out, ": ");
    append_visible(out, reason);
  }
  append_console(out, job);
  return g_strdup(out->str);
}

char *
mf_outcome_describe_state(MfJson *job)
{
  const char *state = mf_document_text(job, "state");
  const char *result = mf_document_text(job, "result");
  if (g_strcmp0(state, "finished") != 0 || result == NULL) {
    gboolean kept = mf_document_has(job, "kept_until");
    return g_strdup(kept ? "kept" : state != NULL ? state : "?");
  }
  if (strcmp(result, "failed") == 0)
    return g_strdup_printf("failed (%d)", mf_outcome_of_job(job));
  return g_strdup(result);
}
