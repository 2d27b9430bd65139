/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events as lines of JSON. A job's stream needs no queue: what is sent is the job as it is when the
 * line is written, and a slow reader sees fewer steps. The host's stream has a queue of one chunk:
 * what does not fit is counted, and a line says how much was lost.
 */
#include "daemon/api-private.h"

#include <string.h>

#include "daemon/error.h"
#include "daemon/json.h"

#define QUEUE_SIZE (64u << 10)
#define NDJSON     "application/x-ndjson"

typedef struct {
  MfScheduler *scheduler;
  MfJob *job;
  gboolean changed;
  gboolean last; /* the line that says it is finished has been given */
  gboolean watches;
  MfApiStream *stream;
} JobEvents;

static void
job_events_free(gpointer data)
{
  JobEvents *self = data;
  g_signal_handlers_disconnect_by_data(self->job, self);
  if (self->watches)
    mf_scheduler_unwatch(self->scheduler, self->job);
  g_object_unref(self->job);
  g_object_unref(self->scheduler);
  g_free(self);
}

static GBytes *
job_events_next(gpointer data, gboolean *ended, GError **error)
{
  JobEvents *self = data;
  *ended = self->last;
  if (!self->changed || self->last)
    return NULL;
  self->changed = FALSE;
  self->last = mf_job_get_state(self->job) == MF_JOB_FINISHED;
  g_autoptr(MfJson) json = mf_job_to_json(self->job);
  char *line = mf_api_json_line(json);
  return g_bytes_new_take(line, strlen(line));
}

static void
on_job(MfJob *job, gpointer data)
{
  JobEvents *self = data;
  self->changed = TRUE;
  mf_api_stream_wake(self->stream);
}

void
mf_api_events_job(MfApiRequest *request)
{
  GError *error = NULL;
  MfJob *job = mf_api_find_job(request, &error);
  if (job == NULL) {
    mf_api_reply_error(request, error);
    return;
  }
  JobEvents *self = g_new0(JobEvents, 1);
  self->scheduler = g_object_ref(request->api->scheduler);
  self->job = g_object_ref(job);
  self->changed = TRUE;
  g_signal_connect(job, "state-changed", G_CALLBACK(on_job), self);
  g_signal_connect(job, "changed", G_CALLBACK(on_job), self);
  self->watches = request->peer.uid == mf_job_get_owner(job);
  if (self->watches)
    mf_scheduler_watch(self->scheduler, job);
  self->stream = mf_api_stream_start(request, NDJSON, job_events_next, self, job_events_free);
}

typedef struct {
  MfScheduler *scheduler;
  MfApiPeer peer;
  GString *queue;
  guint64 lost;
  MfApiStream *stream;
} HostEvents;

static void
host_events_free(gpointer data)
{
  HostEvents *self = data;
  g_signal_handlers_disconnect_by_data(self->scheduler, self);
  g_object_unref(self->scheduler);
  g_string_free(self->queue, TRUE);
  g_free(self);
}

static void
tell_lost(HostEvents *self)
{
  g_autoptr(MfJson) json = json_object_new_object();
  mf_json_add(json, "time", json_object_new_double((double)g_get_real_time() / G_USEC_PER_SEC));
  mf_json_add_string(json, "type", "lost");
  mf_json_add_uint(json, "count", self->lost);
  g_autofree char *line = mf_api_json_line(json);
  g_string_append(self->queue, line);
  self->lost = 0;
}

static GBytes *
host_events_next(gpointer data, gboolean *ended, GError **error)
{
  HostEvents *self = data;
  if (self->lost > 0)
    tell_lost(self);
  if (self->queue->len == 0)
    return NULL;
  GBytes *chunk = g_bytes_new(self->queue->str, self->queue->len);
  g_string_truncate(self->queue, 0);
  return chunk;
}

static gboolean
may_see(const HostEvents *self, MfJson *event)
{
  MfJson *id = json_object_object_get(event, "job");
  if (self->peer.admin)
    return TRUE;
  if (!json_object_is_type(id, json_type_string))
    return FALSE;
  g_autoptr(GError) error = NULL;
  MfJob *job = mf_scheduler_find(self->scheduler, json_object_get_string(id), &error);
  return job != NULL && mf_api_peer_may_see(&self->peer, job);
}

static void
on_event(MfScheduler *scheduler, MfJson *event, gpointer data)
{
  HostEvents *self = data;
  if (!may_see(self, event))
    return;
  g_autofree char *line = mf_api_json_line(event);
  if (self->queue->len + strlen(line) > QUEUE_SIZE)
    self->lost++;
  else
    g_string_append(self->queue, line);
  mf_api_stream_wake(self->stream);
}

void
mf_api_events_all(MfApiRequest *request)
{
  HostEvents *self = g_new0(HostEvents, 1);
  self->scheduler = g_object_ref(request->api->scheduler);
  self->peer = request->peer;
  self->queue = g_string_new(NULL);
  g_signal_connect(self->scheduler, "event", G_CALLBACK(on_event), self);
  self->stream = mf_api_stream_start(request, NDJSON, host_events_next, self, host_events_free);
}
