/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection some of whose bytes were read already: they come first, then what the socket has.
 * What libsoup is given instead of the socket.
 */
#include "daemon/api-private.h"

#include <string.h>

/* Reading. */
#define INPUT_TYPE (input_get_type())
G_DECLARE_FINAL_TYPE(Input, input, MF_API, INPUT, GInputStream)
struct _Input {
  GInputStream parent;
  GBytes *first;
  gsize taken;
  GPollableInputStream *rest;
};

static void input_pollable_init(GPollableInputStreamInterface *interface);
G_DEFINE_FINAL_TYPE_WITH_CODE(Input, input, G_TYPE_INPUT_STREAM,
                              G_IMPLEMENT_INTERFACE(G_TYPE_POLLABLE_INPUT_STREAM,
                                                    input_pollable_init))

static gboolean
has_first(Input *self)
{
  return self->taken < g_bytes_get_size(self->first);
}

static gssize
take_first(Input *self, void *buffer, gsize count)
{
  gsize length = 0;
  const char *data = g_bytes_get_data(self->first, &length);
  gsize n = MIN(count, length - self->taken);
  memcpy(buffer, data + self->taken, n);
  self->taken += n;
  return (gssize)n;
}

static gssize
input_read(GInputStream *stream, void *buffer, gsize count, GCancellable *cancellable,
           GError **error)
{
  Input *self = MF_API_INPUT(stream);
  if (has_first(self))
    return take_first(self, buffer, count);
  return g_input_stream_read(G_INPUT_STREAM(self->rest), buffer, count, cancellable, error);
}

static gssize
input_read_nonblocking(GPollableInputStream *stream, void *buffer, gsize count, GError **error)
{
  Input *self = MF_API_INPUT(stream);
  if (has_first(self))
    return take_first(self, buffer, count);
  return g_pollable_input_stream_read_nonblocking(self->rest, buffer, count, NULL, error);
}

static gboolean
input_is_readable(GPollableInputStream *stream)
{
  Input *self = MF_API_INPUT(stream);
  return has_first(self) || g_pollable_input_stream_is_readable(self->rest);
}

static GSource *
input_create_source(GPollableInputStream *stream, GCancellable *cancellable)
{
  Input *self = MF_API_INPUT(stream);
  g_autoptr(GSource) child = has_first(self)
                                 ? g_timeout_source_new(0)
                                 : g_pollable_input_stream_create_source(self->rest, NULL);
  return g_pollable_source_new_full(stream, child, cancellable);
}

static void
input_pollable_init(GPollableInputStreamInterface *interface)
{
  interface->is_readable = input_is_readable;
  interface->create_source = input_create_source;
  interface->read_nonblocking = input_read_nonblocking;
}

static void
input_finalize(GObject *object)
{
  Input *self = MF_API_INPUT(object);
  g_bytes_unref(self->first);
  g_object_unref(self->rest);
  G_OBJECT_CLASS(input_parent_class)->finalize(object);
}

static void
input_init(Input *self)
{
}

static void
input_class_init(InputClass *class)
{
  G_OBJECT_CLASS(class)->finalize = input_finalize;
  G_INPUT_STREAM_CLASS(class)->read_fn = input_read;
}

/* Both ways. */
#define TRANSPORT_TYPE (transport_get_type())
G_DECLARE_FINAL_TYPE(Transport, transport, MF_API, TRANSPORT, GIOStream)
struct _Transport {
  GIOStream parent;
  GInputStream *input;
  GIOStream *socket;
};
G_DEFINE_FINAL_TYPE(Transport, transport, G_TYPE_IO_STREAM)

static GInputStream *
transport_get_input(GIOStream *stream)
{
  return MF_API_TRANSPORT(stream)->input;
}

static GOutputStream *
transport_get_output(GIOStream *stream)
{
  return g_io_stream_get_output_stream(MF_API_TRANSPORT(stream)->socket);
}

static gboolean
transport_close(GIOStream *stream, GCancellable *cancellable, GError **error)
{
  return g_io_stream_close(MF_API_TRANSPORT(stream)->socket, cancellable, error);
}

static void
transport_finalize(GObject *object)
{
  Transport *self = MF_API_TRANSPORT(object);
  /* The parent closes first, and needs both. */
  G_OBJECT_CLASS(transport_parent_class)->finalize(object);
  g_object_unref(self->input);
  g_object_unref(self->socket);
}

static void
transport_init(Transport *self)
{
}

static void
transport_class_init(TransportClass *class)
{
  G_OBJECT_CLASS(class)->finalize = transport_finalize;
  G_IO_STREAM_CLASS(class)->get_input_stream = transport_get_input;
  G_IO_STREAM_CLASS(class)->get_output_stream = transport_get_output;
  G_IO_STREAM_CLASS(class)->close_fn = transport_close;
}

GIOStream *
mf_api_transport_new(GSocketConnection *socket, GBytes *first)
{
  Transport *self = g_object_new(TRANSPORT_TYPE, NULL);
  Input *input = g_object_new(INPUT_TYPE, NULL);
  input->first = g_bytes_ref(first);
  input->rest =
      G_POLLABLE_INPUT_STREAM(g_object_ref(g_io_stream_get_input_stream(G_IO_STREAM(socket))));
  self->input = G_INPUT_STREAM(input);
  self->socket = G_IO_STREAM(g_object_ref(socket));
  return G_IO_STREAM(self);
}
