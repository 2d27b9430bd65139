/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One round of poll(): everybody says what they wait for, then asks what came. Built anew each
 * round; the agent watches a handful of files, and nothing can be left registered by mistake.
 */

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  struct pollfd *fds;
  size_t count, room;
  int64_t now;      /* when this round began, monotonic milliseconds */
  int64_t deadline; /* when it ends at the latest; -1: whenever something comes */
} MfPoller;

void mf_poller_begin(MfPoller *self);
/* @fd -1 is allowed: nothing ever comes from it. Return: a place for mf_poller_got(). */
int mf_poller_add(MfPoller *self, int fd, short events);
void mf_poller_wake_at(MfPoller *self, int64_t when_ms);
void mf_poller_wait(MfPoller *self);
/* What came, 0 for nothing; @place -1 is allowed. */
short mf_poller_got(const MfPoller *self, int place);
void mf_poller_clear(MfPoller *self);
