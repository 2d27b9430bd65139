/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The beginning of a connection: the head of its request is read here, bounded, checked and
 * rewritten (api-head.c), and only then is there something for libsoup. It refuses a bad head in a
 * number without a word, and some of them it forgets to free.
 */
#include "daemon/api-private.h"

#include <string.h>

#include "daemon/api-head.h"
#include "daemon/error.h"

struct MfApiIntake {
  MfApiConnection *connection;
  GByteArray *got;
  GSource *source;
};

void
mf_api_intake_free(MfApiIntake *self)
{
  if (self == NULL)
    return;
  g_source_destroy(self->source);
  g_source_unref(self->source);
  g_byte_array_unref(self->got);
  g_free(self);
}

static void
refuse(MfApiIntake *self, MfErrorCode code, guint status, const char *detail)
{
  MfApiConnection *connection = self->connection;
  g_autofree char *text = mf_api_problem_response(code, status, detail);
  mf_api_metrics_count_request(connection->api->metrics, status);
  mf_api_limits_refuse(connection->api, g_socket_connection_get_socket(connection->stream), text);
  mf_api_connection_free(connection);
}

static void
take_head(MfApiIntake *self, gsize end)
{
  MfApiConnection *connection = self->connection;
  const char *data = (const char *)self->got->data;
  g_autoptr(GError) error = NULL;
  g_autofree char *head = mf_api_head_rewrite(data, end, &error);
  if (head == NULL) {
    refuse(self, MF_ERROR_INVALID, 400, error->message);
    return;
  }
  GByteArray *first = g_byte_array_new();
  g_byte_array_append(first, (const guint8 *)head, (guint)strlen(head));
  g_byte_array_append(first, self->got->data + end, self->got->len - (guint)end);
  g_autoptr(GBytes) bytes = g_byte_array_free_to_bytes(first);
  g_autoptr(GIOStream) transport = mf_api_transport_new(connection->stream, bytes);
  g_clear_pointer(&connection->intake, mf_api_intake_free);
  mf_api_connection_serve(connection, transport);
}

static gboolean
on_readable(GSocket *socket, GIOCondition condition, gpointer data)
{
  MfApiIntake *self = data;
  char buffer[4096];
  g_autoptr(GError) error = NULL;
  gssize n = g_socket_receive(socket, buffer, sizeof(buffer), NULL, &error);
  if (n < 0 && g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
    return G_SOURCE_CONTINUE;
  if (n <= 0 && self->got->len == 0) {
    mf_api_connection_free(self->connection);
    return G_SOURCE_REMOVE;
  }
  if (n > 0)
    g_byte_array_append(self->got, (const guint8 *)buffer, (guint)n);
  gsize end = mf_api_head_find_end((const char *)self->got->data, self->got->len);
  if (end == 0 && n > 0 && self->got->len < MF_API_HEAD_MAX)
    return G_SOURCE_CONTINUE;
  if (end > 0 && end <= MF_API_HEAD_MAX)
    take_head(self, end);
  else if (n <= 0)
    refuse(self, MF_ERROR_INVALID, 400, "This is no HTTP request: it ends before its head does.");
  else
    refuse(self, MF_ERROR_LIMIT, 431, "The request's head is larger than 16 KiB.");
  return G_SOURCE_REMOVE;
}

void
mf_api_intake_start(MfApiConnection *connection)
{
  MfApiIntake *self = g_new0(MfApiIntake, 1);
  GSocket *socket = g_socket_connection_get_socket(connection->stream);
  self->connection = connection;
  self->got = g_byte_array_new();
  self->source = g_socket_create_source(socket, G_IO_IN, NULL);
  g_source_set_callback(self->source, G_SOURCE_FUNC(on_readable), self, NULL);
  g_source_attach(self->source, g_main_context_get_thread_default());
  connection->intake = self;
}
