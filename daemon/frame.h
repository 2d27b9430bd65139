/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Frames of the agent link: what mayflyd and mayfly-agent say to each other over the virtio-serial
 * port org.mayfly.agent.0. Pure: bytes in, frames out, no I/O and no GLib, because the static agent
 * shares this file. Everything the guest sends is hostile; the decoder never reads past what it was
 * given, never allocates and always makes progress.
 *
 * A frame is a 28 byte header, integers little-endian, and at most MF_FRAME_MAX_PAYLOAD bytes:
 *
 *   0  u32 magic "MFLY"   4  u32 payload length   8  u8 type   9  u8 flags   10  u16 zero
 *   12 u32 exec id        16 u64 offset           24 u32 CRC-32 (IEEE) of bytes 0..23
 *
 * The checksum covers the header only: it is there so that a reader that lost its place (a peer that
 * was restarted in the middle of a frame) finds the next real header, not a magic inside of data.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MF_FRAME_HEADER_SIZE 28u
#define MF_FRAME_MAX_PAYLOAD 65536u
#define MF_FRAME_MAX_DOCUMENT (4u << 20) /* a control document joined from MF_FRAME_MORE pieces */
#define MF_FRAME_FLUSH MF_FRAME_MAX_PAYLOAD
#define MF_FRAME_PORT_NAME "org.mayfly.agent.0"
#define MF_FRAME_PROTOCOL 1

/*
 * H = sent by the host, G = sent by the guest. Control payloads are JSON objects, data is raw.
 *
 * The host sends WELCOME whenever it has connected, and again for every HELLO that says
 * "welcomed": false. The agent sends HELLO when it starts (welcomed false) and as the answer to each
 * WELCOME (welcomed true), then READY for the level it has reached and every later one, then
 * what the host has not got: output from the offsets in WELCOME on, and exits not acknowledged.
 *
 * A peer that cannot know whether the other one saw the last connection end (it was restarted) first
 * sends MF_FRAME_FLUSH zero bytes: the other one may be waiting for the rest of a payload, and would
 * take what is said now for it. Elsewhere they are garbage like any other, and skipped.
 */
typedef enum {
  MF_FRAME_HELLO = 1,    /* G {"protocol":1,"version":"0.1.0","instance":"<random hex>","welcomed":bool,
                               "hostname":…,"kernel":…,"init":"systemd"|"other","shells":["bash","sh"],
                               "uptime_ms":n,"token":…} */
  MF_FRAME_WELCOME = 2,  /* H {"protocol":1,"execs":{"1":{"stdout":n,"stderr":n,"exit":bool}}}: next byte wanted;
                               exit true: the exit status is known and may be forgotten */
  MF_FRAME_CONFIG = 3,   /* H job config document, the same as /etc/mayfly/job.json in the guest */
  MF_FRAME_EXEC = 4,     /* H exec document, see below; a repeated exec id is not run twice */
  MF_FRAME_STDIN = 5,    /* H data, offset = position in the exec's standard input */
  MF_FRAME_EOF = 6,      /* H end of standard input at offset */
  MF_FRAME_STDOUT = 7,   /* G data, offset = position in the stream */
  MF_FRAME_STDERR = 8,   /* G data, likewise */
  MF_FRAME_EXIT = 9,     /* G {"code":n} or {"signal":n}, "stdout":n,"stderr":n: final lengths. Sent after the last
                               output was; repeated after each WELCOME until acknowledged */
  MF_FRAME_SIGNAL = 10,  /* H {"signal":n}: to every process that descends from the exec */
  MF_FRAME_RESIZE = 11,  /* H {"rows":n,"cols":n} */
  MF_FRAME_ACK = 12,     /* H: exec's stream (flags MF_STREAM_*) is in the log up to offset; MF_STREAM_EXIT: the
                               exit status is recorded. G: standard input consumed up to offset (flags
                               MF_STREAM_STDIN) */
  MF_FRAME_PING = 13,    /* H or G: payload is echoed in PONG */
  MF_FRAME_PONG = 14,
  MF_FRAME_RESEED = 15,  /* H {"time_ns":n,"entropy":"<hex>","hostname":…,"machine_id":…,"token":…,
                               "network":{"mac","address","prefix","gateway"}}: you are another machine now; all
                               members are optional. With "network" that interface is about to appear, and the
                               levels of READY begin again. A HELLO with the token says that it is done; another
                               token with nothing but the time is answered too, and shows how long that takes */
  MF_FRAME_PUT = 16,     /* H file to write: document {"path","mode","content_base64"}. Frames are handled in order: a
                               PONG after it says that it is written, unless an ERROR came before */
  MF_FRAME_GET = 17,     /* H {"path"}; answered by PUT frames of the agent, same exec id */
  MF_FRAME_READY = 18,   /* G {"level":"agent"|"network"|"system","uptime_ms":n} */
  MF_FRAME_ERROR = 19,   /* G {"message":…}: exec could not be started (exec id), or a request failed */
  MF_FRAME_SETTLE = 20,  /* H {"token":…,"saved":bool}: there will be nothing to do for a while: caches go. saved: you
                               are about to be saved and forked: what all forks would share goes, too. Answered by
                               a HELLO with the token */
} MfFrameType;

/* flags */
#define MF_FRAME_MORE 0x80u /* the control document goes on in the next frame of this type and exec */
#define MF_STREAM_STDIN 0u
#define MF_STREAM_STDOUT 1u
#define MF_STREAM_STDERR 2u
#define MF_STREAM_EXIT 3u

/*
 * The exec document: {"argv":["a","b"] or "script":"text", "env":["K=V"], "cwd":"/", "user":"root",
 * "tty":bool, "rows":n, "cols":n, "stdin":bool, "shell":["bash","sh"]}. Strings are bytes: what is not UTF-8 passes as it is.
 * A script is written to a file of its own (0700) and run by its #! line; without one by sh. "shell" (optional, with script):
 * the first of these found in PATH reads the script on its standard input instead.
 * Without "stdin" the standard input is /dev/null. With "tty" there is one stream, stdout.
 */

/* What the agent keeps unacknowledged per stream before it stops reading the process. */
#define MF_FRAME_WINDOW (512u << 10)

typedef struct {
  uint8_t type;
  uint8_t flags;
  uint32_t exec;
  uint64_t offset;
  uint32_t length;        /* of payload, bytes */
  const uint8_t *payload; /* decoder: points into its buffer, valid until the next call */
} MfFrame;

/*
 * mf_frame_put_header() - write the 28 header bytes of @frame; its payload pointer is not looked at.
 * @frame->length must be <= MF_FRAME_MAX_PAYLOAD.
 */
void mf_frame_put_header(const MfFrame *frame, uint8_t out[MF_FRAME_HEADER_SIZE]);

typedef struct {
  size_t fill;      /* bytes held in buffer */
  size_t taken;     /* of which, from the front, done with: frames returned and garbage */
  uint64_t skipped; /* bytes thrown away while looking for a header, in all */
  uint8_t buffer[MF_FRAME_HEADER_SIZE + MF_FRAME_MAX_PAYLOAD];
} MfFrameDecoder;

/* mf_frame_decoder_reset() - forget a half-read frame: the connection is a new one. */
void mf_frame_decoder_reset(MfFrameDecoder *self);

/*
 * mf_frame_decoder_feed() - take as many of @length bytes as there is room for.
 * Return: how many were taken; 0 only while a whole frame waits to be fetched with _next().
 */
size_t mf_frame_decoder_feed(MfFrameDecoder *self, const uint8_t *data, size_t length);

/*
 * mf_frame_decoder_next() - the next whole frame, if there is one.
 * Frames of unknown type are returned too: the caller ignores them (newer peers may say more).
 * Return: true and *@frame set, or false: more bytes are needed.
 */
bool mf_frame_decoder_next(MfFrameDecoder *self, MfFrame *frame);
