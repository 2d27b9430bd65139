/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Coordinator: what jobs fetch and leave. Artifacts and the cache are plain files; git is served by
 * git's own CGI program, as a web server in front of GitLab would.
 */
#include <errno.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>

#include "tests/gitlab/coordinator.h"

static gboolean
path_is_safe(const char *path)
{
  return strstr(path, "/../") == NULL && !g_str_has_suffix(path, "/..") &&
         strstr(path, "//") == NULL;
}

static void
answer_file(SoupServerMessage *message, const char *path, const char *type)
{
  char *data = NULL;
  gsize length = 0;
  if (!g_file_get_contents(path, &data, &length, NULL)) {
    coordinator_answer(message, SOUP_STATUS_NOT_FOUND, NULL);
    return;
  }
  soup_server_message_set_status(message, SOUP_STATUS_OK, NULL);
  soup_server_message_set_response(message, type, SOUP_MEMORY_TAKE, data, length);
}

static void
store(SoupServerMessage *message, const char *path, GBytes *bytes, guint status)
{
  g_autofree char *folder = g_path_get_dirname(path);
  g_autoptr(GError) error = NULL;
  gsize length = 0;
  const char *data = g_bytes_get_data(bytes, &length);
  if (g_mkdir_with_parents(folder, 0700) != 0 ||
      !g_file_set_contents(path, data != NULL ? data : "", (gssize)length, &error))
    g_error("%s: %s", path, error != NULL ? error->message : g_strerror(errno));
  coordinator_answer(message, status, status == SOUP_STATUS_CREATED ? "{}" : NULL);
}

/* --- artifacts --- */

static void
upload(SoupServerMessage *message, const char *folder)
{
  g_autoptr(GBytes) body = soup_message_body_flatten(soup_server_message_get_request_body(message));
  SoupMultipart *multipart =
      soup_multipart_new_from_message(soup_server_message_get_request_headers(message), body);
  for (int i = 0; multipart != NULL && i < soup_multipart_get_length(multipart); i++) {
    SoupMessageHeaders *headers = NULL;
    GBytes *part = NULL;
    char *disposition = NULL;
    GHashTable *params = NULL;
    soup_multipart_get_part(multipart, i, &headers, &part);
    if (!soup_message_headers_get_content_disposition(headers, &disposition, &params))
      continue;
    const char *name = g_hash_table_lookup(params, "filename");
    gboolean is_file = g_strcmp0(g_hash_table_lookup(params, "name"), "file") == 0 && name != NULL;
    g_autofree char *base = is_file ? g_path_get_basename(name) : NULL;
    g_autofree char *path = is_file ? g_build_filename(folder, base, NULL) : NULL;
    if (is_file)
      store(message, path, part, SOUP_STATUS_CREATED);
    g_hash_table_unref(params);
    g_free(disposition);
  }
  if (multipart == NULL || soup_server_message_get_status(message) != SOUP_STATUS_CREATED)
    coordinator_answer(message, SOUP_STATUS_BAD_REQUEST, "{\"message\":\"file is missing\"}");
  g_clear_pointer(&multipart, soup_multipart_free);
}

void
coordinator_artifacts(Coordinator *self, SoupServerMessage *message, const char *job)
{
  const char *method = soup_server_message_get_method(message);
  g_autofree char *folder = g_build_filename(self->folder, "jobs", job, "artifacts", NULL);
  if (strcmp(method, "POST") == 0) {
    upload(message, folder);
    return;
  }
  g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
  const char *name = dir != NULL ? g_dir_read_name(dir) : NULL;
  g_autofree char *path = g_build_filename(folder, name != NULL ? name : "none", NULL);
  answer_file(message, path, "application/octet-stream");
}

/* --- the cache --- */

void
coordinator_cache(SoupServer *server, SoupServerMessage *message, const char *path,
                  GHashTable *query, gpointer data)
{
  Coordinator *self = data;
  const char *method = soup_server_message_get_method(message);
  g_autofree char *file = g_build_filename(self->folder, path, NULL);
  if (!path_is_safe(path) || g_str_has_suffix(path, "/")) {
    coordinator_answer(message, SOUP_STATUS_FORBIDDEN, NULL);
  } else if (strcmp(method, "PUT") == 0) {
    g_autoptr(GBytes) body =
        soup_message_body_flatten(soup_server_message_get_request_body(message));
    store(message, file, body, SOUP_STATUS_OK);
  } else {
    answer_file(message, file, "application/octet-stream");
  }
}

/* --- git --- */

static GSubprocess *
start_backend(Coordinator *self, SoupServerMessage *message, const char *path)
{
  SoupMessageHeaders *headers = soup_server_message_get_request_headers(message);
  GUri *uri = soup_server_message_get_uri(message);
  const char *type = soup_message_headers_get_content_type(headers, NULL);
  const char *protocol = soup_message_headers_get_one(headers, "Git-Protocol");
  const char *encoding = soup_message_headers_get_one(headers, "Content-Encoding");
  g_autofree char *root = g_build_filename(self->folder, "repos", NULL);
  g_autofree char *absolute = g_canonicalize_filename(root, NULL);
  g_autoptr(GError) error = NULL;
  g_autoptr(GSubprocessLauncher) launcher =
      g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDIN_PIPE | G_SUBPROCESS_FLAGS_STDOUT_PIPE);
  g_subprocess_launcher_setenv(launcher, "GIT_PROJECT_ROOT", absolute, TRUE);
  g_subprocess_launcher_setenv(launcher, "GIT_HTTP_EXPORT_ALL", "1", TRUE);
  /* The repositories are a test's, the server may be another user's. */
  g_subprocess_launcher_setenv(launcher, "GIT_CONFIG_COUNT", "1", TRUE);
  g_subprocess_launcher_setenv(launcher, "GIT_CONFIG_KEY_0", "safe.directory", TRUE);
  g_subprocess_launcher_setenv(launcher, "GIT_CONFIG_VALUE_0", "*", TRUE);
  g_subprocess_launcher_setenv(launcher, "REQUEST_METHOD", soup_server_message_get_method(message),
                               TRUE);
  g_subprocess_launcher_setenv(launcher, "PATH_INFO", path + strlen("/git"), TRUE);
  g_subprocess_launcher_setenv(launcher, "QUERY_STRING",
                               g_uri_get_query(uri) != NULL ? g_uri_get_query(uri) : "", TRUE);
  if (type != NULL)
    g_subprocess_launcher_setenv(launcher, "CONTENT_TYPE", type, TRUE);
  if (protocol != NULL)
    g_subprocess_launcher_setenv(launcher, "GIT_PROTOCOL", protocol, TRUE);
  if (encoding != NULL)
    g_subprocess_launcher_setenv(launcher, "HTTP_CONTENT_ENCODING", encoding, TRUE);
  GSubprocess *backend = g_subprocess_launcher_spawn(launcher, &error, "git", "http-backend", NULL);
  if (backend == NULL)
    g_error("git http-backend: %s", error->message);
  return backend;
}

/* What a CGI program prints: headers, an empty line, the body. */
static void
answer_cgi(SoupServerMessage *message, GBytes *output)
{
  gsize length = 0;
  const char *data = g_bytes_get_data(output, &length);
  const char *body = data != NULL ? g_strstr_len(data, (gssize)length, "\r\n\r\n") : NULL;
  if (body == NULL) {
    coordinator_answer(message, SOUP_STATUS_INTERNAL_SERVER_ERROR, NULL);
    return;
  }
  g_autofree char *head = g_strndup(data, (gsize)(body - data));
  g_auto(GStrv) lines = g_strsplit(head, "\r\n", -1);
  guint status = SOUP_STATUS_OK;
  body += 4;
  gsize rest = length - (gsize)(body - data);
  soup_server_message_set_response(message, "application/octet-stream", SOUP_MEMORY_COPY, body,
                                   rest);
  for (guint i = 0; lines[i] != NULL; i++) {
    g_auto(GStrv) pair = g_strsplit(lines[i], ": ", 2);
    if (pair[0] == NULL || pair[1] == NULL)
      continue;
    if (g_ascii_strcasecmp(pair[0], "Status") == 0)
      status = (guint)g_ascii_strtoull(pair[1], NULL, 10);
    else
      soup_message_headers_replace(soup_server_message_get_response_headers(message), pair[0],
                                   pair[1]);
  }
  soup_server_message_set_status(message, status, NULL);
}

void
coordinator_git(SoupServer *server, SoupServerMessage *message, const char *path, GHashTable *query,
                gpointer data)
{
  if (!path_is_safe(path)) {
    coordinator_answer(message, SOUP_STATUS_FORBIDDEN, NULL);
    return;
  }
  g_autoptr(GBytes) body = soup_message_body_flatten(soup_server_message_get_request_body(message));
  g_autoptr(GSubprocess) backend = start_backend(data, message, path);
  g_autoptr(GBytes) output = NULL;
  g_autoptr(GError) error = NULL;
  if (!g_subprocess_communicate(backend, body, NULL, &output, NULL, &error))
    g_error("git http-backend: %s", error->message);
  answer_cgi(message, output);
}
