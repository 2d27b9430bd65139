/* SPDX-License-Identifier: Apache-2.0 */

/* One round of poll(): see poller.h. */

#include "tools/agent/poller.h"

#include "tools/agent/util.h"

#include <string.h>

void
mf_poller_begin(MfPoller *self)
{
  self->count = 0;
  self->now = mf_util_now_ms();
  self->deadline = -1;
}

int
mf_poller_add(MfPoller *self, int fd, short events)
{
  if (self->count == self->room) {
    self->room = self->room == 0 ? 16 : self->room * 2;
    self->fds = mf_util_realloc(self->fds, self->room * sizeof *self->fds);
  }
  self->fds[self->count] = (struct pollfd){.fd = fd, .events = events};
  return (int)self->count++;
}

void
mf_poller_wake_at(MfPoller *self, int64_t when_ms)
{
  if (self->deadline < 0 || when_ms < self->deadline)
    self->deadline = when_ms;
}

void
mf_poller_wait(MfPoller *self)
{
  int timeout = -1;
  if (self->deadline >= 0) {
    int64_t left = self->deadline - mf_util_now_ms();
    timeout = left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
  }
  int got = poll(self->fds, self->count, timeout);
  for (size_t i = 0; got <= 0 && i < self->count; i++)
    self->fds[i].revents = 0;
  self->now = mf_util_now_ms();
}

short
mf_poller_got(const MfPoller *self, int place)
{
  return place >= 0 && (size_t)place < self->count ? self->fds[place].revents : 0;
}

void
mf_poller_clear(MfPoller *self)
{
  free(self->fds);
  memset(self, 0, sizeof *self);
}
