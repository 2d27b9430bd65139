/* SPDX-License-Identifier: Apache-2.0 */

/* The frame codec: what goes in comes out, however it is cut, and whatever lies between. */

#include "daemon/frame.h"

#include <glib.h>
#include <string.h>

static GByteArray *
frame_new(guint8 type, guint8 flags, guint32 exec, guint64 offset, const void *data, gsize length)
{
  MfFrame frame = {
      .type = type, .flags = flags, .exec = exec, .offset = offset, .length = (guint32)length};
  guint8 header[MF_FRAME_HEADER_SIZE];
  mf_frame_put_header(&frame, header);
  GByteArray *bytes = g_byte_array_new();
  g_byte_array_append(bytes, header, sizeof header);
  if (length > 0)
    g_byte_array_append(bytes, data, (guint)length);
  return bytes;
}

static void
append(GByteArray *to, GByteArray *bytes)
{
  g_byte_array_append(to, bytes->data, bytes->len);
  g_byte_array_unref(bytes);
}

static void
append_text(GByteArray *to, guint8 type, const char *text)
{
  append(to, frame_new(type, 0, 7, 1, text, strlen(text)));
}

/* Feeds all of @bytes in pieces of @step and returns "type:payload;…" of every frame that came out.
 */
static char *
decode(MfFrameDecoder *decoder, GByteArray *bytes, gsize step)
{
  GString *seen = g_string_new(NULL);
  for (gsize at = 0; at < bytes->len;) {
    gsize took = mf_frame_decoder_feed(decoder, bytes->data + at, MIN(step, bytes->len - at));
    at += took;
    MfFrame frame;
    guint frames = 0;
    while (mf_frame_decoder_next(decoder, &frame)) {
      frames++;
      g_string_append_printf(seen, "%u:%.*s;", frame.type, (int)MIN(frame.length, 40u),
                             (const char *)frame.payload);
    }
    g_assert_true(took > 0 || frames > 0);
  }
  return g_string_free(seen, FALSE);
}

static void
test_layout(void)
{
  /* Written by hand, so that both ends cannot drift together. CRC from another implementation. */
  static const guint8 expected[] = {'M', 'F', 'L',  'Y',  3,    0,    0,   0,   7,  2, 0,
                                    0,   4,   3,    2,    1,    8,    7,   6,   5,  4, 3,
                                    2,   1,   0x49, 0x70, 0xe0, 0xce, 'a', 'b', 'c'};
  g_autoptr(GByteArray) bytes =
      frame_new(MF_FRAME_STDOUT, 2, 0x01020304, 0x0102030405060708, "abc", 3);
  g_assert_cmpmem(bytes->data, bytes->len, expected, sizeof expected);
}

static void
test_round_trip(void)
{
  g_autofree MfFrameDecoder *decoder = g_new0(MfFrameDecoder, 1);
  g_autofree guint8 *data = g_malloc(MF_FRAME_MAX_PAYLOAD);
  for (gsize i = 0; i < MF_FRAME_MAX_PAYLOAD; i++)
    data[i] = (guint8)(i * 31);
  const gsize lengths[] = {0, 1, 255, 4096, MF_FRAME_MAX_PAYLOAD};
  for (gsize i = 0; i < G_N_ELEMENTS(lengths); i++) {
    g_autoptr(GByteArray) bytes =
        frame_new(200, 0x83, G_MAXUINT32, G_MAXUINT64 - i, data, lengths[i]);
    g_assert_cmpuint(mf_frame_decoder_feed(decoder, bytes->data, bytes->len), ==, bytes->len);
    MfFrame frame;
    g_assert_true(mf_frame_decoder_next(decoder, &frame));
    g_assert_cmpuint(frame.type, ==, 200);
    g_assert_cmpuint(frame.flags, ==, 0x83);
    g_assert_cmpuint(frame.exec, ==, G_MAXUINT32);
    g_assert_cmpuint(frame.offset, ==, G_MAXUINT64 - i);
    g_assert_cmpmem(frame.payload, frame.length, data, lengths[i]);
    g_assert_false(mf_frame_decoder_next(decoder, &frame));
  }
  g_assert_cmpuint(decoder->skipped, ==, 0);
}

static void
test_split(void)
{
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  append_text(bytes, 5, "one");
  append_text(bytes, 6, "");
  append_text(bytes, 7, "MFLY three");
  for (gsize step = 1; step <= bytes->len; step++) {
    g_autofree MfFrameDecoder *decoder = g_new0(MfFrameDecoder, 1);
    g_autofree char *seen = decode(decoder, bytes, step);
    g_assert_cmpstr(seen, ==, "5:one;6:;7:MFLY three;");
    g_assert_cmpuint(decoder->skipped, ==, 0);
  }
}

static void
test_resync(void)
{
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  const char garbage[] = "login: MMFMFLMFLYxxMFL";
  g_byte_array_append(bytes, (const guint8 *)garbage, sizeof garbage - 1);
  append_text(bytes, 5, "one");
  g_byte_array_append(bytes, (const guint8 *)"M", 1);
  append_text(bytes, 6, "two");
  for (gsize step = 1; step <= bytes->len; step++) {
    g_autofree MfFrameDecoder *decoder = g_new0(MfFrameDecoder, 1);
    g_autofree char *seen = decode(decoder, bytes, step);
    g_assert_cmpstr(seen, ==, "5:one;6:two;");
    g_assert_cmpuint(decoder->skipped, ==, sizeof garbage);
  }
}

/* More garbage than the buffer holds, nobody calling next(): feeding must still go on. */
static void
test_garbage_is_not_kept(void)
{
  g_autofree MfFrameDecoder *decoder = g_new0(MfFrameDecoder, 1);
  g_autofree guint8 *garbage = g_malloc(1 << 20);
  memset(garbage, 'M', 1 << 20);
  for (gsize at = 0; at < 1 << 20;) {
    gsize took = mf_frame_decoder_feed(decoder, garbage + at, (1 << 20) - at);
    g_assert_cmpuint(took, >, 0);
    at += took;
  }
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  append_text(bytes, 5, "one");
  g_autofree char *seen = decode(decoder, bytes, 10);
  g_assert_cmpstr(seen, ==, "5:one;");
  g_assert_cmpuint(decoder->skipped, ==, 1 << 20);
}

/* A whole header and frame as payload of another is data: job output may hold anything. */
static void
test_frame_in_payload(void)
{
  g_autoptr(GByteArray) inner = g_byte_array_new();
  append_text(inner, 9, "exit");
  g_autoptr(GByteArray) bytes = frame_new(7, 0, 1, 0, inner->data, inner->len);
  append_text(bytes, 8, "after");
  g_autofree MfFrameDecoder *decoder = g_new0(MfFrameDecoder, 1);
  g_assert_cmpuint(mf_frame_decoder_feed(decoder, bytes->data, bytes->len), ==, bytes->len);
  MfFrame frame;
  g_assert_true(mf_frame_decoder_next(decoder, &frame));
  g_assert_cmpuint(frame.type, ==, 7);
  g_assert_cmpmem(frame.payload, frame.length, inner->data, inner->len);
  g_assert_true(mf_frame_decoder_next(decoder, &frame));
  g_assert_cmpuint(frame.type, ==, 8);
  g_assert_false(mf_frame_decoder_next(decoder, &frame));
}

/* A length over the limit is no header even if its checksum says so. */
static void
test_oversized(void)
{
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  MfFrame frame = {.type = 7, .length = MF_FRAME_MAX_PAYLOAD + 1};
  guint8 header[MF_FRAME_HEADER_SIZE];
  mf_frame_put_header(&frame, header);
  g_byte_array_append(bytes, header, sizeof header);
  append_text(bytes, 8, "after");
  g_autofree MfFrameDecoder *decoder = g_new0(MfFrameDecoder, 1);
  g_autofree char *seen = decode(decoder, bytes, 5);
  g_assert_cmpstr(seen, ==, "8:after;");
  g_assert_cmpuint(decoder->skipped, ==, sizeof header);
}

static void
test_bad_checksum(void)
{
  for (guint byte = 0; byte < MF_FRAME_HEADER_SIZE; byte++) {
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    append_text(bytes, 7, "lost");
    bytes->data[byte] ^= 0x10;
    append_text(bytes, 8, "after");
    g_autofree MfFrameDecoder *decoder = g_new0(MfFrameDecoder, 1);
    g_autofree char *seen = decode(decoder, bytes, 1000);
    g_assert_cmpstr(seen, ==, "8:after;");
  }
}

static void
test_reset(void)
{
  g_autoptr(GByteArray) half = frame_new(7, 0, 1, 0, "0123456789", 10);
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  append_text(bytes, 8, "after");
  g_autofree MfFrameDecoder *decoder = g_new0(MfFrameDecoder, 1);
  mf_frame_decoder_feed(decoder, half->data, half->len - 3);
  mf_frame_decoder_reset(decoder);
  g_autofree char *seen = decode(decoder, bytes, 3);
  g_assert_cmpstr(seen, ==, "8:after;");
}

/* A full buffer with a whole frame in it takes nothing until the frame is fetched. */
static void
test_full(void)
{
  g_autofree MfFrameDecoder *decoder = g_new0(MfFrameDecoder, 1);
  g_autofree guint8 *data = g_malloc0(MF_FRAME_MAX_PAYLOAD);
  g_autoptr(GByteArray) bytes = frame_new(7, 0, 1, 0, data, MF_FRAME_MAX_PAYLOAD);
  g_assert_cmpuint(mf_frame_decoder_feed(decoder, bytes->data, bytes->len), ==, bytes->len);
  g_assert_cmpuint(mf_frame_decoder_feed(decoder, bytes->data, bytes->len), ==, 0);
  MfFrame frame;
  g_assert_true(mf_frame_decoder_next(decoder, &frame));
  g_assert_cmpuint(mf_frame_decoder_feed(decoder, bytes->data, bytes->len), ==, bytes->len);
  g_assert_true(mf_frame_decoder_next(decoder, &frame));
  g_assert_cmpuint(frame.length, ==, MF_FRAME_MAX_PAYLOAD);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/frame/layout", test_layout);
  g_test_add_func("/frame/round-trip", test_round_trip);
  g_test_add_func("/frame/split", test_split);
  g_test_add_func("/frame/resync", test_resync);
  g_test_add_func("/frame/garbage-is-not-kept", test_garbage_is_not_kept);
  g_test_add_func("/frame/frame-in-payload", test_frame_in_payload);
  g_test_add_func("/frame/oversized", test_oversized);
  g_test_add_func("/frame/bad-checksum", test_bad_checksum);
  g_test_add_func("/frame/reset", test_reset);
  g_test_add_func("/frame/full", test_full);
  return g_test_run();
}
