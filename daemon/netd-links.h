/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Bridge, taps and addresses as the kernel has them, and what has to be done to have them as they
 * should be. Pure: text of the ip program in, commands for "ip -batch" out.
 */

#include <glib.h>

#include "daemon/port.h"

typedef struct MfNetdLinks MfNetdLinks;

/* @links, @addresses: what "ip -j -d link show" and "ip -j -4 addr show" print. DAMAGED if it is
 * not what we know. */
MfNetdLinks *mf_netd_links_parse(const char *links, const char *addresses,
                                 GError **error) G_GNUC_WARN_UNUSED_RESULT;
void mf_netd_links_free(MfNetdLinks *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfNetdLinks, mf_netd_links_free)

/* Every IPv4 address of the host but loopback's, sorted. */
const char *const *mf_netd_links_addresses(const MfNetdLinks *self);
/* What keeps the bridge from serving machines, or NULL. (transfer full) */
char *mf_netd_links_bridge_problem(const MfNetdLinks *self, const char *bridge, MfPortTable *ports);

typedef struct {
  char *problem;     /* NULL = the tap is there, on the bridge, up, isolated */
  gboolean isolated; /* is a port of the bridge, and isolated */
  gboolean used;     /* a machine, or anybody else, has it open */
} MfNetdTap;
void mf_netd_tap_clear(MfNetdTap *tap);
/*
 * While the whole bridge is missing, a tap that waits for it is as it should be, and as isolated as
 * can be: the network's problem is told once, and no machine ends because libvirt restarts its
 * network.
 */
MfNetdTap mf_netd_links_tap(const MfNetdLinks *self, const char *bridge, const MfPort *port);

/*
 * mf_netd_links_plan() - commands that make the taps right, for "ip -force -batch -"; NULL if
 * nothing is to be done. A tap that is in use is never deleted; a tap of ours beyond the configured
 * number goes once nobody uses it.
 */
char *mf_netd_links_plan(const MfNetdLinks *self, const char *bridge, MfPortTable *ports);
/* Commands that delete every tap of ours, or NULL. */
char *mf_netd_links_plan_removal(const MfNetdLinks *self, const char *bridge);
