/* SPDX-License-Identifier: Apache-2.0 */
/* Bindings are told from those of other people's machines by their owner's name. */
#include "daemon/binding-xml.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <string.h>

#include "daemon/filter-set.h"

#define OWNER_PREFIX "mayfly-port-"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)

/* The same port always has the same owner: after a crash libvirt finds the binding to be the one it
 * knows. */
static char *
owner_uuid(const char *tap)
{
  g_autofree char *text = g_strconcat("https://mayfly.dev/ns/port/", tap, NULL);
  g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
  return g_strdup_printf("%.8s-%.4s-5%.3s-a%.3s-%.12s", sum, sum + 8, sum + 12, sum + 15, sum + 18);
}

static xmlNode *
add(xmlNode *parent, const char *name, const char *text)
{
  return xmlNewTextChild(parent, NULL, BAD_CAST name, BAD_CAST text);
}

static void
set(xmlNode *node, const char *name, const char *value)
{
  xmlNewProp(node, BAD_CAST name, BAD_CAST value);
}

static void
add_parameter(xmlNode *filter, const char *name, const char *value)
{
  xmlNode *parameter = add(filter, "parameter", NULL);
  set(parameter, "name", name);
  set(parameter, "value", value);
}

char *
mf_binding_xml_format(const MfPort *port, const char *gateway, const char *const *host_addresses)
{
  g_return_val_if_fail(host_addresses != NULL && host_addresses[0] != NULL, NULL);
  g_autoptr(xmlDoc) doc = xmlNewDoc(BAD_CAST "1.0");
  xmlNode *root = xmlNewNode(NULL, BAD_CAST "filterbinding");
  xmlDocSetRootElement(doc, root);
  g_autofree char *name = g_strconcat(OWNER_PREFIX, port->tap, NULL);
  g_autofree char *uuid = owner_uuid(port->tap);
  xmlNode *owner = add(root, "owner", NULL);
  add(owner, "name", name);
  add(owner, "uuid", uuid);
  set(add(root, "portdev", NULL), "name", port->tap);
  set(add(root, "mac", NULL), "address", port->mac);
  xmlNode *filter = add(root, "filterref", NULL);
  set(filter, "filter", MF_FILTER_NAME);
  add_parameter(filter, "IP", port->ip);
  add_parameter(filter, "GATEWAY", gateway);
  for (guint i = 0; host_addresses[i] != NULL; i++)
    add_parameter(filter, "HOST_IP", host_addresses[i]);
  add_parameter(filter, "CTRL_IP_LEARNING", "none");

  xmlChar *text = NULL;
  int length = 0;
  xmlDocDumpMemory(doc, &text, &length);
  char *result = g_strndup((const char *)text, (gsize)length);
  xmlFree(text);
  return result;
}

static char *
attribute(const xmlNode *node, const char *name)
{
  xmlChar *value = xmlGetNoNsProp(node, BAD_CAST name);
  char *copy = g_strdup(value != NULL ? (const char *)value : "");
  xmlFree(value);
  return copy;
}

static const xmlNode *
child(const xmlNode *parent, const char *name)
{
  for (const xmlNode *n = parent != NULL ? parent->children : NULL; n != NULL; n = n->next)
    if (n->type == XML_ELEMENT_NODE && xmlStrEqual(n->name, BAD_CAST name))
      return n;
  return NULL;
}

static gboolean
is_ours(const xmlNode *root)
{
  const xmlNode *name = child(child(root, "owner"), "name");
  xmlChar *text = name != NULL ? xmlNodeGetContent(name) : NULL;
  gboolean ours = text != NULL && g_str_has_prefix((const char *)text, OWNER_PREFIX);
  xmlFree(text);
  return ours;
}

static int
compare_text(gconstpointer a, gconstpointer b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Every value in an order that does not depend on libvirt's. MAC is among the parameters that
 * libvirt gives back. */
static char *
describe(const xmlNode *root, gboolean host)
{
  g_autoptr(GPtrArray) values = g_ptr_array_new_with_free_func(g_free);
  const xmlNode *filter = child(root, "filterref");
  for (const xmlNode *n = filter != NULL ? filter->children : NULL; n != NULL; n = n->next) {
    if (n->type != XML_ELEMENT_NODE)
      continue;
    g_autofree char *name = attribute(n, "name");
    g_autofree char *value = attribute(n, "value");
    if (g_str_equal(name, "MAC") || g_str_equal(name, "HOST_IP") != host)
      continue;
    g_ptr_array_add(values, g_strconcat(name, "=", value, NULL));
  }
  g_ptr_array_sort(values, compare_text);
  g_autoptr(GString) text = g_string_new(NULL);
  for (guint i = 0; i < values->len; i++)
    g_string_append_printf(text, "%s ", (const char *)g_ptr_array_index(values, i));
  if (!host) {
    const xmlNode *portdev = child(root, "portdev");
    const xmlNode *mac = child(root, "mac");
    g_autofree char *dev = portdev != NULL ? attribute(portdev, "name") : NULL;
    g_autofree char *address = mac != NULL ? attribute(mac, "address") : NULL;
    g_autofree char *name = filter != NULL ? attribute(filter, "filter") : NULL;
    g_string_append_printf(text, "%s %s %s", dev, address, name);
  }
  return g_string_free(g_steal_pointer(&text), FALSE);
}

static xmlDoc *
parse(const char *xml)
{
  return xmlReadMemory(xml, (int)strlen(xml), NULL, NULL,
                       XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
}

MfBindingMatch
mf_binding_xml_compare(const char *xml, const MfPort *port, const char *gateway,
                       const char *const *host_addresses)
{
  g_autoptr(xmlDoc) have = parse(xml);
  const xmlNode *root = have != NULL ? xmlDocGetRootElement(have) : NULL;
  if (root == NULL || !is_ours(root))
    return MF_BINDING_FOREIGN;
  g_autofree char *wanted = mf_binding_xml_format(port, gateway, host_addresses);
  g_autoptr(xmlDoc) want = parse(wanted);
  g_autofree char *have_own = describe(root, FALSE);
  g_autofree char *want_own = describe(xmlDocGetRootElement(want), FALSE);
  if (!g_str_equal(have_own, want_own))
    return MF_BINDING_OTHER;
  g_autofree char *have_host = describe(root, TRUE);
  g_autofree char *want_host = describe(xmlDocGetRootElement(want), TRUE);
  return g_str_equal(have_host, want_host) ? MF_BINDING_SAME : MF_BINDING_HOST;
}

gboolean
mf_binding_xml_is_ours(const char *xml)
{
  g_autoptr(xmlDoc) doc = parse(xml);
  const xmlNode *root = doc != NULL ? xmlDocGetRootElement(doc) : NULL;
  return root != NULL && is_ours(root);
}
