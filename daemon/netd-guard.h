/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The guard, our own nft table (filters/guard.nft.in says what it does). Whether the one in the
 * kernel is ours to the last rule is told by comparing with what nft listed right after we loaded
 * it; that is kept beside the network state, so that a restart or --check knows it too.
 */

#include <glib.h>

#include "daemon/port.h"

typedef struct MfNetdGuard MfNetdGuard;

/* Reads the template and fills it in. */
MfNetdGuard *mf_netd_guard_new(const MfConfig *config, MfPortTable *ports,
                               GError **error) G_GNUC_WARN_UNUSED_RESULT;
void mf_netd_guard_free(MfNetdGuard *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfNetdGuard, mf_netd_guard_free)

/* The commands for nft. Pure; INVALID if @config has a hole that is none. (transfer full) */
char *mf_netd_guard_format(const char *guard_template, const MfConfig *config, MfPortTable *ports,
                           GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What is wrong with the guard in the kernel, or NULL. (transfer full) */
char *mf_netd_guard_problem(MfNetdGuard *self);
/* Loads it in one transaction: there is no moment without a guard, or with half of one. */
gboolean mf_netd_guard_load(MfNetdGuard *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Not there is success. */
gboolean mf_netd_guard_remove(MfNetdGuard *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;
