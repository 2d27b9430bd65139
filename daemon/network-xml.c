/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network XML: the template is the admin's, so it is filled in, not replaced. A digest of the
 * result in the network's metadata says whose network it is and what it was made from; libvirt
 * reorders and completes the rest.
 */
#include "daemon/network-xml.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <libxml/xpath.h>
#include <libxml/xpathInternals.h>
#include <string.h>

#include "daemon/error.h"

#define NAMESPACE     "https://mayfly.dev/ns/network/1"
#define LEASE_MINUTES "10"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlXPathContext, xmlXPathFreeContext)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlXPathObject, xmlXPathFreeObject)

static xmlDoc *
parse(const char *text, gsize length)
{
  return xmlReadMemory(text, (int)length, NULL, NULL,
                       XML_PARSE_NONET | XML_PARSE_NOBLANKS | XML_PARSE_NOERROR |
                           XML_PARSE_NOWARNING);
}

static xmlNode *
child(xmlNode *parent, const char *name)
{
  for (xmlNode *n = parent->children; n != NULL; n = n->next)
    if (n->type == XML_ELEMENT_NODE && xmlStrEqual(n->name, BAD_CAST name))
      return n;
  return NULL;
}

static xmlNode *
child_or_new(xmlNode *parent, const char *name)
{
  xmlNode *node = child(parent, name);
  return node != NULL ? node : xmlNewChild(parent, NULL, BAD_CAST name, NULL);
}

static void
set(xmlNode *node, const char *name, const char *value)
{
  xmlSetProp(node, BAD_CAST name, BAD_CAST value);
}

/* Before everything else, where libvirt's schema wants nothing in particular but people look first.
 */
static void
set_first(xmlNode *root, const char *name, const char *value)
{
  xmlNode *old = child(root, name);
  if (old != NULL) {
    xmlUnlinkNode(old);
    xmlFreeNode(old);
  }
  xmlNode *node = xmlNewDocNode(root->doc, NULL, BAD_CAST name, NULL);
  xmlNodeAddContent(node, BAD_CAST value);
  if (root->children != NULL)
    xmlAddPrevSibling(root->children, node);
  else
    xmlAddChild(root, node);
}

static void
fill_in(xmlNode *root, const MfConfig *config, MfPortTable *ports)
{
  set_first(root, "name", config->network);
  set(child_or_new(root, "bridge"), "name", config->network);
  if (config->dns_forwarders != NULL && config->dns_forwarders[0] != NULL) {
    xmlNode *dns = child_or_new(root, "dns");
    for (guint i = 0; config->dns_forwarders[i] != NULL; i++)
      set(xmlNewChild(dns, NULL, BAD_CAST "forwarder", NULL), "addr", config->dns_forwarders[i]);
  }
  g_autofree char *prefix = g_strdup_printf("%u", mf_port_table_prefix(ports));
  xmlNode *ip = child_or_new(root, "ip");
  set(ip, "address", mf_port_table_gateway(ports));
  set(ip, "prefix", prefix);
  xmlNode *dhcp = child_or_new(ip, "dhcp");
  for (guint i = 0; i < mf_port_table_size(ports); i++) {
    const MfPort *port = mf_port_table_get(ports, i);
    xmlNode *host = xmlNewChild(dhcp, NULL, BAD_CAST "host", NULL);
    set(host, "mac", port->mac);
    set(host, "ip", port->ip);
    xmlNode *lease = xmlNewChild(host, NULL, BAD_CAST "lease", NULL);
    set(lease, "expiry", LEASE_MINUTES);
    set(lease, "unit", "minutes");
  }
}

static char *
dump(xmlDoc *doc)
{
  xmlChar *text = NULL;
  int length = 0;
  xmlDocDumpMemory(doc, &text, &length);
  char *copy = g_strndup((const char *)text, (gsize)length);
  xmlFree(text);
  return copy;
}

static void
sign(xmlDoc *doc)
{
  xmlNode *root = xmlDocGetRootElement(doc);
  g_autofree char *text = dump(doc);
  g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
  xmlNode *mark = xmlNewChild(child_or_new(root, "metadata"), NULL, BAD_CAST "network", NULL);
  xmlSetNs(mark, xmlNewNs(mark, BAD_CAST NAMESPACE, BAD_CAST "mayfly"));
  set(mark, "digest", digest);
}

char *
mf_network_xml_format(const char *path, const MfConfig *config, MfPortTable *ports,
                      const char *uuid, GError **error)
{
  g_autofree char *text = NULL;
  gsize length;
  g_autoptr(GError) local = NULL;
  if (!g_file_get_contents(path, &text, &length, &local)) {
    g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED,
                "the network's template cannot be read: %s; reinstall mayfly", local->message);
    return NULL;
  }
  g_autoptr(xmlDoc) doc = length < (1u << 20) ? parse(text, length) : NULL;
  xmlNode *root = doc != NULL ? xmlDocGetRootElement(doc) : NULL;
  if (root == NULL || !xmlStrEqual(root->name, BAD_CAST "network")) {
    g_set_error(
        error, MF_ERROR, MF_ERROR_DAMAGED,
        "the network's template %s is not a libvirt network in XML; correct it or reinstall mayfly",
        path);
    return NULL;
  }
  fill_in(root, config, ports);
  sign(doc);
  if (uuid != NULL)
    set_first(root, "uuid", uuid);
  return dump(doc);
}

static int
compare_text(gconstpointer a, gconstpointer b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The values at @path, sorted. */
static void
describe(xmlXPathContext *context, const char *path, GString *out)
{
  g_autoptr(xmlXPathObject) found = xmlXPathEvalExpression(BAD_CAST path, context);
  g_autoptr(GPtrArray) values = g_ptr_array_new_with_free_func(g_free);
  for (int i = 0; found != NULL && found->nodesetval != NULL && i < found->nodesetval->nodeNr;
       i++) {
    xmlChar *value = xmlNodeGetContent(found->nodesetval->nodeTab[i]);
    g_ptr_array_add(values, g_strdup((const char *)value));
    xmlFree(value);
  }
  g_ptr_array_sort(values, compare_text);
  g_string_append_printf(out, "%s:", path);
  for (guint i = 0; i < values->len; i++)
    g_string_append_printf(out, " %s", (const char *)g_ptr_array_index(values, i));
  g_string_append_c(out, '\n');
}

static xmlXPathContext *
context_new(xmlDoc *doc)
{
  xmlXPathContext *context = doc != NULL ? xmlXPathNewContext(doc) : NULL;
  if (context != NULL)
    xmlXPathRegisterNs(context, BAD_CAST "m", BAD_CAST NAMESPACE);
  return context;
}

static char *
fingerprint(const char *xml)
{
  static const char *const owned[] = {"/network/metadata/m:network/@digest",
                                      "/network/name",
                                      "/network/forward/@mode",
                                      "/network/bridge/@name",
                                      "/network/port/@isolated",
                                      "/network/dns/forwarder/@addr",
                                      "/network/ip/@address",
                                      "/network/ip/@prefix",
                                      "/network/ip/dhcp/host/@mac",
                                      "/network/ip/dhcp/host/@ip",
                                      "/network/ip/dhcp/range/@start"};
  g_autoptr(xmlDoc) doc = parse(xml, strlen(xml));
  g_autoptr(xmlXPathContext) context = context_new(doc);
  g_autoptr(GString) text = g_string_new(NULL);
  for (guint i = 0; context != NULL && i < G_N_ELEMENTS(owned); i++)
    describe(context, owned[i], text);
  return g_string_free(g_steal_pointer(&text), FALSE);
}

gboolean
mf_network_xml_is_ours(const char *xml)
{
  g_autoptr(xmlDoc) doc = parse(xml, strlen(xml));
  g_autoptr(xmlXPathContext) context = context_new(doc);
  g_autoptr(xmlXPathObject) found =
      context != NULL ? xmlXPathEvalExpression(BAD_CAST "/network/metadata/m:network", context)
                      : NULL;
  return found != NULL && found->nodesetval != NULL && found->nodesetval->nodeNr > 0;
}

gboolean
mf_network_xml_same(const char *have, const char *want)
{
  g_autofree char *a = fingerprint(have);
  g_autofree char *b = fingerprint(want);
  return a[0] != '\0' && g_str_equal(a, b);
}
