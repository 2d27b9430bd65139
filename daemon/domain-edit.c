/* SPDX-License-Identifier: Apache-2.0 */
/* Changing a domain's XML: see domain-edit.h. */
#include "daemon/domain-edit.h"

#include <libxml/parser.h>
#include <string.h>

#include "daemon/domain-check.h"
#include "daemon/error.h"

#define TEXT_MAX (1024 * 1024)

xmlNode *
mf_xml_add(xmlNode *parent, const char *name, const char *text)
{
  return xmlNewTextChild(parent, NULL, (const xmlChar *)name, (const xmlChar *)text);
}

void
mf_xml_set(xmlNode *node, const char *name, const char *value)
{
  xmlSetProp(node, (const xmlChar *)name, (const xmlChar *)value);
}

void
mf_xml_set_number(xmlNode *node, const char *name, guint64 number)
{
  g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, number);
  mf_xml_set(node, name, text);
}

void
mf_xml_remove_all(xmlNode *parent, const char *name)
{
  xmlNode *node;

  while ((node = mf_xml_child(parent, name)) != NULL) {
    xmlUnlinkNode(node);
    xmlFreeNode(node);
  }
}

xmlNode *
mf_xml_replace(xmlNode *parent, const char *name, const char *text)
{
  xmlNode *fresh = mf_xml_add(parent, name, text);
  xmlNode *old = mf_xml_child(parent, name);

  if (old == fresh)
    return fresh;
  xmlUnlinkNode(fresh);
  xmlReplaceNode(old, fresh);
  xmlFreeNode(old);
  while ((old = mf_xml_next(fresh->next, name)) != NULL) {
    xmlUnlinkNode(old);
    xmlFreeNode(old);
  }
  return fresh;
}

void
mf_xml_replace_number(xmlNode *parent, const char *name, guint64 number)
{
  g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, number);
  mf_xml_replace(parent, name, text);
}

char *
mf_xml_text(xmlNode *node)
{
  if (node == NULL)
    return NULL;
  xmlChar *content = xmlNodeGetContent(node);
  char *text = g_strdup(content != NULL ? (const char *)content : "");
  xmlFree(content);
  return g_strstrip(text);
}

xmlDoc *
mf_xml_parse(const char *what, const char *text, GError **error)
{
  gsize length = strlen(text);
  g_autoptr(xmlDoc) doc = NULL;

  if (length <= TEXT_MAX)
    doc = xmlReadMemory(text, (int)length, "domain.xml", NULL,
                        XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING |
                            XML_PARSE_NOBLANKS);
  if (doc == NULL) {
    const xmlError *last = length <= TEXT_MAX ? xmlGetLastError() : NULL;
    g_autofree char *why =
        g_strdup(last != NULL && last->message != NULL ? last->message : "it is too long");
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "%s, line %d: it is not well-formed XML (%s): correct it", what,
                last != NULL ? last->line : 1, g_strstrip(why));
    return NULL;
  }
  if (doc->intSubset != NULL || doc->extSubset != NULL) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "%s: it has a document type: remove the <!DOCTYPE …>", what);
    return NULL;
  }
  return g_steal_pointer(&doc);
}

char *
mf_xml_dump(xmlDoc *doc, GError **error)
{
  xmlChar *output = NULL;
  int length = 0;
  xmlDocDumpFormatMemoryEnc(doc, &output, &length, "UTF-8", 1);
  char *result = output != NULL ? g_strndup((const char *)output, (gsize)length) : NULL;
  xmlFree(output);
  if (result == NULL)
    g_set_error_literal(error, MF_ERROR, MF_ERROR_FAILED, "a machine's XML cannot be written");
  return result;
}
