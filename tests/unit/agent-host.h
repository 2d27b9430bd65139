/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A host for the built agent, over a unix socket instead of a virtio-serial port: starts it, talks
 * to it, and keeps what it says. Everything waits at most AGENT_HOST_TIMEOUT and then fails the
 * test.
 */

#include "daemon/frame.h"

#include <glib.h>

#define AGENT_HOST_TIMEOUT (10 * G_USEC_PER_SEC)
#define AGENT_HOST_EXECS   8

typedef struct {
  GByteArray *output[2]; /* stdout, stderr; contiguous from 0 */
  gboolean unacknowledged[2];
  char *exit;  /* the EXIT document */
  char *error; /* the ERROR document */
  guint exits, errors;
  guint64 stdin_taken;
} AgentHostExec;

typedef struct {
  char *folder, *path;
  int listener, connection;
  GPid agent;
  GByteArray *out; /* whole frames, but for what is sent of the first */
  gboolean flushing;
  gboolean acknowledge; /* output as it comes */
  guint hellos, welcomed_hellos, readies, pongs;
  char *hello, *ready, *put;
  guint64 total; /* bytes of output frames, repeated ones too */
  AgentHostExec execs[AGENT_HOST_EXECS];
  MfFrameDecoder decoder;
} AgentHost;

/* Starts an agent and welcomes it. */
AgentHost *agent_host_new(void);
void agent_host_free(AgentHost *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AgentHost, agent_host_free)

void agent_host_disconnect(AgentHost *self);
/* Takes the agent's next connection, without a word. */
void agent_host_accept(AgentHost *self);
/* Sends WELCOME with what we have, and waits for the HELLO. */
void agent_host_welcome(AgentHost *self);

void agent_host_send(AgentHost *self, guint8 type, guint8 flags, guint32 exec, guint64 offset,
                     const void *data, gsize length);
void agent_host_send_text(AgentHost *self, guint8 type, guint32 exec, const char *text);
/* Takes what the agent has said for up to @wait_ms. */
void agent_host_pump(AgentHost *self, int wait_ms);
/* Waits for the exit, and checks that it is @exit: "code 0", "signal 9". */
void agent_host_expect_exit(AgentHost *self, guint32 exec, const char *exit);
void agent_host_expect_output(AgentHost *self, guint32 exec, guint stream, const char *text);
void agent_host_wait_output(AgentHost *self, guint32 exec, const char *needle);

#define agent_host_wait(self, condition)                                                           \
  G_STMT_START                                                                                     \
  {                                                                                                \
    gint64 agent_host_end = g_get_monotonic_time() + AGENT_HOST_TIMEOUT;                           \
    while (!(condition)) {                                                                         \
      g_assert_cmpint(g_get_monotonic_time(), <, agent_host_end);                                  \
      agent_host_pump(self, 20);                                                                   \
    }                                                                                              \
  }                                                                                                \
  G_STMT_END
