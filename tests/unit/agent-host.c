/* SPDX-License-Identifier: Apache-2.0 */

/* A host for the agent under test: see agent-host.h. */

#include "tests/unit/agent-host.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void
die_with_test(gpointer unused)
{
  prctl(PR_SET_PDEATHSIG, SIGKILL);
}

AgentHost *
agent_host_new(void)
{
  AgentHost *self = g_new0(AgentHost, 1);
  g_autoptr(GError) error = NULL;
  self->folder = g_dir_make_tmp("mayfly-test-XXXXXX", &error);
  g_assert_no_error(error);
  self->path = g_build_filename(self->folder, "agent.sock", NULL);
  self->acknowledge = TRUE;
  self->connection = -1;
  self->out = g_byte_array_new();
  for (guint i = 0; i < AGENT_HOST_EXECS; i++)
    for (guint j = 0; j < 2; j++)
      self->execs[i].output[j] = g_byte_array_new();

  struct sockaddr_un address = {.sun_family = AF_UNIX};
  g_strlcpy(address.sun_path, self->path, sizeof address.sun_path);
  self->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_assert_cmpint(bind(self->listener, (struct sockaddr *)&address, sizeof address), ==, 0);
  g_assert_cmpint(listen(self->listener, 1), ==, 0);

  char *argv[] = {(char *)MF_TEST_AGENT, (char *)"--socket", self->path, NULL};
  g_spawn_async(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL,
                die_with_test, NULL, &self->agent, &error);
  g_assert_no_error(error);
  agent_host_accept(self);
  agent_host_welcome(self);
  return self;
}

void
agent_host_free(AgentHost *self)
{
  kill(self->agent, SIGKILL);
  waitpid(self->agent, NULL, 0);
  agent_host_disconnect(self);
  close(self->listener);
  g_unlink(self->path);
  g_rmdir(self->folder);
  for (guint i = 0; i < AGENT_HOST_EXECS; i++) {
    for (guint j = 0; j < 2; j++)
      g_byte_array_unref(self->execs[i].output[j]);
    g_free(self->execs[i].exit);
    g_free(self->execs[i].error);
  }
  g_byte_array_unref(self->out);
  g_free(self->hello);
  g_free(self->ready);
  g_free(self->put);
  g_free(self->path);
  g_free(self->folder);
  g_free(self);
}

void
agent_host_disconnect(AgentHost *self)
{
  if (self->connection >= 0)
    close(self->connection);
  self->connection = -1;
}

void
agent_host_accept(AgentHost *self)
{
  struct pollfd wait = {.fd = self->listener, .events = POLLIN};
  g_assert_cmpint(poll(&wait, 1, (int)(AGENT_HOST_TIMEOUT / 1000)), ==, 1);
  self->connection = accept4(self->listener, NULL, NULL, SOCK_CLOEXEC);
  g_assert_cmpint(self->connection, >=, 0);
  mf_frame_decoder_reset(&self->decoder);
}

void
agent_host_welcome(AgentHost *self)
{
  g_autoptr(GString) text = g_string_new("{\"protocol\":1,\"execs\":{");
  for (guint i = 0; i < AGENT_HOST_EXECS; i++)
    g_string_append_printf(text, "%s\"%u\":{\"stdout\":%u,\"stderr\":%u,\"exit\":false}",
                           i > 0 ? "," : "", i, self->execs[i].output[0]->len,
                           self->execs[i].output[1]->len);
  g_string_append(text, "}}");
  guint before = self->welcomed_hellos;
  agent_host_send_text(self, MF_FRAME_WELCOME, 0, text->str);
  agent_host_wait(self, self->welcomed_hellos > before);
}

/* Takes while it sends: with both sides full nobody would get on. What is said while taking waits
   behind what is being sent. */
static void
flush(AgentHost *self)
{
  gint64 end = g_get_monotonic_time() + AGENT_HOST_TIMEOUT;
  if (self->flushing)
    return;
  self->flushing = TRUE;
  while (self->out->len > 0) {
    g_assert_cmpint(g_get_monotonic_time(), <, end);
    gssize sent =
        send(self->connection, self->out->data, self->out->len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) {
      g_byte_array_remove_range(self->out, 0, (guint)sent);
      continue;
    }
    g_assert_cmpint(errno, ==, EAGAIN);
    agent_host_pump(self, 5);
  }
  self->flushing = FALSE;
}

void
agent_host_send(AgentHost *self, guint8 type, guint8 flags, guint32 exec, guint64 offset,
                const void *data, gsize length)
{
  MfFrame frame = {
      .type = type, .flags = flags, .exec = exec, .offset = offset, .length = (guint32)length};
  guint8 header[MF_FRAME_HEADER_SIZE];
  mf_frame_put_header(&frame, header);
  g_byte_array_append(self->out, header, sizeof header);
  g_byte_array_append(self->out, data, (guint)length);
  flush(self);
}

void
agent_host_send_text(AgentHost *self, guint8 type, guint32 exec, const char *text)
{
  gsize left = strlen(text);
  do {
    gsize length = MIN(left, 50000);
    left -= length;
    agent_host_send(self, type, left > 0 ? MF_FRAME_MORE : 0, exec, 0, text, length);
    text += length;
  } while (left > 0);
}

static void
replace(char **place, const MfFrame *frame)
{
  g_free(*place);
  *place = g_strndup((const char *)frame->payload, frame->length);
}

static void
take_output(AgentHost *self, const MfFrame *frame)
{
  guint stream = frame->type == MF_FRAME_STDOUT ? 0 : 1;
  GByteArray *output = self->execs[frame->exec].output[stream];
  g_assert_cmpuint(frame->offset, <=, output->len);
  self->total += frame->length;
  gsize known = output->len - frame->offset;
  if (known < frame->length)
    g_byte_array_append(output, frame->payload + known, (guint)(frame->length - known));
  self->execs[frame->exec].unacknowledged[stream] = TRUE;
}

static void
take_frame(AgentHost *self, const MfFrame *frame)
{
  g_assert_cmpuint(frame->exec, <, AGENT_HOST_EXECS);
  AgentHostExec *exec = &self->execs[frame->exec];
  switch (frame->type) {
  case MF_FRAME_HELLO:
    replace(&self->hello, frame);
    self->hellos++;
    self->welcomed_hellos += strstr(self->hello, "\"welcomed\":true") != NULL;
    break;
  case MF_FRAME_READY:
    replace(&self->ready, frame);
    self->readies++;
    break;
  case MF_FRAME_STDOUT:
  case MF_FRAME_STDERR:
    take_output(self, frame);
    break;
  case MF_FRAME_EXIT:
    replace(&exec->exit, frame);
    exec->exits++;
    break;
  case MF_FRAME_ERROR:
    replace(&exec->error, frame);
    exec->errors++;
    break;
  case MF_FRAME_ACK:
    exec->stdin_taken = frame->offset;
    break;
  case MF_FRAME_PONG:
    self->pongs++;
    break;
  case MF_FRAME_PUT:
    replace(&self->put, frame);
    break;
  default:
    g_assert_not_reached();
  }
}

/* Only between frames: sending may have to take what the agent says. */
static void
acknowledge(AgentHost *self)
{
  for (guint i = 0; i < AGENT_HOST_EXECS; i++) {
    AgentHostExec *exec = &self->execs[i];
    for (guint j = 0; j < 2; j++) {
      if (!exec->unacknowledged[j])
        continue;
      exec->unacknowledged[j] = FALSE;
      agent_host_send(self, MF_FRAME_ACK, j == 0 ? MF_STREAM_STDOUT : MF_STREAM_STDERR, i,
                      exec->output[j]->len, "", 0);
    }
  }
}

void
agent_host_pump(AgentHost *self, int wait_ms)
{
  struct pollfd wait = {.fd = self->connection, .events = POLLIN};
  if (poll(&wait, 1, wait_ms) <= 0)
    return;
  guint8 data[65536];
  gssize got = recv(self->connection, data, sizeof data, MSG_DONTWAIT);
  g_assert_cmpint(got, >, 0);
  for (gssize at = 0; at < got;) {
    at += (gssize)mf_frame_decoder_feed(&self->decoder, data + at, (gsize)(got - at));
    MfFrame frame;
    while (mf_frame_decoder_next(&self->decoder, &frame))
      take_frame(self, &frame);
  }
  if (self->acknowledge)
    acknowledge(self);
}

void
agent_host_expect_exit(AgentHost *self, guint32 exec, const char *exit)
{
  agent_host_wait(self, self->execs[exec].exit != NULL);
  struct json_object *document = json_tokener_parse(self->execs[exec].exit);
  g_assert_nonnull(document);
  struct json_object *value = NULL;
  gboolean code = json_object_object_get_ex(document, "code", &value);
  if (!code)
    g_assert_true(json_object_object_get_ex(document, "signal", &value));
  g_autofree char *got =
      g_strdup_printf("%s %d", code ? "code" : "signal", json_object_get_int(value));
  g_assert_cmpstr(got, ==, exit);
  const char *const names[] = {"stdout", "stderr"};
  for (guint i = 0; i < 2; i++) {
    g_assert_true(json_object_object_get_ex(document, names[i], &value));
    g_assert_cmpint(json_object_get_int64(value), ==, self->execs[exec].output[i]->len);
  }
  json_object_put(document);
}

void
agent_host_expect_output(AgentHost *self, guint32 exec, guint stream, const char *text)
{
  GByteArray *output = self->execs[exec].output[stream];
  g_autofree char *got = g_strndup((const char *)output->data, output->len);
  g_assert_cmpstr(got, ==, text);
}

void
agent_host_wait_output(AgentHost *self, guint32 exec, const char *needle)
{
  GByteArray *output = self->execs[exec].output[0];
  agent_host_wait(self, output->len > 0 &&
                            memmem(output->data, output->len, needle, strlen(needle)) != NULL);
}
