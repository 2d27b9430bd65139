/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What libvirtd keeps beside the bridge for a network, and does not watch: its NAT rules and its
 * dnsmasq. libvirtd makes them again when it is told to reload - but its own iptables chains only
 * once in its life, so those are made here.
 */

#include <glib.h>

#include "daemon/port.h"

/* What is missing, or NULL. (transfer full) */
char *mf_netd_libvirtd_problem(const char *network, MfPortTable *ports);

/* libvirt's iptables chains, where they are missing. Rules are libvirtd's. */
gboolean mf_netd_libvirtd_make_chains(GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Chains, then SIGHUP to libvirtd or virtnetworkd if one runs; if none does, the next connection
 * starts it and it makes everything. */
gboolean mf_netd_libvirtd_reload(GError **error) G_GNUC_WARN_UNUSED_RESULT;
