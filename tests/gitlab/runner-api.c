/* SPDX-License-Identifier: Apache-2.0 */
/* Runner API: see runner-api.h. */
#include "tests/gitlab/runner-api.h"

#include <string.h>

#include "daemon/auto.h"

void
api_init(Api *self, const RunnerConfig *config)
{
  self->config = config;
  self->context = g_main_context_new();
  g_main_context_push_thread_default(self->context);
  self->session = soup_session_new_with_options("timeout", 60, "user-agent", "stand-in", NULL);
  soup_session_set_proxy_resolver(self->session, NULL);
}

void
api_clear(Api *self)
{
  g_clear_object(&self->session);
  g_main_context_pop_thread_default(self->context);
  g_clear_pointer(&self->context, g_main_context_unref);
}

void
api_answer_clear(ApiAnswer *self)
{
  g_clear_pointer(&self->job_status, g_free);
  g_clear_pointer(&self->body, g_bytes_unref);
}

static ApiAnswer
call(Api *self, SoupMessage *message, const char *type, const char *data, gsize length)
{
  ApiAnswer answer = {0};
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) body = g_bytes_new(data, length);
  soup_message_set_request_body_from_bytes(message, type, body);
  answer.body = soup_session_send_and_read(self->session, message, NULL, &error);
  if (answer.body == NULL) {
    g_printerr("runner: %s\n", error->message);
    return answer;
  }
  SoupMessageHeaders *headers = soup_message_get_response_headers(message);
  const char *interval = soup_message_headers_get_one(headers, "X-GitLab-Trace-Update-Interval");
  const char *range = soup_message_headers_get_one(headers, "Range");
  answer.status = soup_message_get_status(message);
  answer.job_status = g_strdup(soup_message_headers_get_one(headers, "Job-Status"));
  answer.interval = interval != NULL ? (guint)(g_ascii_strtod(interval, NULL) * 1000) : 0;
  answer.has_range = range != NULL && g_str_has_prefix(range, "0-");
  if (answer.has_range)
    answer.range = (gsize)g_ascii_strtoull(range + 2, NULL, 10);
  return answer;
}

static SoupMessage *
new_message(Api *self, const char *method, const char *path, const char *token)
{
  g_autofree char *url = g_strdup_printf("%s/api/v4/%s", self->config->url, path);
  SoupMessage *message = soup_message_new(method, url);
  if (message == NULL)
    g_error("%s is not a URL", url);
  if (token != NULL)
    soup_message_headers_append(soup_message_get_request_headers(message), "JOB-TOKEN", token);
  return message;
}

static MfJson *
new_info(Api *self)
{
  static const char *const features[] = {
      "variables",         "artifacts",           "cache", "shared", "return_exit_code",
      "cancel_gracefully", "two_phase_job_commit"};
  MfJson *info = json_object_new_object(), *list = json_object_new_object();
  for (guint i = 0; i < G_N_ELEMENTS(features); i++)
    json_object_object_add(list, features[i], json_object_new_boolean(TRUE));
  json_object_object_add(info, "name", json_object_new_string("stand-in"));
  json_object_object_add(info, "version", json_object_new_string("19.4.0"));
  json_object_object_add(info, "executor", json_object_new_string("custom"));
  json_object_object_add(info, "shell", json_object_new_string(self->config->shell));
  json_object_object_add(info, "features", list);
  return info;
}

char *
api_request_job(Api *self)
{
  g_autoptr(MfJson) json = json_object_new_object();
  json_object_object_add(json, "info", new_info(self));
  json_object_object_add(json, "token", json_object_new_string(self->config->token));
  const char *text = json_object_to_json_string(json);
  g_autoptr(SoupMessage) message = new_message(self, "POST", "jobs/request", NULL);
  g_auto(ApiAnswer) answer = call(self, message, "application/json", text, strlen(text));
  if (answer.status != SOUP_STATUS_CREATED) {
    if (answer.status != SOUP_STATUS_NO_CONTENT)
      g_printerr("runner: jobs/request: status %u\n", answer.status);
    return NULL;
  }
  gsize length = 0;
  const char *data = g_bytes_get_data(answer.body, &length);
  /* What is no UTF-8 is lost already when a real runner decodes the payload. */
  return g_utf8_make_valid(data, (gssize)length);
}

ApiAnswer
api_update(Api *self, const char *id, const char *token, const char *state, const char *reason,
           int exit_code, gsize size)
{
  g_autofree char *path = g_strconcat("jobs/", id, NULL);
  g_autoptr(MfJson) json = json_object_new_object();
  MfJson *output = json_object_new_object();
  json_object_object_add(output, "bytesize", json_object_new_int64((gint64)size));
  json_object_object_add(json, "info", new_info(self));
  json_object_object_add(json, "token", json_object_new_string(token));
  json_object_object_add(json, "state", json_object_new_string(state));
  if (!g_str_equal(state, "running"))
    json_object_object_add(json, "output", output);
  else
    json_object_put(output);
  if (reason != NULL)
    json_object_object_add(json, "failure_reason", json_object_new_string(reason));
  if (exit_code >= 0)
    json_object_object_add(json, "exit_code", json_object_new_int(exit_code));
  const char *text = json_object_to_json_string(json);
  g_autoptr(SoupMessage) message = new_message(self, "PUT", path, token);
  return call(self, message, "application/json", text, strlen(text));
}

ApiAnswer
api_append(Api *self, const char *id, const char *token, const char *data, gsize offset,
           gsize length)
{
  g_autofree char *path = g_strdup_printf("jobs/%s/trace?debug_trace=false", id);
  g_autofree char *range =
      g_strdup_printf("%" G_GSIZE_FORMAT "-%" G_GSIZE_FORMAT, offset, offset + length - 1);
  g_autoptr(SoupMessage) message = new_message(self, "PATCH", path, token);
  soup_message_headers_append(soup_message_get_request_headers(message), "Content-Range", range);
  return call(self, message, "text/plain", data, length);
}
