/* SPDX-License-Identifier: Apache-2.0 */
/* What libvirt says about its host when a connection is made. */
#include "daemon/hypervisor-private.h"

#include <libxml/parser.h>

#include "daemon/domain-check.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)

char *
mf_hypervisor_host_versions(virConnectPtr connection)
{
  unsigned long library = 0;
  unsigned long emulator = 0;

  virConnectGetLibVersion(connection, &library);
  virConnectGetVersion(connection, &emulator);
  return g_strdup_printf("libvirt %lu.%lu.%lu, QEMU %lu.%lu.%lu", library / 1000000,
                         library / 1000 % 1000, library % 1000, emulator / 1000000,
                         emulator / 1000 % 1000, emulator % 1000);
}

static gboolean
has_text(xmlNode *node, const char *text)
{
  xmlChar *content = node != NULL ? xmlNodeGetContent(node) : NULL;
  gboolean same = g_strcmp0((const char *)content, text) == 0;
  xmlFree(content);
  return same;
}

/* <host> holds one <secmodel> for each driver; the one called "dac" says whom QEMU runs as. */
char *
mf_hypervisor_host_label(const char *capabilities)
{
  if (capabilities == NULL)
    return NULL;
  g_autoptr(xmlDoc) doc = xmlReadMemory(capabilities, (int)strlen(capabilities), NULL, NULL,
                                        XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
  xmlNode *root = doc != NULL ? xmlDocGetRootElement(doc) : NULL;
  xmlNode *host = root != NULL ? mf_xml_child(root, "host") : NULL;
  if (host == NULL)
    return NULL;
  for (xmlNode *model = mf_xml_child(host, "secmodel"); model != NULL;
       model = mf_xml_next(model->next, "secmodel")) {
    xmlNode *label = mf_xml_child(model, "baselabel");
    if (label == NULL || !has_text(mf_xml_child(model, "model"), "dac"))
      continue;
    xmlChar *content = xmlNodeGetContent(label);
    g_autofree char *text = g_strdup((const char *)content);
    xmlFree(content);
    return mf_hypervisor_label_gid(text) >= 0 ? g_steal_pointer(&text) : NULL;
  }
  return NULL;
}

gint64
mf_hypervisor_label_gid(const char *label)
{
  guint64 uid;
  guint64 gid;
  g_auto(GStrv) parts = g_strsplit(label != NULL ? label : "", ":", 3);

  if (g_strv_length(parts) != 2 || parts[0][0] != '+' || parts[1][0] != '+' ||
      !g_ascii_string_to_unsigned(parts[0] + 1, 10, 0, G_MAXUINT32 - 1, &uid, NULL) ||
      !g_ascii_string_to_unsigned(parts[1] + 1, 10, 0, G_MAXUINT32 - 1, &gid, NULL))
    return -1;
  return (gint64)gid;
}
