/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The log of one exec's output, and of a machine's console: records of an 8 byte header (stream, three zero bytes, length
 * big-endian) and bytes, one after the other in one file, so that the order in which the streams came is kept. A
 * record is written whole before it counts; a torn one at the end (we were killed) is cut off at open. This is also, byte for byte, the "mux"
 * form of the API.
 */

#include <gio/gio.h>

typedef struct MfOutputLog MfOutputLog;

/* Opens or creates @path (0600). @limit: payload bytes kept; what comes after is counted, not kept, and a last record on stderr says so. */
MfOutputLog *mf_output_log_open(const char *path, guint64 limit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Its file goes to @path, on the same filesystem; readers and writer notice nothing. */
gboolean mf_output_log_move(MfOutputLog *self, const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A log that was closed for good: nothing is opened or read until a reader wants it. @stdout_bytes and @stderr_bytes: what was taken. */
MfOutputLog *mf_output_log_new_closed(const char *path, guint64 stdout_bytes, guint64 stderr_bytes);
MfOutputLog *mf_output_log_ref(MfOutputLog *self);
void mf_output_log_unref(MfOutputLog *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfOutputLog, mf_output_log_unref)

/* @stream: MF_STREAM_STDOUT or _STDERR. NO_SPACE when the disk is full: nothing was appended. */
gboolean mf_output_log_append(MfOutputLog *self, guint stream, const void *data, gsize length, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Payload bytes of a stream taken so far (those over the limit included): the offset wanted next from the agent. */
guint64 mf_output_log_taken(const MfOutputLog *self, guint stream);
/* Payload bytes that are in the file: no more than the limit. */
guint64 mf_output_log_kept(const MfOutputLog *self);
/* No more will come; followers are told. */
void mf_output_log_close(MfOutputLog *self);
gboolean mf_output_log_is_closed(const MfOutputLog *self);
/*
 * @callback (log, @user_data): on the main context after each append, at close, and when congestion ends. May unwatch,
 * not append. Returns: an id, never 0.
 */
guint mf_output_log_watch(MfOutputLog *self, GFunc callback, gpointer user_data);
void mf_output_log_unwatch(MfOutputLog *self, guint id);
/*
 * TRUE while a pacing reader is more than MF_OUTPUT_LAG bytes behind: the writer is to stop taking output until a watch
 * callback finds it FALSE again, so that a client that stops reading stops the process in the guest.
 */
#define MF_OUTPUT_LAG (4u << 20)
gboolean mf_output_log_is_congested(const MfOutputLog *self);

typedef enum { MF_OUTPUT_MUX, MF_OUTPUT_MERGED, MF_OUTPUT_STDOUT, MF_OUTPUT_STDERR } MfOutputForm;

/* A reader has its own position; any number at once. Offsets count bytes of the form asked for. */
typedef struct MfOutputReader MfOutputReader;
MfOutputReader *mf_output_reader_new(MfOutputLog *log, MfOutputForm form, guint64 offset);
/* Up to @size bytes; 0 = no more for now (or for ever, if the log is closed); -1 with error. */
gssize mf_output_reader_read(MfOutputReader *self, void *buffer, gsize size, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* This reader holds the writer back when it lags. Its end, by _free(), lets the writer go on. */
void mf_output_reader_set_pacing(MfOutputReader *self);
void mf_output_reader_free(MfOutputReader *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfOutputReader, mf_output_reader_free)
