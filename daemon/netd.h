/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * mayfly-netd's work in one piece: look at guard, links, chains and addresses, and put right what
 * is netd's to put right. Blocks for some milliseconds; libvirt, which may take longer, is asked
 * elsewhere (netd-service.c, netd-main.c) and its answer set here.
 */

#include <glib.h>

#include "daemon/netd-state.h"
#include "daemon/port.h"

typedef struct MfNetd MfNetd;

/* @config: outlives it. */
MfNetd *mf_netd_new(const MfConfig *config, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void mf_netd_free(MfNetd *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfNetd, mf_netd_free)

const MfConfig *mf_netd_config(const MfNetd *self);
MfPortTable *mf_netd_ports(const MfNetd *self);

/* What libvirt said about the network last; NULL: all is well. */
void mf_netd_set_network_error(MfNetd *self, const GError *error);
/* libvirt is being asked for the network: what it keeps for it may be on its way. */
void mf_netd_set_network_busy(MfNetd *self, gboolean busy);
/* After a pass: the network needs libvirt to be asked again. */
gboolean mf_netd_needs_network(const MfNetd *self);

/* After a pass: something is not certain, or not there, yet; look again soon even if the kernel
 * tells of no change. */
gboolean mf_netd_needs_look(const MfNetd *self);

/*
 * mf_netd_pass() - look once.
 * @restore: put right what is wrong, and say so in the log; else change nothing.
 * Returns: (transfer full): how it is now.
 */
MfNetdState *mf_netd_pass(MfNetd *self, gboolean restore);

/* Taps and guard, for good. Taps first: no machine is left on a port without a guard. */
gboolean mf_netd_remove(MfNetd *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* netd-service.c: until SIGTERM or SIGINT. Returns: the exit status. */
int mf_netd_serve(MfNetd *self);
