/* SPDX-License-Identifier: Apache-2.0 */
/* Follow: passes over one growing output, until one that began after its end was known has seen
 * everything. */
#include "tools/follow.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "daemon/error.h"
#include "daemon/frame.h"
#include "daemon/text.h"
#include "tools/demux.h"

#define PIECE_BYTES (256u << 10)
#define RETRY_MS    300
#define PATIENCE_US (60 * G_USEC_PER_SEC)

typedef struct {
  int fd;
  GByteArray *bytes;
} Segment;

struct _MfFollow {
  GObject parent_instance;
  MfClient *client;
  MfFollowOptions options;
  char *path;
  GTask *task; /* while running */
  GInputStream *stream;
  MfDemux demux;
  MfTextVisible visible[2]; /* stdout, stderr */
  GArray *segments;         /* of the piece in work */
  guint64 offset;           /* of the next byte wanted */
  gboolean started;         /* "data" was emitted */
  gboolean finished;        /* the source ends */
  gboolean final_pass;      /* this pass began when that was known */
  gboolean pass_empty;      /* it has brought nothing so far */
  gint64 lost_since;        /* when the connection was lost, 0: it is not */
  guint retry;              /* the next pass waits for its time */
};

G_DEFINE_FINAL_TYPE(MfFollow, mf_follow, G_TYPE_OBJECT)

enum { DATA, N_SIGNALS };
static guint signals[N_SIGNALS];

static void start_pass(MfFollow *self);
static void read_piece(MfFollow *self);

static void
segment_clear(gpointer segment)
{
  g_byte_array_unref(((Segment *)segment)->bytes);
}

static void
finalize(GObject *object)
{
  MfFollow *self = MF_FOLLOW(object);
  g_free(self->path);
  g_clear_object(&self->stream);
  g_object_unref(self->client);
  g_array_unref(self->segments);
  G_OBJECT_CLASS(mf_follow_parent_class)->finalize(object);
}

static void
mf_follow_class_init(MfFollowClass *class)
{
  G_OBJECT_CLASS(class)->finalize = finalize;
  signals[DATA] = g_signal_new("data", mf_follow_get_type(), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                               G_TYPE_NONE, 0);
}

static void
mf_follow_init(MfFollow *self)
{
  self->segments = g_array_new(FALSE, FALSE, sizeof(Segment));
  g_array_set_clear_func(self->segments, segment_clear);
}

MfFollow *
mf_follow_new(MfClient *client, const MfFollowOptions *options)
{
  MfFollow *self = g_object_new(mf_follow_get_type(), NULL);
  self->client = g_object_ref(client);
  self->options = *options;
  self->path = g_strdup(options->path);
  return self;
}

/* Takes the error. */
static void
complete(MfFollow *self, GError *error)
{
  g_autoptr(GTask) task = g_steal_pointer(&self->task);
  if (task == NULL)
    return;
  if (error != NULL)
    g_task_return_error(task, error);
  else
    g_task_return_boolean(task, TRUE);
}

static gboolean
on_retry(gpointer data)
{
  MfFollow *self = data;
  self->retry = 0;
  start_pass(self);
  return G_SOURCE_REMOVE;
}

static void
retry_later(MfFollow *self)
{
  self->retry = g_timeout_add_full(G_PRIORITY_DEFAULT, RETRY_MS, on_retry, g_object_ref(self),
                                   g_object_unref);
}

static void
on_lost(MfFollow *self, GError *error)
{
  g_autoptr(GError) owned = error;
  gint64 now = g_get_monotonic_time();
  if (self->lost_since == 0)
    self->lost_since = now;
  if (self->options.follow && mf_client_error_is_passing(error) &&
      now - self->lost_since < PATIENCE_US)
    retry_later(self);
  else
    complete(self, g_steal_pointer(&owned));
}

/* Bytes to one descriptor in order; neighbours for the same one are joined. */
static void
add_bytes(guint stream, const guint8 *data, gsize length, gpointer user_data)
{
  MfFollow *self = user_data;
  gboolean is_error = stream == MF_STREAM_STDERR;
  int fd = is_error ? self->options.err : self->options.out;
  guint count = self->segments->len;
  if (count == 0 || g_array_index(self->segments, Segment, count - 1).fd != fd) {
    Segment fresh = {.fd = fd, .bytes = g_byte_array_new()};
    g_array_append_val(self->segments, fresh);
    count++;
  }
  GByteArray *bytes = g_array_index(self->segments, Segment, count - 1).bytes;
  if (!self->options.visible) {
    g_byte_array_append(bytes, data, (guint)length);
    return;
  }
  g_autoptr(GString) text = g_string_new(NULL);
  mf_text_visible_feed(&self->visible[is_error], data, length, text);
  g_byte_array_append(bytes, (const guint8 *)text->str, (guint)text->len);
}

static gboolean
write_all(int fd, const GByteArray *bytes, GError **error)
{
  gsize done = 0;
  while (done < bytes->len) {
    ssize_t n = write(fd, bytes->data + done, bytes->len - done);
    if (n >= 0) {
      done += (gsize)n;
      continue;
    }
    /* Whoever shares the descriptor may have made it non-blocking. */
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    int problem = errno;
    if (problem == EAGAIN)
      poll(&writable, 1, -1);
    else if (problem != EINTR) {
      g_set_error(error, G_IO_ERROR, (gint)g_io_error_from_errno(problem),
                  "the output cannot be written: %s", g_strerror(problem));
      return FALSE;
    }
  }
  return TRUE;
}

static void
write_segments(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  g_autoptr(GError) error = NULL;
  GArray *segments = data;
  for (guint i = 0; i < segments->len; i++)
    if (!write_all(g_array_index(segments, Segment, i).fd,
                   g_array_index(segments, Segment, i).bytes, &error)) {
      g_task_return_error(task, g_steal_pointer(&error));
      return;
    }
  g_task_return_boolean(task, TRUE);
}

static void
on_written(GObject *source, GAsyncResult *result, gpointer user_data)
{
  MfFollow *self = MF_FOLLOW(source);
  g_autoptr(GError) error = NULL;
  g_array_set_size(self->segments, 0);
  if (!g_task_propagate_boolean(G_TASK(result), &error))
    complete(self, g_steal_pointer(&error));
  else if (self->stream != NULL)
    read_piece(self);
  else
    complete(self, NULL);
}

static void
write_piece(MfFollow *self)
{
  if (!self->started && self->segments->len > 0)
    g_signal_emit(self, signals[DATA], 0);
  self->started = self->started || self->segments->len > 0;
  g_autoptr(GTask) task = g_task_new(self, NULL, on_written, NULL);
  g_task_set_task_data(task, self->segments, NULL);
  g_task_run_in_thread(task, write_segments);
}

/* What was held back, because the rest of a character was to come, is written too. */
static void
end(MfFollow *self)
{
  for (guint i = 0; i < G_N_ELEMENTS(self->visible); i++) {
    g_autoptr(GString) text = g_string_new(NULL);
    mf_text_visible_end(&self->visible[i], text);
    Segment rest = {.fd = i == 1 ? self->options.err : self->options.out,
                    .bytes = g_byte_array_new()};
    g_byte_array_append(rest.bytes, (const guint8 *)text->str, (guint)text->len);
    g_array_append_val(self->segments, rest);
  }
  write_piece(self);
}

static void
on_pass_over(MfFollow *self)
{
  g_clear_object(&self->stream);
  gboolean known = self->final_pass || !self->options.follow;
  if (known && self->pass_empty)
    end(self);
  else if (known || self->finished)
    start_pass(self);
  else
    retry_later(self);
}

static void
on_read(GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr(MfFollow) self = user_data;
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) bytes =
      g_input_stream_read_bytes_finish(G_INPUT_STREAM(source), result, &error);
  if (bytes == NULL) {
    g_clear_object(&self->stream);
    on_lost(self, g_steal_pointer(&error));
    return;
  }
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  self->lost_since = 0;
  if (length == 0) {
    on_pass_over(self);
    return;
  }
  self->offset += length;
  self->pass_empty = FALSE;
  if (!self->options.mux)
    add_bytes(MF_STREAM_STDOUT, data, length, self);
  else if (!mf_demux_feed(&self->demux, data, length, add_bytes, self, &error)) {
    complete(self, g_steal_pointer(&error));
    return;
  }
  write_piece(self);
}

static void
read_piece(MfFollow *self)
{
  g_input_stream_read_bytes_async(self->stream, PIECE_BYTES, G_PRIORITY_DEFAULT,
                                  g_task_get_cancellable(self->task), on_read, g_object_ref(self));
}

static void
on_stream(GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr(MfFollow) self = user_data;
  g_autoptr(GError) error = NULL;
  self->stream = mf_client_stream_finish(MF_CLIENT(source), result, &error);
  if (self->stream == NULL)
    on_lost(self, g_steal_pointer(&error));
  else
    read_piece(self);
}

static void
start_pass(MfFollow *self)
{
  if (self->task == NULL)
    return;
  self->final_pass = self->finished;
  self->pass_empty = TRUE;
  g_autofree char *path =
      g_strdup_printf("%s?offset=%" G_GUINT64_FORMAT "&follow=%d%s%s", self->path, self->offset,
                      self->options.follow && !self->finished, self->options.mux ? "&form=mux" : "",
                      self->options.pace ? "&pace=1" : "");
  mf_client_stream_async(self->client, path, g_task_get_cancellable(self->task), on_stream,
                         g_object_ref(self));
}

void
mf_follow_run_async(MfFollow *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                    gpointer user_data)
{
  self->task = g_task_new(self, cancellable, callback, user_data);
  start_pass(self);
}

gboolean
mf_follow_run_finish(MfFollow *self, GAsyncResult *result, GError **error)
{
  return g_task_propagate_boolean(G_TASK(result), error);
}

void
mf_follow_set_finished(MfFollow *self)
{
  self->finished = TRUE;
  /* The stream often ends a moment before we are told why: nothing is gained by waiting on. */
  if (self->retry == 0 || self->lost_since != 0)
    return;
  g_autoptr(MfFollow) kept = g_object_ref(self);
  g_clear_handle_id(&kept->retry, g_source_remove);
  start_pass(kept);
}
