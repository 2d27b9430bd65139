/* SPDX-License-Identifier: Apache-2.0 */
/* Limiter: places, and who waits for one. */
#include "daemon/limiter.h"

typedef struct {
  guint id;
  gboolean patient;
  GSourceOnceFunc callback;
  gpointer user_data;
} Waiter;

struct MfLimiter {
  guint most, held, last;
  guint idle;
  GQueue waiting;
};

static void pump(MfLimiter *self);

static gboolean
on_idle(gpointer data)
{
  MfLimiter *self = data;
  self->idle = 0;
  if (self->held < self->most && !g_queue_is_empty(&self->waiting)) {
    g_autofree Waiter *w = g_queue_pop_head(&self->waiting);
    self->held++;
    pump(self);
    w->callback(w->user_data);
  }
  return G_SOURCE_REMOVE;
}

static void
pump(MfLimiter *self)
{
  if (self->idle == 0 && self->held < self->most && !g_queue_is_empty(&self->waiting))
    self->idle = g_idle_add_full(G_PRIORITY_DEFAULT, on_idle, self, NULL);
}

MfLimiter *
mf_limiter_new(guint most)
{
  MfLimiter *self = g_new0(MfLimiter, 1);
  self->most = MAX(most, 1);
  g_queue_init(&self->waiting);
  return self;
}

void
mf_limiter_free(MfLimiter *self)
{
  g_clear_handle_id(&self->idle, g_source_remove);
  g_queue_clear_full(&self->waiting, g_free);
  g_free(self);
}

guint
mf_limiter_enter(MfLimiter *self, gboolean patient, GSourceOnceFunc callback, gpointer user_data)
{
  Waiter *w = g_new(Waiter, 1);
  *w = (Waiter){++self->last, patient, callback, user_data};
  GList *after = self->waiting.tail;
  while (!patient && after != NULL && ((Waiter *)after->data)->patient)
    after = after->prev;
  if (after != NULL)
    g_queue_insert_after(&self->waiting, after, w);
  else
    g_queue_push_head(&self->waiting, w);
  pump(self);
  return w->id;
}

gboolean
mf_limiter_withdraw(MfLimiter *self, guint id)
{
  for (GList *l = self->waiting.head; l; l = l->next)
    if (((Waiter *)l->data)->id == id) {
      g_free(l->data);
      g_queue_delete_link(&self->waiting, l);
      return TRUE;
    }
  return FALSE;
}

void
mf_limiter_leave(MfLimiter *self)
{
  g_return_if_fail(self->held > 0);
  self->held--;
  pump(self);
}
