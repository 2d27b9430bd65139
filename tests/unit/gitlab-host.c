/* SPDX-License-Identifier: Apache-2.0 */
/* A played mayflyd: see the header. */
#include "tests/lib/serve.h"
#include "tests/unit/gitlab-host.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/json.h"

#define TICK_MS 5

/* Documents */

static MfJson *
job_document(const HostJob *job)
{
  MfJson *json = json_object_new_object();
  MfJson *execs = json_object_new_array();
  MfJson *tail = json_object_new_array();
  guint64 keep = 0;
  (void)!(job->spec == NULL ||
          mf_json_read_uint(job->spec, "", "keep_on_failure", 0, G_MAXUINT, &keep, NULL));
  mf_json_add_string(json, "id", job->id);
  mf_json_add_string(json, "name", job->name);
  mf_json_add_uint(json, "owner", geteuid());
  mf_json_add_string(json, "state", job->state);
  mf_json_add_string(json, "result", job->result);
  mf_json_add_string(json, "reason", job->reason);
  mf_json_add_string(json, "image", "tiny@0123456789ab");
  mf_json_add_uint(json, "keep_on_failure", keep);
  if (job->position > 0)
    mf_json_add_uint(json, "position", job->position);
  if (job->kept)
    mf_json_add_uint(json, "kept_until", 1);
  if (g_strcmp0(job->result, "system-failure") == 0)
    json_object_array_add(tail, json_object_new_string("Kernel \033[31mpanic"));
  mf_json_add(json, "console_tail", tail);
  for (guint i = 0; i < job->execs->len; i++)
    json_object_array_add(execs, host_exec_document(job->execs->pdata[i]));
  mf_json_add(json, "execs", execs);
  return json;
}

/* Answers */

static void
answer(SoupServerMessage *message, guint status, MfJson *json)
{
  const char *text = json_object_to_json_string(json);
  soup_server_message_set_status(message, status, NULL);
  soup_server_message_set_response(message, "application/json", SOUP_MEMORY_COPY, text,
                                   strlen(text));
  json_object_put(json);
}

static void
answer_problem(SoupServerMessage *message, guint status, const char *code, const char *detail)
{
  MfJson *json = json_object_new_object();
  g_autofree char *type = g_strconcat("https://mayfly.dev/problems/", code, NULL);
  mf_json_add_string(json, "type", type);
  mf_json_add_string(json, "detail", detail);
  answer(message, status, json);
}

static void
tell(SoupServerMessage *message, HostJob *job)
{
  g_autoptr(MfJson) json = job_document(job);
  g_autofree char *line = g_strconcat(json_object_to_json_string(json), "\n", NULL);
  SoupMessageBody *body = soup_server_message_get_response_body(message);
  soup_message_body_append(body, SOUP_MEMORY_COPY, line, strlen(line));
  if (strcmp(job->state, "finished") == 0)
    soup_message_body_complete(body);
  soup_server_message_unpause(message);
}

static void
tell_all(Host *self, HostJob *job)
{
  for (guint i = 0; i < self->watchers->len; i++)
    if (g_object_get_data(self->watchers->pdata[i], "job") == job)
      tell(self->watchers->pdata[i], job);
}

static void
feed(SoupServerMessage *message, HostExec *exec)
{
  SoupMessageBody *body = soup_server_message_get_response_body(message);
  guint64 sent = GPOINTER_TO_UINT(g_object_get_data(G_OBJECT(message), "sent"));
  if (exec->output->len > sent)
    soup_message_body_append(body, SOUP_MEMORY_COPY, exec->output->data + sent,
                             exec->output->len - sent);
  g_object_set_data(G_OBJECT(message), "sent", GUINT_TO_POINTER(exec->output->len));
  if (host_exec_is_over(exec))
    soup_message_body_complete(body);
  soup_server_message_unpause(message);
}

static void
feed_all(Host *self, HostExec *exec)
{
  for (guint i = 0; i < self->followers->len; i++)
    if (g_object_get_data(self->followers->pdata[i], "exec") == exec)
      feed(self->followers->pdata[i], exec);
}

void
host_job_change(Host *self, HostJob *job, const char *state, const char *result)
{
  job->state = state;
  job->result = result;
  for (guint i = 0; result != NULL && !job->kept && i < job->execs->len; i++) {
    HostExec *exec = job->execs->pdata[i];
    if (exec->exited)
      continue;
    exec->error = "the machine ended before it did";
    feed_all(self, exec);
  }
  tell_all(self, job);
}

static void
on_gone(SoupServerMessage *message, gpointer list)
{
  g_ptr_array_remove(list, message);
}

static void
stream(SoupServerMessage *message, GPtrArray *list)
{
  soup_server_message_set_status(message, 200, NULL);
  soup_message_headers_set_encoding(soup_server_message_get_response_headers(message),
                                    SOUP_ENCODING_CHUNKED);
  soup_message_body_set_accumulate(soup_server_message_get_response_body(message), FALSE);
  g_ptr_array_add(list, g_object_ref(message));
  g_signal_connect(message, "finished", G_CALLBACK(on_gone), list);
  soup_server_message_pause(message);
}

/* Execs */

static void
on_exec_changed(HostExec *exec)
{
  Host *self = exec->host;
  feed_all(self, exec);
  if (exec->exited && exec->read_out)
    tell_all(self, self->jobs->pdata[exec->job]);
}

static char *
text_of(MfJson *json, const char *key)
{
  char *text = NULL;
  g_assert_true(mf_json_read_string(json, "", key, &text, NULL));
  return text;
}

static HostExec *
add_exec(Host *self, guint index, MfJson *json)
{
  HostJob *job = self->jobs->pdata[index];
  g_autofree char *key = text_of(json, "key");
  for (guint i = 0; i < job->execs->len; i++)
    if (g_strcmp0(((HostExec *)job->execs->pdata[i])->key, key) == 0)
      return job->execs->pdata[i];
  HostExec *exec = g_new0(HostExec, 1);
  exec->host = self;
  exec->job = index;
  exec->number = job->execs->len + 1;
  exec->key = g_steal_pointer(&key);
  exec->output = g_byte_array_new();
  g_ptr_array_add(job->execs, exec);
  exec->changed = on_exec_changed;
  host_exec_run(exec, json, self->folder, !self->own_runner);
  return exec;
}

/* Requests */

static MfJson *
body_of(SoupServerMessage *message)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) bytes =
      soup_message_body_flatten(soup_server_message_get_request_body(message));
  MfJson *json =
      mf_json_parse(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), "the body", &error);
  g_assert_no_error(error);
  return json;
}

static void
post_job(Host *self, SoupServerMessage *message)
{
  MfJson *spec = body_of(message);
  if (self->busy > 0) {
    self->busy--;
    answer_problem(message, 429, "busy", "this host is being drained");
    json_object_put(spec);
    return;
  }
  if (self->refuse != NULL) {
    answer_problem(message, 422, self->refuse, "9 cpus asked for, but 8 are allowed");
    json_object_put(spec);
    return;
  }
  g_autofree char *key = text_of(spec, "key");
  for (guint i = 0; i < self->jobs->len; i++) {
    HostJob *job = self->jobs->pdata[i];
    if (g_strcmp0(job->key, key) == 0) {
      answer(message, 200, job_document(job));
      json_object_put(spec);
      return;
    }
  }
  g_autofree char *name = text_of(spec, "name");
  HostJob *job = host_add_job(self, name, "queued");
  job->key = g_steal_pointer(&key);
  job->spec = spec;
  job->position = 2;
  answer(message, 201, job_document(job));
}

static void
list_jobs(Host *self, SoupServerMessage *message, GHashTable *query)
{
  MfJson *json = json_object_new_object();
  MfJson *list = json_object_new_array();
  gboolean all = strcmp(g_hash_table_lookup(query, "state"), "all") == 0;
  for (guint i = 0; i < self->jobs->len; i++) {
    HostJob *job = self->jobs->pdata[i];
    if ((all || strcmp(job->state, "finished") != 0) &&
        g_strcmp0(g_hash_table_lookup(query, "name"), job->name) == 0)
      json_object_array_add(list, job_document(job));
  }
  mf_json_add(json, "jobs", list);
  answer(message, 200, json);
}

static void
on_exec_path(Host *self, SoupServerMessage *message, HostExec *exec, const char *what,
             GHashTable *query)
{
  if (g_strcmp0(what, "signal") == 0) {
    g_autoptr(MfJson) json = body_of(message);
    g_autofree char *name = text_of(json, "signal");
    host_exec_signal(exec, name);
    answer(message, 200, json_object_new_object());
    return;
  }
  if (what == NULL) {
    answer(message, 200, host_exec_document(exec));
    return;
  }
  g_assert_cmpstr(what, ==, "output");
  guint offset = (guint)g_ascii_strtoull(g_hash_table_lookup(query, "offset"), NULL, 10);
  stream(message, self->followers);
  g_object_set_data(G_OBJECT(message), "exec", exec);
  g_object_set_data(G_OBJECT(message), "sent", GUINT_TO_POINTER(offset));
  feed(message, exec);
  if (strcmp(g_hash_table_lookup(query, "follow"), "0") == 0)
    soup_message_body_complete(soup_server_message_get_response_body(message));
}

static void
end_job(Host *self, HostJob *job, SoupServerMessage *message)
{
  g_autoptr(MfJson) json = body_of(message);
  g_autofree char *result = text_of(json, "result");
  guint64 keep = 0;
  job->end = g_strdup(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN));
  (void)!(job->spec == NULL ||
          mf_json_read_uint(job->spec, "", "keep_on_failure", 0, G_MAXUINT, &keep, NULL));
  job->kept = keep > 0 && strcmp(result, "succeeded") != 0;
  host_job_change(self, job, job->kept ? "ready" : "finished", g_intern_string(result));
  answer(message, 202, job_document(job));
}

static void
on_job_path(Host *self, SoupServerMessage *message, guint index, char **parts, GHashTable *query)
{
  HostJob *job = self->jobs->pdata[index];
  const char *method = soup_server_message_get_method(message);
  if (parts[0] == NULL && strcmp(method, "DELETE") == 0) {
    job->cancelled = g_strdup(g_hash_table_lookup(query, "reason"));
    host_job_change(self, job, "finished", "cancelled");
    answer(message, 202, job_document(job));
  } else if (parts[0] == NULL) {
    answer(message, 200, job_document(job));
  } else if (strcmp(parts[0], "events") == 0) {
    stream(message, self->watchers);
    g_object_set_data(G_OBJECT(message), "job", job);
    tell(message, job);
  } else if (strcmp(parts[0], "end") == 0) {
    end_job(self, job, message);
  } else if (parts[1] == NULL) {
    g_autoptr(MfJson) json = body_of(message);
    answer(message, 201, host_exec_document(add_exec(self, index, json)));
  } else {
    on_exec_path(self, message, job->execs->pdata[atoi(parts[1]) - 1], parts[2], query);
  }
}

static MfJson *
info(const Host *self)
{
  MfJson *json = json_object_new_object();
  MfJson *limits = json_object_new_object();
  mf_json_add_uint(limits, "machines", 8);
  mf_json_add(json, "limits", limits);
  gboolean there = self->runner != NULL || self->runner_problem != NULL;
  MfJson *runner = there ? json_object_new_object() : NULL;
  if (there) {
    mf_json_add_string(runner, "path", "/usr/bin/gitlab-runner");
    mf_json_add_string(runner, "version", self->runner);
    mf_json_add_string(runner, "problem", self->runner_problem);
  }
  mf_json_add(json, "gitlab_runner", runner);
  return json;
}

static MfJson *
template_document(const Host *self, const char *name)
{
  MfJson *json = json_object_new_object();
  mf_json_add_string(json, "name", name);
  mf_json_add_string(json, "image", "tiny");
  mf_json_add_bool(json, "image_available", !self->no_image);
  mf_json_add_uint(json, "max_timeout", self->longest);
  return json;
}

static MfJson *
templates(const Host *self)
{
  static const char *const names[] = {"default", "tiny"};
  MfJson *json = json_object_new_object();
  MfJson *list = json_object_new_array();
  for (guint i = 0; i < G_N_ELEMENTS(names); i++)
    json_object_array_add(list, template_document(self, names[i]));
  mf_json_add(json, "templates", list);
  return json;
}

static void
lose_answer(Host *self, SoupServerMessage *message, const char *path)
{
  g_autofree char *request = g_strconcat(soup_server_message_get_method(message), " ", path, NULL);
  if (self->drop == NULL || !g_pattern_match_simple(self->drop, request))
    return;
  self->drop = NULL;
  g_socket_shutdown(soup_server_message_get_socket(message), TRUE, TRUE, NULL);
}

static void
on_request(SoupServer *server, SoupServerMessage *message, const char *path, GHashTable *query,
           gpointer data)
{
  Host *self = data;
  gboolean post = strcmp(soup_server_message_get_method(message), "POST") == 0;
  g_auto(GStrv) parts = g_strsplit(path, "/", -1);
  guint index = 0;
  if (strcmp(path, "/v1/info") == 0)
    answer(message, 200, info(self));
  else if (strcmp(path, "/v1/templates") == 0)
    answer(message, 200, templates(self));
  else if (strcmp(path, "/v1/templates/default") == 0)
    answer(message, 200, template_document(self, "default"));
  else if (strcmp(path, "/v1/images/tiny") == 0 && !self->no_image)
    answer(message, 200, json_object_new_object());
  else if (strcmp(path, "/v1/jobs") == 0 && post)
    post_job(self, message);
  else if (strcmp(path, "/v1/jobs") == 0)
    list_jobs(self, message, query);
  else if (g_str_has_prefix(path, "/v1/jobs/j") &&
           (index = (guint)atoi(parts[3] + 1)) < self->jobs->len)
    on_job_path(self, message, index, parts + 4, query);
  else
    answer_problem(message, 404, "not-found", "there is no such thing");
  lose_answer(self, message, path);
}

/* The host */

static gboolean
is_watched(Host *self, HostJob *job)
{
  for (guint i = 0; i < self->watchers->len; i++)
    if (g_object_get_data(self->watchers->pdata[i], "job") == job)
      return TRUE;
  return FALSE;
}

/* A start, one step a turn, while somebody looks: on a busy host a driver comes late. */
static gboolean
on_tick(gpointer data)
{
  Host *self = data;
  for (guint i = 0; i < self->jobs->len; i++) {
    HostJob *job = self->jobs->pdata[i];
    if (self->never_ready || job->spec == NULL || !is_watched(self, job))
      continue;
    if (job->position > 0) {
      job->position--;
      host_job_change(self, job, job->position > 0 ? "queued" : "starting", NULL);
    } else if (strcmp(job->state, "starting") == 0) {
      job->reason = self->fail_boot ? "the machine did not boot" : NULL;
      host_job_change(self, job, self->fail_boot ? "finished" : "ready",
                      self->fail_boot ? "system-failure" : NULL);
    }
  }
  return G_SOURCE_CONTINUE;
}

static void
listen(Host *self)
{
  self->server = serve_at(self->socket, on_request, self);
}

static void
unlisten(Host *self)
{
  g_ptr_array_set_size(self->watchers, 0);
  g_ptr_array_set_size(self->followers, 0);
  soup_server_disconnect(self->server);
  g_clear_object(&self->server);
  g_unlink(self->socket);
}

Host *
host_new(void)
{
  Host *self = g_new0(Host, 1);
  self->folder = g_dir_make_tmp("mayfly-gitlab-XXXXXX", NULL);
  self->socket = g_build_filename(self->folder, "sock", NULL);
  self->jobs = g_ptr_array_new();
  self->watchers = g_ptr_array_new_with_free_func(g_object_unref);
  self->followers = g_ptr_array_new_with_free_func(g_object_unref);
  self->tick = g_timeout_add(TICK_MS, on_tick, self);
  listen(self);
  return self;
}

void
host_restart(Host *self)
{
  unlisten(self);
  listen(self);
}

HostJob *
host_job(Host *self, guint index)
{
  g_assert_cmpuint(index, <, self->jobs->len);
  return self->jobs->pdata[index];
}

HostJob *
host_add_job(Host *self, const char *name, const char *state)
{
  HostJob *job = g_new0(HostJob, 1);
  job->id = g_strdup_printf("j%u", self->jobs->len);
  job->name = g_strdup(name);
  job->state = state;
  job->execs = g_ptr_array_new();
  g_ptr_array_add(self->jobs, job);
  return job;
}

void
host_free(Host *self)
{
  g_source_remove(self->tick);
  unlisten(self);
  for (guint i = 0; i < self->jobs->len; i++) {
    HostJob *job = self->jobs->pdata[i];
    for (guint k = 0; k < job->execs->len; k++)
      host_exec_free(job->execs->pdata[k]);
    g_ptr_array_unref(job->execs);
    g_clear_pointer(&job->spec, json_object_put);
    g_free(job->cancelled);
    g_free(job->end);
    g_free(job->id);
    g_free(job->key);
    g_free(job->name);
    g_free(job);
  }
  g_ptr_array_unref(self->jobs);
  g_ptr_array_unref(self->watchers);
  g_ptr_array_unref(self->followers);
  g_autoptr(GDir) dir = g_dir_open(self->folder, 0, NULL);
  for (const char *name; (name = g_dir_read_name(dir)) != NULL;) {
    g_autofree char *path = g_build_filename(self->folder, name, NULL);
    g_unlink(path);
  }
  g_assert_cmpint(g_rmdir(self->folder), ==, 0);
  g_free(self->socket);
  g_free(self->folder);
  g_free(self);
}
