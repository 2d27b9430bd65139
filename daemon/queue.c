/* SPDX-License-Identifier: Apache-2.0 */
/* Queue: fair order among owners. */
#include "daemon/queue.h"

typedef struct {
  gpointer entry;
  uid_t owner;
  gint64 since;
} Item;

struct MfQueue {
  GArray *items; /* in the order they came */
};

/* One owner while an order is worked out. */
typedef struct {
  uid_t owner;
  guint share; /* machines held, and entries already placed */
  GArray *at;  /* indices into items, oldest first */
  guint next;
} Lane;

MfQueue *
mf_queue_new(void)
{
  MfQueue *self = g_new0(MfQueue, 1);
  self->items = g_array_new(FALSE, FALSE, sizeof(Item));
  return self;
}

void
mf_queue_free(MfQueue *self)
{
  g_array_unref(self->items);
  g_free(self);
}

void
mf_queue_push(MfQueue *self, gpointer entry, uid_t owner, gint64 since)
{
  Item item = {entry, owner, since};
  guint at = self->items->len;
  while (at > 0 && g_array_index(self->items, Item, at - 1).since > since)
    at--;
  g_array_insert_val(self->items, at, item);
}

gboolean
mf_queue_remove(MfQueue *self, gpointer entry)
{
  for (guint i = 0; i < self->items->len; i++)
    if (g_array_index(self->items, Item, i).entry == entry) {
      g_array_remove_index(self->items, i);
      return TRUE;
    }
  return FALSE;
}

guint
mf_queue_length(const MfQueue *self)
{
  return self->items->len;
}

static void
lane_clear(gpointer data)
{
  g_array_unref(((Lane *)data)->at);
}

static Lane *
lane_of(GArray *lanes, uid_t owner, MfQueueHeld held, gpointer user_data)
{
  for (guint i = 0; i < lanes->len; i++)
    if (g_array_index(lanes, Lane, i).owner == owner)
      return &g_array_index(lanes, Lane, i);
  Lane lane = {.owner = owner,
               .share = held(owner, user_data),
               .at = g_array_new(FALSE, FALSE, sizeof(guint))};
  g_array_append_val(lanes, lane);
  return &g_array_index(lanes, Lane, lanes->len - 1);
}

GPtrArray *
mf_queue_order(const MfQueue *self, MfQueueHeld held, gpointer user_data)
{
  g_autoptr(GArray) lanes = g_array_new(FALSE, FALSE, sizeof(Lane));
  g_array_set_clear_func(lanes, lane_clear);
  for (guint i = 0; i < self->items->len; i++)
    g_array_append_val(
        lane_of(lanes, g_array_index(self->items, Item, i).owner, held, user_data)->at, i);
  GPtrArray *order = g_ptr_array_sized_new(self->items->len);
  while (order->len < self->items->len) {
    Lane *best = NULL;
    for (guint i = 0; i < lanes->len; i++) {
      Lane *lane = &g_array_index(lanes, Lane, i);
      if (lane->next == lane->at->len)
        continue;
      if (best == NULL || lane->share < best->share ||
          (lane->share == best->share &&
           g_array_index(lane->at, guint, lane->next) < g_array_index(best->at, guint, best->next)))
        best = lane;
    }
    g_ptr_array_add(
        order, g_array_index(self->items, Item, g_array_index(best->at, guint, best->next)).entry);
    best->next++;
    best->share++;
  }
  return order;
}
