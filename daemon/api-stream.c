/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that go on: one chunk at a time. The next one is read only when libsoup has written the
 * one before, so a client that stops reading holds one chunk and nobody up. Each chunk is a turn of
 * the main loop of its own, so that one long log does not keep everybody else waiting.
 */
#include "daemon/api-private.h"

#include "daemon/error.h"

#define CHUNK_SIZE (64 << 10)

struct MfApiStream {
  MfApiRequest *request; /* not counted: the request's work is this stream */
  MfApiNext next;
  gpointer source;
  GDestroyNotify free_source;
  GSource *turn;      /* the next chunk is to be read */
  gboolean in_flight; /* a chunk is with libsoup */
  gboolean done;
};

static gboolean
turn(gpointer data)
{
  MfApiStream *self = data;
  g_clear_pointer(&self->turn, g_source_unref);
  if (self->in_flight || self->done)
    return G_SOURCE_REMOVE;
  gboolean ended = FALSE;
  g_autoptr(GError) error = NULL;
  SoupServerMessage *message = self->request->message;
  SoupMessageBody *body = soup_server_message_get_response_body(message);
  g_autoptr(GBytes) chunk = self->next(self->source, &ended, &error);
  if (chunk != NULL) {
    self->in_flight = TRUE;
    soup_message_body_append_bytes(body, chunk);
    soup_server_message_unpause(message);
  } else if (error != NULL) {
    g_warning("An answer of the API breaks off: %s", error->message);
    self->done = TRUE;
    mf_api_connection_abort(self->request->connection);
  } else if (ended) {
    self->done = TRUE;
    soup_message_body_complete(body);
    soup_server_message_unpause(message);
  }
  return G_SOURCE_REMOVE;
}

void
mf_api_stream_wake(MfApiStream *self)
{
  if (self->turn != NULL || self->in_flight || self->done)
    return;
  self->turn = g_idle_source_new();
  g_source_set_priority(self->turn, G_PRIORITY_DEFAULT);
  g_source_set_callback(self->turn, turn, self, NULL);
  g_source_attach(self->turn, g_main_context_get_thread_default());
}

static void
on_wrote_chunk(SoupServerMessage *message, gpointer data)
{
  MfApiStream *self = data;
  self->in_flight = FALSE;
  mf_api_stream_wake(self);
}

static void
stream_free(gpointer data)
{
  MfApiStream *self = data;
  if (self->turn != NULL)
    g_source_destroy(self->turn);
  g_clear_pointer(&self->turn, g_source_unref);
  g_signal_handlers_disconnect_by_data(self->request->message, self);
  self->free_source(self->source);
  g_free(self);
}

MfApiStream *
mf_api_stream_start(MfApiRequest *request, const char *content_type, MfApiNext next,
                    gpointer source, GDestroyNotify free_source)
{
  SoupServerMessage *message = request->message;
  SoupMessageHeaders *headers = soup_server_message_get_response_headers(message);
  MfApiStream *self = g_new0(MfApiStream, 1);
  self->request = request;
  self->next = next;
  self->source = source;
  self->free_source = free_source;
  soup_server_message_set_status(message, 200, NULL);
  soup_message_headers_set_content_type(headers, content_type, NULL);
  soup_message_headers_set_encoding(headers,
                                    soup_server_message_get_http_version(message) == SOUP_HTTP_1_0
                                        ? SOUP_ENCODING_EOF
                                        : SOUP_ENCODING_CHUNKED);
  soup_message_body_set_accumulate(soup_server_message_get_response_body(message), FALSE);
  g_signal_connect(message, "wrote-chunk", G_CALLBACK(on_wrote_chunk), self);
  request->streams = TRUE;
  request->answered = TRUE;
  mf_api_request_hold(request, self, stream_free);
  mf_api_stream_wake(self);
  return self;
}

/*
 * Output of an exec, or of a machine's console, which may not be there yet. The job is asked too
 * whether there will be more: one that is finished writes nothing, whoever forgot to close its log.
 */
typedef struct {
  MfScheduler *scheduler;
  MfJob *job;
  MfOutputLog *log; /* NULL: the console of a machine that has not started */
  guint log_watch;
  MfOutputReader *reader;
  MfApiOutput wanted;
  gboolean watches; /* the owner follows: the job lives as long as the connection */
  MfApiStream *stream;
} Output;

static void
output_free(gpointer data)
{
  Output *self = data;
  g_signal_handlers_disconnect_by_data(self->job, self);
  if (self->log_watch != 0)
    mf_output_log_unwatch(self->log, self->log_watch);
  if (self->watches)
    mf_scheduler_unwatch(self->scheduler, self->job);
  g_clear_pointer(&self->reader, mf_output_reader_free);
  g_clear_pointer(&self->log, mf_output_log_unref);
  g_object_unref(self->job);
  g_object_unref(self->scheduler);
  g_free(self);
}

static void
on_log(gpointer log, gpointer data)
{
  Output *self = data;
  mf_api_stream_wake(self->stream);
}

static void
output_open(Output *self, MfOutputLog *log)
{
  self->log = mf_output_log_ref(log);
  self->reader = mf_output_reader_new(log, self->wanted.form, self->wanted.offset);
  if (self->wanted.pace)
    mf_output_reader_set_pacing(self->reader);
  if (self->wanted.follow)
    self->log_watch = mf_output_log_watch(log, on_log, self);
}

static GBytes *
output_next(gpointer data, gboolean *ended, GError **error)
{
  Output *self = data;
  /* Asked before reading: what comes after the question may not be in what is read. */
  gboolean last = !self->wanted.follow || mf_job_get_state(self->job) == MF_JOB_FINISHED;
  if (self->log == NULL && mf_job_get_console(self->job) != NULL)
    output_open(self, mf_job_get_console(self->job));
  if (self->log == NULL) {
    *ended = last;
    return NULL;
  }
  last = last || mf_output_log_is_closed(self->log);
  g_autofree char *buffer = g_malloc(CHUNK_SIZE);
  gssize n = mf_output_reader_read(self->reader, buffer, CHUNK_SIZE, error);
  if (n > 0)
    return g_bytes_new_take(g_realloc(g_steal_pointer(&buffer), (gsize)n), (gsize)n);
  *ended = n == 0 && last;
  return NULL;
}

static void
on_job(MfJob *job, gpointer data)
{
  Output *self = data;
  mf_api_stream_wake(self->stream);
}

void
mf_api_stream_job_output(MfApiRequest *request, MfJob *job, MfExec *exec, const MfApiOutput *output)
{
  gboolean mine = request->peer.uid == mf_job_get_owner(job);
  Output *self = g_new0(Output, 1);
  self->scheduler = g_object_ref(request->api->scheduler);
  self->job = g_object_ref(job);
  self->wanted = *output;
  /* Only its owner may make a job wait. */
  self->wanted.pace = output->pace && output->follow && mine;
  if (exec != NULL)
    output_open(self, mf_exec_get_output(exec));
  if (output->follow) {
    g_signal_connect(job, "state-changed", G_CALLBACK(on_job), self);
    g_signal_connect(job, "changed", G_CALLBACK(on_job), self);
  }
  self->watches = output->follow && exec != NULL && mine;
  if (self->watches)
    mf_scheduler_watch(self->scheduler, job);
  self->stream =
      mf_api_stream_start(request, "application/octet-stream", output_next, self, output_free);
}
