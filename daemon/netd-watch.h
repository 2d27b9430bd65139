/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The kernel tells when rules, links or addresses change. What changed is not looked at: the one
 * who listens looks at everything anyway, so a lost message (the kernel says that some were) is a
 * message like any other.
 */

#include <glib.h>

typedef struct MfNetdWatch MfNetdWatch;
/* @changed: on the default main context, once for whatever was waiting. UNAVAILABLE if the kernel
 * refuses. */
MfNetdWatch *mf_netd_watch_new(void (*changed)(gpointer data), gpointer data,
                               GError **error) G_GNUC_WARN_UNUSED_RESULT;
void mf_netd_watch_free(MfNetdWatch *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfNetdWatch, mf_netd_watch_free)
