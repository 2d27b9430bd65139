/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client may cost: connections in all, the time to send a request, the size of its body. Who
 * goes beyond is told why, politely, and bounded in turn.
 */
#include "daemon/api-private.h"

#include <string.h>

#include "daemon/error.h"

/* Root gets in when others have taken every connection: somebody has to be able to look. */
#define ROOT_EXTRA 8
/* Told why they are refused, and kept open until they have read it; beyond these nobody is told. */
#define MAX_REFUSED       64
#define MAX_REFUSED_READS 256
#define REFUSED_LIFE      2 /* seconds without a byte */
/* A body that is too large is read and thrown away, so that the client gets to read the answer: up
 * to this many times the limit. */
#define MAX_THROWN_AWAY 4

static void
send_text(GSocket *socket, const char *text)
{
  /* A client that has not made room for this little has only itself to blame. */
  if (g_socket_send(socket, text, strlen(text), NULL, NULL) < 0)
    g_debug("A client was gone before it could be told why it is refused.");
}

typedef struct {
  MfApi *api;
  GSocket *socket;
  GSource *source;
  guint reads;
} Refused;

void
mf_api_limits_refused_free(gpointer data)
{
  Refused *self = data;
  g_source_destroy(self->source);
  g_source_unref(self->source);
  g_object_unref(self->socket);
  g_free(self);
}

static gboolean
on_refused(GSocket *socket, GIOCondition condition, gpointer data)
{
  Refused *self = data;
  char scrap[4096];
  /* Reading what was sent keeps the kernel from resetting the connection under the answer. */
  if (condition & G_IO_IN && self->reads++ < MAX_REFUSED_READS &&
      g_socket_receive(socket, scrap, sizeof(scrap), NULL, NULL) > 0)
    return G_SOURCE_CONTINUE;
  g_hash_table_remove(self->api->refused, self);
  return G_SOURCE_REMOVE;
}

void
mf_api_limits_refuse(MfApi *self, GSocket *socket, const char *text)
{
  if (g_hash_table_size(self->refused) >= MAX_REFUSED)
    return;
  send_text(socket, text);
  g_socket_shutdown(socket, FALSE, TRUE, NULL);
  /* The source also fires when nothing comes for so long. */
  g_socket_set_timeout(socket, REFUSED_LIFE);
  Refused *refused = g_new0(Refused, 1);
  refused->api = self;
  refused->socket = g_object_ref(socket);
  refused->source = g_socket_create_source(socket, G_IO_IN | G_IO_HUP | G_IO_ERR, NULL);
  g_source_set_callback(refused->source, G_SOURCE_FUNC(on_refused), refused, NULL);
  g_source_attach(refused->source, g_main_context_get_thread_default());
  g_hash_table_add(self->refused, refused);
}

static guint
held_by(MfApi *self, uid_t uid)
{
  GHashTableIter iter;
  gpointer connection;
  guint held = 0;
  g_hash_table_iter_init(&iter, self->connections);
  while (g_hash_table_iter_next(&iter, &connection, NULL))
    held += ((MfApiConnection *)connection)->peer.uid == uid;
  return held;
}

gboolean
mf_api_limits_admit(MfApi *self, GSocket *socket, uid_t uid)
{
  guint most = self->config->max_connections;
  guint all = g_hash_table_size(self->connections);
  /* Nobody may shut the others out; root is who has to look when somebody tries. */
  gboolean room = uid == 0 ? all < most + ROOT_EXTRA : all < most && held_by(self, uid) < most / 2;
  if (room)
    return TRUE;
  g_autofree char *detail = g_strdup_printf(
      all < most ? "You already have %u connections to mayflyd, the most that one user may "
                   "(half of max-connections in [http]): try again later."
                 : "mayflyd already serves %u connections, the most it may (max-connections in "
                   "[http]): try again later.",
      all < most ? most / 2 : most);
  g_autofree char *text = mf_api_problem_response(MF_ERROR_BUSY, 503, detail);
  mf_api_limits_refuse(self, socket, text);
  return FALSE;
}

static gboolean
deadline_passed(gpointer data)
{
  MfApiConnection *self = data;
  g_autofree char *detail = g_strdup_printf(
      "The request did not arrive whole within %" G_GUINT64_FORMAT " s (header-timeout in [http]).",
      self->api->config->header_timeout);
  g_autofree char *text = mf_api_problem_response(MF_ERROR_TIMEOUT, 408, detail);
  GSocket *socket = g_socket_connection_get_socket(self->stream);
  g_clear_pointer(&self->deadline, g_source_unref);
  if (self->intake != NULL) {
    mf_api_limits_refuse(self->api, socket, text);
    mf_api_connection_free(self);
  } else {
    send_text(socket, text);
    mf_api_connection_abort(self);
  }
  return G_SOURCE_REMOVE;
}

void
mf_api_limits_start_deadline(MfApiConnection *self)
{
  self->deadline = g_timeout_source_new((guint)(self->api->config->header_timeout * 1000));
  g_source_set_callback(self->deadline, deadline_passed, self, NULL);
  g_source_attach(self->deadline, g_main_context_get_thread_default());
}

void
mf_api_limits_stop_deadline(MfApiConnection *self)
{
  if (self->deadline != NULL)
    g_source_destroy(self->deadline);
  g_clear_pointer(&self->deadline, g_source_unref);
}

static void
too_large(MfApiConnection *self, SoupServerMessage *message)
{
  SoupMessageBody *body = soup_server_message_get_request_body(message);
  self->too_large = TRUE;
  soup_message_body_set_accumulate(body, FALSE);
  soup_message_body_truncate(body);
}

static void
on_got_headers(SoupServerMessage *message, gpointer data)
{
  MfApiConnection *self = data;
  SoupMessageHeaders *headers = soup_server_message_get_request_headers(message);
  goffset length = soup_message_headers_get_content_length(headers);
  if (soup_message_headers_get_encoding(headers) != SOUP_ENCODING_CONTENT_LENGTH ||
      (guint64)length <= self->api->config->max_body)
    return;
  too_large(self, message);
  /* Who asked before sending is answered now, and sends nothing. */
  if (soup_message_headers_get_expectations(headers) & SOUP_EXPECTATION_CONTINUE)
    mf_api_dispatch(self, message);
}

static void
on_got_chunk(SoupServerMessage *message, GBytes *chunk, gpointer data)
{
  MfApiConnection *self = data;
  guint64 limit = self->api->config->max_body;
  self->body += g_bytes_get_size(chunk);
  if (self->body > limit && !self->too_large)
    too_large(self, message);
  if (self->body / MAX_THROWN_AWAY > limit)
    mf_api_connection_abort(self);
}

void
mf_api_limits_watch_message(MfApiConnection *self, SoupServerMessage *message)
{
  g_signal_connect(message, "got-headers", G_CALLBACK(on_got_headers), self);
  g_signal_connect(message, "got-chunk", G_CALLBACK(on_got_chunk), self);
}
