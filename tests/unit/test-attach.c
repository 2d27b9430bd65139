/* SPDX-License-Identifier: Apache-2.0 */
/* run and exec against a mayflyd that plays one job: the whole conversation, on one main loop. */
#include <libsoup/soup.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/error.h"
#include "daemon/frame.h"
#include "tests/lib/serve.h"
#include "tools/attach.h"
#include "tools/command.h"
#include "tools/demux.h"
#include "tools/document.h"

/* What the played daemon has, and what was done to it. */
typedef struct {
  SoupServer *server;
  char *folder, *path;
  GPtrArray *streams; /* SoupServerMessage: open event streams */
  SoupServerMessage *follower;
  GByteArray *output; /* mux */
  GString *input;
  gboolean input_closed, cancelled;
  const char *state, *exec_state, *result;
  int code;
  gboolean kept;
  char *signal;
  guint step;
  guint tick;
  gboolean (*play)(gpointer); /* the job's life, called every few milliseconds */
} Daemon;

static char *
job_text(const Daemon *self)
{
  g_autofree char *result =
      self->result ? g_strdup_printf("\"%s\"", self->result) : g_strdup("null");
  return g_strdup_printf(
      "{\"id\":\"j1\",\"state\":\"%s\",\"result\":%s,\"kept_until\":%s,\"execs\":["
      "{\"number\":1,\"state\":\"%s\",\"exit_code\":%d}]}",
      self->state, result, self->kept ? "17" : "null", self->exec_state, self->code);
}

static void
answer(SoupServerMessage *message, guint status, const char *text)
{
  soup_server_message_set_status(message, status, NULL);
  soup_server_message_set_response(message, "application/json", SOUP_MEMORY_COPY, text,
                                   strlen(text));
}

static void
tell(Daemon *self, SoupServerMessage *message)
{
  g_autofree char *job = job_text(self);
  g_autofree char *line = g_strconcat(job, "\n", NULL);
  SoupMessageBody *body = soup_server_message_get_response_body(message);
  soup_message_body_append(body, SOUP_MEMORY_COPY, line, strlen(line));
  if (strcmp(self->state, "finished") == 0)
    soup_message_body_complete(body);
  soup_server_message_unpause(message);
}

static void
change(Daemon *self, const char *state, const char *exec_state)
{
  self->state = state;
  self->exec_state = exec_state;
  for (guint i = 0; i < self->streams->len; i++)
    tell(self, g_ptr_array_index(self->streams, i));
}

static void
flush_output(Daemon *self)
{
  if (self->follower == NULL)
    return;
  SoupMessageBody *body = soup_server_message_get_response_body(self->follower);
  guint64 sent = (guint64)body->length;
  if (self->output->len > sent)
    soup_message_body_append(body, SOUP_MEMORY_COPY, self->output->data + sent,
                             self->output->len - sent);
  if (strcmp(self->exec_state, "finished") == 0) {
    soup_message_body_complete(body);
    soup_server_message_unpause(self->follower);
    self->follower = NULL;
    return;
  }
  soup_server_message_unpause(self->follower);
}

static void
print(Daemon *self, guint stream, const char *text)
{
  guint8 header[MF_DEMUX_HEADER] = {(guint8)stream};
  guint32 size = GUINT32_TO_BE((guint32)strlen(text));
  memcpy(header + 4, &size, sizeof size);
  g_byte_array_append(self->output, header, sizeof header);
  g_byte_array_append(self->output, (const guint8 *)text, (guint)strlen(text));
  flush_output(self);
}

static void
on_stdin(Daemon *self, SoupServerMessage *message, GHashTable *query)
{
  guint64 offset = g_ascii_strtoull(g_hash_table_lookup(query, "offset"), NULL, 10);
  SoupMessageBody *body = soup_server_message_get_request_body(message);
  g_autoptr(GBytes) bytes = soup_message_body_flatten(body);
  g_assert_cmpuint(offset, <=, self->input->len);
  gsize skip = MIN(self->input->len - offset, g_bytes_get_size(bytes));
  /* A narrow window: three bytes at a time. */
  gsize take = MIN(g_bytes_get_size(bytes) - skip, 3);
  if (take > 0)
    g_string_append_len(self->input, (const char *)g_bytes_get_data(bytes, NULL) + skip,
                        (gssize)take);
  self->input_closed = strcmp(g_hash_table_lookup(query, "eof"), "1") == 0;
  g_autofree char *text = g_strdup_printf("{\"offset\":%" G_GSIZE_FORMAT "}", self->input->len);
  answer(message, 200, text);
}

static void
on_output(Daemon *self, SoupServerMessage *message, GHashTable *query)
{
  guint64 offset = g_ascii_strtoull(g_hash_table_lookup(query, "offset"), NULL, 10);
  soup_server_message_set_status(message, 200, NULL);
  soup_message_headers_set_encoding(soup_server_message_get_response_headers(message),
                                    SOUP_ENCODING_CHUNKED);
  if (strcmp(g_hash_table_lookup(query, "follow"), "1") == 0) {
    g_assert_cmpuint(offset, ==, 0);
    soup_message_body_set_accumulate(soup_server_message_get_response_body(message), TRUE);
    self->follower = message;
    soup_server_message_pause(message);
    flush_output(self);
    return;
  }
  SoupMessageBody *body = soup_server_message_get_response_body(message);
  if (self->output->len > offset)
    soup_message_body_append(body, SOUP_MEMORY_COPY, self->output->data + offset,
                             self->output->len - offset);
  soup_message_body_complete(body);
}

static gboolean
on_tick(gpointer data)
{
  Daemon *self = data;
  if (self->play(self))
    return G_SOURCE_CONTINUE;
  self->tick = 0;
  return G_SOURCE_REMOVE;
}

static void
on_request(SoupServer *server, SoupServerMessage *message, const char *path, GHashTable *query,
           gpointer data)
{
  Daemon *self = data;
  g_autofree char *job = job_text(self);
  const char *method = soup_server_message_get_method(message);
  if (strcmp(path, "/v1/jobs") == 0 || strcmp(path, "/v1/jobs/j1/execs") == 0) {
    self->tick = g_timeout_add(10, on_tick, self);
    answer(message, 201, strcmp(path, "/v1/jobs") == 0 ? job : "{\"number\":1}");
  } else if (strcmp(path, "/v1/jobs/j1/events") == 0) {
    soup_server_message_set_status(message, 200, NULL);
    soup_message_headers_set_encoding(soup_server_message_get_response_headers(message),
                                      SOUP_ENCODING_CHUNKED);
    g_ptr_array_add(self->streams, message);
    soup_server_message_pause(message);
    tell(self, message);
  } else if (strcmp(path, "/v1/jobs/j1/execs/1/output") == 0) {
    on_output(self, message, query);
  } else if (strcmp(path, "/v1/jobs/j1/execs/1/stdin") == 0) {
    on_stdin(self, message, query);
  } else if (strcmp(path, "/v1/jobs/j1/execs/1/signal") == 0) {
    g_autoptr(GBytes) body =
        soup_message_body_flatten(soup_server_message_get_request_body(message));
    self->signal = g_strndup(g_bytes_get_data(body, NULL), g_bytes_get_size(body));
    answer(message, 200, "{}");
  } else if (strcmp(path, "/v1/jobs/j1") == 0 && strcmp(method, "DELETE") == 0) {
    self->cancelled = TRUE;
    answer(message, 202, job);
  } else {
    answer(
        message, 404,
        "{\"type\":\"https://mayfly.dev/problems/not-found\",\"detail\":\"there is no such job\"}");
  }
}

static void
daemon_start(Daemon *self)
{
  self->folder = g_dir_make_tmp("mayfly-attach-XXXXXX", NULL);
  self->path = g_build_filename(self->folder, "sock", NULL);
  self->streams = g_ptr_array_new();
  self->output = g_byte_array_new();
  self->input = g_string_new(NULL);
  self->state = "queued";
  self->exec_state = "waiting";
  self->server = serve_at(self->path, on_request, self);
}

static void
daemon_stop(Daemon *self)
{
  g_clear_handle_id(&self->tick, g_source_remove);
  soup_server_disconnect(self->server);
  g_object_unref(self->server);
  g_ptr_array_unref(self->streams);
  g_byte_array_unref(self->output);
  g_string_free(self->input, TRUE);
  g_free(self->signal);
  g_remove(self->path);
  g_rmdir(self->folder);
  g_free(self->path);
  g_free(self->folder);
}

typedef struct {
  int status;
  MfJson *job;
  GError *error;
  char out[128], err[128];
} Result;

static int
scratch_file(void)
{
  FILE *file = tmpfile();
  int fd = dup(fileno(file));
  fclose(file);
  return fd;
}

static void
read_back(int fd, char text[128])
{
  ssize_t length = pread(fd, text, 127, 0);
  g_assert_cmpint(length, >=, 0);
  text[length] = '\0';
  close(fd);
}

static Result
attach(Daemon *daemon, const char *job, gboolean interactive)
{
  Result result = {0};
  int out = scratch_file();
  int err = scratch_file();
  daemon_start(daemon);
  g_autoptr(MfClient) client = mf_client_new(daemon->path);
  g_autoptr(MfJson) body = json_object_new_object();
  MfAttachOptions options = {.job = job, .interactive = interactive, .out = out, .err = err};
  result.status = mf_attach_run(client, body, &options, &result.job, &result.error);
  read_back(out, result.out);
  read_back(err, result.err);
  return result;
}

static void
result_clear(Result *result)
{
  g_clear_pointer(&result->job, json_object_put);
  g_clear_error(&result->error);
}

/* --- one test, one life of the job --- */

static gboolean
play_plain(gpointer data)
{
  Daemon *self = data;
  switch (self->step++) {
  case 0:
    change(self, "starting", "waiting");
    return TRUE;
  case 1:
    change(self, "running", "running");
    print(self, MF_STREAM_STDOUT, "out\n");
    return TRUE;
  case 2:
    print(self, MF_STREAM_STDERR, "err\n");
    return TRUE;
  case 3:
    self->code = 42;
    change(self, "stopping", "finished");
    flush_output(self);
    return TRUE;
  default:
    self->result = "failed";
    change(self, "finished", "finished");
    return FALSE;
  }
}

static void
test_run(void)
{
  Daemon daemon = {.play = play_plain};
  Result result = attach(&daemon, NULL, FALSE);
  g_assert_no_error(result.error);
  g_assert_cmpint(result.status, ==, 42);
  g_assert_cmpstr(result.out, ==, "out\n");
  g_assert_cmpstr(result.err, ==, "err\n");
  g_assert_cmpstr(mf_document_text(result.job, "state"), ==, "finished");
  g_assert_false(daemon.cancelled);
  result_clear(&result);
  daemon_stop(&daemon);
}

/* The job is never over. */
static gboolean
play_command(gpointer data)
{
  return play_plain(data) && ((Daemon *)data)->step < 4;
}

/* exec is over with its command: the job goes on. */
static void
test_exec(void)
{
  Daemon daemon = {.play = play_command};
  Result result = attach(&daemon, "j1", FALSE);
  g_assert_no_error(result.error);
  g_assert_cmpint(result.status, ==, 42);
  g_assert_cmpstr(result.out, ==, "out\n");
  g_assert_cmpuint(daemon.step, ==, 4);
  result_clear(&result);
  daemon_stop(&daemon);
}

static gboolean
play_cat(gpointer data)
{
  Daemon *self = data;
  if (self->step == 0)
    change(self, "running", "running");
  if (self->step++ == 0 || !self->input_closed)
    return TRUE;
  print(self, MF_STREAM_STDOUT, self->input->str);
  self->result = "succeeded";
  change(self, "finished", "finished");
  flush_output(self);
  return FALSE;
}

static void
test_input(void)
{
  int ends[2];
  int before = dup(STDIN_FILENO);
  g_assert_true(g_unix_open_pipe(ends, FD_CLOEXEC, NULL));
  g_assert_cmpint(write(ends[1], "more than the window", 20), ==, 20);
  close(ends[1]);
  dup2(ends[0], STDIN_FILENO);
  Daemon daemon = {.play = play_cat};
  Result result = attach(&daemon, NULL, TRUE);
  g_assert_no_error(result.error);
  g_assert_cmpint(result.status, ==, 0);
  g_assert_cmpstr(result.out, ==, "more than the window");
  result_clear(&result);
  daemon_stop(&daemon);
  dup2(before, STDIN_FILENO);
  close(before);
  close(ends[0]);
}

/* Until the job has been ended by somebody. */
static gboolean
play_endless(gpointer data)
{
  Daemon *self = data;
  guint step = self->step++;
  if (step == 0)
    change(self, "running", "running");
  if (step == 2)
    raise(SIGINT);
  if (self->signal != NULL) {
    self->code = 7;
    change(self, "ready", "finished");
    flush_output(self);
    return FALSE;
  }
  if (!self->cancelled || step < 20)
    return TRUE;
  self->result = "cancelled";
  change(self, "finished", "finished");
  flush_output(self);
  return FALSE;
}

static void
test_interrupt_run(void)
{
  Daemon daemon = {.play = play_endless};
  Result result = attach(&daemon, NULL, FALSE);
  g_assert_no_error(result.error);
  g_assert_true(daemon.cancelled);
  g_assert_cmpint(result.status, ==, MF_EXIT_INTERRUPT);
  /* Not before nothing is left of it. */
  g_assert_cmpstr(mf_document_text(result.job, "state"), ==, "finished");
  result_clear(&result);
  daemon_stop(&daemon);
}

static void
test_interrupt_exec(void)
{
  Daemon daemon = {.play = play_endless};
  Result result = attach(&daemon, "j1", FALSE);
  g_assert_no_error(result.error);
  g_assert_false(daemon.cancelled);
  g_assert_nonnull(strstr(daemon.signal, "\"INT\""));
  g_assert_cmpint(result.status, ==, 7);
  result_clear(&result);
  daemon_stop(&daemon);
}

static gboolean
play_kept(gpointer data)
{
  Daemon *self = data;
  self->code = 3;
  self->kept = TRUE;
  change(self, "ready", "finished");
  flush_output(self);
  return FALSE;
}

static void
test_kept(void)
{
  Daemon daemon = {.play = play_kept};
  Result result = attach(&daemon, NULL, FALSE);
  g_assert_no_error(result.error);
  g_assert_cmpint(result.status, ==, 3);
  g_assert_true(mf_document_has(result.job, "kept_until"));
  result_clear(&result);
  daemon_stop(&daemon);
}

static gboolean
play_timed_out(gpointer data)
{
  Daemon *self = data;
  self->result = "timed-out";
  self->kept = TRUE;
  change(self, "ready", "running");
  return FALSE;
}

/* Its command goes on in the machine that is kept, and nobody waits for that. */
static void
test_kept_running(void)
{
  Daemon daemon = {.play = play_timed_out};
  Result result = attach(&daemon, NULL, FALSE);
  g_assert_no_error(result.error);
  g_assert_cmpint(result.status, ==, MF_EXIT_TIMEOUT);
  result_clear(&result);
  daemon_stop(&daemon);
}

static void
test_no_such_job(void)
{
  Daemon daemon = {.play = play_plain};
  Result result = attach(&daemon, "j2", FALSE);
  g_assert_error(result.error, MF_ERROR, MF_ERROR_NOT_FOUND);
  g_assert_cmpint(result.status, ==, MF_EXIT_FAILURE);
  g_assert_null(result.job);
  result_clear(&result);
  daemon_stop(&daemon);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/attach/run", test_run);
  g_test_add_func("/attach/exec", test_exec);
  g_test_add_func("/attach/input", test_input);
  g_test_add_func("/attach/interrupt-run", test_interrupt_run);
  g_test_add_func("/attach/interrupt-exec", test_interrupt_exec);
  g_test_add_func("/attach/kept", test_kept);
  g_test_add_func("/attach/kept-running", test_kept_running);
  g_test_add_func("/attach/no-such-job", test_no_such_job);
  return g_test_run();
}
