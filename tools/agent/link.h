/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The connection to the host: opening it, opening it again, frames in and frames out. It knows
 * nothing of what frames mean.
 *
 * A virtio-serial port stays open while nobody listens on the host; then poll() says hang-up and
 * nothing may be sent. A connection that comes back is a new one: what was half read or half
 * written is forgotten on both sides.
 */

#include "daemon/frame.h"
#include "tools/agent/poller.h"

typedef enum {
  MF_LINK_PORT,   /* the virtio-serial port MF_FRAME_PORT_NAME */
  MF_LINK_SOCKET, /* a unix socket, connected to again when it closes; for tests */
  MF_LINK_FD,     /* an open file, not opened again; for tests */
} MfLinkKind;

/* What to tell the owner. */
typedef struct {
  /* There is a connection (again), or there is no more. */
  void (*changed)(void *owner, bool up);
  /* Return: false: not now; the same frame is offered again in the next rounds, and none after it.
   */
  bool (*frame)(void *owner, const MfFrame *frame);
  /* The line is free: send the next frame, if there is one. Return: whether there was. */
  bool (*ready_to_send)(void *owner);
} MfLinkEvents;

typedef struct {
  MfLinkKind kind;
  const char *path;
  int fd;
  bool up;      /* somebody listens */
  bool blocked; /* the last write could not be finished */
  bool flushed; /* the host's decoder was brought to a frame boundary */
  bool gone;    /* another agent has the port, or the file ended: the agent's work is done */
  bool holding; /* the owner did not want `held` yet */
  MfFrame held;
  int64_t began, retry_at, last_read;
  int place;
  uint8_t *out; /* whole frames, but for what is written of the first */
  size_t out_at, out_fill, out_room;
  const MfLinkEvents *events;
  void *owner;
  size_t in_at,
      in_fill; /* bytes read that the decoder has not taken yet: it must not move a held frame */
  uint8_t in[65536];
  MfFrameDecoder decoder;
} MfLink;

MfLink *mf_link_new(MfLinkKind kind, const char *path, int fd, const MfLinkEvents *events,
                    void *owner);
void mf_link_prepare(MfLink *self, MfPoller *poller);
void mf_link_dispatch(MfLink *self, const MfPoller *poller);
/* mf_link_send() - queue one frame with @frame->payload. Without a connection it is dropped. */
void mf_link_send(MfLink *self, const MfFrame *frame);
/* mf_link_push() - what is queued goes out now, not after the frames that have come: the host
 * counts the time. */
void mf_link_push(MfLink *self);
/* mf_link_begin() - the same, but the caller puts the payload into the queue, at once. Return: room
 * for @frame->length bytes; NULL: there is no connection. */
uint8_t *mf_link_begin(MfLink *self, const MfFrame *frame);
void mf_link_free(MfLink *self);
