/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A window on one stream of bytes, with positions counted from its start. What is in it is kept
 * until the other side has it, and there is never more than MF_FRAME_WINDOW: whoever fills it has
 * to wait. Invariant: base <= sent <= end <= base + MF_FRAME_WINDOW.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct {
  uint8_t *ring; /* MF_FRAME_WINDOW bytes, from the first byte on until the window is freed */
  uint64_t base; /* first byte kept */
  uint64_t sent; /* next byte to send */
  uint64_t end;  /* next byte to take in */
} MfStream;

size_t mf_stream_room(const MfStream *self);

/* mf_stream_fill() - read once from @fd, at most @most bytes. Return: as read(). Only with room. */
ssize_t mf_stream_fill(MfStream *self, int fd, size_t most);
/* mf_stream_drain() - write once to @fd what is kept, and keep it no longer. Return: as write(). */
ssize_t mf_stream_drain(MfStream *self, int fd);
/* mf_stream_put() - take in what there is room for. Return: how much that was. */
size_t mf_stream_put(MfStream *self, const uint8_t *data, size_t length);
/* mf_stream_take() - copy out what has not been sent, at most @most bytes, and count it as sent. */
size_t mf_stream_take(MfStream *self, uint8_t *out, size_t most);

/* mf_stream_ack() - bytes before @offset are not needed any more. Offsets that cannot be are
 * ignored. */
void mf_stream_ack(MfStream *self, uint64_t offset);
/* mf_stream_resume() - the other side has what is before @offset and nothing after it. */
void mf_stream_resume(MfStream *self, uint64_t offset);
/* mf_stream_skip() - everything kept counts as taken by the other side. */
void mf_stream_skip(MfStream *self);
void mf_stream_clear(MfStream *self); /* frees the memory, keeps the positions */
