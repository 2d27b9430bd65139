/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* At most N at a time; the others wait in the order they came, those that can wait behind those that
 * cannot. Main context only. */

#include <glib.h>

typedef struct MfLimiter MfLimiter;

MfLimiter *mf_limiter_new(guint most);
void mf_limiter_free(MfLimiter *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfLimiter, mf_limiter_free)

/*
 * mf_limiter_enter() - calls @callback from an idle source as soon as there is a place, which it
 * then holds until mf_limiter_leave(). @patient: everybody else goes first. Returns: an id for mf_limiter_withdraw().
 */
guint mf_limiter_enter(MfLimiter *self, gboolean patient, GSourceOnceFunc callback,
                       gpointer user_data);
/* TRUE: it still waited, its callback will not come, and no place is held. FALSE: it has been
 * called. */
gboolean mf_limiter_withdraw(MfLimiter *self, guint id);
void mf_limiter_leave(MfLimiter *self);
