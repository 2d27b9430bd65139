/* SPDX-License-Identifier: Apache-2.0 */
/* Demux: two streams out of one. */
#include "tools/demux.h"

#include <string.h>

#include "daemon/error.h"
#include "daemon/frame.h"

static gboolean
header_is_valid(const guint8 *header)
{
  return (header[0] == MF_STREAM_STDOUT || header[0] == MF_STREAM_STDERR) && header[1] == 0 &&
         header[2] == 0 && header[3] == 0;
}

gboolean
mf_demux_feed(MfDemux *self, const guint8 *data, gsize length, MfDemuxSink sink, gpointer user_data,
              GError **error)
{
  while (length > 0) {
    if (self->left == 0) {
      gsize size = MIN(length, MF_DEMUX_HEADER - self->fill);
      memcpy(self->header + self->fill, data, size);
      self->fill += (guint)size;
      data += size;
      length -= size;
      if (self->fill < MF_DEMUX_HEADER)
        return TRUE;
      if (!header_is_valid(self->header)) {
        g_set_error(
            error, MF_ERROR, MF_ERROR_FAILED,
            "the output that mayflyd sent is not in the form that was asked for: are mayfly and "
            "mayflyd of the same version?");
        return FALSE;
      }
      guint32 big_endian;
      memcpy(&big_endian, self->header + 4, sizeof big_endian);
      self->left = GUINT32_FROM_BE(big_endian);
      self->fill = 0;
    }
    gsize size = MIN(length, self->left);
    if (size > 0)
      sink(self->header[0], data, size, user_data);
    self->left -= (guint32)size;
    data += size;
    length -= size;
  }
  return TRUE;
}
