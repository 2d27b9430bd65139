/* SPDX-License-Identifier: Apache-2.0 */
/* Runner trace: see runner-trace.h. */
#include "tests/gitlab/runner-trace.h"

#include "tests/gitlab/runner-api.h"

#define PART_MAX   (1u << 20)
#define TRIES_MAX  100
#define RETRY_WAIT 100 /* ms */

struct _Trace {
  const RunnerConfig *config;
  char *id, *token;
  TraceCancel cancel;
  gpointer cancel_data;
  GThread *thread;
  GMutex lock; /* of all below */
  GCond wake;
  GString *text;
  gboolean cut;               /* the limit was reached */
  const char *state, *reason; /* the final ones, or NULL */
  int exit_code;
  /* Of the thread alone. */
  gsize sent;
  guint interval;
  gboolean over; /* the coordinator wants no more */
};

static void
heed(Trace *self, const ApiAnswer *answer)
{
  if (answer->interval > 0)
    self->interval = answer->interval;
  gboolean force = answer->status == SOUP_STATUS_FORBIDDEN ||
                   answer->status == SOUP_STATUS_NOT_FOUND ||
                   g_strcmp0(answer->job_status, "canceled") == 0 ||
                   g_strcmp0(answer->job_status, "failed") == 0;
  if (force) {
    self->over = TRUE;
    self->cancel(self->cancel_data, TRUE);
  } else if (g_strcmp0(answer->job_status, "canceling") == 0) {
    self->cancel(self->cancel_data, FALSE);
  }
}

/* One part. Returns: whether something was sent and taken. */
static gboolean
send_part(Trace *self, Api *api)
{
  g_mutex_lock(&self->lock);
  gsize length = MIN(self->text->len - self->sent, PART_MAX);
  g_autofree char *part = g_memdup2(self->text->str + self->sent, length);
  g_mutex_unlock(&self->lock);
  if (length == 0)
    return FALSE;
  g_auto(ApiAnswer) answer = api_append(api, self->id, self->token, part, self->sent, length);
  if (answer.status == SOUP_STATUS_ACCEPTED)
    self->sent += length;
  else if (answer.status == SOUP_STATUS_REQUESTED_RANGE_NOT_SATISFIABLE && answer.has_range)
    self->sent = answer.range;
  heed(self, &answer);
  return answer.status == SOUP_STATUS_ACCEPTED;
}

static void
touch(Trace *self, Api *api)
{
  g_auto(ApiAnswer) answer = api_update(api, self->id, self->token, "running", NULL, -1, 0);
  heed(self, &answer);
}

static gboolean
all_sent(Trace *self)
{
  g_mutex_lock(&self->lock);
  gboolean all = self->sent == self->text->len;
  g_mutex_unlock(&self->lock);
  return all;
}

static void
send_state(Trace *self, Api *api)
{
  for (guint try = 0; try < TRIES_MAX && !self->over; try++) {
    for (guint part = 0; part < TRIES_MAX && !self->over && !all_sent(self); part++)
      if (!send_part(self, api))
        g_usleep(RETRY_WAIT * 1000);
    if (self->over)
      return;
    g_auto(ApiAnswer) answer = api_update(api, self->id, self->token, self->state, self->reason,
                                          self->exit_code, self->text->len);
    if (answer.status == SOUP_STATUS_OK)
      return;
    /* The trace is not what the coordinator has: the next part's answer will say what it has. */
    if (answer.status == SOUP_STATUS_PRECONDITION_FAILED)
      self->sent = 0;
    else if (answer.status == SOUP_STATUS_FORBIDDEN || answer.status == SOUP_STATUS_NOT_FOUND)
      return;
    g_usleep(RETRY_WAIT * 1000);
  }
}

/* Returns: whether the job's end has come. */
static gboolean
wait_for_more(Trace *self, gint64 until)
{
  g_mutex_lock(&self->lock);
  while (self->state == NULL && g_cond_wait_until(&self->wake, &self->lock, until))
    continue;
  gboolean end = self->state != NULL;
  g_mutex_unlock(&self->lock);
  return end;
}

static gpointer
work(gpointer data)
{
  Trace *self = data;
  Api api;
  api_init(&api, self->config);
  touch(self, &api);
  gint64 last = g_get_monotonic_time();
  while (!wait_for_more(self, g_get_monotonic_time() + (gint64)self->interval * 1000)) {
    gint64 now = g_get_monotonic_time();
    if (self->over)
      continue;
    if (!all_sent(self)) {
      while (send_part(self, &api) && !all_sent(self))
        continue;
      last = now;
    } else if (now - last >= (gint64)self->config->touch_interval * 1000) {
      touch(self, &api);
      last = now;
    }
  }
  send_state(self, &api);
  api_clear(&api);
  return NULL;
}

Trace *
trace_new(const RunnerConfig *config, const char *id, const char *token, TraceCancel cancel,
          gpointer data)
{
  Trace *self = g_new0(Trace, 1);
  self->config = config;
  self->id = g_strdup(id);
  self->token = g_strdup(token);
  self->cancel = cancel;
  self->cancel_data = data;
  self->text = g_string_new(NULL);
  self->interval = config->update_interval;
  g_mutex_init(&self->lock);
  g_cond_init(&self->wake);
  self->thread = g_thread_new("trace", work, self);
  return self;
}

void
trace_write(gpointer data, const char *bytes, gsize length)
{
  Trace *self = data;
  gsize limit = self->config->output_limit;
  g_mutex_lock(&self->lock);
  if (!self->cut && self->text->len + length <= limit) {
    g_string_append_len(self->text, bytes, (gssize)length);
  } else if (!self->cut) {
    self->cut = TRUE;
    g_string_append_len(self->text, bytes, (gssize)(limit - self->text->len));
    g_string_append_printf(self->text, "\nJob's log exceeded limit of %" G_GSIZE_FORMAT " bytes.\n",
                           limit);
  }
  g_mutex_unlock(&self->lock);
}

void
trace_printf(Trace *self, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  g_autofree char *text = g_strdup_vprintf(format, args);
  va_end(args);
  trace_write(self, text, strlen(text));
}

void
trace_finish(Trace *self, const char *state, const char *reason, int exit_code)
{
  g_mutex_lock(&self->lock);
  self->cut = TRUE; /* what comes now, from a program that was left behind, is too late */
  self->state = state;
  self->reason = reason;
  self->exit_code = exit_code;
  g_cond_signal(&self->wake);
  g_mutex_unlock(&self->lock);
  g_thread_join(g_steal_pointer(&self->thread));
}

void
trace_free(Trace *self)
{
  g_mutex_clear(&self->lock);
  g_cond_clear(&self->wake);
  g_string_free(self->text, TRUE);
  g_free(self->id);
  g_free(self->token);
  g_free(self);
}
