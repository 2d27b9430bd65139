/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The network as far as mayfly-netd asks libvirt for it. Every function opens a connection of its
 * own, blocks, and closes it; run them on a worker. UNAVAILABLE: libvirtd cannot be reached.
 */

#include <glib.h>

#include "daemon/port.h"

/*
 * mf_hypervisor_network_ensure() - the network is defined as configured, active, and started with
 * libvirtd. One that was changed is restarted.
 * @repair: called once if it cannot be started, before the second try.
 * @ret_done: (transfer full) (nullable): what had to be done.
 * Returns: CONFLICT if a network of that name is not mayfly's.
 */
gboolean mf_hypervisor_network_ensure(const MfConfig *config, MfPortTable *ports,
                                      gboolean (*repair)(GError **error), char **ret_done,
                                      GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Changes nothing. Returns: FALSE with what is not as mf_hypervisor_network_ensure() would have it.
 */
gboolean mf_hypervisor_network_check(const MfConfig *config, MfPortTable *ports,
                                     GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Every binding that mayfly made, and then the network. Not there is success; a network that is not
 * mayfly's is left. */
gboolean mf_hypervisor_network_remove(const MfConfig *config,
                                      GError **error) G_GNUC_WARN_UNUSED_RESULT;
