/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/jobs/ID/execs: commands in a machine, their output, input and signals. */
#include "daemon/api-private.h"

#include <signal.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/json.h"
#include "daemon/text.h"

/* Both names of the path at once: the job, and one of its execs. */
static MfExec *
find_exec(MfApiRequest *request, MfJob **ret_job, GError **error)
{
  guint64 number = 0;
  MfJob *job = mf_api_find_job(request, error);
  if (job == NULL)
    return NULL;
  MfExec *exec = NULL;
  if (g_ascii_string_to_unsigned(request->args[1], 10, 1, G_MAXUINT, &number, NULL))
    exec = mf_job_get_exec(job, (guint)number);
  if (exec == NULL) {
    g_autofree char *shown = mf_text_quote(request->args[1]);
    g_set_error(error, MF_ERROR, MF_ERROR_NOT_FOUND, "Job %s has no exec %s; it has %u, from 1 on.",
                mf_job_get_id(job), shown, mf_job_get_execs(job)->len);
    return NULL;
  }
  *ret_job = job;
  return exec;
}

void
mf_api_execs_create(MfApiRequest *request)
{
  GError *error = NULL;
  MfJob *job = mf_api_find_job(request, &error);
  g_autoptr(MfJson) json = job != NULL ? mf_api_request_json(request, &error) : NULL;
  g_autoptr(MfExecSpec) spec = json != NULL ? mf_exec_spec_from_json(json, &error) : NULL;
  MfExec *exec = spec != NULL && spec->key != NULL ? mf_job_find_exec(job, spec->key) : NULL;
  if (exec != NULL) {
    mf_api_reply_json(request, 200, mf_exec_to_json(exec));
    return;
  }
  if (spec != NULL)
    exec = mf_scheduler_add_exec(request->api->scheduler, job, spec, &error);
  if (exec == NULL) {
    mf_api_reply_error(request, error);
    return;
  }
  mf_api_reply_location(request, "/v1/jobs/%s/execs/%u", mf_job_get_id(job),
                        mf_exec_get_number(exec));
  mf_api_reply_json(request, 201, mf_exec_to_json(exec));
}

void
mf_api_execs_get(MfApiRequest *request)
{
  GError *error = NULL;
  MfJob *job = NULL;
  MfExec *exec = find_exec(request, &job, &error);
  if (exec == NULL)
    mf_api_reply_error(request, error);
  else
    mf_api_jobs_answer(request, job, exec, "finished");
}

void
mf_api_execs_output(MfApiRequest *request)
{
  GError *error = NULL;
  MfJob *job = NULL;
  MfApiOutput output = {0};
  gint form = MF_OUTPUT_MERGED;
  MfExec *exec = find_exec(request, &job, &error);
  if (exec == NULL || !mf_api_query_uint(request, "offset", G_MAXINT64, &output.offset, &error) ||
      !mf_api_query_flag(request, "follow", &output.follow, &error) ||
      !mf_api_query_flag(request, "pace", &output.pace, &error) ||
      !mf_api_query_choice(request, "form", "mux merged stdout stderr", &form, &error)) {
    mf_api_reply_error(request, error);
    return;
  }
  output.form = (MfOutputForm)form;
  mf_api_stream_job_output(request, job, exec, &output);
}

void
mf_api_execs_stdin(MfApiRequest *request)
{
  GError *error = NULL;
  MfJob *job = NULL;
  guint64 offset = 0;
  gboolean eof = FALSE;
  MfExec *exec = find_exec(request, &job, &error);
  if (exec == NULL || !mf_api_query_uint(request, "offset", G_MAXINT64, &offset, &error) ||
      !mf_api_query_flag(request, "eof", &eof, &error)) {
    mf_api_reply_error(request, error);
    return;
  }
  g_autoptr(GBytes) body = mf_api_request_body(request);
  gsize length = 0;
  const void *data = g_bytes_get_data(body, &length);
  gint64 taken = mf_exec_write_stdin(exec, offset, data != NULL ? data : "", length, eof, &error);
  if (taken < 0) {
    mf_api_reply_error(request, error);
    return;
  }
  MfJson *answer = json_object_new_object();
  mf_json_add_uint(answer, "offset", (guint64)taken);
  mf_api_reply_json(request, 200, answer);
}

/* Those one sends to a job; others go by number. */
static const struct {
  const char *name;
  int number;
} signals[] = {
    {"ABRT", SIGABRT}, {"ALRM", SIGALRM}, {"CONT", SIGCONT}, {"HUP", SIGHUP},
    {"INT", SIGINT},   {"KILL", SIGKILL}, {"PIPE", SIGPIPE}, {"QUIT", SIGQUIT},
    {"STOP", SIGSTOP}, {"TERM", SIGTERM}, {"TSTP", SIGTSTP}, {"TTIN", SIGTTIN},
    {"TTOU", SIGTTOU}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"WINCH", SIGWINCH},
};

static gboolean
read_signal(MfJson *json, guint64 *ret, GError **error)
{
  MfJson *value = json_object_object_get(json, "signal");
  if (!json_object_is_type(value, json_type_string)) {
    if (!mf_json_read_uint(json, "", "signal", 1, 64, ret, error))
      return FALSE;
    if (*ret == 0)
      g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                  "\"signal\" is missing: a name like \"TERM\", or a number.");
    return *ret != 0;
  }
  const char *name = json_object_get_string(value);
  name += g_str_has_prefix(name, "SIG") ? 3 : 0;
  for (gsize i = 0; i < G_N_ELEMENTS(signals); i++) {
    if (strcmp(name, signals[i].name) == 0) {
      *ret = (guint64)signals[i].number;
      return TRUE;
    }
  }
  g_autofree char *shown = mf_text_quote(name);
  g_set_error(
      error, MF_ERROR, MF_ERROR_INVALID,
      "%s is no signal known here: use TERM, INT, HUP, KILL or the like, or a number from 1 to 64.",
      shown);
  return FALSE;
}

void
mf_api_execs_signal(MfApiRequest *request)
{
  static const char *const keys[] = {"signal", NULL};
  GError *error = NULL;
  MfJob *job = NULL;
  guint64 number = 0;
  MfExec *exec = find_exec(request, &job, &error);
  g_autoptr(MfJson) json = exec != NULL ? mf_api_request_json(request, &error) : NULL;
  if (json == NULL || !mf_json_check_keys(json, "", keys, &error) ||
      !read_signal(json, &number, &error) || !mf_exec_signal(exec, (int)number, &error))
    mf_api_reply_error(request, error);
  else
    mf_api_reply_json(request, 200, mf_exec_to_json(exec));
}

void
mf_api_execs_resize(MfApiRequest *request)
{
  static const char *const keys[] = {"rows", "cols", NULL};
  GError *error = NULL;
  MfJob *job = NULL;
  guint64 rows = 0, cols = 0;
  MfExec *exec = find_exec(request, &job, &error);
  g_autoptr(MfJson) json = exec != NULL ? mf_api_request_json(request, &error) : NULL;
  if (json == NULL || !mf_json_check_keys(json, "", keys, &error) ||
      !mf_json_read_uint(json, "", "rows", 1, 65535, &rows, &error) ||
      !mf_json_read_uint(json, "", "cols", 1, 65535, &cols, &error)) {
    mf_api_reply_error(request, error);
    return;
  }
  if (rows == 0 || cols == 0)
    g_set_error(&error, MF_ERROR, MF_ERROR_INVALID, "\"rows\" and \"cols\" must both be there.");
  if (error != NULL || !mf_exec_resize(exec, (guint)rows, (guint)cols, &error))
    mf_api_reply_error(request, error);
  else
    mf_api_reply_json(request, 200, mf_exec_to_json(exec));
}
