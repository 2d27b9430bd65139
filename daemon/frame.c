/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Frame codec: bytes to frames and back, and the search for the next header when the place is lost.
 *
 * Invariant of the decoder: bytes [0, taken) are done with, [taken, fill) are not looked at yet or
 * begin a frame that is not whole. They are moved to the front only when room is needed, so that a
 * buffer full of tiny frames costs one move, not one for each.
 */

#include "daemon/frame.h"

#include <string.h>

#define MAGIC_SIZE   4u
#define CHECKED_SIZE 24u /* what the checksum covers */
#define BUFFER_SIZE  (MF_FRAME_HEADER_SIZE + MF_FRAME_MAX_PAYLOAD)

static const uint8_t magic[MAGIC_SIZE] = {'M', 'F', 'L', 'Y'};

static void
put_le(uint8_t *out, uint64_t value, unsigned bytes)
{
  for (unsigned i = 0; i < bytes; i++)
    out[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t
get_le(const uint8_t *in, unsigned bytes)
{
  uint64_t value = 0;
  for (unsigned i = 0; i < bytes; i++)
    value |= (uint64_t)in[i] << (8 * i);
  return value;
}

/* Nibble by nibble: a header is 24 bytes, a larger table would not pay. */
static uint32_t
crc32_ieee(const uint8_t *data, size_t length)
{
  static const uint32_t table[16] = {
      0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
      0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
      0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
  };
  uint32_t crc = 0xffffffffu;
  for (size_t i = 0; i < length; i++) {
    crc = table[(crc ^ data[i]) & 15] ^ (crc >> 4);
    crc = table[(crc ^ (data[i] >> 4)) & 15] ^ (crc >> 4);
  }
  return ~crc;
}

void
mf_frame_put_header(const MfFrame *frame, uint8_t out[MF_FRAME_HEADER_SIZE])
{
  memcpy(out, magic, MAGIC_SIZE);
  put_le(out + 4, frame->length, 4);
  out[8] = frame->type;
  out[9] = frame->flags;
  put_le(out + 10, 0, 2);
  put_le(out + 12, frame->exec, 4);
  put_le(out + 16, frame->offset, 8);
  put_le(out + 24, crc32_ieee(out, CHECKED_SIZE), 4);
}

void
mf_frame_decoder_reset(MfFrameDecoder *self)
{
  self->fill = 0;
  self->taken = 0;
  self->skipped = 0;
}

/* Could the bytes at @at be, or grow into, a header? A header that lies about itself could not. */
static bool
plausible(const uint8_t *at, size_t have)
{
  if (memcmp(at, magic, have < MAGIC_SIZE ? have : MAGIC_SIZE) != 0)
    return false;
  if (have < MF_FRAME_HEADER_SIZE)
    return true;
  return get_le(at + 24, 4) == crc32_ieee(at, CHECKED_SIZE) &&
         get_le(at + 4, 4) <= MF_FRAME_MAX_PAYLOAD;
}

static void
skip_garbage(MfFrameDecoder *self)
{
  size_t from = self->taken;
  while (self->taken < self->fill &&
         !plausible(self->buffer + self->taken, self->fill - self->taken)) {
    size_t next = self->taken + 1;
    const uint8_t *found = memchr(self->buffer + next, magic[0], self->fill - next);
    self->taken = found != NULL ? (size_t)(found - self->buffer) : self->fill;
  }
  self->skipped += self->taken - from;
}

static void
move_to_front(MfFrameDecoder *self)
{
  memmove(self->buffer, self->buffer + self->taken, self->fill - self->taken);
  self->fill -= self->taken;
  self->taken = 0;
}

size_t
mf_frame_decoder_feed(MfFrameDecoder *self, const uint8_t *data, size_t length)
{
  if (length > BUFFER_SIZE - self->fill) {
    skip_garbage(self);
    move_to_front(self);
  }
  size_t room = BUFFER_SIZE - self->fill;
  size_t take = length < room ? length : room;
  if (take > 0)
    memcpy(self->buffer + self->fill, data, take);
  self->fill += take;
  return take;
}

bool
mf_frame_decoder_next(MfFrameDecoder *self, MfFrame *frame)
{
  skip_garbage(self);
  const uint8_t *at = self->buffer + self->taken;
  size_t have = self->fill - self->taken;
  if (have < MF_FRAME_HEADER_SIZE)
    return false;
  uint32_t length = (uint32_t)get_le(at + 4, 4);
  if (have - MF_FRAME_HEADER_SIZE < length)
    return false;

  *frame = (MfFrame){
      .type = at[8],
      .flags = at[9],
      .exec = (uint32_t)get_le(at + 12, 4),
      .offset = get_le(at + 16, 8),
      .length = length,
      .payload = at + MF_FRAME_HEADER_SIZE,
  };
  self->taken += MF_FRAME_HEADER_SIZE + length;
  return true;
}
