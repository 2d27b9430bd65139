/* SPDX-License-Identifier: Apache-2.0 */
/* Client: libsoup over the unix socket, and every way in which mayflyd can be out of reach put into
 * words. */
#include "tools/client.h"

#include <gio/gunixsocketaddress.h>
#include <libsoup/soup.h>
#include <pwd.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/error.h"
#include "daemon/json.h"
#include "daemon/paths.h"

#define ANSWER_LIMIT (256u << 20)

struct _MfClient {
  GObject parent_instance;
  char *socket;
  SoupSession *session;
};

G_DEFINE_FINAL_TYPE(MfClient, mf_client, G_TYPE_OBJECT)

static void
finalize(GObject *object)
{
  MfClient *self = MF_CLIENT(object);
  g_free(self->socket);
  g_object_unref(self->session);
  G_OBJECT_CLASS(mf_client_parent_class)->finalize(object);
}

static void
mf_client_class_init(MfClientClass *class)
{
  G_OBJECT_CLASS(class)->finalize = finalize;
}

static void
mf_client_init(MfClient *self)
{
}

MfClient *
mf_client_new(const char *socket)
{
  MfClient *self = g_object_new(mf_client_get_type(), NULL);
  self->socket = socket != NULL ? g_strdup(socket) : mf_path_socket();
  g_autoptr(GSocketAddress) address = g_unix_socket_address_new(self->socket);
  /* The output, the events and standard input of a job are one connection each. Nothing is said on
   * them while the job says nothing, which may be for hours; a mayflyd that hangs is ended by its
   * watchdog, and the connection with it. */
  self->session = soup_session_new_with_options("remote-connectable", address, "max-conns", 16,
                                                "max-conns-per-host", 16, "timeout", 0,
                                                "user-agent", "mayfly/" MF_VERSION, NULL);
  return self;
}

/* The group that may use the socket; the usual one where it cannot be seen. */
static char *
socket_group(const char *socket)
{
  struct stat info;
  const struct group *group =
      stat(socket, &info) == 0 && info.st_gid != 0 ? getgrgid(info.st_gid) : NULL;
  return g_strdup(group != NULL ? group->gr_name : "mayfly");
}

static gboolean
user_is_listed(const char *user, const char *group_name)
{
  const struct group *group = getgrnam(group_name);
  return group != NULL && g_strv_contains((const char *const *)group->gr_mem, user);
}

static void
set_forbidden(const char *socket, GError **error)
{
  g_autofree char *group = socket_group(socket);
  const char *user = g_get_user_name();
  if (user_is_listed(user, group))
    g_set_error(
        error, MF_ERROR, MF_ERROR_FORBIDDEN,
        "you are in group %s since you logged in: log in again (or run newgrp %s) to use mayfly",
        group, group);
  else
    g_set_error(error, MF_ERROR, MF_ERROR_FORBIDDEN,
                "you may not use the socket %s: join its group with sudo usermod -aG %s %s and log "
                "in again",
                socket, group, user);
}

gboolean
mf_client_check(MfClient *self, GError **error)
{
  g_autoptr(GError) local = NULL;
  g_autoptr(GSocketAddress) address = g_unix_socket_address_new(self->socket);
  g_autoptr(GSocketClient) client = g_socket_client_new();
  g_autoptr(GSocketConnection) connection =
      g_socket_client_connect(client, G_SOCKET_CONNECTABLE(address), NULL, &local);
  if (connection != NULL)
    return TRUE;
  if (g_error_matches(local, G_IO_ERROR, G_IO_ERROR_NOT_FOUND))
    g_set_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE,
                "mayflyd is not running (no socket at %s): start it with systemctl start mayflyd",
                self->socket);
  else if (g_error_matches(local, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED))
    g_set_error(
        error, MF_ERROR, MF_ERROR_UNAVAILABLE,
        "mayflyd is not running (nobody answers at %s): start it with systemctl start mayflyd",
        self->socket);
  else if (g_error_matches(local, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED))
    set_forbidden(self->socket, error);
  else
    g_set_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE, "mayflyd cannot be reached at %s: %s",
                self->socket, local->message);
  return FALSE;
}

gboolean
mf_client_error_is_passing(const GError *error)
{
  if (error->domain == MF_ERROR)
    return error->code == MF_ERROR_UNAVAILABLE;
  return !g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

GError *
mf_client_error_from_problem(guint status, const char *body, gsize length)
{
  g_autoptr(MfJson) problem = mf_json_parse(body, length, "the answer", NULL);
  g_autofree char *type = NULL;
  g_autofree char *detail = NULL;
  if (problem == NULL || !mf_json_read_string(problem, "", "type", &type, NULL) ||
      !mf_json_read_string(problem, "", "detail", &detail, NULL) || type == NULL || detail == NULL)
    return g_error_new(
        MF_ERROR, MF_ERROR_FAILED,
        "mayflyd answered with HTTP status %u and no reason: see journalctl -u mayflyd", status);
  const char *slash = strrchr(type, '/');
  MfErrorCode code = mf_error_code_from_string(slash != NULL ? slash + 1 : type);
  return g_error_new_literal(MF_ERROR, (gint)code, detail);
}

/* A transport error says little; asking the socket again says why. */
static GError *
explain(MfClient *self, const GError *error)
{
  GError *better = NULL;
  if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return g_error_copy(error);
  if (!mf_client_check(self, &better))
    return better;
  return g_error_new(MF_ERROR, MF_ERROR_UNAVAILABLE, "the connection to mayflyd was lost: %s",
                     error->message);
}

static SoupMessage *
new_message(const char *method, const char *path, MfJson *json, GBytes *bytes)
{
  g_autofree char *uri = g_strconcat("http://mayfly", path, NULL);
  SoupMessage *message = soup_message_new(method, uri);
  if (json != NULL) {
    const char *text = json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN);
    g_autoptr(GBytes) body = g_bytes_new(text, strlen(text));
    soup_message_set_request_body_from_bytes(message, "application/json", body);
  } else if (bytes != NULL) {
    soup_message_set_request_body_from_bytes(message, "application/octet-stream", bytes);
  }
  return message;
}

static MfJson *
parse_answer(SoupMessage *message, GBytes *body, GError **error)
{
  gsize length;
  const char *data = g_bytes_get_data(body, &length);
  guint status = soup_message_get_status(message);
  if (status >= 400) {
    g_propagate_error(error, mf_client_error_from_problem(status, data, length));
    return NULL;
  }
  if (length == 0)
    return json_object_new_object();
  if (length > ANSWER_LIMIT) {
    g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "the answer of mayflyd is larger than 256 MiB");
    return NULL;
  }
  return mf_json_parse(data, length, "the answer of mayflyd", error);
}

MfJson *
mf_client_call(MfClient *self, const char *method, const char *path, MfJson *body, GError **error)
{
  g_autoptr(GError) local = NULL;
  g_autoptr(SoupMessage) message = new_message(method, path, body, NULL);
  g_autoptr(GBytes) answer = soup_session_send_and_read(self->session, message, NULL, &local);
  if (answer == NULL) {
    g_propagate_error(error, explain(self, local));
    return NULL;
  }
  return parse_answer(message, answer, error);
}

static void
json_put(gpointer json)
{
  json_object_put(json);
}

static void
on_answer(GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr(GTask) task = user_data;
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) answer =
      soup_session_send_and_read_finish(SOUP_SESSION(source), result, &error);
  if (answer == NULL) {
    g_task_return_error(task, explain(g_task_get_source_object(task), error));
    return;
  }
  MfJson *json = parse_answer(g_task_get_task_data(task), answer, &error);
  if (json == NULL)
    g_task_return_error(task, g_steal_pointer(&error));
  else
    g_task_return_pointer(task, json, json_put);
}

void
mf_client_call_async(MfClient *self, const char *method, const char *path, MfJson *json,
                     GBytes *bytes, GCancellable *cancellable, GAsyncReadyCallback callback,
                     gpointer user_data)
{
  GTask *task = g_task_new(self, cancellable, callback, user_data);
  SoupMessage *message = new_message(method, path, json, bytes);
  g_task_set_task_data(task, message, g_object_unref);
  soup_session_send_and_read_async(self->session, message, G_PRIORITY_DEFAULT, cancellable,
                                   on_answer, task);
}

MfJson *
mf_client_call_finish(MfClient *self, GAsyncResult *result, GError **error)
{
  return g_task_propagate_pointer(G_TASK(result), error);
}

static void
on_problem_read(GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr(GTask) task = user_data;
  g_autoptr(GError) error = NULL;
  if (g_output_stream_splice_finish(G_OUTPUT_STREAM(source), result, &error) < 0) {
    g_task_return_error(task, g_steal_pointer(&error));
    return;
  }
  g_autoptr(GBytes) body = g_memory_output_stream_steal_as_bytes(G_MEMORY_OUTPUT_STREAM(source));
  guint status = soup_message_get_status(g_task_get_task_data(task));
  g_task_return_error(task, mf_client_error_from_problem(status, g_bytes_get_data(body, NULL),
                                                         g_bytes_get_size(body)));
}

static void
on_stream(GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr(GTask) task = user_data;
  g_autoptr(GError) error = NULL;
  g_autoptr(GInputStream) stream = soup_session_send_finish(SOUP_SESSION(source), result, &error);
  if (stream == NULL) {
    g_task_return_error(task, explain(g_task_get_source_object(task), error));
    return;
  }
  if (soup_message_get_status(g_task_get_task_data(task)) < 400) {
    g_task_return_pointer(task, g_steal_pointer(&stream), g_object_unref);
    return;
  }
  g_autoptr(GOutputStream) memory = g_memory_output_stream_new_resizable();
  GCancellable *cancellable = g_task_get_cancellable(task);
  g_output_stream_splice_async(
      memory, stream, G_OUTPUT_STREAM_SPLICE_CLOSE_SOURCE | G_OUTPUT_STREAM_SPLICE_CLOSE_TARGET,
      G_PRIORITY_DEFAULT, cancellable, on_problem_read, g_steal_pointer(&task));
}

void
mf_client_stream_async(MfClient *self, const char *path, GCancellable *cancellable,
                       GAsyncReadyCallback callback, gpointer user_data)
{
  GTask *task = g_task_new(self, cancellable, callback, user_data);
  SoupMessage *message = new_message("GET", path, NULL, NULL);
  g_task_set_task_data(task, message, g_object_unref);
  soup_session_send_async(self->session, message, G_PRIORITY_DEFAULT, cancellable, on_stream, task);
}

GInputStream *
mf_client_stream_finish(MfClient *self, GAsyncResult *result, GError **error)
{
  return g_task_propagate_pointer(G_TASK(result), error);
}

char *
mf_client_path(const char *element, ...)
{
  g_autoptr(GString) path = g_string_new("/v1");
  va_list args;
  va_start(args, element);
  for (; element != NULL; element = va_arg(args, const char *)) {
    g_autofree char *escaped = g_uri_escape_string(element, "@", FALSE);
    g_autoptr(GString) safe = g_string_new(escaped);
    /* Dots alone would be taken for a step upwards, nothing for the folder itself. */
    if (strspn(element, ".") == strlen(element))
      g_string_replace(safe, ".", "%2E", 0);
    g_string_append_printf(path, "/%s", element[0] != '\0' ? safe->str : "%20");
  }
  va_end(args);
  return g_strdup(path->str);
}
