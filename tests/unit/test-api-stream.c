/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting and following: what comes when, to whom, and what it costs. */
#include <malloc.h>
#include <string.h>

#include "daemon/frame.h"
#include "daemon/json.h"
#include "tests/lib/api-fixture.h"

static void
say(MfExec *exec, guint stream, const char *text)
{
  fake_exec_write(exec, stream, text, strlen(text));
}

static void
body_is(ApiFixture *f, const char *path, const char *wanted)
{
  g_autoptr(HttpAnswer) answer = api_expect(f, "GET", path, NULL, 200);
  g_assert_cmpstr(http_answer_text(answer), ==, wanted);
}

static void
test_forms(ApiFixture *f, gconstpointer unused)
{
  MfJob *job = fake_scheduler_add(f->scheduler, "a", 0, MF_JOB_RUNNING);
  MfExec *exec = fake_job_add_exec(f->scheduler, job);
  body_is(f, "/v1/jobs/a/execs/1/output", "");
  say(exec, MF_STREAM_STDOUT, "out1\n");
  say(exec, MF_STREAM_STDERR, "err\n");
  say(exec, MF_STREAM_STDOUT, "out2\n");
  body_is(f, "/v1/jobs/a/execs/1/output", "out1\nerr\nout2\n");
  body_is(f, "/v1/jobs/a/execs/1/output?form=stdout&offset=5", "out2\n");
  body_is(f, "/v1/jobs/a/execs/1/output?form=stderr", "err\n");
  body_is(f, "/v1/jobs/a/execs/1/output?offset=99", "");
  g_autoptr(HttpAnswer) mux = api_expect(f, "GET", "/v1/jobs/a/execs/1/output?form=mux", NULL, 200);
  g_assert_cmpmem(mux->body->data, mux->body->len,
                  "\1\0\0\0\0\0\0\5out1\n\2\0\0\0\0\0\0\4err\n\1\0\0\0\0\0\0\5out2\n", 38);
  api_refused(f, "GET", "/v1/jobs/a/execs/1/output?form=both", NULL, 400, "one of: mux merged");
  api_refused(f, "GET", "/v1/jobs/a/execs/1/output?offset=-1", NULL, 400, "\"offset\"");
  static const char old[] = "GET /v1/jobs/a/execs/1/output HTTP/1.0\r\n\r\n";
  g_autoptr(HttpAnswer) answer = api_talk_raw(f, old, strlen(old));
  g_assert_cmpstr(http_answer_text(answer), ==, "out1\nerr\nout2\n");
}

static void
test_follow(ApiFixture *f, gconstpointer unused)
{
  MfJob *job = fake_scheduler_add(f->scheduler, "a", 0, MF_JOB_RUNNING);
  MfExec *exec = fake_job_add_exec(f->scheduler, job);
  g_autoptr(GSocket) socket = api_open_get(f, "/v1/jobs/a/execs/1/output?follow=1");
  g_autoptr(GString) got = g_string_new(NULL);
  api_wait_for(&job->watchers, 1);
  api_read_until(socket, got, "\r\n\r\n");
  say(exec, MF_STREAM_STDOUT, "one\n");
  api_read_until(socket, got, "one\n");
  say(exec, MF_STREAM_STDOUT, "two\n");
  api_read_until(socket, got, "two\n");
  say(exec, MF_STREAM_STDOUT, "three\n");
  fake_exec_finish(exec);
  api_read_to_end(socket, got);
  g_assert_true(g_str_has_suffix(got->str, "three\n\r\n0\r\n\r\n"));
  g_assert_cmpuint(job->watchers, ==, 0);
}

static void
test_hangup(ApiFixture *f, gconstpointer unused)
{
  static const char *const paths[] = {"/v1/jobs/a/execs/1/output?follow=1", "/v1/jobs/a/events"};
  MfJob *job = fake_scheduler_add(f->scheduler, "a", 0, MF_JOB_RUNNING);
  fake_job_add_exec(f->scheduler, job);
  for (gsize i = 0; i < G_N_ELEMENTS(paths); i++) {
    GSocket *socket = api_open_get(f, paths[i]);
    api_wait_for(&job->watchers, 1);
    g_object_unref(socket);
    gint64 start = g_get_monotonic_time();
    api_wait_for(&job->watchers, 0);
    g_assert_cmpint(g_get_monotonic_time() - start, <, G_USEC_PER_SEC / 4);
  }
  /* Others' eyes, and eyes on the console, do not keep a job alive. */
  job->owner = 5;
  g_autoptr(GSocket) other = api_open_get(f, paths[0]);
  g_autoptr(GString) got = g_string_new(NULL);
  api_read_until(other, got, "\r\n\r\n");
  g_assert_cmpuint(job->watchers, ==, 0);
  g_clear_object(&other);
  while (g_hash_table_size(f->api->connections) > 0)
    g_main_context_iteration(NULL, FALSE);
  g_assert_cmpuint(g_hash_table_size(f->api->requests), ==, 0);
}

static void
test_console(ApiFixture *f, gconstpointer unused)
{
  MfJob *job = fake_scheduler_add(f->scheduler, "a", 0, MF_JOB_STARTING);
  body_is(f, "/v1/jobs/a/console", "");
  g_autoptr(GSocket) socket = api_open_get(f, "/v1/jobs/a/console?follow=1");
  g_autoptr(GString) got = g_string_new(NULL);
  api_read_until(socket, got, "\r\n\r\n");
  fake_job_open_console(f->scheduler, job);
  fake_job_changed(job);
  g_autoptr(GError) error = NULL;
  g_assert_true(mf_output_log_append(job->console, MF_STREAM_STDOUT, "boot\n", 5, &error));
  api_read_until(socket, got, "boot\n");
  body_is(f, "/v1/jobs/a/console?offset=2", "ot\n");
  /* The log is not closed, but nobody is left to write to it. */
  fake_job_set_state(f->scheduler, job, MF_JOB_FINISHED, MF_RESULT_CANCELLED);
  api_read_to_end(socket, got);
  g_assert_true(g_str_has_suffix(got->str, "0\r\n\r\n"));
  fake_scheduler_add(f->scheduler, "b", 0, MF_JOB_FINISHED);
  body_is(f, "/v1/jobs/b/console?follow=1", "");
}

static void
test_wait_job(ApiFixture *f, gconstpointer unused)
{
  MfJob *job = fake_scheduler_add(f->scheduler, "a", 0, MF_JOB_QUEUED);
  g_autoptr(HttpAnswer) at_once =
      api_expect(f, "GET", "/v1/jobs/a?wait=ready&timeout=0", NULL, 200);
  g_autoptr(GString) ready = g_string_new(NULL), change = g_string_new(NULL),
                     finished = g_string_new(NULL);
  g_autoptr(GSocket) a = api_open_get(f, "/v1/jobs/a?wait=ready");
  g_autoptr(GSocket) b = api_open_get(f, "/v1/jobs/a?wait=change");
  g_autoptr(GSocket) c = api_open_get(f, "/v1/jobs/a?wait=finished");
  while (g_hash_table_size(f->api->requests) < 3)
    g_main_context_iteration(NULL, FALSE);
  fake_job_changed(job);
  api_read_to_end(b, change);
  g_assert_nonnull(strstr(change->str, "\"queued\""));
  fake_job_set_state(f->scheduler, job, MF_JOB_STARTING, MF_RESULT_NONE);
  g_assert_cmpuint(g_hash_table_size(f->api->requests), ==, 2);
  fake_job_set_state(f->scheduler, job, MF_JOB_READY, MF_RESULT_NONE);
  api_read_to_end(a, ready);
  g_assert_nonnull(strstr(ready->str, "\"ready\""));
  fake_job_set_state(f->scheduler, job, MF_JOB_FINISHED, MF_RESULT_SUCCEEDED);
  api_read_to_end(c, finished);
  g_assert_nonnull(strstr(finished->str, "\"finished\""));
  g_autoptr(HttpAnswer) over = api_expect(f, "GET", "/v1/jobs/a?wait=ready", NULL, 200);
  api_refused(f, "GET", "/v1/jobs/a?wait=ready&timeout=301", NULL, 400, "from 0 to 300");
  api_refused(f, "GET", "/v1/jobs/a?wait=forever", NULL, 400, "ready finished change");
}

static void
test_wait_exec(ApiFixture *f, gconstpointer unused)
{
  MfJob *job = fake_scheduler_add(f->scheduler, "a", 0, MF_JOB_RUNNING);
  MfExec *exec = fake_job_add_exec(f->scheduler, job);
  g_autoptr(GString) got = g_string_new(NULL);
  g_autoptr(GSocket) socket = api_open_get(f, "/v1/jobs/a/execs/1?wait=finished");
  g_autoptr(GSocket) gone = api_open_get(f, "/v1/jobs/a/execs/1?wait=finished");
  while (g_hash_table_size(f->api->requests) < 2)
    g_main_context_iteration(NULL, FALSE);
  g_clear_object(&gone);
  while (g_hash_table_size(f->api->requests) > 1)
    g_main_context_iteration(NULL, FALSE);
  g_signal_emit_by_name(exec, "changed");
  g_assert_cmpuint(g_hash_table_size(f->api->requests), ==, 1);
  fake_exec_finish(exec);
  api_read_to_end(socket, got);
  g_assert_nonnull(strstr(got->str, "\"finished\""));
  g_autoptr(HttpAnswer) done = api_expect(f, "GET", "/v1/jobs/a/execs/1?wait=finished", NULL, 200);
}

static void
test_job_events(ApiFixture *f, gconstpointer unused)
{
  MfJob *job = fake_scheduler_add(f->scheduler, "a", 0, MF_JOB_QUEUED);
  g_autoptr(GString) got = g_string_new(NULL);
  g_autoptr(GSocket) socket = api_open_get(f, "/v1/jobs/a/events");
  api_read_until(socket, got, "\"queued\"");
  g_assert_nonnull(strstr(got->str, "application/x-ndjson"));
  fake_job_set_state(f->scheduler, job, MF_JOB_STARTING, MF_RESULT_NONE);
  api_read_until(socket, got, "\"starting\"");
  fake_job_set_state(f->scheduler, job, MF_JOB_FINISHED, MF_RESULT_CANCELLED);
  api_read_to_end(socket, got);
  g_assert_nonnull(strstr(got->str, "\"finished\""));
  g_assert_true(g_str_has_suffix(got->str, "0\r\n\r\n"));
  g_assert_cmpuint(job->watchers, ==, 0);
}

static void
test_host_events(ApiFixture *f, gconstpointer unused)
{
  fake_scheduler_add(f->scheduler, "mine", 1000, MF_JOB_RUNNING);
  fake_scheduler_add(f->scheduler, "theirs", 1001, MF_JOB_RUNNING);
  api_fixture_set_peer(f, 1000, FALSE);
  g_autoptr(GSocket) user = api_open_get(f, "/v1/events");
  g_autoptr(GString) seen = g_string_new(NULL), all = g_string_new(NULL);
  api_read_until(user, seen, "\r\n\r\n");
  api_fixture_set_peer(f, 0, TRUE);
  g_autoptr(GSocket) root = api_open_get(f, "/v1/events");
  api_read_until(root, all, "\r\n\r\n");
  fake_scheduler_emit(f->scheduler, "host", NULL);
  fake_scheduler_emit(f->scheduler, "job.changed", "theirs");
  fake_scheduler_emit(f->scheduler, "job.changed", "mine");
  api_read_until(user, seen, "mine");
  api_read_until(root, all, "mine");
  g_assert_null(strstr(seen->str, "theirs"));
  g_assert_null(strstr(seen->str, "host"));
  g_assert_nonnull(strstr(all->str, "theirs"));
  g_assert_nonnull(strstr(all->str, "host"));
  /* More at once than is kept for a reader: it is told how much it missed. */
  for (guint i = 0; i < 5000; i++)
    fake_scheduler_emit(f->scheduler, "job.changed", "mine");
  api_read_until(user, seen, "\"lost\",\"count\":");
}

/* The client reads nothing: the server holds a chunk, not the output. Then it reads all, and
 * nothing is missing. */
static void
test_slow_reader(ApiFixture *f, gconstpointer unused)
{
  const gsize size = 50 << 20, piece = 32 << 10;
  MfJob *job = fake_scheduler_add(f->scheduler, "a", 0, MF_JOB_RUNNING);
  MfExec *exec = fake_job_add_exec(f->scheduler, job);
  g_autofree guint8 *data = g_malloc0(piece);
  for (gsize i = 0; i < size / piece; i++) {
    memset(data, (int)i, piece);
    fake_exec_write(exec, MF_STREAM_STDOUT, data, piece);
  }
  gsize before = mallinfo2().uordblks;
  g_autoptr(GSocket) socket = api_open_get(f, "/v1/jobs/a/execs/1/output?follow=1");
  api_wait_for(&job->watchers, 1);
  for (guint i = 0; i < 2000; i++)
    g_main_context_iteration(NULL, FALSE);
  g_assert_cmpuint(mallinfo2().uordblks, <, before + (512 << 10));
  fake_exec_finish(exec);
  char buffer[65536];
  guint64 total = 0;
  gssize n = 1;
  while (n != 0) {
    g_main_context_iteration(NULL, FALSE);
    while ((n = g_socket_receive(socket, buffer, sizeof(buffer), NULL, NULL)) > 0)
      total += (guint64)n;
  }
  /* Each chunk has its length and two line ends; the head is small. */
  g_assert_cmpuint(total, >=, size);
  g_assert_cmpuint(total, <, size + (64 << 10));
  g_assert_cmpuint(mallinfo2().uordblks, <, before + (512 << 10));
  g_assert_cmpuint(job->watchers, ==, 0);
}

#define FOLLOWERS 200

static void
test_many_followers(ApiFixture *f, gconstpointer unused)
{
  MfJob *job = fake_scheduler_add(f->scheduler, "a", 0, MF_JOB_RUNNING);
  MfExec *exec = fake_job_add_exec(f->scheduler, job);
  GSocket *sockets[FOLLOWERS];
  for (guint i = 0; i < FOLLOWERS; i++)
    sockets[i] = api_open_get(f, "/v1/jobs/a/execs/1/output?follow=1");
  api_wait_for(&job->watchers, FOLLOWERS);
  say(exec, MF_STREAM_STDOUT, "first\n");
  for (guint i = 0; i < FOLLOWERS; i++) {
    g_autoptr(GString) got = g_string_new(NULL);
    api_read_until(sockets[i], got, "first\n");
  }
  say(exec, MF_STREAM_STDOUT, "last\n");
  fake_exec_finish(exec);
  for (guint i = 0; i < FOLLOWERS; i++) {
    g_autoptr(GString) got = g_string_new(NULL);
    api_read_to_end(sockets[i], got);
    g_assert_true(g_str_has_suffix(got->str, "last\n\r\n0\r\n\r\n"));
    g_object_unref(sockets[i]);
  }
  g_assert_cmpuint(job->watchers, ==, 0);
}

/* The daemon stops with clients of every kind: all is let go. */
static void
test_server_ends(ApiFixture *f, gconstpointer unused)
{
  MfJob *job = fake_scheduler_add(f->scheduler, "a", 0, MF_JOB_RUNNING);
  MfExec *exec = fake_job_add_exec(f->scheduler, job);
  static const char *const paths[] = {"/v1/jobs/a/execs/1/output?follow=1", "/v1/jobs/a/events",
                                      "/v1/events", "/v1/jobs/a?wait=finished",
                                      "/v1/jobs/a/console?follow=1"};
  GSocket *sockets[G_N_ELEMENTS(paths)];
  for (gsize i = 0; i < G_N_ELEMENTS(paths); i++)
    sockets[i] = api_open_get(f, paths[i]);
  while (g_hash_table_size(f->api->requests) < G_N_ELEMENTS(paths))
    g_main_context_iteration(NULL, FALSE);
  g_autoptr(GSocket) fresh = api_open(f);
  g_clear_pointer(&f->api, mf_api_free);
  g_assert_cmpuint(job->watchers, ==, 0);
  say(exec, MF_STREAM_STDOUT, "nobody hears this\n");
  fake_job_set_state(f->scheduler, job, MF_JOB_FINISHED, MF_RESULT_CANCELLED);
  for (gsize i = 0; i < G_N_ELEMENTS(paths); i++) {
    g_autoptr(GString) got = g_string_new(NULL);
    api_read_to_end(sockets[i], got);
    g_assert_false(g_str_has_suffix(got->str, "0\r\n\r\n"));
    g_object_unref(sockets[i]);
  }
}

#define add(name, function)                                                                        \
  g_test_add("/api-stream/" name, ApiFixture, NULL, api_fixture_set_up, function,                  \
             api_fixture_tear_down)

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  add("forms", test_forms);
  add("follow", test_follow);
  add("hangup", test_hangup);
  add("console", test_console);
  add("wait-job", test_wait_job);
  add("wait-exec", test_wait_exec);
  add("job-events", test_job_events);
  add("host-events", test_host_events);
  add("slow-reader", test_slow_reader);
  add("many-followers", test_many_followers);
  add("server-ends", test_server_ends);
  return g_test_run();
}
