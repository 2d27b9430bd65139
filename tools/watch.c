/* SPDX-License-Identifier: Apache-2.0 */
/* Watch: newline-delimited documents, and the connection taken up again when it breaks. */
#include "tools/watch.h"

#include "daemon/json.h"

#define RETRY_MS    300
#define PATIENCE_US (60 * G_USEC_PER_SEC)

struct _MfWatch {
  GObject parent_instance;
  MfClient *client;
  char *path;
  MfWatchCallback each;
  gpointer user_data;
  GTask *task; /* while running */
  GDataInputStream *lines;
  gint64 lost_since;
};

G_DEFINE_FINAL_TYPE(MfWatch, mf_watch, G_TYPE_OBJECT)

static void start(MfWatch *self);
static void read_line(MfWatch *self);

static void
finalize(GObject *object)
{
  MfWatch *self = MF_WATCH(object);
  g_free(self->path);
  g_clear_object(&self->lines);
  g_object_unref(self->client);
  G_OBJECT_CLASS(mf_watch_parent_class)->finalize(object);
}

static void
mf_watch_class_init(MfWatchClass *class)
{
  G_OBJECT_CLASS(class)->finalize = finalize;
}

static void
mf_watch_init(MfWatch *self)
{
}

MfWatch *
mf_watch_new(MfClient *client, const char *path, MfWatchCallback each, gpointer user_data)
{
  MfWatch *self = g_object_new(mf_watch_get_type(), NULL);
  self->client = g_object_ref(client);
  self->path = g_strdup(path);
  self->each = each;
  self->user_data = user_data;
  return self;
}

/* Takes the error. */
static void
complete(MfWatch *self, GError *error)
{
  g_autoptr(GTask) task = g_steal_pointer(&self->task);
  g_clear_object(&self->lines);
  if (error != NULL)
    g_task_return_error(task, error);
  else
    g_task_return_boolean(task, TRUE);
}

static gboolean
on_retry(gpointer self)
{
  start(self);
  return G_SOURCE_REMOVE;
}

/* @error: (nullable): the stream ended, but the job had not. Taken. */
static void
on_lost(MfWatch *self, GError *error)
{
  g_autoptr(GError) owned = error;
  gint64 now = g_get_monotonic_time();
  g_clear_object(&self->lines);
  if (self->lost_since == 0)
    self->lost_since = now;
  gboolean passing = error == NULL || mf_client_error_is_passing(error);
  if (passing && now - self->lost_since < PATIENCE_US)
    g_timeout_add_full(G_PRIORITY_DEFAULT, RETRY_MS, on_retry, g_object_ref(self), g_object_unref);
  else if (error != NULL)
    complete(self, g_steal_pointer(&owned));
  else
    complete(self, g_error_new_literal(G_IO_ERROR, G_IO_ERROR_CLOSED,
                                       "mayflyd ends the connection again and again"));
}

static void
on_line(GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr(MfWatch) self = user_data;
  g_autoptr(GError) error = NULL;
  gsize length;
  g_autofree char *line =
      g_data_input_stream_read_line_finish(G_DATA_INPUT_STREAM(source), result, &length, &error);
  if (line == NULL) {
    on_lost(self, g_steal_pointer(&error));
    return;
  }
  g_autoptr(MfJson) document = mf_json_parse(line, length, "an event of mayflyd", &error);
  if (document == NULL) {
    complete(self, g_steal_pointer(&error));
    return;
  }
  self->lost_since = 0;
  if (self->each(document, self->user_data))
    read_line(self);
  else
    complete(self, NULL);
}

static void
read_line(MfWatch *self)
{
  g_data_input_stream_read_line_async(self->lines, G_PRIORITY_DEFAULT,
                                      g_task_get_cancellable(self->task), on_line,
                                      g_object_ref(self));
}

static void
on_stream(GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr(MfWatch) self = user_data;
  g_autoptr(GError) error = NULL;
  g_autoptr(GInputStream) stream = mf_client_stream_finish(MF_CLIENT(source), result, &error);
  if (stream == NULL) {
    on_lost(self, g_steal_pointer(&error));
    return;
  }
  self->lines = g_data_input_stream_new(stream);
  read_line(self);
}

static void
start(MfWatch *self)
{
  mf_client_stream_async(self->client, self->path, g_task_get_cancellable(self->task), on_stream,
                         g_object_ref(self));
}

void
mf_watch_run_async(MfWatch *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                   gpointer user_data)
{
  self->task = g_task_new(self, cancellable, callback, user_data);
  start(self);
}

gboolean
mf_watch_run_finish(MfWatch *self, GAsyncResult *result, GError **error)
{
  return g_task_propagate_boolean(G_TASK(result), error);
}
