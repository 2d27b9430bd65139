/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections: accepted here, identified, handed to the intake and then to libsoup. The remote
 * address given to libsoup is an object of our own for each connection, which leads from a message
 * back to its connection and dies with it.
 */
#include "daemon/api-private.h"

#include "daemon/error.h"

/* Accepting fails for lack of file descriptors: the listener stays readable, so wait before trying
 * again. */
#define ACCEPT_PAUSE_MS 200
#define ACCEPT_BATCH    16

static void watch_listener(MfApi *self);

static GQuark
connection_quark(void)
{
  return g_quark_from_static_string("mf-api-connection");
}

void
mf_api_connection_free(MfApiConnection *self)
{
  mf_api_limits_stop_deadline(self);
  mf_api_intake_free(self->intake);
  if (self->api != NULL)
    g_hash_table_remove(self->api->connections, self);
  g_clear_object(&self->stream);
  g_free(self);
}

void
mf_api_connection_abort(MfApiConnection *self)
{
  /* libsoup sees the end of the stream, or a failing write, and closes the descriptor itself. */
  g_socket_shutdown(g_socket_connection_get_socket(self->stream), TRUE, TRUE, NULL);
}

/* An internet address: libsoup asks the local one for its host when a HTTP/1.0 request names none.
 */
static GSocketAddress *
some_address(void)
{
  return g_inet_socket_address_new_from_string("127.0.0.1", 80);
}

static void
on_let_go(gpointer data)
{
  mf_api_connection_free(data);
}

void
mf_api_connection_serve(MfApiConnection *self, GIOStream *transport)
{
  g_autoptr(GSocketAddress) local = some_address();
  g_autoptr(GSocketAddress) remote = some_address();
  g_autoptr(GError) error = NULL;
  g_object_set_qdata_full(G_OBJECT(remote), connection_quark(), self, on_let_go);
  if (!soup_server_accept_iostream(self->api->server, transport, local, remote, &error))
    g_warning("A connection could not be served: %s", error->message);
}

typedef struct {
  MfApi *api;
  GSocket *socket;
} Arrival;

static void
on_identified(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autofree Arrival *arrival = data;
  g_autoptr(GSocket) socket = arrival->socket;
  g_autoptr(GError) error = NULL;
  MfApiPeer peer;
  /* The API has ended, and is not there to be touched. */
  if (g_cancellable_is_cancelled(g_task_get_cancellable(G_TASK(result))))
    return;
  if (!mf_api_peer_identify_finish(arrival->api, result, &peer, &error)) {
    g_warning("A connection is refused: %s", error->message);
    return;
  }
  if (!mf_api_limits_admit(arrival->api, socket, peer.uid))
    return;
  MfApiConnection *connection = g_new0(MfApiConnection, 1);
  connection->api = arrival->api;
  connection->peer = peer;
  connection->stream = g_socket_connection_factory_create_connection(socket);
  g_hash_table_add(arrival->api->connections, connection);
  mf_api_limits_start_deadline(connection);
  mf_api_intake_start(connection);
}

void
mf_api_admit(MfApi *self, GSocket *socket)
{
  Arrival *arrival = g_new(Arrival, 1);
  *arrival = (Arrival){self, g_object_ref(socket)};
  g_socket_set_blocking(socket, FALSE);
  mf_api_peer_identify_async(self, socket, on_identified, arrival);
}

static gboolean
accept_again(gpointer data)
{
  watch_listener(data);
  return G_SOURCE_REMOVE;
}

static void
set_accept_source(MfApi *self, GSource *source, GSourceFunc callback)
{
  if (self->accept_source != NULL)
    g_source_destroy(self->accept_source);
  g_clear_pointer(&self->accept_source, g_source_unref);
  self->accept_source = source;
  if (source == NULL)
    return;
  g_source_set_callback(source, callback, self, NULL);
  g_source_attach(source, g_main_context_get_thread_default());
}

static gboolean
on_incoming(GSocket *listener, GIOCondition condition, gpointer data)
{
  MfApi *self = data;
  for (guint i = 0; i < ACCEPT_BATCH; i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(GSocket) socket = g_socket_accept(listener, NULL, &error);
    if (socket != NULL) {
      mf_api_admit(self, socket);
      continue;
    }
    if (!g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK)) {
      g_warning("The API's socket accepts nobody for now: %s", error->message);
      set_accept_source(self, g_timeout_source_new(ACCEPT_PAUSE_MS), accept_again);
      return G_SOURCE_REMOVE;
    }
    break;
  }
  return G_SOURCE_CONTINUE;
}

static void
watch_listener(MfApi *self)
{
  GSource *source = g_socket_create_source(self->listener, G_IO_IN, NULL);
  set_accept_source(self, source, G_SOURCE_FUNC(on_incoming));
}

static MfApiConnection *
connection_of(SoupServerMessage *message)
{
  GSocketAddress *remote = soup_server_message_get_remote_address(message);
  return remote != NULL ? g_object_get_qdata(G_OBJECT(remote), connection_quark()) : NULL;
}

static void
on_request_started(SoupServer *server, SoupServerMessage *message, gpointer data)
{
  MfApiConnection *connection = connection_of(message);
  g_return_if_fail(connection != NULL);
  mf_api_limits_watch_message(connection, message);
}

/* Also for a request that libsoup itself answered, because it could not be read. */
static void
on_request_over(SoupServer *server, SoupServerMessage *message, gpointer data)
{
  MfApiConnection *connection = connection_of(message);
  g_return_if_fail(connection != NULL);
  mf_api_metrics_count_request(connection->api->metrics, soup_server_message_get_status(message));
  mf_api_limits_stop_deadline(connection);
}

static void
on_request(SoupServer *server, SoupServerMessage *message, const char *path, GHashTable *query,
           gpointer data)
{
  MfApiConnection *connection = connection_of(message);
  g_return_if_fail(connection != NULL);
  mf_api_limits_stop_deadline(connection);
  mf_api_dispatch(connection, message);
}

static SoupServer *
make_server(MfApi *self)
{
  SoupServer *server = soup_server_new("server-header", "mayfly", "raw-paths", TRUE, NULL);
  soup_server_add_handler(server, NULL, on_request, self, NULL);
  g_signal_connect(server, "request-started", G_CALLBACK(on_request_started), self);
  g_signal_connect(server, "request-finished", G_CALLBACK(on_request_over), self);
  g_signal_connect(server, "request-aborted", G_CALLBACK(on_request_over), self);
  return server;
}

MfApi *
mf_api_new(MfScheduler *scheduler, int listen_fd, GError **error)
{
  g_autoptr(GSocket) listener = g_socket_new_from_fd(listen_fd, error);
  if (listener == NULL) {
    g_prefix_error(error, "The API's socket cannot be used: ");
    return NULL;
  }
  MfApi *self = g_new0(MfApi, 1);
  self->scheduler = g_object_ref(scheduler);
  self->config = mf_scheduler_get_config(scheduler);
  self->connections = g_hash_table_new(NULL, NULL);
  self->requests = g_hash_table_new(NULL, NULL);
  self->refused = g_hash_table_new_full(NULL, NULL, mf_api_limits_refused_free, NULL);
  self->admins = g_hash_table_new_full(NULL, NULL, NULL, g_free);
  self->metrics = mf_api_metrics_new(scheduler);
  self->stop = g_cancellable_new();
  self->server = make_server(self);
  self->listener = g_steal_pointer(&listener);
  g_socket_set_blocking(self->listener, FALSE);
  watch_listener(self);
  return self;
}

/* Those that libsoup has it lets go in its own time. */
static void
end_connections(MfApi *self)
{
  g_autoptr(GList) connections = g_hash_table_get_keys(self->connections);
  for (GList *item = connections; item != NULL; item = item->next) {
    MfApiConnection *connection = item->data;
    mf_api_limits_stop_deadline(connection);
    connection->api = NULL;
    if (connection->intake != NULL)
      mf_api_connection_free(connection);
  }
}

void
mf_api_free(MfApi *self)
{
  if (self == NULL)
    return;
  g_cancellable_cancel(self->stop);
  set_accept_source(self, NULL, NULL);
  g_socket_close(self->listener, NULL);
  mf_api_requests_end(self);
  g_signal_handlers_disconnect_by_data(self->server, self);
  soup_server_disconnect(self->server);
  g_clear_object(&self->server);
  end_connections(self);
  g_hash_table_unref(self->connections);
  g_hash_table_unref(self->requests);
  g_hash_table_unref(self->refused);
  g_hash_table_unref(self->admins);
  mf_api_metrics_free(self->metrics);
  g_clear_object(&self->listener);
  g_clear_object(&self->stop);
  g_clear_object(&self->scheduler);
  g_free(self);
}
