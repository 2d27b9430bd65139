/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The machines' libvirt network as XML, from templates/network.xml and the configuration. Pure but
 * for reading the template. */

#include <glib.h>

#include "daemon/port.h"

/* (transfer full) @uuid: what the network has in libvirt already, or NULL. DAMAGED if the template
 * is no network. */
char *mf_network_xml_format(const char *path, const MfConfig *config, MfPortTable *ports,
                            const char *uuid, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Whether @xml, from libvirt, is a network that mayfly defined. */
gboolean mf_network_xml_is_ours(const char *xml);

/*
 * mf_network_xml_same() - whether @have, from libvirt, is what @want says: made from the same
 * template and values, and not edited since in what mayfly answers for (bridge, forwarding,
 * address, DHCP, DNS, port isolation).
 */
gboolean mf_network_xml_same(const char *have, const char *want);
