/* SPDX-License-Identifier: Apache-2.0 */
/* The host's end of the agent link against a guest that is played here, honest and hostile. */
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <malloc.h>
#include <string.h>

#include "daemon/agent-link.h"
#include "daemon/frame.h"

typedef struct {
  char *path;
  GSocket *listener, *guest;
  MfAgentLink *link;
  GString *log; /* what the handlers were told, a word each */
  MfFrameDecoder decoder;
  GByteArray *heard; /* not yet in the decoder */
} Fixture;

static MfJson *
on_welcome(gpointer data)
{
  return json_object_new_object();
}

static void
on_hello(MfJson *hello, gpointer data)
{
  g_string_append(((Fixture *)data)->log, "hello ");
}

static void
on_ready(const char *level, gpointer data)
{
  g_string_append_printf(((Fixture *)data)->log, "ready:%s ", level);
}

static void
on_output(guint exec, guint stream, guint64 offset, const void *bytes, gsize length, gpointer data)
{
  g_string_append_printf(((Fixture *)data)->log, "out:%u:%u:%" G_GUINT64_FORMAT ":%.*s ", exec,
                         stream, offset, (int)length, (const char *)bytes);
}

static void
on_stdin_taken(guint exec, guint64 offset, gpointer data)
{
  g_string_append_printf(((Fixture *)data)->log, "stdin:%" G_GUINT64_FORMAT " ", offset);
}

static void
on_exited(guint exec, MfJson *status, gpointer data)
{
  g_string_append_printf(((Fixture *)data)->log, "exit:%u ", exec);
}

static void
on_failed(guint exec, const char *message, gpointer data)
{
  g_string_append_printf(((Fixture *)data)->log, "failed:%s ", message);
}

static void
on_lost(const char *reason, gpointer data)
{
  Fixture *f = data;
  g_string_append_printf(f->log, "lost:%s ", reason);
  g_clear_pointer(&f->link, mf_agent_link_close);
}

static const MfAgentHandler handler = {on_welcome,     on_hello,  on_ready,  on_output,
                                       on_stdin_taken, on_exited, on_failed, on_lost};

static void
spin(void)
{
  gint64 until = g_get_monotonic_time() + 10000;
  while (g_get_monotonic_time() < until)
    if (!g_main_context_iteration(NULL, FALSE))
      g_usleep(500);
}

static void
set_up(Fixture *f, gconstpointer data)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *directory = g_dir_make_tmp("mayfly-link-XXXXXX", &error);
  f->path = g_build_filename(directory, "agent.sock", NULL);
  f->log = g_string_new(NULL);
  f->heard = g_byte_array_new();
  f->listener = g_socket_new(G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM, 0, &error);
  g_autoptr(GSocketAddress) address = g_unix_socket_address_new(f->path);
  g_assert_true(g_socket_bind(f->listener, address, FALSE, &error) &&
                g_socket_listen(f->listener, &error));
  f->link = mf_agent_link_open(f->path, GPOINTER_TO_UINT(data), &handler, f, &error);
  g_assert_no_error(error);
  f->guest = g_socket_accept(f->listener, NULL, &error);
  g_assert_no_error(error);
}

static void
tear_down(Fixture *f, gconstpointer data)
{
  g_clear_pointer(&f->link, mf_agent_link_close);
  g_clear_object(&f->guest);
  g_clear_object(&f->listener);
  g_autofree char *directory = g_path_get_dirname(f->path);
  g_unlink(f->path);
  g_rmdir(directory);
  g_free(f->path);
  g_string_free(f->log, TRUE);
  g_byte_array_unref(f->heard);
}

static void
say(Fixture *f, guint type, guint exec, guint flags, guint64 offset, const char *payload)
{
  MfFrame frame = {.type = (guint8)type,
                   .flags = (guint8)flags,
                   .exec = exec,
                   .offset = offset,
                   .length = (guint32)strlen(payload)};
  guint8 header[MF_FRAME_HEADER_SIZE];
  mf_frame_put_header(&frame, header);
  g_assert_cmpint(g_socket_send(f->guest, (char *)header, sizeof header, NULL, NULL), ==,
                  sizeof header);
  if (frame.length > 0)
    g_assert_cmpint(g_socket_send(f->guest, payload, frame.length, NULL, NULL), ==, frame.length);
}

/* The next frame that the host sent, its payload as text. */
static char *
hear(Fixture *f, MfFrame *frame)
{
  spin();
  while (!mf_frame_decoder_next(&f->decoder, frame)) {
    if (f->heard->len == 0) {
      guint8 buffer[4096];
      gssize n = g_socket_receive(f->guest, (char *)buffer, sizeof buffer, NULL, NULL);
      g_assert_cmpint(n, >, 0);
      g_byte_array_append(f->heard, buffer, (guint)n);
    }
    gsize taken = mf_frame_decoder_feed(&f->decoder, f->heard->data, f->heard->len);
    g_byte_array_remove_range(f->heard, 0, (guint)taken);
  }
  return g_strndup((const char *)frame->payload, frame->length);
}

static void
test_handshake(Fixture *f, gconstpointer data)
{
  MfFrame frame;
  g_autofree char *first = hear(f, &frame);
  g_assert_cmpint(frame.type, ==, MF_FRAME_WELCOME);
  g_assert_cmpuint(f->decoder.skipped, ==, MF_FRAME_FLUSH);
  say(f, MF_FRAME_HELLO, 0, 0, 0, "{\"protocol\":1,\"welcomed\":false}");
  g_autofree char *second = hear(f, &frame);
  g_assert_cmpint(frame.type, ==, MF_FRAME_WELCOME);
  g_assert_cmpstr(f->log->str, ==, "");
  say(f, MF_FRAME_HELLO, 0, 0, 0, "{\"protocol\":1,\"welcomed\":true}");
  say(f, MF_FRAME_READY, 0, 0, 0, "{\"level\":\"agent\"}");
  say(f, MF_FRAME_STDOUT, 1, 0, 7, "hey");
  say(f, MF_FRAME_ACK, 1, MF_STREAM_STDIN, 9, "");
  say(f, MF_FRAME_EXIT, 1, 0, 0, "{\"code\":0}");
  say(f, MF_FRAME_ERROR, 1, 0, 0, "{\"message\":\"no\"}");
  say(f, MF_FRAME_PING, 0, 0, 0, "x");
  g_autofree char *pong = hear(f, &frame);
  g_assert_cmpint(frame.type, ==, MF_FRAME_PONG);
  g_assert_cmpstr(f->log->str, ==, "hello ready:agent out:1:1:7:hey stdin:9 exit:1 failed:no ");
}

static void
test_other_protocol(Fixture *f, gconstpointer data)
{
  say(f, MF_FRAME_HELLO, 0, 0, 0, "{\"protocol\":2,\"welcomed\":true}");
  say(f, MF_FRAME_READY, 0, 0, 0, "{\"level\":\"agent\"}");
  spin();
  g_assert_true(g_str_has_prefix(f->log->str, "lost:speaks another protocol"));
  g_assert_null(strstr(f->log->str, "ready"));
}

static void
test_hostile(Fixture *f, gconstpointer data)
{
  static const char *const bad[] = {
      "", "x", "[]", "[[[[[[[[[[[[[[[[[[[[[[", "{\"level\":1}", "{\"level\":", "null", "\"a\""};
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    say(f, MF_FRAME_READY, 0, 0, 0, bad[i]);
    say(f, MF_FRAME_EXIT, 0, 0, 0, "nonsense");
  }
  g_assert_cmpint(g_socket_send(f->guest, "garbage MFLY garbage", 20, NULL, NULL), ==, 20);
  say(f, 99, 0, 0, 0, "a type of the future");
  say(f, MF_FRAME_READY, 0, 0, 0, "{\"level\":\"agent\"}");
  spin();
  g_assert_cmpstr(f->log->str, ==, "ready:agent ");
}

static void
test_closed(Fixture *f, gconstpointer data)
{
  g_clear_object(&f->guest);
  spin();
  g_assert_true(g_str_has_prefix(f->log->str, "lost:is gone"));
}

static void
test_silence(Fixture *f, gconstpointer data)
{
  say(f, MF_FRAME_HELLO, 0, 0, 0, "{\"protocol\":1,\"welcomed\":true}");
  gint64 until = g_get_monotonic_time() + 4 * G_USEC_PER_SEC;
  while (f->link != NULL && g_get_monotonic_time() < until)
    g_main_context_iteration(NULL, TRUE);
  g_assert_nonnull(strstr(f->log->str, "lost:has not answered for 1 seconds"));
}

static void
test_long_document(Fixture *f, gconstpointer data)
{
  MfFrame frame;
  g_autofree char *welcome = hear(f, &frame);
  g_autofree char *text = g_strnfill(150000, 'x');
  g_autoptr(MfJson) json = json_object_new_object();
  json_object_object_add(json, "k", json_object_new_string(text));
  mf_agent_link_send_document(f->link, MF_FRAME_EXEC, 3, json);
  g_autoptr(GString) joined = g_string_new(NULL);
  do {
    g_autofree char *piece = hear(f, &frame);
    g_assert_cmpint(frame.type, ==, MF_FRAME_EXEC);
    g_assert_cmpuint(frame.offset, ==, joined->len);
    g_string_append(joined, piece);
  } while (frame.flags & MF_FRAME_MORE);
  g_assert_cmpuint(joined->len, ==, 150000 + strlen("{\"k\":\"\"}"));
}

/* A daemon that stood still has not asked the guest anything meanwhile. */
static void
test_stall(Fixture *f, gconstpointer data)
{
  say(f, MF_FRAME_HELLO, 0, 0, 0, "{\"protocol\":1,\"welcomed\":true}");
  spin();
  g_usleep(2200 * 1000);
  spin();
  g_assert_nonnull(f->link);
}

/* It reads as much as it is sent, but always leaves the rest of what came first. */
static void
test_slow_reader(Fixture *f, gconstpointer data)
{
  static const guint8 payload[MF_FRAME_MAX_PAYLOAD];
  static char buffer[sizeof payload + MF_FRAME_HEADER_SIZE];
  for (guint i = 0; i < 16; i++)
    mf_agent_link_send(f->link, MF_FRAME_STDIN, 1, 0, 0, payload, sizeof payload);
  struct mallinfo2 before = mallinfo2();
  for (guint i = 0; i < 400; i++) {
    mf_agent_link_send(f->link, MF_FRAME_STDIN, 1, 0, 0, payload, sizeof payload);
    for (gsize got = 0; got < sizeof buffer;) {
      while (g_main_context_iteration(NULL, FALSE))
        ;
      gssize n = g_socket_receive(f->guest, buffer, sizeof buffer - got, NULL, NULL);
      g_assert_cmpint(n, >, 0);
      got += (gsize)n;
    }
  }
  struct mallinfo2 after = mallinfo2();
  g_assert_cmpuint(after.uordblks + after.hblkhd, <, before.uordblks + before.hblkhd + (8u << 20));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
#define ADD(name, silence, func)                                                                   \
  g_test_add("/agent-link/" name, Fixture, GUINT_TO_POINTER(silence), set_up, func, tear_down)
  ADD("handshake", 60, test_handshake);
  ADD("other-protocol", 60, test_other_protocol);
  ADD("hostile", 60, test_hostile);
  ADD("closed", 60, test_closed);
  ADD("silence", 1, test_silence);
  ADD("stall", 2, test_stall);
  ADD("slow-reader", 60, test_slow_reader);
  ADD("long-document", 60, test_long_document);
  return g_test_run();
}
