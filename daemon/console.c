/* SPDX-License-Identifier: Apache-2.0 */
/* Console: a machine's serial output into its log. */
#include "daemon/console.h"

#include <gio/gunixsocketaddress.h>

#include "daemon/frame.h"
#include "daemon/text.h"

#define READ_SIZE 16384
/* How much of the end of a log is looked at for its last lines. */
#define TAIL_BYTES 65536

struct MfConsole {
  GSocket *socket;
  GSource *in;
  MfOutputLog *log;
};

/* FALSE: the other end is closed. */
static gboolean
read_once(MfConsole *self, gboolean *ret_more)
{
  guint8 buffer[READ_SIZE];
  g_autoptr(GError) error = NULL;
  gssize n = g_socket_receive(self->socket, (char *)buffer, sizeof buffer, NULL, &error);
  *ret_more = n > 0;
  if (n > 0) {
    g_autoptr(GError) full = NULL;
    /* The console is for diagnosis: a full disk must not end a job because of it. */
    if (!mf_output_log_append(self->log, MF_STREAM_STDOUT, buffer, (gsize)n, &full))
      g_debug("console: %s, ignoring", full->message);
    return TRUE;
  }
  return g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);
}

static gboolean
on_readable(GSocket *socket, GIOCondition condition, gpointer data)
{
  gboolean more;
  return read_once(data, &more) ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

MfConsole *
mf_console_open(const char *path, MfOutputLog *log, GError **error)
{
  g_autoptr(GSocket) socket =
      g_socket_new(G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT, error);
  if (socket == NULL)
    return NULL;
  g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
  /* Before it connects: a QEMU that hangs would hold us up with a full backlog. */
  g_socket_set_blocking(socket, FALSE);
  if (!g_socket_connect(socket, address, NULL, error)) {
    g_prefix_error(error, "cannot reach the machine's console %s: ", path);
    return NULL;
  }
  MfConsole *self = g_new0(MfConsole, 1);
  self->socket = g_steal_pointer(&socket);
  self->log = mf_output_log_ref(log);
  self->in = g_socket_create_source(self->socket, G_IO_IN, NULL);
  g_source_set_callback(self->in, G_SOURCE_FUNC(on_readable), self, NULL);
  g_source_attach(self->in, NULL);
  return self;
}

void
mf_console_close(MfConsole *self)
{
  gboolean more = TRUE;
  for (int burst = 0; more && burst < 64; burst++)
    if (!read_once(self, &more))
      break;
  g_source_destroy(self->in);
  g_source_unref(self->in);
  g_object_unref(self->socket);
  mf_output_log_unref(self->log);
  g_free(self);
}

char **
mf_console_tail(MfOutputLog *log, guint lines)
{
  guint64 all = mf_output_log_kept(log);
  g_autoptr(MfOutputReader) reader =
      mf_output_reader_new(log, MF_OUTPUT_MERGED, all > TAIL_BYTES ? all - TAIL_BYTES : 0);
  g_autofree char *raw = g_malloc(TAIL_BYTES);
  gssize n = mf_output_reader_read(reader, raw, TAIL_BYTES, NULL);
  g_autoptr(GString) safe = g_string_new(NULL);
  MfTextVisible visible = {0};
  if (n > 0)
    mf_text_visible_feed(&visible, raw, (gsize)n, safe);
  mf_text_visible_end(&visible, safe);
  g_auto(GStrv) split = g_strsplit(safe->str, "\n", -1);
  guint count = g_strv_length(split);
  if (count > 0 && *split[count - 1] == '\0')
    count--;
  g_autoptr(GPtrArray) tail = g_ptr_array_new();
  for (guint i = count > lines ? count - lines : 0; i < count; i++)
    g_ptr_array_add(tail, g_strdup(split[i]));
  g_ptr_array_add(tail, NULL);
  return (char **)g_ptr_array_free(g_steal_pointer(&tail), FALSE);
}
