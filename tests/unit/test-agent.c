/* SPDX-License-Identifier: Apache-2.0 */

/* The agent as a process: what it runs and says, on a unix socket in place of its port. */

#include "tests/unit/agent-host.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
run(AgentHost *host, guint32 exec, const char *document)
{
  agent_host_send_text(host, MF_FRAME_EXEC, exec, document);
}

static void
test_hello(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  g_assert_nonnull(strstr(host->hello, "\"protocol\":1"));
  g_assert_nonnull(strstr(host->hello, "\"shells\":[\"bash\",\"sh\"]"));
  agent_host_wait(host, host->ready != NULL);
  g_assert_nonnull(strstr(host->ready, "\"level\":"));
  guint before = host->hellos;
  agent_host_welcome(host);
  g_assert_cmpuint(host->hellos, ==, before + 1);
}

static void
test_streams_and_codes(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  run(host, 1, "{\"argv\":[\"sh\",\"-c\",\"echo out; echo err >&2; exit 42\"]}");
  run(host, 2, "{\"argv\":[\"true\"]}");
  run(host, 3, "{\"argv\":[\"false\"]}");
  run(host, 4, "{\"argv\":[\"sh\",\"-c\",\"kill -9 $$\"]}");
  agent_host_expect_exit(host, 1, "code 42");
  agent_host_expect_output(host, 1, 0, "out\n");
  agent_host_expect_output(host, 1, 1, "err\n");
  agent_host_expect_exit(host, 2, "code 0");
  agent_host_expect_exit(host, 3, "code 1");
  agent_host_expect_exit(host, 4, "signal 9");
}

static void
test_run_once(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  run(host, 1, "{\"argv\":[\"echo\",\"once\"]}");
  run(host, 1, "{\"argv\":[\"echo\",\"twice\"]}");
  agent_host_expect_exit(host, 1, "code 0");
  agent_host_send(host, MF_FRAME_ACK, MF_STREAM_EXIT, 1, 0, "", 0);
  run(host, 1, "{\"argv\":[\"echo\",\"again\"]}");
  run(host, 2, "{\"argv\":[\"true\"]}");
  agent_host_expect_exit(host, 2, "code 0");
  agent_host_pump(host, 50);
  agent_host_expect_output(host, 1, 0, "once\n");
  g_assert_cmpuint(host->execs[1].exits, ==, 1);
}

static void
test_exit_until_acknowledged(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  run(host, 1, "{\"argv\":[\"sh\",\"-c\",\"echo kept; exit 3\"]}");
  run(host, 2, "{\"argv\":[\"/nonexistent/program\"]}");
  agent_host_expect_exit(host, 1, "code 3");
  agent_host_expect_exit(host, 2, "code 127");
  agent_host_send(host, MF_FRAME_ACK, MF_STREAM_EXIT, 2, 0, "", 0);
  agent_host_disconnect(host);
  agent_host_accept(host);
  agent_host_welcome(host);
  agent_host_wait(host, host->execs[1].exits == 2);
  agent_host_send_text(host, MF_FRAME_WELCOME, 0,
                       "{\"execs\":{\"1\":{\"stdout\":5,\"stderr\":0,\"exit\":true}}}");
  agent_host_welcome(host);
  agent_host_pump(host, 50);
  g_assert_cmpuint(host->execs[1].exits, ==, 2);
  g_assert_cmpuint(host->execs[2].exits, ==, 1);
  g_assert_cmpuint(host->execs[2].errors, ==, 1);
}

static char *
sha256(const GByteArray *bytes)
{
  return g_compute_checksum_for_data(G_CHECKSUM_SHA256, bytes->data, bytes->len);
}

/* The connection breaks twice in the middle of 5 MB that no two runs have in common. */
static void
test_resume(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  run(host, 1,
      "{\"argv\":[\"sh\",\"-c\",\"head -c 5000000 /dev/urandom | tee /dev/stderr | sha256sum "
      ">&2\"]}");
  run(host, 2,
      "{\"script\":\"head -c 5000000 /dev/urandom >/tmp/mayfly-test-$$; sha256sum "
      "</tmp/mayfly-test-$$ >&2; "
      "cat /tmp/mayfly-test-$$; rm /tmp/mayfly-test-$$\"}");
  for (guint part = 1; part <= 2; part++) {
    agent_host_wait(host, host->execs[2].output[0]->len > part * 1500000);
    agent_host_disconnect(host);
    agent_host_accept(host);
    agent_host_welcome(host);
  }
  agent_host_expect_exit(host, 1, "code 0");
  agent_host_expect_exit(host, 2, "code 0");
  g_assert_cmpuint(host->execs[2].output[0]->len, ==, 5000000);
  g_autofree char *sum = sha256(host->execs[2].output[0]);
  g_autofree char *line = g_strdup_printf("%s  -\n", sum);
  agent_host_expect_output(host, 2, 1, line);
  /* The first wrote data and then its sum to the same stream. */
  GByteArray *both = host->execs[1].output[1];
  g_assert_cmpuint(both->len, ==, 5000000 + 64 + 4);
  g_autofree char *first = g_compute_checksum_for_data(G_CHECKSUM_SHA256, both->data, 5000000);
  g_assert_cmpmem(both->data + 5000000, 64, first, 64);
}

static guint64
memory_kib(GPid pid)
{
  g_autofree char *path = g_strdup_printf("/proc/%d/status", pid);
  g_autofree char *text = NULL;
  g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
  const char *line = strstr(text, "VmRSS:");
  g_assert_nonnull(line);
  return g_ascii_strtoull(line + 6, NULL, 10);
}

static void
test_back_pressure(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  host->acknowledge = FALSE;
  run(host, 1, "{\"argv\":[\"sh\",\"-c\",\"yes & sleep 0.3; cat /proc/$!/stat >&2; kill $!\"]}");
  agent_host_wait(host, host->execs[1].output[1]->len > 0);
  g_assert_cmpuint(host->execs[1].output[0]->len, ==, MF_FRAME_WINDOW);
  /* "pid (yes) S …": it sleeps, in write(). */
  g_autofree char *stat =
      g_strndup((const char *)host->execs[1].output[1]->data, host->execs[1].output[1]->len);
  g_assert_nonnull(strstr(stat, "(yes) S "));
  g_assert_cmpuint(memory_kib(host->agent), <, 8192);
  agent_host_send(host, MF_FRAME_PING, 0, 0, 0, "now", 3);
  agent_host_wait(host, host->pongs == 1);
  /* What was in the pipe at the end is owed, and comes when there is room. */
  host->acknowledge = TRUE;
  agent_host_send(host, MF_FRAME_ACK, MF_STREAM_STDOUT, 1, host->execs[1].output[0]->len, "", 0);
  agent_host_expect_exit(host, 1, "code 0");
  g_assert_cmpuint(host->execs[1].output[0]->len, >=, MF_FRAME_WINDOW + 65536);
}

/* A host that does not read at all stops the process too, and is served when it reads again. */
static void
test_host_stops_reading(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  run(host, 1, "{\"argv\":[\"head\",\"-c\",\"3000000\",\"/dev/zero\"]}");
  g_usleep(100000);
  g_assert_cmpuint(memory_kib(host->agent), <, 8192);
  agent_host_expect_exit(host, 1, "code 0");
  g_assert_cmpuint(host->execs[1].output[0]->len, ==, 3000000);
}

static void
test_stdin(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  run(host, 1, "{\"argv\":[\"sh\",\"-c\",\"tee /dev/stderr | sha256sum\"],\"stdin\":true}");
  const gsize size = 3000000;
  g_autofree guint8 *data = g_malloc(size);
  for (gsize i = 0; i < size; i++)
    data[i] = (guint8)(i * 7 + i / 251);
  for (gsize at = 0; at < size;) {
    gsize length = MIN(60000, size - at);
    agent_host_wait(host, at + length <= host->execs[1].stdin_taken + MF_FRAME_WINDOW);
    agent_host_send(host, MF_FRAME_STDIN, 0, 1, at, data + at, length);
    if (at % 7 == 0) /* what comes twice is not taken twice */
      agent_host_send(host, MF_FRAME_STDIN, 0, 1, at, data + at, length);
    at += length;
  }
  agent_host_send(host, MF_FRAME_EOF, 0, 1, size, "", 0);
  agent_host_expect_exit(host, 1, "code 0");
  g_assert_cmpuint(host->execs[1].stdin_taken, ==, size);
  g_assert_cmpmem(host->execs[1].output[1]->data, host->execs[1].output[1]->len, data, size);
  g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, data, size);
  g_autofree char *line = g_strdup_printf("%s  -\n", sum);
  agent_host_expect_output(host, 1, 0, line);
}

/* A reader that is gone must not hold up who writes to it; without "stdin" there is nothing to
 * read. */
static void
test_stdin_nobody_reads(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  g_autofree guint8 *data = g_malloc0(60000);
  run(host, 1, "{\"argv\":[\"sh\",\"-c\",\"exec <&-; echo closed; sleep 0.2\"],\"stdin\":true}");
  agent_host_wait_output(host, 1, "closed");
  for (guint64 at = 0; at < 600000; at += 60000)
    agent_host_send(host, MF_FRAME_STDIN, 0, 1, at, data, 60000);
  agent_host_wait(host, host->execs[1].stdin_taken == 600000);
  run(host, 2, "{\"argv\":[\"cat\"]}");
  agent_host_expect_exit(host, 2, "code 0");
  agent_host_expect_exit(host, 1, "code 0");
}

static gboolean
is_running(const AgentHost *host, const char *marker)
{
  g_autofree char *output =
      g_strndup((const char *)host->execs[1].output[0]->data, host->execs[1].output[0]->len);
  const char *at = strstr(output, marker);
  g_assert_nonnull(at);
  return kill(atoi(at + strlen(marker)), 0) == 0;
}

static void
signal_tree(AgentHost *host, const char *signal, const char *exit)
{
  run(host, 1,
      "{\"argv\":[\"sh\",\"-c\",\"sleep 60 & echo child=$!; setsid sh -c 'echo session=$$; exec "
      "sleep 60' & "
      "(setsid sh -c 'echo daemon=$$; exec sleep 60' &) ; sleep 0.1; echo all; wait; exit 7\"]}");
  agent_host_wait_output(host, 1, "all\n");
  agent_host_send_text(host, MF_FRAME_SIGNAL, 1, signal);
  agent_host_expect_exit(host, 1, exit);
  gint64 end = g_get_monotonic_time() + AGENT_HOST_TIMEOUT;
  while (is_running(host, "child=") || is_running(host, "session=") ||
         is_running(host, "daemon=")) {
    g_assert_cmpint(g_get_monotonic_time(), <, end);
    agent_host_pump(host, 5);
  }
}

static void
test_signal_term(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  signal_tree(host, "{\"signal\":15}", "signal 15");
}

static void
test_signal_kill(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  signal_tree(host, "{\"signal\":9}", "signal 9");
}

static void
test_terminal(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  run(host, 1,
      "{\"argv\":[\"sh\",\"-c\",\"stty -echo; tty -s && stty size; echo $TERM; read x; stty size; "
      "echo got $x >&2; "
      "cat; echo "
      "end\"],\"tty\":true,\"stdin\":true,\"rows\":33,\"cols\":101,\"env\":[\"TERM=vt100\"]}");
  agent_host_wait_output(host, 1, "33 101\r\nvt100\r\n");
  agent_host_send_text(host, MF_FRAME_RESIZE, 1, "{\"rows\":40,\"cols\":90}");
  agent_host_send(host, MF_FRAME_STDIN, 0, 1, 0, "word\n", 5);
  agent_host_wait_output(host, 1, "got word\r\n");
  agent_host_send(host, MF_FRAME_EOF, 0, 1, 5, "", 0);
  agent_host_expect_exit(host, 1, "code 0");
  agent_host_expect_output(host, 1, 0, "33 101\r\nvt100\r\n40 90\r\ngot word\r\nend\r\n");
  g_assert_cmpuint(host->execs[1].output[1]->len, ==, 0);
}

static void
test_terminal_interrupt(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  run(host, 1, "{\"argv\":[\"cat\"],\"tty\":true,\"stdin\":true}");
  agent_host_send(host, MF_FRAME_STDIN, 0, 1, 0, "x\n", 2);
  agent_host_wait_output(host, 1, "x\r\nx\r\n"); /* the terminal's echo, then cat's */
  agent_host_send(host, MF_FRAME_STDIN, 0, 1, 2, "\003", 1);
  agent_host_expect_exit(host, 1, "signal 2");
}

static void
test_scripts(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  run(host, 1, "{\"script\":\"#!/bin/bash\\necho ${BASH_VERSION:+bash} $0\\n\"}");
  run(host, 2, "{\"script\":\"echo plain; exit 5\"}");
  run(host, 3,
      "{\"script\":\"echo $0 from stdin\\nexit 6\\n\",\"shell\":[\"nosuchshell\",\"sh\"]}");
  run(host, 4, "{\"script\":\"true\",\"shell\":[\"nosuchshell\"]}");
  run(host, 5, "{}");
  agent_host_expect_exit(host, 1, "code 0");
  agent_host_expect_exit(host, 2, "code 5");
  agent_host_expect_output(host, 2, 0, "plain\n");
  agent_host_expect_exit(host, 3, "code 6");
  agent_host_expect_output(host, 3, 0, "sh from stdin\n");
  agent_host_expect_exit(host, 4, "code 126");
  g_assert_nonnull(strstr(host->execs[4].error, "nosuchshell"));
  agent_host_expect_exit(host, 5, "code 126");
  /* The script's file is gone with the exec. */
  g_autofree char *output =
      g_strndup((const char *)host->execs[1].output[0]->data, host->execs[1].output[0]->len);
  g_assert_true(g_str_has_prefix(output, "bash /"));
  g_assert_false(g_file_test(g_strstrip(output + 5), G_FILE_TEST_EXISTS));
}

static void
test_cannot_start(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  run(host, 1, "{\"argv\":[\"nosuchcommand\"]}");
  run(host, 2, "{\"argv\":[\"true\"],\"cwd\":\"/no/such/folder\"}");
  run(host, 3, "{\"argv\":[\"true\"],\"user\":\"nosuchuser\"}");
  run(host, 4, "{\"argv\":[\"/etc\"]}");
  agent_host_send_text(host, MF_FRAME_EXEC, 5, "this is no JSON");
  agent_host_expect_exit(host, 1, "code 127");
  g_assert_nonnull(
      strstr(host->execs[1].error, "command \\\"nosuchcommand\\\" is not in this machine's PATH"));
  agent_host_expect_exit(host, 2, "code 126");
  g_assert_nonnull(strstr(host->execs[2].error, "/no/such/folder"));
  agent_host_expect_exit(host, 3, "code 126");
  g_assert_nonnull(strstr(host->execs[3].error, "nosuchuser"));
  agent_host_expect_exit(host, 4, "code 126");
  agent_host_expect_exit(host, 5, "code 126");
}

static void
test_environment(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  run(host, 1,
      "{\"argv\":[\"sh\",\"-c\",\"printf '%s|%s|%s|%s' \\\"$A\\\" \\\"$HOME\\\" \\\"$PWD\\\" "
      "\\\"$B\\\"\"],"
      "\"cwd\":\"/usr\",\"env\":[\"A=one\",\"A=caf\xe9 \xff=\",\"HOME=/tmp\",\"B=\"]}");
  agent_host_expect_exit(host, 1, "code 0");
  agent_host_expect_output(host, 1, 0, "caf\xe9 \xff=|/tmp|/usr|");
}

/* The agent itself is a batch, which its commands must not inherit: 41 is proc(5)'s policy. */
static void
test_policy(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  run(host, 1, "{\"argv\":[\"cut\",\"-d\",\" \",\"-f\",\"41\",\"/proc/self/stat\"]}");
  agent_host_expect_exit(host, 1, "code 0");
  agent_host_expect_output(host, 1, 0, "0\n");
}

/* 200 kB, more than one frame holds and more than one argument may. */
static void
test_large_document(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  g_autoptr(GString) script = g_string_new("{\"script\":\"printf %s '");
  for (guint i = 0; i < 20000; i++)
    g_string_append(script, "0123456789");
  g_string_append(script, "' | wc -c\"}");
  run(host, 1, script->str);
  agent_host_expect_exit(host, 1, "code 0");
  agent_host_expect_output(host, 1, 0, "200000\n");
}

static void
test_straggler(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  run(host, 1,
      "{\"argv\":[\"sh\",\"-c\",\"echo main; (sleep 0.1; echo late; sleep 60) & exit 4\"]}");
  gint64 start = g_get_monotonic_time();
  agent_host_expect_exit(host, 1, "code 4");
  g_assert_cmpint(g_get_monotonic_time() - start, <, 5 * G_USEC_PER_SEC);
  agent_host_expect_output(host, 1, 0, "main\nlate\n");
  agent_host_send_text(host, MF_FRAME_SIGNAL, 1, "{\"signal\":9}");
  agent_host_send(host, MF_FRAME_PING, 0, 0, 0, "", 0);
  agent_host_wait(host, host->pongs == 1);
}

/* The host is started again while the agent waits for the rest of what it was saying. */
static void
test_host_restarts_in_a_frame(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  MfFrame frame = {.type = MF_FRAME_STDIN, .exec = 1, .length = MF_FRAME_MAX_PAYLOAD};
  g_byte_array_set_size(host->out, MF_FRAME_HEADER_SIZE);
  mf_frame_put_header(&frame, host->out->data);
  g_autofree guint8 *zeros = g_malloc0(MF_FRAME_FLUSH);
  g_byte_array_append(host->out, zeros, MF_FRAME_FLUSH);
  agent_host_welcome(host);
}

static void
test_files(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  g_autofree char *path = g_build_filename(host->folder, "made", "file", NULL);
  g_autofree char *parent = g_path_get_dirname(path);
  g_autofree char *put =
      g_strdup_printf("{\"path\":\"%s\",\"mode\":416,\"content_base64\":\"AAEC/v8K\"}", path);
  g_autofree char *get = g_strdup_printf("{\"path\":\"%s\"}", path);
  agent_host_send_text(host, MF_FRAME_PUT, 1, put);
  agent_host_send_text(host, MF_FRAME_GET, 2, get);
  agent_host_send_text(host, MF_FRAME_GET, 3, "{\"path\":\"/dev/zero\"}");
  agent_host_send_text(host, MF_FRAME_PUT, 4, "{\"path\":\"relative\",\"content_base64\":\"\"}");
  agent_host_wait(host, host->put != NULL && host->execs[4].error != NULL);
  g_assert_nonnull(strstr(host->put, "\"mode\":416,\"content_base64\":\"AAEC/v8K\""));
  g_assert_nonnull(strstr(host->execs[3].error, "not a regular file"));
  g_assert_null(host->execs[1].error);
  g_unlink(path);
  g_rmdir(parent);
}

#define NETWORK                                                                                    \
  "\"network\":{\"mac\":\"52:54:00:00:00:00\",\"address\":\"10.0.0.2\",\"prefix\":24,"             \
  "\"gateway\":\"10.0.0.1\"}"

/* What the HELLO says after "instance". (transfer full) */
static char *
instance_of(const AgentHost *host)
{
  const char *at = strstr(host->hello, "\"instance\":\"");
  g_assert_nonnull(at);
  return g_strndup(at + strlen("\"instance\":\""), 32);
}

/* A fork: the agent answers with the token, is another one from then on, and waits for its network
 * before it says again how far it has come. */
static void
test_reseed(void)
{
  g_autoptr(AgentHost) host = agent_host_new();
  agent_host_wait(host, host->ready != NULL);
  /* Where this host has a network it gets further. */
  agent_host_pump(host, 300);
  guint readies = host->readies;
  g_autofree char *before = instance_of(host);
  g_assert_null(strstr(host->hello, "token"));
  agent_host_send_text(host, MF_FRAME_RESEED, 0, "{\"token\":\"one\"," NETWORK "}");
  agent_host_wait(host, strstr(host->hello, "\"token\":\"one\"") != NULL);
  g_autofree char *after = instance_of(host);
  g_assert_cmpstr(before, !=, after);
  agent_host_wait(host, host->readies > readies);
  /* No such card comes: it gets no further. */
  agent_host_pump(host, 300);
  g_assert_nonnull(strstr(host->ready, "\"agent\""));
  /* Without a network it is the same one, and says so. */
  guint hellos = host->hellos;
  agent_host_send_text(host, MF_FRAME_RESEED, 0, "{\"token\":\"one\"}");
  agent_host_wait(host, host->hellos > hellos);
  g_autofree char *still = instance_of(host);
  g_assert_cmpstr(after, ==, still);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/agent/hello", test_hello);
  g_test_add_func("/agent/reseed", test_reseed);
  g_test_add_func("/agent/streams-and-codes", test_streams_and_codes);
  g_test_add_func("/agent/run-once", test_run_once);
  g_test_add_func("/agent/exit-until-acknowledged", test_exit_until_acknowledged);
  g_test_add_func("/agent/resume", test_resume);
  g_test_add_func("/agent/back-pressure", test_back_pressure);
  g_test_add_func("/agent/host-stops-reading", test_host_stops_reading);
  g_test_add_func("/agent/stdin", test_stdin);
  g_test_add_func("/agent/stdin-nobody-reads", test_stdin_nobody_reads);
  g_test_add_func("/agent/signal-term", test_signal_term);
  g_test_add_func("/agent/signal-kill", test_signal_kill);
  g_test_add_func("/agent/terminal", test_terminal);
  g_test_add_func("/agent/terminal-interrupt", test_terminal_interrupt);
  g_test_add_func("/agent/scripts", test_scripts);
  g_test_add_func("/agent/cannot-start", test_cannot_start);
  g_test_add_func("/agent/environment", test_environment);
  g_test_add_func("/agent/policy", test_policy);
  g_test_add_func("/agent/large-document", test_large_document);
  g_test_add_func("/agent/straggler", test_straggler);
  g_test_add_func("/agent/host-restarts-in-a-frame", test_host_restarts_in_a_frame);
  g_test_add_func("/agent/files", test_files);
  return g_test_run();
}
