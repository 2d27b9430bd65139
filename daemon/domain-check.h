/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What an admin's domain template may hold. A throw-away machine has one disk, one NIC and two sockets, all of them mayfly's: anything
 * that would give it another door to the host is refused. What may be there is listed, so that what libvirt learns
 * tomorrow is refused until somebody looked at it.
 */

#include <glib.h>
#include <libxml/tree.h>

/* @domain: the <domain> element. INVALID names the line and the element. */
gboolean mf_domain_check(xmlNode *domain, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Elements among @parent's children, in no namespace. (transfer none) */
xmlNode *mf_xml_child(xmlNode *parent, const char *name);
xmlNode *mf_xml_next(xmlNode *node, const char *name);
gboolean mf_xml_is(const xmlNode *node, const char *name);
/* An attribute's value, "" if it is not there. (transfer full) */
char *mf_xml_attribute(xmlNode *node, const char *name);
