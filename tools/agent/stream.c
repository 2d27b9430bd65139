/* SPDX-License-Identifier: Apache-2.0 */

/* A bounded window on a stream: see stream.h. */

#include "tools/agent/stream.h"

#include "daemon/frame.h"
#include "tools/agent/util.h"

#include <string.h>
#include <sys/uio.h>

#define WINDOW ((size_t)MF_FRAME_WINDOW)

static size_t
min_size(size_t a, size_t b)
{
  return a < b ? a : b;
}

/* The ring's memory from position @from on, @length bytes, as at most two pieces. Return: how many.
 */
static int
pieces(MfStream *self, uint64_t from, size_t length, struct iovec out[2])
{
  if (self->ring == NULL)
    self->ring = mf_util_alloc(WINDOW);
  size_t start = (size_t)(from % WINDOW);
  size_t first = min_size(length, WINDOW - start);
  out[0] = (struct iovec){self->ring + start, first};
  out[1] = (struct iovec){self->ring, length - first};
  return length > first ? 2 : 1;
}

size_t
mf_stream_room(const MfStream *self)
{
  return WINDOW - (size_t)(self->end - self->base);
}

ssize_t
mf_stream_fill(MfStream *self, int fd, size_t most)
{
  struct iovec iov[2];
  int count = pieces(self, self->end, min_size(most, mf_stream_room(self)), iov);
  ssize_t got = readv(fd, iov, count);
  if (got > 0)
    self->end += (uint64_t)got;
  return got;
}

ssize_t
mf_stream_drain(MfStream *self, int fd)
{
  struct iovec iov[2];
  int count = pieces(self, self->base, (size_t)(self->end - self->base), iov);
  ssize_t wrote = writev(fd, iov, count);
  if (wrote > 0)
    mf_stream_ack(self, self->base + (uint64_t)wrote);
  return wrote;
}

size_t
mf_stream_put(MfStream *self, const uint8_t *data, size_t length)
{
  struct iovec iov[2];
  length = min_size(length, mf_stream_room(self));
  if (length == 0)
    return 0;
  pieces(self, self->end, length, iov);
  memcpy(iov[0].iov_base, data, iov[0].iov_len);
  memcpy(iov[1].iov_base, data + iov[0].iov_len, iov[1].iov_len);
  self->end += length;
  return length;
}

size_t
mf_stream_take(MfStream *self, uint8_t *out, size_t most)
{
  struct iovec iov[2];
  size_t length = min_size(most, (size_t)(self->end - self->sent));
  pieces(self, self->sent, length, iov);
  memcpy(out, iov[0].iov_base, iov[0].iov_len);
  memcpy(out + iov[0].iov_len, iov[1].iov_base, iov[1].iov_len);
  self->sent += length;
  return length;
}

void
mf_stream_ack(MfStream *self, uint64_t offset)
{
  if (offset <= self->base || offset > self->end)
    return;
  self->base = offset;
  if (self->sent < offset)
    self->sent = offset;
}

void
mf_stream_resume(MfStream *self, uint64_t offset)
{
  mf_stream_ack(self, offset);
  self->sent = self->base;
}

void
mf_stream_skip(MfStream *self)
{
  self->base = self->sent = self->end;
}

void
mf_stream_clear(MfStream *self)
{
  free(self->ring);
  self->ring = NULL;
}
