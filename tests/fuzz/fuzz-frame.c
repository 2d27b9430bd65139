/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The decoder on hostile bytes. The first byte says in what pieces they arrive. Every byte must end
 * up in a frame, be skipped, or be kept as the start of a frame; and cutting must not change what
 * is decoded.
 */

#include "daemon/frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
  uint64_t frames;
  uint64_t bytes;
  uint64_t sum;
} Seen;

static void
require(bool condition)
{
  if (!condition)
    abort();
}

static void
take(MfFrameDecoder *decoder, Seen *seen)
{
  MfFrame frame;
  while (mf_frame_decoder_next(decoder, &frame)) {
    require(frame.length <= MF_FRAME_MAX_PAYLOAD);
    seen->frames++;
    seen->bytes += MF_FRAME_HEADER_SIZE + frame.length;
    seen->sum = seen->sum * 31 + frame.type + frame.flags + frame.exec + frame.offset;
    for (uint32_t i = 0; i < frame.length; i++)
      seen->sum = seen->sum * 31 + frame.payload[i];
  }
}

static Seen
decode(const uint8_t *data, size_t size, size_t step)
{
  static MfFrameDecoder decoder;
  Seen seen = {0};
  mf_frame_decoder_reset(&decoder);
  for (size_t at = 0; at < size;) {
    size_t took = mf_frame_decoder_feed(&decoder, data + at, step < size - at ? step : size - at);
    uint64_t before = seen.frames;
    take(&decoder, &seen);
    require(took > 0 || seen.frames > before);
    at += took;
  }
  require(seen.bytes + decoder.skipped + (decoder.fill - decoder.taken) == size);
  return seen;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (size == 0)
    return 0;
  Seen whole = decode(data + 1, size - 1, SIZE_MAX);
  Seen cut = decode(data + 1, size - 1, 1u + data[0]);
  require(memcmp(&whole, &cut, sizeof whole) == 0);
  return 0;
}
