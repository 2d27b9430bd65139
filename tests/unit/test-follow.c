/* SPDX-License-Identifier: Apache-2.0 */
/* A follower against a server that breaks the connection wherever it can. */
#include <fcntl.h>
#include <gio/gunixsocketaddress.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/auto.h"
#include "daemon/error.h"
#include "daemon/frame.h"
#include "tools/demux.h"
#include "tools/follow.h"

typedef enum {
  WHOLE,             /* everything that is there, and a proper end */
  CUT_IN_CHUNK,      /* a chunk is announced longer than it comes */
  CUT_BETWEEN,       /* a connection that ends where a chunk does */
  CUT_BEFORE_HEADER, /* no answer at all */
} Manner;

/* The server: threads answer, so all of it is set before or guarded. */
typedef struct {
  GMutex mutex;
  GByteArray *data;
  const Manner *manners; /* of the answers, one after the other, the last for ever */
  guint count;
  guint answers;
  guint status; /* 200, or a problem */
  GSocketService *service;
  char *folder, *path;
} Server;

static void
put(GOutputStream *out, const void *data, gsize length)
{
  g_output_stream_write_all(out, data, length, NULL, NULL, NULL);
}

static void
put_text(GOutputStream *out, const char *text)
{
  put(out, text, strlen(text));
}

static char *
read_request(GInputStream *in)
{
  g_autoptr(GString) request = g_string_new(NULL);
  char c;
  while (!g_str_has_suffix(request->str, "\r\n\r\n") &&
         g_input_stream_read(in, &c, 1, NULL, NULL) == 1)
    g_string_append_c(request, c);
  return g_strdup(request->str);
}

static void
answer(GOutputStream *out, const GByteArray *data, guint64 offset, Manner manner)
{
  gsize left = data->len - MIN(offset, data->len);
  /* Less than a record's header, so that every pass stops within one. */
  gsize part = manner == WHOLE ? left : MIN(left, 5);
  char size[32];
  if (manner == CUT_BEFORE_HEADER)
    return;
  put_text(out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  if (part > 0) {
    g_snprintf(size, sizeof size, "%" G_GSIZE_MODIFIER "x\r\n", part + (manner == CUT_IN_CHUNK));
    put_text(out, size);
    put(out, data->data + offset, part);
  }
  if (manner == CUT_IN_CHUNK)
    return;
  if (part > 0)
    put_text(out, "\r\n");
  if (manner == WHOLE)
    put_text(out, "0\r\n\r\n");
}

static gboolean
on_run(GThreadedSocketService *service, GSocketConnection *connection, GObject *source,
       gpointer data)
{
  Server *self = data;
  GOutputStream *out = g_io_stream_get_output_stream(G_IO_STREAM(connection));
  g_autofree char *request = read_request(g_io_stream_get_input_stream(G_IO_STREAM(connection)));
  const char *offset = strstr(request, "offset=");
  if (offset == NULL) /* a client that only looks whether somebody is there */
    return TRUE;
  g_mutex_lock(&self->mutex);
  Manner manner = self->manners[MIN(self->answers, self->count - 1)];
  self->answers++;
  guint status = self->status;
  g_mutex_unlock(&self->mutex);
  if (status == 200)
    answer(out, self->data, g_ascii_strtoull(offset + 7, NULL, 10), manner);
  else
    put_text(
        out,
        "HTTP/1.1 404 Not Found\r\nContent-Length: 78\r\n\r\n"
        "{\"type\":\"https://mayfly.dev/problems/not-found\",\"detail\":\"there is no job 17\"}");
  g_io_stream_close(G_IO_STREAM(connection), NULL, NULL);
  return TRUE;
}

static void
add_record(GByteArray *data, guint stream, const char *text, gsize length)
{
  guint8 header[MF_DEMUX_HEADER] = {(guint8)stream};
  guint32 size = GUINT32_TO_BE((guint32)length);
  memcpy(header + 4, &size, sizeof size);
  g_byte_array_append(data, header, sizeof header);
  g_byte_array_append(data, (const guint8 *)text, (guint)length);
}

static void
server_start(Server *self, const Manner *manners, guint count)
{
  g_mutex_init(&self->mutex);
  self->data = g_byte_array_new();
  self->manners = manners;
  self->count = count;
  self->status = 200;
  self->folder = g_dir_make_tmp("mayfly-follow-XXXXXX", NULL);
  self->path = g_build_filename(self->folder, "sock", NULL);
  self->service = g_threaded_socket_service_new(8);
  g_autoptr(GSocketAddress) address = g_unix_socket_address_new(self->path);
  g_assert_true(g_socket_listener_add_address(G_SOCKET_LISTENER(self->service), address,
                                              G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT, NULL,
                                              NULL, NULL));
  g_signal_connect(self->service, "run", G_CALLBACK(on_run), self);
  add_record(self->data, MF_STREAM_STDOUT, "out 1\n", 6);
  add_record(self->data, MF_STREAM_STDERR, "err 1\n", 6);
  add_record(self->data, MF_STREAM_STDOUT, "out \033[2\n", 8);
}

static void
server_stop(Server *self)
{
  g_socket_service_stop(self->service);
  g_socket_listener_close(G_SOCKET_LISTENER(self->service));
  g_object_unref(self->service);
  g_byte_array_unref(self->data);
  g_remove(self->path);
  g_rmdir(self->folder);
  g_free(self->path);
  g_free(self->folder);
}

typedef struct {
  GMainLoop *loop;
  gboolean ok;
  GError *error;
} Run;

static void
on_over(GObject *source, GAsyncResult *result, gpointer data)
{
  Run *run = data;
  run->ok = mf_follow_run_finish(MF_FOLLOW(source), result, &run->error);
  g_main_loop_quit(run->loop);
}

/* Follows to the end of what the server has. */
static Run
follow(const Server *server, MfFollowOptions options)
{
  Run run = {.loop = g_main_loop_new(NULL, FALSE)};
  g_autoptr(MfClient) client = mf_client_new(server->path);
  options.path = "/v1/jobs/17/execs/1/output";
  g_autoptr(MfFollow) self = mf_follow_new(client, &options);
  mf_follow_run_async(self, NULL, on_over, &run);
  mf_follow_set_finished(self);
  g_main_loop_run(run.loop);
  g_main_loop_unref(run.loop);
  return run;
}

static char *
read_back(int fd)
{
  static char text[256];
  ssize_t length = pread(fd, text, sizeof text - 1, 0);
  g_assert_cmpint(length, >=, 0);
  text[length] = '\0';
  return text;
}

static int
scratch_file(void)
{
  FILE *file = tmpfile();
  int fd = dup(fileno(file));
  fclose(file);
  return fd;
}

static void
check_manners(const Manner *manners, guint count, gboolean visible)
{
  Server server = {0};
  MfFd out = scratch_file();
  MfFd err = scratch_file();
  server_start(&server, manners, count);
  MfFollowOptions options = {
      .mux = TRUE, .follow = TRUE, .visible = visible, .out = out, .err = err};
  Run run = follow(&server, options);
  g_assert_no_error(run.error);
  g_assert_true(run.ok);
  g_assert_cmpstr(read_back(out), ==, visible ? "out 1\nout ^[[2\n" : "out 1\nout \033[2\n");
  g_assert_cmpstr(read_back(err), ==, "err 1\n");
  mf_fd_clear(&out);
  mf_fd_clear(&err);
  server_stop(&server);
}

static void
test_whole(void)
{
  static const Manner manners[] = {WHOLE};
  check_manners(manners, G_N_ELEMENTS(manners), FALSE);
  check_manners(manners, G_N_ELEMENTS(manners), TRUE);
}

static void
test_broken(void)
{
  static const Manner between[] = {CUT_BETWEEN};
  static const Manner in_chunk[] = {CUT_IN_CHUNK, WHOLE};
  static const Manner nothing[] = {CUT_BEFORE_HEADER, CUT_BETWEEN, WHOLE};
  check_manners(between, G_N_ELEMENTS(between), FALSE);
  check_manners(in_chunk, G_N_ELEMENTS(in_chunk), FALSE);
  check_manners(nothing, G_N_ELEMENTS(nothing), TRUE);
}

static void
test_refused(void)
{
  static const Manner manners[] = {WHOLE};
  Server server = {0};
  server_start(&server, manners, G_N_ELEMENTS(manners));
  server.status = 404;
  MfFollowOptions options = {.mux = TRUE, .follow = TRUE, .out = 1, .err = 2};
  Run run = follow(&server, options);
  g_assert_error(run.error, MF_ERROR, MF_ERROR_NOT_FOUND);
  g_assert_cmpstr(run.error->message, ==, "there is no job 17");
  g_clear_error(&run.error);
  server_stop(&server);
}

static void
test_reader_is_gone(void)
{
  static const Manner manners[] = {WHOLE};
  Server server = {0};
  int ends[2];
  g_assert_true(g_unix_open_pipe(ends, FD_CLOEXEC, NULL));
  close(ends[0]);
  server_start(&server, manners, G_N_ELEMENTS(manners));
  MfFollowOptions options = {.mux = TRUE, .follow = TRUE, .out = ends[1], .err = ends[1]};
  Run run = follow(&server, options);
  g_assert_error(run.error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);
  g_clear_error(&run.error);
  close(ends[1]);
  server_stop(&server);
}

static void
test_nobody_there(void)
{
  Server server = {.path = "/nonexistent/sock"};
  MfFollowOptions options = {.out = 1, .err = 2};
  Run run = follow(&server, options);
  g_assert_error(run.error, MF_ERROR, MF_ERROR_UNAVAILABLE);
  g_assert_nonnull(strstr(run.error->message, "systemctl start mayflyd"));
  g_clear_error(&run.error);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  signal(SIGPIPE, SIG_IGN);
  g_test_add_func("/follow/whole", test_whole);
  g_test_add_func("/follow/broken", test_broken);
  g_test_add_func("/follow/refused", test_refused);
  g_test_add_func("/follow/reader-is-gone", test_reader_is_gone);
  g_test_add_func("/follow/nobody-there", test_nobody_there);
  return g_test_run();
}
