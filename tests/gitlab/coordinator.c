/* SPDX-License-Identifier: Apache-2.0 */
/* Coordinator: jobs, their states and their traces. See coordinator.h for its folder. */
#include "tests/gitlab/coordinator.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <glib-unix.h>
#include <stdio.h>
#include <string.h>

#include "daemon/auto.h"

void
coordinator_note(Coordinator *self, const char *name, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  g_autofree char *line = g_strdup_vprintf(format, args);
  va_end(args);
  g_autofree char *path = g_build_filename(self->folder, name, NULL);
  FILE *file = fopen(path, "ae");
  if (file == NULL)
    g_error("%s: %s", path, g_strerror(errno));
  fprintf(file, "%s\n", line);
  fclose(file);
}

void
coordinator_answer(SoupServerMessage *message, guint status, const char *json)
{
  soup_server_message_set_status(message, status, NULL);
  if (json != NULL)
    soup_server_message_set_response(message, "application/json", SOUP_MEMORY_COPY, json,
                                     strlen(json));
}

static void
set_header(SoupServerMessage *message, const char *name, const char *value)
{
  soup_message_headers_replace(soup_server_message_get_response_headers(message), name, value);
}

static const char *
get_header(SoupServerMessage *message, const char *name)
{
  return soup_message_headers_get_one(soup_server_message_get_request_headers(message), name);
}

/* The request's body as an object, or NULL. (transfer full) */
static MfJson *
read_body(SoupServerMessage *message)
{
  SoupMessageBody *body = soup_server_message_get_request_body(message);
  g_autoptr(GBytes) bytes = soup_message_body_flatten(body);
  gsize length = 0;
  const char *data = g_bytes_get_data(bytes, &length);
  g_autofree char *text = g_strndup(data != NULL ? data : "", length);
  MfJson *json = json_tokener_parse(text);
  if (json_object_is_type(json, json_type_object))
    return json;
  json_object_put(json);
  return NULL;
}

static const char *
get_string(MfJson *object, const char *name)
{
  MfJson *value = NULL;
  return json_object_object_get_ex(object, name, &value) &&
                 json_object_is_type(value, json_type_string)
             ? json_object_get_string(value)
             : NULL;
}

/* --- jobs that wait --- */

/* The first file's path (transfer full), or NULL. */
static char *
first_in_queue(Coordinator *self)
{
  g_autofree char *queue = g_build_filename(self->folder, "queue", NULL);
  g_autoptr(GDir) dir = g_dir_open(queue, 0, NULL);
  g_autofree char *first = NULL;
  for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;) {
    if (g_str_has_suffix(name, ".json") && (first == NULL || strcmp(name, first) < 0)) {
      g_free(first);
      first = g_strdup(name);
    }
  }
  return first != NULL ? g_build_filename(queue, first, NULL) : NULL;
}

static void
request_job(Coordinator *self, SoupServerMessage *message)
{
  g_autoptr(MfJson) body = read_body(message);
  const char *token = get_header(message, "RUNNER-TOKEN");
  if (token == NULL)
    token = get_string(body, "token");
  if (g_strcmp0(token, self->token) != 0) {
    coordinator_answer(message, SOUP_STATUS_FORBIDDEN, "{\"message\":\"403 Forbidden\"}");
    return;
  }
  g_autofree char *path = first_in_queue(self);
  g_autofree char *text = NULL;
  if (path == NULL || !g_file_get_contents(path, &text, NULL, NULL)) {
    set_header(message, "X-GitLab-Last-Update", "stand-in");
    coordinator_answer(message, SOUP_STATUS_NO_CONTENT, NULL);
    return;
  }
  g_autoptr(MfJson) job = json_tokener_parse(text);
  MfJson *id = NULL;
  if (!json_object_object_get_ex(job, "id", &id))
    g_error("%s is not a job with an id", path);
  g_autofree char *folder =
      g_build_filename(self->folder, "jobs", json_object_to_json_string(id), NULL);
  g_autofree char *file = g_build_filename(folder, "job.json", NULL);
  g_autofree char *trace = g_build_filename(folder, "trace", NULL);
  g_autofree char *artifacts = g_build_filename(folder, "artifacts", NULL);
  if (g_mkdir_with_parents(artifacts, 0700) != 0 || rename(path, file) != 0 ||
      !g_file_set_contents(trace, "", 0, NULL))
    g_error("%s: %s", folder, g_strerror(errno));
  coordinator_answer(message, SOUP_STATUS_CREATED, text);
}

static void
verify_runner(Coordinator *self, SoupServerMessage *message)
{
  g_autoptr(MfJson) body = read_body(message);
  const char *token = get_string(body, "token");
  if (g_strcmp0(token, self->token) != 0) {
    coordinator_answer(message, SOUP_STATUS_FORBIDDEN, "{\"message\":\"403 Forbidden\"}");
    return;
  }
  g_autofree char *json =
      g_strdup_printf("{\"id\":1,\"token\":\"%s\",\"token_expires_at\":null}", token);
  coordinator_answer(message, SOUP_STATUS_OK, json);
}

/* --- a job that runs --- */

/* What a test wants the runner to be told, or "running". (transfer full) */
static char *
job_status(Coordinator *self, const char *id)
{
  g_autofree char *path = g_build_filename(self->folder, "jobs", id, "control", NULL);
  char *text = NULL;
  return g_file_get_contents(path, &text, NULL, NULL) ? g_strstrip(text) : g_strdup("running");
}

/* FALSE: the request does not belong to a job that runs, and was answered. */
static gboolean
check_job(Coordinator *self, SoupServerMessage *message, const char *id, const char *token)
{
  g_autofree char *path = g_build_filename(self->folder, "jobs", id, "job.json", NULL);
  g_autoptr(MfJson) job = json_object_from_file(path);
  const char *wanted = get_string(job, "token");
  if (job == NULL)
    coordinator_answer(message, SOUP_STATUS_NOT_FOUND, "{\"message\":\"404 Not found\"}");
  else if (wanted == NULL || g_strcmp0(token, wanted) != 0)
    coordinator_answer(message, SOUP_STATUS_FORBIDDEN, "{\"message\":\"403 Forbidden\"}");
  else
    return TRUE;
  return FALSE;
}

/* Every answer about a job says how it is and how often to report. Returns FALSE if the job was
 * cancelled by force: then it is over, and the request was answered. */
static gboolean
tell_status(Coordinator *self, SoupServerMessage *message, const char *id)
{
  g_autofree char *status = job_status(self, id);
  set_header(message, "Job-Status", status);
  set_header(message, "X-GitLab-Trace-Update-Interval", self->interval);
  if (strcmp(status, "canceled") != 0)
    return TRUE;
  coordinator_answer(message, SOUP_STATUS_FORBIDDEN, "{\"message\":\"403 Forbidden - canceled\"}");
  return FALSE;
}

static gsize
trace_size(Coordinator *self, const char *id)
{
  g_autofree char *path = g_build_filename(self->folder, "jobs", id, "trace", NULL);
  GStatBuf info;
  return g_stat(path, &info) == 0 ? (gsize)info.st_size : 0;
}

/* A final state whose trace is not all here is sent back: the runner has to send the rest. */
static gboolean
trace_is_complete(Coordinator *self, const char *id, MfJson *body)
{
  MfJson *output = NULL, *size = NULL;
  return !json_object_object_get_ex(body, "output", &output) ||
         !json_object_object_get_ex(output, "bytesize", &size) ||
         (gsize)json_object_get_int64(size) == trace_size(self, id);
}

static void
update_job(Coordinator *self, SoupServerMessage *message, const char *id)
{
  g_autoptr(MfJson) body = read_body(message);
  const char *token = get_header(message, "JOB-TOKEN");
  if (!check_job(self, message, id, token != NULL ? token : get_string(body, "token")) ||
      !tell_status(self, message, id))
    return;
  const char *state = get_string(body, "state");
  const char *reason = get_string(body, "failure_reason");
  MfJson *code = NULL;
  json_object_object_get_ex(body, "exit_code", &code);
  g_autofree char *line = g_strdup_printf("%s %s %s", state != NULL ? state : "-",
                                          reason != NULL && *reason ? reason : "-",
                                          code != NULL ? json_object_to_json_string(code) : "-");
  g_autofree char *updates = g_build_filename("jobs", id, "updates", NULL);
  coordinator_note(self, updates, "%s", line);
  if (g_strcmp0(state, "success") != 0 && g_strcmp0(state, "failed") != 0) {
    coordinator_answer(message, SOUP_STATUS_OK, "200");
    return;
  }
  if (!trace_is_complete(self, id, body)) {
    coordinator_answer(message, SOUP_STATUS_PRECONDITION_FAILED, NULL);
    return;
  }
  if (self->accept > 0) {
    self->accept--;
    coordinator_answer(message, SOUP_STATUS_ACCEPTED, "202");
    return;
  }
  g_autofree char *done = g_build_filename(self->folder, "jobs", id, "done", NULL);
  g_file_set_contents(done, line, -1, NULL);
  coordinator_answer(message, SOUP_STATUS_OK, "200");
}

static void
answer_range(Coordinator *self, SoupServerMessage *message, const char *id, guint status)
{
  g_autofree char *range = g_strdup_printf("0-%" G_GSIZE_FORMAT, trace_size(self, id));
  g_autofree char *name = g_build_filename("jobs", id, "ranges", NULL);
  const char *got = get_header(message, "Content-Range");
  set_header(message, "Range", range);
  coordinator_note(self, name, "%s %u", got != NULL ? got : "-", status);
  coordinator_answer(message, status, NULL);
}

static void
append_trace(Coordinator *self, SoupServerMessage *message, const char *id)
{
  if (!check_job(self, message, id, get_header(message, "JOB-TOKEN")) ||
      !tell_status(self, message, id))
    return;
  if (self->refuse > 0) {
    self->refuse--;
    answer_range(self, message, id, SOUP_STATUS_INTERNAL_SERVER_ERROR);
    return;
  }
  g_autoptr(GBytes) bytes =
      soup_message_body_flatten(soup_server_message_get_request_body(message));
  gsize length = 0;
  const char *data = g_bytes_get_data(bytes, &length);
  const char *range = get_header(message, "Content-Range");
  guint64 start = 0, end = 0;
  int end_of_range = 0;
  if (range == NULL ||
      sscanf(range, "%" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT "%n", &start, &end, &end_of_range) !=
          2 ||
      start != trace_size(self, id) || end - start + 1 != length) {
    answer_range(self, message, id, SOUP_STATUS_REQUESTED_RANGE_NOT_SATISFIABLE);
    return;
  }
  g_autofree char *path = g_build_filename(self->folder, "jobs", id, "trace", NULL);
  FILE *file = fopen(path, "ae");
  if (file == NULL || fwrite(data, 1, length, file) != length || fclose(file) != 0)
    g_error("%s: %s", path, g_strerror(errno));
  answer_range(self, message, id, SOUP_STATUS_ACCEPTED);
}

static void
job_request(Coordinator *self, SoupServerMessage *message, const char *rest)
{
  const char *method = soup_server_message_get_method(message);
  g_auto(GStrv) part = g_strsplit(rest, "/", 2);
  const char *id = part[0], *what = part[1] != NULL ? part[1] : "";
  if (*id == '\0' || strspn(id, "0123456789") != strlen(id))
    coordinator_answer(message, SOUP_STATUS_NOT_FOUND, NULL);
  else if (strcmp(method, "PUT") == 0 && *what == '\0')
    update_job(self, message, id);
  else if (strcmp(method, "PATCH") == 0 && strcmp(what, "trace") == 0)
    append_trace(self, message, id);
  else if (strcmp(what, "artifacts") == 0 &&
           check_job(self, message, id, get_header(message, "JOB-TOKEN")))
    coordinator_artifacts(self, message, id);
  else if (strcmp(what, "artifacts") != 0)
    coordinator_answer(message, SOUP_STATUS_NOT_FOUND, NULL);
}

static void
handle_api(SoupServer *server, SoupServerMessage *message, const char *path, GHashTable *query,
           gpointer data)
{
  Coordinator *self = data;
  const char *rest = path + strlen(COORDINATOR_API);
  const char *method = soup_server_message_get_method(message);
  if (strcmp(method, "POST") == 0 && strcmp(rest, "jobs/request") == 0)
    request_job(self, message);
  else if (strcmp(method, "POST") == 0 && strcmp(rest, "runners/verify") == 0)
    verify_runner(self, message);
  else if (strcmp(rest, "runners/router/discovery") == 0)
    coordinator_answer(message, SOUP_STATUS_NOT_IMPLEMENTED, NULL);
  else if (g_str_has_prefix(rest, "jobs/"))
    job_request(self, message, rest + strlen("jobs/"));
  else
    coordinator_answer(message, SOUP_STATUS_NOT_FOUND, NULL);
}

/* --- the server --- */

static void
log_request(SoupServer *server, SoupServerMessage *message, gpointer self)
{
  guint status = soup_server_message_get_status(message);
  const char *path = g_uri_get_path(soup_server_message_get_uri(message));
  if (status != SOUP_STATUS_NO_CONTENT)
    coordinator_note(self, "log", "%s %s %u", soup_server_message_get_method(message), path,
                     status);
}

static void
publish_url(Coordinator *self, SoupServer *server)
{
  GSList *uris = soup_server_get_uris(server);
  g_autofree char *url = g_uri_to_string(uris->data);
  g_slist_free_full(uris, (GDestroyNotify)g_uri_unref);
  if (g_str_has_suffix(url, "/"))
    url[strlen(url) - 1] = '\0';
  g_autofree char *path = g_build_filename(self->folder, "url", NULL);
  g_file_set_contents(path, url, -1, NULL);
}

static gboolean
stop(gpointer loop)
{
  g_main_loop_quit(loop);
  return G_SOURCE_REMOVE;
}

static void
make_folders(Coordinator *self)
{
  static const char *const names[] = {"queue", "jobs", "cache", "repos"};
  for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
    g_autofree char *path = g_build_filename(self->folder, names[i], NULL);
    if (g_mkdir_with_parents(path, 0700) != 0)
      g_error("%s: %s", path, g_strerror(errno));
  }
}

int
main(int argc, char **argv)
{
  g_autofree char *address = g_strdup("127.0.0.1");
  int port = 0, refuse = 0, accept = 0;
  static Coordinator self = {.token = (char *)"stand-in-token", .interval = (char *)"1"};
  const GOptionEntry entries[] = {
      {"dir", 0, 0, G_OPTION_ARG_FILENAME, &self.folder, "where everything is", "DIR"},
      {"address", 0, 0, G_OPTION_ARG_STRING, &address, "listen there", "IPV4"},
      {"port", 0, 0, G_OPTION_ARG_INT, &port, "0: any", "N"},
      {"token", 0, 0, G_OPTION_ARG_STRING, &self.token, "of the runner", "TEXT"},
      {"interval", 0, 0, G_OPTION_ARG_STRING, &self.interval, "between parts of a trace", "S"},
      {"refuse", 0, 0, G_OPTION_ARG_INT, &refuse, "answer so many PATCHes with 500", "N"},
      {"accept", 0, 0, G_OPTION_ARG_INT, &accept, "answer so many last PUTs with 202", "N"},
      {0}};
  g_autoptr(GOptionContext) options = g_option_context_new("- a stand-in for GitLab");
  g_autoptr(GError) error = NULL;
  g_option_context_add_main_entries(options, entries, NULL);
  if (!g_option_context_parse(options, &argc, &argv, &error) || self.folder == NULL) {
    fprintf(stderr, "coordinator: %s\n", error != NULL ? error->message : "--dir is missing");
    return 2;
  }
  self.refuse = (guint)refuse;
  self.accept = (guint)accept;
  make_folders(&self);
  g_autoptr(SoupServer) server = soup_server_new("server-header", "stand-in", NULL);
  soup_server_add_handler(server, COORDINATOR_API, handle_api, &self, NULL);
  soup_server_add_handler(server, "/cache/", coordinator_cache, &self, NULL);
  soup_server_add_handler(server, "/git/", coordinator_git, &self, NULL);
  g_signal_connect(server, "request-finished", G_CALLBACK(log_request), &self);
  g_autoptr(GSocketAddress) listen = g_inet_socket_address_new_from_string(address, (guint)port);
  if (listen == NULL || !soup_server_listen(server, listen, 0, &error)) {
    fprintf(stderr, "coordinator: %s:%d: %s\n", address, port,
            error != NULL ? error->message : "not an address");
    return 1;
  }
  publish_url(&self, server);
  g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
  g_unix_signal_add(SIGTERM, stop, loop);
  g_unix_signal_add(SIGINT, stop, loop);
  g_main_loop_run(loop);
  return 0;
}
