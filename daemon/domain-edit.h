/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A little of libxml2, without its casts, for what changes a domain's XML. Values go in as text
 * nodes and attributes, never as text, so none can become markup. */

#include <glib.h>
#include <libxml/tree.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)

/* A new last child. @text: NULL for none. (transfer none) */
xmlNode *mf_xml_add(xmlNode *parent, const char *name, const char *text);
void mf_xml_set(xmlNode *node, const char *name, const char *value);
void mf_xml_set_number(xmlNode *node, const char *name, guint64 number);
void mf_xml_remove_all(xmlNode *parent, const char *name);
/* A fresh element where the first of that name was, and no other of that name. (transfer none) */
xmlNode *mf_xml_replace(xmlNode *parent, const char *name, const char *text);
void mf_xml_replace_number(xmlNode *parent, const char *name, guint64 number);
/* An element's text without the space around it; NULL for none. (transfer full) */
char *mf_xml_text(xmlNode *node);
/* mf_xml_parse() - @text comes from elsewhere: no network, no document type. INVALID names the
 * line; @what: whose text it is, for messages. (transfer full) */
xmlDoc *mf_xml_parse(const char *what, const char *text, GError **error) G_GNUC_WARN_UNUSED_RESULT;
char *mf_xml_dump(xmlDoc *doc, GError **error) G_GNUC_WARN_UNUSED_RESULT;
