/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "daemon/error.h"
#include "daemon/frame.h"
#include "tools/demux.h"

typedef struct {
  GString *streams[3];
} Seen;

static void
sink(guint stream, const guint8 *data, gsize length, gpointer user_data)
{
  Seen *seen = user_data;
  g_assert_true(stream == MF_STREAM_STDOUT || stream == MF_STREAM_STDERR);
  g_assert_cmpuint(length, >, 0);
  g_string_append_len(seen->streams[stream], (const char *)data, (gssize)length);
}

static void
add_record(GByteArray *mux, guint stream, const char *text, guint length)
{
  guint8 header[MF_DEMUX_HEADER] = {(guint8)stream};
  guint32 size = GUINT32_TO_BE(length);
  memcpy(header + 4, &size, sizeof size);
  g_byte_array_append(mux, header, sizeof header);
  g_byte_array_append(mux, (const guint8 *)text, length);
}

/* However it is cut, and with records of nothing in between. */
static void
test_cut_anywhere(void)
{
  g_autoptr(GByteArray) mux = g_byte_array_new();
  add_record(mux, MF_STREAM_STDOUT, "out 1\n", 6);
  add_record(mux, MF_STREAM_STDERR, "err \0\xff", 6);
  add_record(mux, MF_STREAM_STDOUT, "", 0);
  add_record(mux, MF_STREAM_STDOUT, "out 2", 5);
  for (guint piece = 1; piece <= mux->len; piece++) {
    MfDemux demux = {0};
    Seen seen = {.streams = {NULL, g_string_new(NULL), g_string_new(NULL)}};
    for (guint at = 0; at < mux->len; at += piece)
      g_assert_true(
          mf_demux_feed(&demux, mux->data + at, MIN(piece, mux->len - at), sink, &seen, NULL));
    g_assert_cmpmem(seen.streams[1]->str, seen.streams[1]->len, "out 1\nout 2", 11);
    g_assert_cmpmem(seen.streams[2]->str, seen.streams[2]->len, "err \0\xff", 6);
    g_string_free(seen.streams[1], TRUE);
    g_string_free(seen.streams[2], TRUE);
  }
}

static void
test_refused(void)
{
  static const guint8 bad[][MF_DEMUX_HEADER] = {{0, 0, 0, 0, 0, 0, 0, 1},
                                                {3, 0, 0, 0, 0, 0, 0, 1},
                                                {1, 1, 0, 0, 0, 0, 0, 1},
                                                {'H', 'T', 'T', 'P', '/', '1', '.', '1'}};
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GError) error = NULL;
    MfDemux demux = {0};
    g_assert_false(mf_demux_feed(&demux, bad[i], MF_DEMUX_HEADER, sink, NULL, &error));
    g_assert_error(error, MF_ERROR, MF_ERROR_FAILED);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/demux/cut", test_cut_anywhere);
  g_test_add_func("/demux/refused", test_refused);
  return g_test_run();
}
