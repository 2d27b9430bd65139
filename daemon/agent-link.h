/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The host's end of the agent link of one machine (frame.h): the socket, the handshake, frames in
 * and out. What frames mean to a job is its user's business, told through MfAgentHandler. The guest
 * is hostile: whatever it sends costs bounded memory and time. Main context only. No handler is
 * called after mf_agent_link_close().
 */

#include <gio/gio.h>

#include "daemon/auto.h"

typedef struct MfAgentLink MfAgentLink;

typedef struct {
  /* The "execs" member of a WELCOME: what of each exec we have. (transfer full) */
  MfJson *(*welcome)(gpointer user_data);
  /* The agent is there (again); @hello is its document. */
  void (*hello)(MfJson *hello, gpointer user_data);
  void (*ready)(const char *level, gpointer user_data);
  void (*output)(guint exec, guint stream, guint64 offset, const void *data, gsize length,
                 gpointer user_data);
  void (*stdin_taken)(guint exec, guint64 offset, gpointer user_data);
  void (*exited)(guint exec, MfJson *status, gpointer user_data);
  /* @exec 0: not about an exec. @message is the guest's text: hostile. */
  void (*failed)(guint exec, const char *message, gpointer user_data);
  /* The link is of no use any more; @reason completes "the agent in the machine …". Called once. */
  void (*lost)(const char *reason, gpointer user_data);
} MfAgentHandler;

/*
 * mf_agent_link_open() - connect to the socket of a machine that was started paused, before it
 * runs, or again after a restart.
 * @silence: seconds without a word after which the link is lost.
 */
MfAgentLink *mf_agent_link_open(const char *path, guint64 silence, const MfAgentHandler *handler,
                                gpointer user_data, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void mf_agent_link_close(MfAgentLink *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfAgentLink, mf_agent_link_close)

/* Frames out never block; they wait in memory while the guest does not read. @type: MfFrameType. */
void mf_agent_link_send(MfAgentLink *self, guint type, guint exec, guint flags, guint64 offset,
                        const void *data, gsize length);
/* @document is split into as many frames as it needs. */
void mf_agent_link_send_document(MfAgentLink *self, guint type, guint exec, MfJson *document);
