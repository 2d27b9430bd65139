/* SPDX-License-Identifier: Apache-2.0 */
/* Input: one piece in flight at a time, its position agreed on with the daemon. */
#include "tools/input.h"

#include <gio/gunixinputstream.h>

#include "tools/document.h"

#define PIECE_BYTES (64u << 10)
#define FULL_MS     50
#define LOST_MS     300

struct MfInput {
  gint refs; /* of the owner and of what is under way */
  MfClient *client;
  char *path;
  GInputStream *stream;
  GCancellable *cancellable;
  GBytes *piece;  /* read and not yet taken; empty: the end */
  guint64 offset; /* of its first byte */
};

static void send_piece(MfInput *self);

static MfInput *
ref(MfInput *self)
{
  self->refs++;
  return self;
}

static void
unref(gpointer data)
{
  MfInput *self = data;
  if (--self->refs > 0)
    return;
  g_object_unref(self->client);
  g_object_unref(self->stream);
  g_object_unref(self->cancellable);
  g_clear_pointer(&self->piece, g_bytes_unref);
  g_free(self->path);
  g_free(self);
}
typedef MfInput HeldInput;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HeldInput, unref)

static void
on_read(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(HeldInput) self = data;
  g_autoptr(GError) error = NULL;
  GBytes *piece = g_input_stream_read_bytes_finish(G_INPUT_STREAM(source), result, &error);
  if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return;
  /* A terminal that is gone, or a broken descriptor, is the end of input as well. */
  self->piece = piece != NULL ? piece : g_bytes_new(NULL, 0);
  send_piece(self);
}

static void
read_piece(MfInput *self)
{
  g_input_stream_read_bytes_async(self->stream, PIECE_BYTES, G_PRIORITY_DEFAULT, self->cancellable,
                                  on_read, ref(self));
}

static gboolean
on_again(gpointer data)
{
  MfInput *self = data;
  if (!g_cancellable_is_cancelled(self->cancellable))
    send_piece(self);
  return G_SOURCE_REMOVE;
}

static void
send_again_in(MfInput *self, guint milliseconds)
{
  g_timeout_add_full(G_PRIORITY_DEFAULT, milliseconds, on_again, ref(self), unref);
}

/* @taken: the position up to which the daemon has everything. */
static void
on_taken(MfInput *self, guint64 taken)
{
  gsize size = g_bytes_get_size(self->piece);
  guint64 progress = taken > self->offset ? MIN(taken - self->offset, size) : 0;
  if (size == 0) /* the end has been told */
    return;
  g_autoptr(GBytes) piece = g_steal_pointer(&self->piece);
  self->offset += progress;
  if (progress == size) {
    read_piece(self);
    return;
  }
  self->piece = g_bytes_new_from_bytes(piece, progress, size - progress);
  if (progress > 0)
    send_piece(self);
  else
    send_again_in(self, FULL_MS);
}

static void
on_sent(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(HeldInput) self = data;
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJson) answer = mf_client_call_finish(MF_CLIENT(source), result, &error);
  if (g_cancellable_is_cancelled(self->cancellable))
    return;
  if (answer != NULL)
    on_taken(self, mf_document_uint(answer, "offset"));
  else if (mf_client_error_is_passing(error))
    send_again_in(self, LOST_MS);
  /* Otherwise the command has ended or wants no more: nobody is to be told. */
}

static void
send_piece(MfInput *self)
{
  gboolean end = g_bytes_get_size(self->piece) == 0;
  g_autofree char *path =
      g_strdup_printf("%s?offset=%" G_GUINT64_FORMAT "&eof=%d", self->path, self->offset, end);
  mf_client_call_async(self->client, "POST", path, NULL, self->piece, self->cancellable, on_sent,
                       ref(self));
}

MfInput *
mf_input_new(MfClient *client, const char *path, int fd)
{
  MfInput *self = g_new0(MfInput, 1);
  self->refs = 1;
  self->client = g_object_ref(client);
  self->path = g_strdup(path);
  self->stream = g_unix_input_stream_new(fd, FALSE);
  self->cancellable = g_cancellable_new();
  read_piece(self);
  return self;
}

void
mf_input_free(MfInput *self)
{
  if (self == NULL)
    return;
  g_cancellable_cancel(self->cancellable);
  unref(self);
}
