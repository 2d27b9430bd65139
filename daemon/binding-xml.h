/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The binding of filter no-host-lan to a port, as XML for libvirt and back. Pure. */

#include <glib.h>

#include "daemon/port.h"

/* (transfer full) @host_addresses: at least one. */
char *mf_binding_xml_format(const MfPort *port, const char *gateway,
                            const char *const *host_addresses);

typedef enum {
  MF_BINDING_FOREIGN, /* not made by mayfly */
  MF_BINDING_OTHER,   /* of this or another port, with other values */
  MF_BINDING_HOST,    /* differs in the host's addresses only */
  MF_BINDING_SAME,
} MfBindingMatch;

/* How @xml, from libvirt, compares with what mf_binding_xml_format() gives for the same values. */
MfBindingMatch mf_binding_xml_compare(const char *xml, const MfPort *port, const char *gateway,
                                      const char *const *host_addresses);

/* Whether mayfly made the binding @xml, for whatever port. */
gboolean mf_binding_xml_is_ours(const char *xml);
