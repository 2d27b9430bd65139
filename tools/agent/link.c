/* SPDX-License-Identifier: Apache-2.0 */

/* The connection to the host: see link.h. */

#include "tools/agent/link.h"

#include "tools/agent/port.h"
#include "tools/agent/util.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define QUEUE_LIMIT    (1u << 20) /* answers not taken by the host: read no more requests */
#define READS_A_ROUND  64
#define FRAMES_A_ROUND 32
#define LISTEN_POLL_MS 50   /* a port says nothing when the host comes back */
#define STALL_MS       2000 /* rest of a frame that does not come: its sender is gone */

MfLink *
mf_link_new(MfLinkKind kind, const char *path, int fd, const MfLinkEvents *events, void *owner)
{
  MfLink *self = mf_util_alloc(sizeof *self);
  self->kind = kind;
  self->path = path;
  self->fd = fd;
  self->events = events;
  self->owner = owner;
  self->began = mf_util_now_ms();
  self->place = -1;
  if (fd >= 0)
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return self;
}

static int
open_socket(const char *path)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(address.sun_path, path, strlen(path));
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
    mf_util_close(&fd);
  return fd;
}

static void
open_link(MfLink *self, int64_t now)
{
  if (self->kind == MF_LINK_PORT) {
    self->fd = mf_port_open();
    if (self->fd < 0 && errno == EBUSY)
      self->gone = true;
  } else if (self->kind == MF_LINK_SOCKET) {
    self->fd = open_socket(self->path);
  } else {
    self->gone = true;
  }
  /* Drivers load within the first seconds; later the port can only be plugged in by hand. */
  int64_t waited = now - self->began;
  if (self->fd < 0)
    self->retry_at = now + (waited < 3000 ? 20 : waited < 60000 ? 100 : 1000);
}

/* Room for @length more bytes in the queue. */
static uint8_t *
extend(MfLink *self, size_t length)
{
  if (self->out_at == self->out_fill)
    self->out_at = self->out_fill = 0;
  if (self->out_fill + length > self->out_room) {
    self->out_room = (self->out_fill + length) * 2;
    self->out = mf_util_realloc(self->out, self->out_room);
  }
  uint8_t *room = self->out + self->out_fill;
  self->out_fill += length;
  return room;
}

/* Zeros until the host's decoder cannot be inside of a frame that a former agent began. */
static void
flush_host(MfLink *self)
{
  memset(extend(self, MF_FRAME_FLUSH), 0, MF_FRAME_FLUSH);
  self->flushed = true;
}

static void
set_up(MfLink *self, bool up)
{
  if (self->up == up)
    return;
  self->up = up;
  self->blocked = false;
  self->holding = false;
  self->out_at = self->out_fill = 0;
  self->in_at = self->in_fill = 0;
  mf_frame_decoder_reset(&self->decoder);
  self->last_read = mf_util_now_ms();
  if (up && self->kind == MF_LINK_PORT && !self->flushed)
    flush_host(self);
  self->events->changed(self->owner, up);
}

static void
hang_up(MfLink *self)
{
  set_up(self, false);
  if (self->kind != MF_LINK_PORT)
    mf_util_close(&self->fd);
  self->retry_at = mf_util_now_ms() + LISTEN_POLL_MS;
}

uint8_t *
mf_link_begin(MfLink *self, const MfFrame *frame)
{
  if (!self->up)
    return NULL;
  uint8_t *room = extend(self, MF_FRAME_HEADER_SIZE + frame->length);
  mf_frame_put_header(frame, room);
  return room + MF_FRAME_HEADER_SIZE;
}

void
mf_link_send(MfLink *self, const MfFrame *frame)
{
  uint8_t *payload = mf_link_begin(self, frame);
  if (payload != NULL && frame->length > 0)
    memcpy(payload, frame->payload, frame->length);
}

/* Return: whether the connection still stands. */
static bool
write_out(MfLink *self)
{
  while (self->out_at < self->out_fill) {
    ssize_t wrote = write(self->fd, self->out + self->out_at, self->out_fill - self->out_at);
    if (wrote < 0 && errno == EINTR)
      continue;
    if (wrote <= 0) {
      self->blocked = true;
      return wrote == 0 || errno == EAGAIN;
    }
    self->out_at += (size_t)wrote;
  }
  self->blocked = false;
  return true;
}

/* What goes wrong here goes wrong again when the rest is sent, which sees to it. */
void
mf_link_push(MfLink *self)
{
  if (self->up && !self->blocked)
    (void)write_out(self);
}

static void
send_what_there_is(MfLink *self, MfPoller *poller)
{
  for (int frames = 0; self->up && !self->blocked; frames++) {
    if (!write_out(self)) {
      hang_up(self);
      mf_poller_wake_at(poller, self->retry_at);
      return;
    }
    if (self->blocked || !self->events->ready_to_send(self->owner))
      return;
    if (frames == FRAMES_A_ROUND) {
      mf_poller_wake_at(poller, poller->now);
      return;
    }
  }
}

/* The port is there: does somebody listen on the host? */
static void
look_for_host(MfLink *self)
{
  struct pollfd look = {.fd = self->fd, .events = POLLOUT};
  if (poll(&look, 1, 0) >= 0 && (look.revents & (POLLHUP | POLLERR | POLLNVAL)) == 0) {
    set_up(self, true);
  } else if (self->kind == MF_LINK_PORT && !mf_port_is_alive(self->fd)) {
    mf_util_close(&self->fd);
  }
}

void
mf_link_prepare(MfLink *self, MfPoller *poller)
{
  self->place = -1;
  if (self->fd < 0 && !self->gone && poller->now >= self->retry_at)
    open_link(self, poller->now);
  if (self->gone)
    return;
  if (self->fd >= 0 && !self->up) {
    self->retry_at = poller->now + LISTEN_POLL_MS;
    look_for_host(self);
  }
  if (!self->up) {
    mf_poller_wake_at(poller, self->retry_at);
    return;
  }
  send_what_there_is(self, poller);
  if (!self->up)
    return;
  bool listen = !self->holding && self->out_fill - self->out_at < QUEUE_LIMIT;
  self->place = mf_poller_add(poller, self->fd,
                              (short)((listen ? POLLIN : 0) | (self->blocked ? POLLOUT : 0)));
  if (!self->holding && self->decoder.fill > self->decoder.taken)
    mf_poller_wake_at(poller, self->last_read + STALL_MS);
}

/* Ends when a frame is held, or when more must be read. */
static void
hand_out_frames(MfLink *self)
{
  while (self->up) {
    if (self->holding && !self->events->frame(self->owner, &self->held))
      return;
    self->holding = mf_frame_decoder_next(&self->decoder, &self->held);
    if (self->holding)
      continue;
    if (self->in_at == self->in_fill)
      return;
    self->in_at +=
        mf_frame_decoder_feed(&self->decoder, self->in + self->in_at, self->in_fill - self->in_at);
  }
}

static void
read_in(MfLink *self)
{
  for (int reads = 0; reads < READS_A_ROUND && self->up && !self->holding; reads++) {
    ssize_t got = read(self->fd, self->in, sizeof self->in);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
      return;
    if (got <= 0) {
      hang_up(self);
      return;
    }
    self->last_read = mf_util_now_ms();
    self->in_at = 0;
    self->in_fill = (size_t)got;
    hand_out_frames(self);
  }
}

void
mf_link_dispatch(MfLink *self, const MfPoller *poller)
{
  if (!self->up)
    return;
  if (self->holding)
    hand_out_frames(self);
  short got = mf_poller_got(poller, self->place);
  if ((got & POLLOUT) != 0)
    self->blocked = false;
  if ((got & (POLLIN | POLLHUP | POLLERR)) != 0 && !self->holding)
    read_in(self);
  bool half = self->up && !self->holding && self->decoder.fill > self->decoder.taken;
  if (half && poller->now >= self->last_read + STALL_MS) {
    mf_frame_decoder_reset(&self->decoder);
    self->last_read = poller->now;
    self->events->changed(self->owner, true);
  }
}

void
mf_link_free(MfLink *self)
{
  mf_util_close(&self->fd);
  free(self->out);
  free(self);
}
