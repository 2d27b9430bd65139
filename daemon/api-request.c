/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request, from its route to the end of its message. Three ways to end: answered (libsoup says
 * "finished"), the client hung up (nobody reads a paused message's socket, so it is watched here),
 * or the API ends.
 */
#include "daemon/api-private.h"

#include <string.h>

#include "daemon/error.h"
#include "daemon/json.h"

MfApiRequest *
mf_api_request_ref(MfApiRequest *self)
{
  g_atomic_ref_count_inc(&self->refs);
  return self;
}

void
mf_api_request_unref(MfApiRequest *self)
{
  if (self == NULL || !g_atomic_ref_count_dec(&self->refs))
    return;
  if (self->api != NULL)
    g_hash_table_remove(self->api->requests, self);
  g_free(self->args[0]);
  g_free(self->args[1]);
  g_hash_table_unref(self->query);
  g_object_unref(self->cancellable);
  g_free(self);
}

static void
end_work(MfApiRequest *self)
{
  gpointer work = g_steal_pointer(&self->work);
  if (self->hangup != NULL)
    g_source_destroy(self->hangup);
  g_clear_pointer(&self->hangup, g_source_unref);
  if (work != NULL)
    self->work_end(work);
}

/* The message is through: from here on there is nobody to answer. */
static void
leave(MfApiRequest *self)
{
  if (self->gone)
    return;
  self->gone = TRUE;
  end_work(self);
  g_cancellable_cancel(self->cancellable);
  g_signal_handlers_disconnect_by_data(self->message, self);
  g_clear_object(&self->message);
  self->connection = NULL;
  mf_api_request_unref(self);
}

static void
on_finished(SoupServerMessage *message, gpointer data)
{
  leave(data);
}

MfApiRequest *
mf_api_request_new(MfApiConnection *connection, SoupServerMessage *message)
{
  MfApiRequest *self = g_new0(MfApiRequest, 1);
  g_atomic_ref_count_init(&self->refs);
  self->api = connection->api;
  self->connection = connection;
  self->peer = connection->peer;
  self->message = g_object_ref(message);
  self->query = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  self->cancellable = g_cancellable_new();
  g_hash_table_add(self->api->requests, self);
  /* The message's reference, given back when it is finished. */
  g_signal_connect(message, "finished", G_CALLBACK(on_finished), mf_api_request_ref(self));
  return self;
}

void
mf_api_requests_end(MfApi *self)
{
  g_autoptr(GList) requests = g_hash_table_get_keys(self->requests);
  for (GList *item = requests; item != NULL; item = item->next)
    mf_api_request_ref(item->data);
  for (GList *item = requests; item != NULL; item = item->next) {
    MfApiRequest *request = item->data;
    leave(request);
    g_hash_table_remove(self->requests, request);
    request->api = NULL;
    mf_api_request_unref(request);
  }
}

static gboolean
on_hangup(GSocket *socket, GIOCondition condition, gpointer data)
{
  g_autoptr(MfApiRequest) self = mf_api_request_ref(data);
  gboolean streams = self->streams;
  end_work(self);
  g_cancellable_cancel(self->cancellable);
  /* libsoup finds out by writing: there must be something to write. */
  if (streams)
    soup_message_body_complete(soup_server_message_get_response_body(self->message));
  else if (!self->answered)
    mf_api_problem_set(self->message, MF_ERROR_CANCELLED, 499, "The client is gone.");
  self->answered = TRUE;
  soup_server_message_unpause(self->message);
  return G_SOURCE_REMOVE;
}

void
mf_api_request_hold(MfApiRequest *self, gpointer work, GDestroyNotify end)
{
  g_return_if_fail(!self->gone && self->work == NULL);
  GSocket *socket = g_socket_connection_get_socket(self->connection->stream);
  self->work = work;
  self->work_end = end;
  self->hangup = g_socket_create_source(socket, G_IO_HUP | G_IO_ERR, NULL);
  g_source_set_callback(self->hangup, G_SOURCE_FUNC(on_hangup), self, NULL);
  g_source_attach(self->hangup, g_main_context_get_thread_default());
  if (!self->streams)
    soup_server_message_pause(self->message);
  self->paused = !self->streams;
}

const char *
mf_api_query(MfApiRequest *self, const char *name)
{
  return g_hash_table_lookup(self->query, name);
}

gboolean
mf_api_query_uint(MfApiRequest *self, const char *name, guint64 max, guint64 *ret, GError **error)
{
  const char *text = mf_api_query(self, name);
  if (text == NULL || g_ascii_string_to_unsigned(text, 10, 0, max, ret, NULL))
    return TRUE;
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
              "The parameter \"%s\" must be a whole number from 0 to %" G_GUINT64_FORMAT ".", name,
              max);
  return FALSE;
}

gboolean
mf_api_query_choice(MfApiRequest *self, const char *name, const char *names, gint *ret,
                    GError **error)
{
  const char *text = mf_api_query(self, name);
  if (text == NULL)
    return TRUE;
  g_auto(GStrv) known = g_strsplit(names, " ", -1);
  for (gint i = 0; known[i] != NULL; i++) {
    if (strcmp(known[i], text) == 0) {
      *ret = i;
      return TRUE;
    }
  }
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "The parameter \"%s\" must be one of: %s.", name,
              names);
  return FALSE;
}

gboolean
mf_api_query_flag(MfApiRequest *self, const char *name, gboolean *ret, GError **error)
{
  return mf_api_query_choice(self, name, "0 1", ret, error);
}

GBytes *
mf_api_request_body(MfApiRequest *self)
{
  return soup_message_body_flatten(soup_server_message_get_request_body(self->message));
}

MfJson *
mf_api_request_json(MfApiRequest *self, GError **error)
{
  g_autoptr(GBytes) body = mf_api_request_body(self);
  gsize length = 0;
  const void *data = g_bytes_get_data(body, &length);
  return mf_json_parse(data, length, "The request's body", error);
}

/* FALSE: nobody is there for an answer, or there was one. */
static gboolean
may_answer(MfApiRequest *self)
{
  if (self->gone || self->answered)
    return FALSE;
  self->answered = TRUE;
  g_object_ref(self->message);
  end_work(self);
  g_object_unref(self->message);
  return TRUE;
}

static void
answer(MfApiRequest *self)
{
  if (self->paused)
    soup_server_message_unpause(self->message);
  self->paused = FALSE;
}

static void
set_body(MfApiRequest *self, guint status, const char *content_type, char *text)
{
  soup_server_message_set_status(self->message, status, NULL);
  soup_server_message_set_response(self->message, content_type, SOUP_MEMORY_TAKE, text,
                                   strlen(text));
  answer(self);
}

char *
mf_api_json_text(MfJson *json)
{
  const char *text =
      json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
  /* Arguments are bytes; a JSON text is UTF-8. */
  return g_utf8_make_valid(text, -1);
}

char *
mf_api_json_line(MfJson *json)
{
  g_autofree char *text = mf_api_json_text(json);
  return g_strconcat(text, "\n", NULL);
}

void
mf_api_reply_json(MfApiRequest *self, guint status, MfJson *json)
{
  g_autoptr(MfJson) taken = json;
  if (may_answer(self))
    set_body(self, status, "application/json", mf_api_json_line(taken));
}

void
mf_api_reply_text(MfApiRequest *self, const char *content_type, char *text)
{
  if (may_answer(self))
    set_body(self, 200, content_type, text);
  else
    g_free(text);
}

void
mf_api_reply_error(MfApiRequest *self, GError *error)
{
  g_autoptr(GError) taken = error;
  MfErrorCode code = mf_error_code(taken);
  if (!may_answer(self))
    return;
  mf_api_problem_set(self->message, code, mf_error_code_to_http(code), taken->message);
  answer(self);
}

void
mf_api_reply_location(MfApiRequest *self, const char *format, ...)
{
  if (self->gone)
    return;
  va_list args;
  va_start(args, format);
  g_autofree char *location = g_strdup_vprintf(format, args);
  va_end(args);
  soup_message_headers_replace(soup_server_message_get_response_headers(self->message), "Location",
                               location);
}
