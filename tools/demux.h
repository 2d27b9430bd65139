/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The "mux" form of an exec's output taken apart: records of an 8 byte header (stream, three zero
 * bytes, length big-endian) and bytes, see daemon/output-log.h. Pure; a record may be cut anywhere,
 * also by a lost connection that is taken up again. Start with all zero.
 */

#include <glib.h>

#define MF_DEMUX_HEADER 8

typedef struct {
  guint8 header[MF_DEMUX_HEADER];
  guint fill;   /* of the header */
  guint32 left; /* bytes of the record that are still to come */
} MfDemux;

/* @stream: MF_STREAM_STDOUT or MF_STREAM_STDERR of frame.h */
typedef void (*MfDemuxSink)(guint stream, const guint8 *data, gsize length, gpointer user_data);

/* FAILED: this is no such output. */
gboolean mf_demux_feed(MfDemux *self, const guint8 *data, gsize length, MfDemuxSink sink,
                       gpointer user_data, GError **error) G_GNUC_WARN_UNUSED_RESULT;
