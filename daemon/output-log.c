/* SPDX-License-Identifier: Apache-2.0 */
/* Output log: records on disk, and readers that follow them. */
#include "daemon/output-log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "daemon/auto.h"
#include "daemon/error.h"
#include "daemon/frame.h"

#define HEADER  8
#define STREAMS 3

typedef struct {
  guint id;
  GFunc callback;
  gpointer user_data;
} Watch;

struct MfOutputLog {
  gatomicrefcount refs;
  char *path;
  MfFd fd;
  MfFd dropped_fd; /* opened with the first byte over the limit */
  guint64 limit;
  guint64 size; /* bytes of whole records in the file */
  guint64 kept; /* payload bytes in them that came from the guest */
  guint64 dropped[STREAMS];
  guint64 taken[STREAMS];
  gboolean closed;
  gboolean congested;
  GArray *watches;
  guint last_watch;
  GPtrArray *pacers; /* MfOutputReader, not owned */
};

struct MfOutputReader {
  MfOutputLog *log;
  MfFd fd; /* its own: a log that is closed holds no descriptor */
  MfOutputForm form;
  guint64 position;  /* in the file: of the next byte not handed out */
  guint64 remaining; /* payload bytes left of the record that position is in */
  guint64 skip;      /* bytes of the form still to be passed over */
  gboolean pacing;
};

static void
set_io_error(GError **error, const char *what, const char *path)
{
  int saved = errno;
  g_set_error(error, MF_ERROR,
              saved == ENOSPC || saved == EDQUOT ? MF_ERROR_NO_SPACE : MF_ERROR_FAILED,
              "cannot %s %s: %s", what, path, g_strerror(saved));
}

static gboolean
read_header(int fd, guint64 at, guint *ret_stream, guint64 *ret_length)
{
  guint8 h[HEADER];
  if (pread(fd, h, HEADER, (off_t)at) != HEADER)
    return FALSE;
  *ret_stream = h[0];
  *ret_length = (guint64)h[4] << 24 | (guint64)h[5] << 16 | (guint64)h[6] << 8 | h[7];
  return (h[0] == MF_STREAM_STDOUT || h[0] == MF_STREAM_STDERR) && h[1] + h[2] + h[3] == 0;
}

/* Counts what is there and cuts off a record that was being written when we were killed. */
static gboolean
recover(MfOutputLog *self, GError **error)
{
  struct stat st;
  if (fstat(self->fd, &st) != 0) {
    set_io_error(error, "read", self->path);
    return FALSE;
  }
  guint stream;
  guint64 length;
  while (self->size + HEADER <= (guint64)st.st_size &&
         read_header(self->fd, self->size, &stream, &length) &&
         self->size + HEADER + length <= (guint64)st.st_size) {
    self->size += HEADER + length;
    self->taken[stream] += length;
    self->kept += length;
  }
  if (self->size != (guint64)st.st_size && ftruncate(self->fd, (off_t)self->size) != 0) {
    set_io_error(error, "repair", self->path);
    return FALSE;
  }
  g_autofree char *beside = g_strconcat(self->path, ".dropped", NULL);
  MfFd fd = open(beside, O_RDWR | O_CLOEXEC);
  self->dropped_fd = fd;
  /* Once something was dropped, the notice that says so is part of the stderr records: it did not
   * come from the guest. */
  guint64 saved[STREAMS + 1];
  if (fd >= 0 && pread(fd, saved, sizeof saved, 0) == sizeof saved) {
    for (guint i = 0; i < STREAMS; i++) {
      self->dropped[i] = saved[i];
      self->taken[i] += saved[i];
    }
    self->taken[MF_STREAM_STDERR] -= MIN(saved[STREAMS], self->taken[MF_STREAM_STDERR]);
  }
  return TRUE;
}

MfOutputLog *
mf_output_log_open(const char *path, guint64 limit, GError **error)
{
  g_autoptr(MfOutputLog) self = g_new0(MfOutputLog, 1);
  g_atomic_ref_count_init(&self->refs);
  self->path = g_strdup(path);
  self->limit = limit;
  self->dropped_fd = -1;
  self->watches = g_array_new(FALSE, FALSE, sizeof(Watch));
  self->pacers = g_ptr_array_new();
  self->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (self->fd < 0) {
    set_io_error(error, "open", path);
    return NULL;
  }
  if (!recover(self, error))
    return NULL;
  return g_steal_pointer(&self);
}

gboolean
mf_output_log_move(MfOutputLog *self, const char *path, GError **error)
{
  if (rename(self->path, path) != 0) {
    set_io_error(error, "move", self->path);
    return FALSE;
  }
  g_free(self->path);
  self->path = g_strdup(path);
  return TRUE;
}

MfOutputLog *
mf_output_log_new_closed(const char *path, guint64 stdout_bytes, guint64 stderr_bytes)
{
  MfOutputLog *self = g_new0(MfOutputLog, 1);
  g_atomic_ref_count_init(&self->refs);
  self->path = g_strdup(path);
  self->fd = self->dropped_fd = -1;
  self->size = G_MAXUINT64;
  self->taken[MF_STREAM_STDOUT] = stdout_bytes;
  self->taken[MF_STREAM_STDERR] = stderr_bytes;
  self->closed = TRUE;
  self->watches = g_array_new(FALSE, FALSE, sizeof(Watch));
  self->pacers = g_ptr_array_new();
  return self;
}

MfOutputLog *
mf_output_log_ref(MfOutputLog *self)
{
  g_atomic_ref_count_inc(&self->refs);
  return self;
}

void
mf_output_log_unref(MfOutputLog *self)
{
  if (!g_atomic_ref_count_dec(&self->refs))
    return;
  mf_fd_clear(&self->fd);
  mf_fd_clear(&self->dropped_fd);
  g_array_unref(self->watches);
  g_ptr_array_unref(self->pacers);
  g_free(self->path);
  g_free(self);
}

/* Watchers may remove themselves, or others, while they are told. */
static void
notify(MfOutputLog *self)
{
  g_autoptr(GArray) now = g_array_copy(self->watches);
  mf_output_log_ref(self);
  for (guint i = 0; i < now->len; i++) {
    Watch w = g_array_index(now, Watch, i);
    gboolean still = FALSE;
    for (guint j = 0; j < self->watches->len && !still; j++)
      still = g_array_index(self->watches, Watch, j).id == w.id;
    if (still)
      w.callback(self, w.user_data);
  }
  mf_output_log_unref(self);
}

static gboolean
write_record(MfOutputLog *self, guint stream, const void *data, gsize length, GError **error)
{
  guint8 h[HEADER] = {(guint8)stream,
                      0,
                      0,
                      0,
                      (guint8)(length >> 24),
                      (guint8)(length >> 16),
                      (guint8)(length >> 8),
                      (guint8)length};
  struct iovec iov[2] = {{h, HEADER}, {(void *)data, length}};
  gssize n = pwritev(self->fd, iov, 2, (off_t)self->size);
  if (n == (gssize)(HEADER + length)) {
    self->size += (guint64)n;
    return TRUE;
  }
  /* Short: the disk filled up within the record. */
  if (n >= 0)
    errno = ENOSPC;
  set_io_error(error, "write", self->path);
  if (ftruncate(self->fd, (off_t)self->size) != 0)
    g_debug("cannot cut %s back: %s, ignoring", self->path, g_strerror(errno));
  return FALSE;
}

static gboolean
drop(MfOutputLog *self, guint stream, gsize length, GError **error)
{
  g_autofree char *notice = NULL;
  gsize notice_length = 0;
  if (self->dropped_fd < 0) {
    g_autofree char *beside = g_strconcat(self->path, ".dropped", NULL);
    self->dropped_fd = open(beside, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (self->dropped_fd < 0) {
      set_io_error(error, "open", beside);
      return FALSE;
    }
    notice = g_strdup_printf("\nmayfly: the output is longer than the %" G_GUINT64_FORMAT
                             " bytes that are kept (output-limit); the rest is thrown away\n",
                             self->limit);
    notice_length = strlen(notice);
    if (!write_record(self, MF_STREAM_STDERR, notice, notice_length, error))
      return FALSE;
  }
  self->dropped[stream] += length;
  guint64 saved[STREAMS + 1];
  memcpy(saved, self->dropped, sizeof self->dropped);
  if (notice_length == 0 &&
      pread(self->dropped_fd, &saved[STREAMS], sizeof(guint64), STREAMS * sizeof(guint64)) < 0)
    saved[STREAMS] = 0;
  if (notice_length > 0)
    saved[STREAMS] = notice_length;
  if (pwrite(self->dropped_fd, saved, sizeof saved, 0) < 0)
    g_debug("cannot count dropped output of %s, ignoring", self->path);
  return TRUE;
}

gboolean
mf_output_log_append(MfOutputLog *self, guint stream, const void *data, gsize length,
                     GError **error)
{
  g_return_val_if_fail(stream == MF_STREAM_STDOUT || stream == MF_STREAM_STDERR, FALSE);
  if (length == 0 || self->closed)
    return TRUE;
  gsize room = (gsize)MIN((guint64)length, self->limit - MIN(self->kept, self->limit));
  if (room > 0) {
    if (!write_record(self, stream, data, room, error))
      return FALSE;
    self->kept += room;
    self->taken[stream] += room;
  }
  if (room < length) {
    if (!drop(self, stream, length - room, error))
      return FALSE;
    self->taken[stream] += length - room;
  }
  notify(self);
  return TRUE;
}

guint64
mf_output_log_taken(const MfOutputLog *self, guint stream)
{
  g_return_val_if_fail(stream < STREAMS, 0);
  return self->taken[stream];
}

guint64
mf_output_log_kept(const MfOutputLog *self)
{
  return self->kept;
}

void
mf_output_log_close(MfOutputLog *self)
{
  if (self->closed)
    return;
  self->closed = TRUE;
  mf_fd_clear(&self->fd);
  mf_fd_clear(&self->dropped_fd);
  notify(self);
}

gboolean
mf_output_log_is_closed(const MfOutputLog *self)
{
  return self->closed;
}

guint
mf_output_log_watch(MfOutputLog *self, GFunc callback, gpointer user_data)
{
  Watch w = {++self->last_watch, callback, user_data};
  g_array_append_val(self->watches, w);
  return w.id;
}

void
mf_output_log_unwatch(MfOutputLog *self, guint id)
{
  for (guint i = 0; i < self->watches->len; i++)
    if (g_array_index(self->watches, Watch, i).id == id) {
      g_array_remove_index(self->watches, i);
      return;
    }
}

gboolean
mf_output_log_is_congested(const MfOutputLog *self)
{
  for (guint i = 0; i < self->pacers->len; i++) {
    const MfOutputReader *reader = g_ptr_array_index(self->pacers, i);
    if (self->size - reader->position > MF_OUTPUT_LAG)
      return TRUE;
  }
  return FALSE;
}

MfOutputReader *
mf_output_reader_new(MfOutputLog *log, MfOutputForm form, guint64 offset)
{
  MfOutputReader *self = g_new0(MfOutputReader, 1);
  self->log = mf_output_log_ref(log);
  self->fd = open(log->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  struct stat st;
  if (log->size == G_MAXUINT64)
    log->size = self->fd >= 0 && fstat(self->fd, &st) == 0 ? (guint64)st.st_size : 0;
  self->form = form;
  self->skip = offset;
  return self;
}

void
mf_output_reader_set_pacing(MfOutputReader *self)
{
  if (!self->pacing)
    g_ptr_array_add(self->log->pacers, self);
  self->pacing = TRUE;
}

void
mf_output_reader_free(MfOutputReader *self)
{
  if (self->pacing) {
    gboolean before = mf_output_log_is_congested(self->log);
    g_ptr_array_remove_fast(self->log->pacers, self);
    if (before && !mf_output_log_is_congested(self->log))
      notify(self->log);
  }
  mf_fd_clear(&self->fd);
  mf_output_log_unref(self->log);
  g_free(self);
}

/* Steps over headers and records of other streams, to the next byte of the form. FALSE: there is
 * none yet. */
static gboolean
advance(MfOutputReader *self)
{
  while (self->remaining == 0) {
    guint stream;
    guint64 length;
    if (self->position >= self->log->size ||
        !read_header(self->fd, self->position, &stream, &length))
      return FALSE;
    gboolean wanted = self->form == MF_OUTPUT_MERGED ||
                      (self->form == MF_OUTPUT_STDOUT && stream == MF_STREAM_STDOUT) ||
                      (self->form == MF_OUTPUT_STDERR && stream == MF_STREAM_STDERR);
    guint64 over = wanted ? MIN(self->skip, length) : length;
    if (wanted)
      self->skip -= over;
    self->position += HEADER + over;
    self->remaining = length - over;
  }
  return TRUE;
}

static gssize
read_some(MfOutputReader *self, void *buffer, gsize size, GError **error)
{
  gsize want;
  if (self->form == MF_OUTPUT_MUX) {
    guint64 over = MIN(self->skip, self->log->size - self->position);
    self->skip -= over;
    self->position += over;
    want = (gsize)MIN((guint64)size, self->log->size - self->position);
  } else {
    want = advance(self) ? (gsize)MIN((guint64)size, self->remaining) : 0;
  }
  if (want == 0)
    return 0;
  gssize n = pread(self->fd, buffer, want, (off_t)self->position);
  if (n <= 0) {
    if (n == 0)
      errno = EIO;
    set_io_error(error, "read", self->log->path);
    return -1;
  }
  self->position += (guint64)n;
  if (self->form != MF_OUTPUT_MUX)
    self->remaining -= (guint64)n;
  return n;
}

gssize
mf_output_reader_read(MfOutputReader *self, void *buffer, gsize size, GError **error)
{
  gboolean before = self->pacing && mf_output_log_is_congested(self->log);
  gsize total = 0;
  while (total < size) {
    gssize n = read_some(self, (guint8 *)buffer + total, size - total, error);
    if (n < 0)
      return -1;
    if (n == 0)
      break;
    total += (gsize)n;
  }
  if (before && !mf_output_log_is_congested(self->log))
    notify(self->log);
  return (gssize)total;
}
