/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The queue, fair per owner: whoever has the fewest machines is next; among equals, who waits
 * longest; an owner's own jobs stay in the order they came. Pure; entries are opaque.
 */

#include <glib.h>
#include <sys/types.h>

typedef struct MfQueue MfQueue;

MfQueue *mf_queue_new(void);
void mf_queue_free(MfQueue *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfQueue, mf_queue_free)

/* @since: when it came, in any unit: one that was out of the queue for a while goes back to its
 * place; among equals, after those that are there. */
void mf_queue_push(MfQueue *self, gpointer entry, uid_t owner, gint64 since);
/* FALSE: it was not there. */
gboolean mf_queue_remove(MfQueue *self, gpointer entry);
guint mf_queue_length(const MfQueue *self);

/* How many machines @owner holds now. */
typedef guint (*MfQueueHeld)(uid_t owner, gpointer user_data);

/* The entries in the order they would start if nothing else came. (transfer container) */
GPtrArray *mf_queue_order(const MfQueue *self, MfQueueHeld held, gpointer user_data);
