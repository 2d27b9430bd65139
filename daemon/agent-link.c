/* SPDX-License-Identifier: Apache-2.0 */
/* Agent link, host end: socket, handshake, frames. */
#include "daemon/agent-link.h"

#include <gio/gunixsocketaddress.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/frame.h"

/* More than every window of a machine together: a guest that does not read for so long is not
 * coming back. */
#define MOST_UNSENT    (16u << 20)
#define MOST_SENT_KEPT (256u << 10)
/* Read at most so much before the main loop gets its turn. */
#define READ_BURST     (256u << 10)
#define PING_AFTER     10
#define DOCUMENT_DEPTH 8

struct MfAgentLink {
  GSocket *socket;
  GSource *in, *out;
  GSource *tick;
  GByteArray *unsent;
  gsize sent; /* of unsent */
  guint64 silence;
  guint64 quiet; /* ticks since the guest was heard */
  gboolean greeted;
  gboolean over;   /* lost was told */
  gboolean closed; /* by our user; freed when busy is 0 */
  guint busy;      /* handlers on the stack */
  const MfAgentHandler *handler;
  gpointer user_data;
  MfFrameDecoder decoder;
};

static void
link_free(MfAgentLink *self)
{
  g_clear_object(&self->socket);
  g_byte_array_unref(self->unsent);
  g_free(self);
}

static void
drop_source(GSource **source)
{
  if (*source != NULL) {
    g_source_destroy(*source);
    g_source_unref(*source);
    *source = NULL;
  }
}

static void
stop(MfAgentLink *self)
{
  drop_source(&self->in);
  drop_source(&self->out);
  drop_source(&self->tick);
}

static void
lose(MfAgentLink *self, const char *reason)
{
  if (self->over || self->closed)
    return;
  self->over = TRUE;
  stop(self);
  self->handler->lost(reason, self->user_data);
}

static gboolean
on_writable(GSocket *socket, GIOCondition condition, gpointer data)
{
  MfAgentLink *self = data;
  while (self->sent < self->unsent->len) {
    g_autoptr(GError) error = NULL;
    gssize n = g_socket_send(socket, (const char *)self->unsent->data + self->sent,
                             self->unsent->len - self->sent, NULL, &error);
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
      return G_SOURCE_CONTINUE;
    if (n < 0) {
      /* The reading side finds the same and tells it once. */
      break;
    }
    self->sent += (gsize)n;
  }
  g_byte_array_set_size(self->unsent, 0);
  self->sent = 0;
  drop_source(&self->out);
  return G_SOURCE_REMOVE;
}

void
mf_agent_link_send(MfAgentLink *self, guint type, guint exec, guint flags, guint64 offset,
                   const void *data, gsize length)
{
  g_return_if_fail(length <= MF_FRAME_MAX_PAYLOAD);
  if (self->over || self->closed || self->unsent->len - self->sent > MOST_UNSENT)
    return;
  /* A guest that always leaves a byte unread must not make it grow with what it has read. */
  if (self->sent > MOST_SENT_KEPT) {
    g_byte_array_remove_range(self->unsent, 0, (guint)self->sent);
    self->sent = 0;
  }
  MfFrame frame = {.type = (guint8)type,
                   .flags = (guint8)flags,
                   .exec = exec,
                   .offset = offset,
                   .length = (guint32)length};
  guint8 header[MF_FRAME_HEADER_SIZE];
  mf_frame_put_header(&frame, header);
  g_byte_array_append(self->unsent, header, sizeof header);
  if (length > 0)
    g_byte_array_append(self->unsent, data, (guint)length);
  if (self->out == NULL) {
    self->out = g_socket_create_source(self->socket, G_IO_OUT, NULL);
    g_source_set_callback(self->out, G_SOURCE_FUNC(on_writable), self, NULL);
    g_source_attach(self->out, NULL);
  }
}

void
mf_agent_link_send_document(MfAgentLink *self, guint type, guint exec, MfJson *document)
{
  gsize length;
  /* Base64 may be slashes for the most part: with each escaped it would be twice as long. */
  const char *text = json_object_to_json_string_length(
      document, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &length);
  gsize at = 0;
  do {
    gsize piece = MIN(length - at, MF_FRAME_MAX_PAYLOAD);
    guint flags = at + piece < length ? MF_FRAME_MORE : 0;
    mf_agent_link_send(self, type, exec, flags, at, text + at, piece);
    at += piece;
  } while (at < length);
}

static void
welcome(MfAgentLink *self)
{
  g_autoptr(MfJson) document = json_object_new_object();
  json_object_object_add(document, "protocol", json_object_new_int(MF_FRAME_PROTOCOL));
  json_object_object_add(document, "execs", self->handler->welcome(self->user_data));
  mf_agent_link_send_document(self, MF_FRAME_WELCOME, 0, document);
}

static MfJson *
parse(const MfFrame *frame)
{
  g_autoptr(MfJson) json = NULL;
  struct json_tokener *tokener = json_tokener_new_ex(DOCUMENT_DEPTH);
  json = json_tokener_parse_ex(tokener, (const char *)frame->payload, (int)frame->length);
  gboolean good = json_tokener_get_error(tokener) == json_tokener_success &&
                  json_object_is_type(json, json_type_object);
  json_tokener_free(tokener);
  return good ? g_steal_pointer(&json) : NULL;
}

static const char *
member(MfJson *json, const char *key)
{
  MfJson *value;
  return json_object_object_get_ex(json, key, &value) &&
                 json_object_is_type(value, json_type_string)
             ? json_object_get_string(value)
             : NULL;
}

static void
handle_hello(MfAgentLink *self, MfJson *json)
{
  MfJson *value;
  int protocol =
      json_object_object_get_ex(json, "protocol", &value) ? json_object_get_int(value) : 0;
  if (protocol != MF_FRAME_PROTOCOL) {
    lose(self, "speaks another protocol than this mayflyd: it is from another version");
    return;
  }
  if (json_object_object_get_ex(json, "welcomed", &value) && json_object_get_boolean(value)) {
    self->greeted = TRUE;
    self->handler->hello(json, self->user_data);
  } else {
    welcome(self);
  }
}

static void
handle_document(MfAgentLink *self, const MfFrame *frame)
{
  g_autoptr(MfJson) json = parse(frame);
  if (json == NULL)
    return;
  switch (frame->type) {
  case MF_FRAME_HELLO:
    handle_hello(self, json);
    break;
  case MF_FRAME_READY:
    if (member(json, "level"))
      self->handler->ready(member(json, "level"), self->user_data);
    break;
  case MF_FRAME_EXIT:
    self->handler->exited(frame->exec, json, self->user_data);
    break;
  case MF_FRAME_ERROR:
    self->handler->failed(frame->exec, member(json, "message") ? member(json, "message") : "",
                          self->user_data);
    break;
  default:
    break;
  }
}

static void
handle(MfAgentLink *self, const MfFrame *frame)
{
  switch (frame->type) {
  case MF_FRAME_STDOUT:
  case MF_FRAME_STDERR:
    self->handler->output(frame->exec,
                          frame->type == MF_FRAME_STDOUT ? MF_STREAM_STDOUT : MF_STREAM_STDERR,
                          frame->offset, frame->payload, frame->length, self->user_data);
    break;
  case MF_FRAME_ACK:
    if (frame->flags == MF_STREAM_STDIN)
      self->handler->stdin_taken(frame->exec, frame->offset, self->user_data);
    break;
  case MF_FRAME_PING:
    mf_agent_link_send(self, MF_FRAME_PONG, 0, 0, 0, frame->payload, MIN(frame->length, 64));
    break;
  default:
    handle_document(self, frame);
    break;
  }
}

static void
take(MfAgentLink *self, const guint8 *data, gsize length)
{
  self->quiet = 0;
  while (!self->closed && !self->over) {
    gsize n = mf_frame_decoder_feed(&self->decoder, data, length);
    data += n;
    length -= n;
    MfFrame frame;
    if (mf_frame_decoder_next(&self->decoder, &frame))
      handle(self, &frame);
    else if (length == 0)
      return;
  }
}

static gboolean
on_readable(GSocket *socket, GIOCondition condition, gpointer data)
{
  MfAgentLink *self = data;
  guint8 buffer[64 << 10];
  self->busy++;
  for (gsize total = 0; total < READ_BURST && !self->closed && !self->over;) {
    g_autoptr(GError) error = NULL;
    gssize n = g_socket_receive(socket, (char *)buffer, sizeof buffer, NULL, &error);
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
      break;
    if (n <= 0) {
      lose(self, "is gone: the machine's channel was closed");
      break;
    }
    total += (gsize)n;
    take(self, buffer, (gsize)n);
  }
  self->busy--;
  if (self->closed && self->busy == 0) {
    link_free(self);
    return G_SOURCE_REMOVE;
  }
  return self->over ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
}

/* Counted in ticks, not by the clock: while this daemon stands still (a slow disk, a debugger)
 * nobody asks the guest, so its silence says nothing. */
static gboolean
on_tick(gpointer data)
{
  MfAgentLink *self = data;
  if (!self->greeted)
    return G_SOURCE_CONTINUE;
  self->quiet++;
  if (self->quiet >= self->silence) {
    g_autofree char *reason = g_strdup_printf(
        "has not answered for %" G_GUINT64_FORMAT " seconds: the machine hangs", self->silence);
    lose(self, reason);
    return G_SOURCE_REMOVE;
  }
  if (self->quiet >= MIN(PING_AFTER, self->silence / 3))
    mf_agent_link_send(self, MF_FRAME_PING, 0, 0, 0, NULL, 0);
  return G_SOURCE_CONTINUE;
}

MfAgentLink *
mf_agent_link_open(const char *path, guint64 silence, const MfAgentHandler *handler,
                   gpointer user_data, GError **error)
{
  g_autoptr(GSocket) socket =
      g_socket_new(G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT, error);
  if (socket == NULL)
    return NULL;
  g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
  /* Before it connects: a QEMU that hangs would hold us up with a full backlog. */
  g_socket_set_blocking(socket, FALSE);
  if (!g_socket_connect(socket, address, NULL, error)) {
    g_prefix_error(error, "cannot reach the machine's agent channel %s: ", path);
    return NULL;
  }
  MfAgentLink *self = g_new0(MfAgentLink, 1);
  self->socket = g_steal_pointer(&socket);
  self->unsent = g_byte_array_new();
  self->silence = silence;
  self->handler = handler;
  self->user_data = user_data;
  self->in = g_socket_create_source(self->socket, G_IO_IN, NULL);
  g_source_set_callback(self->in, G_SOURCE_FUNC(on_readable), self, NULL);
  g_source_attach(self->in, NULL);
  self->tick = g_timeout_source_new_seconds(1);
  g_source_set_callback(self->tick, on_tick, self, NULL);
  g_source_attach(self->tick, NULL);
  /* The daemon before this one may have been ended in the middle of a frame (frame.h). */
  g_byte_array_set_size(self->unsent, MF_FRAME_FLUSH);
  memset(self->unsent->data, 0, MF_FRAME_FLUSH);
  welcome(self);
  return self;
}

void
mf_agent_link_close(MfAgentLink *self)
{
  if (self->closed)
    return;
  self->closed = TRUE;
  stop(self);
  if (self->busy == 0)
    link_free(self);
}
