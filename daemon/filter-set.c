/* SPDX-License-Identifier: Apache-2.0 */
/* The filter set: shipped rules are files, the holes are made into rules here, so that no admin
 * ever edits XML for them. */
#include "daemon/filter-set.h"

#include <arpa/inet.h>
#include <libxml/parser.h>
#include <string.h>

#include "daemon/error.h"

#define FILE_MAX  (256u << 10)
#define HOLES_MAX 400u

/* mayfly-ipv4.xml keeps 200-599 free for the holes. */
#define HOLES_PRIORITY 200u

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)

static const char *const names[] = {"mayfly-mac", "mayfly-ipv4", "mayfly-holes", "mayfly-arp",
                                    MF_FILTER_NAME};

struct MfFilterSet {
  xmlDoc *docs[G_N_ELEMENTS(names)];
};

gboolean
mf_hole_parse(const char *text, char **ret_address, guint *ret_port, GError **error)
{
  const char *colon = strrchr(text, ':');
  g_autofree char *address = colon != NULL ? g_strndup(text, (gsize)(colon - text)) : NULL;
  struct in_addr in;
  guint64 port = 0;
  if (address == NULL || inet_pton(AF_INET, address, &in) != 1 ||
      !g_ascii_string_to_unsigned(colon + 1, 10, 1, 65535, &port, NULL)) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "hole \"%s\" is not of the form ADDRESS:PORT with an IPv4 address; write for "
                "example 192.168.1.5:443",
                text);
    return FALSE;
  }
  *ret_address = g_steal_pointer(&address);
  *ret_port = (guint)port;
  return TRUE;
}

static void
set_number(xmlNode *node, const char *name, guint value)
{
  char text[16];
  g_snprintf(text, sizeof text, "%u", value);
  xmlNewProp(node, BAD_CAST name, BAD_CAST text);
}

static gboolean
add_hole(xmlNode *filter, guint index, const char *text, GError **error)
{
  g_autofree char *address = NULL;
  guint port;
  if (!mf_hole_parse(text, &address, &port, error))
    return FALSE;
  xmlNode *rule = xmlNewChild(filter, NULL, BAD_CAST "rule", NULL);
  xmlNewProp(rule, BAD_CAST "action", BAD_CAST "accept");
  xmlNewProp(rule, BAD_CAST "direction", BAD_CAST "out");
  set_number(rule, "priority", HOLES_PRIORITY + index);
  xmlNode *ip = xmlNewChild(rule, NULL, BAD_CAST "ip", NULL);
  xmlNewProp(ip, BAD_CAST "dstipaddr", BAD_CAST address);
  xmlNewProp(ip, BAD_CAST "protocol", BAD_CAST "tcp");
  set_number(ip, "dstportstart", port);
  return TRUE;
}

static gboolean
add_holes(xmlNode *filter, char **holes, GError **error)
{
  guint n = holes != NULL ? g_strv_length(holes) : 0;
  if (n > HOLES_MAX) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "%u holes are configured and at most %u are possible; remove some", n, HOLES_MAX);
    return FALSE;
  }
  for (guint i = 0; i < n; i++)
    if (!add_hole(filter, i, holes[i], error))
      return FALSE;
  return TRUE;
}

static xmlDoc *
parse(const char *text, gsize length)
{
  return xmlReadMemory(text, (int)length, NULL, NULL,
                       XML_PARSE_NONET | XML_PARSE_NOBLANKS | XML_PARSE_NOERROR |
                           XML_PARSE_NOWARNING);
}

static xmlDoc *
load_file(const char *directory, const char *name, GError **error)
{
  g_autofree char *file = g_strconcat(name, ".xml", NULL);
  g_autofree char *path = g_build_filename(directory, file, NULL);
  g_autofree char *text = NULL;
  gsize length;
  g_autoptr(GError) local = NULL;
  if (!g_file_get_contents(path, &text, &length, &local)) {
    g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED,
                "filter file cannot be read: %s; reinstall mayfly", local->message);
    return NULL;
  }
  g_autoptr(xmlDoc) doc = length <= FILE_MAX ? parse(text, length) : NULL;
  xmlNode *root = doc != NULL ? xmlDocGetRootElement(doc) : NULL;
  xmlChar *got = root != NULL ? xmlGetNoNsProp(root, BAD_CAST "name") : NULL;
  gboolean good =
      got != NULL && xmlStrEqual(root->name, BAD_CAST "filter") && xmlStrEqual(got, BAD_CAST name);
  xmlFree(got);
  if (!good) {
    g_set_error(
        error, MF_ERROR, MF_ERROR_DAMAGED,
        "filter file %s does not hold an nwfilter named \"%s\"; restore it by reinstalling mayfly",
        path, name);
    return NULL;
  }
  return g_steal_pointer(&doc);
}

MfFilterSet *
mf_filter_set_load(const MfConfig *config, GError **error)
{
  g_autoptr(MfFilterSet) self = g_new0(MfFilterSet, 1);
  for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
    self->docs[i] = load_file(config->filter_directory, names[i], error);
    if (self->docs[i] == NULL)
      return NULL;
    if (g_str_equal(names[i], "mayfly-holes") &&
        !add_holes(mf_filter_set_root(self, i), config->holes, error))
      return NULL;
  }
  return g_steal_pointer(&self);
}

void
mf_filter_set_free(MfFilterSet *self)
{
  if (self == NULL)
    return;
  for (guint i = 0; i < G_N_ELEMENTS(names); i++)
    g_clear_pointer(&self->docs[i], xmlFreeDoc);
  g_free(self);
}

guint
mf_filter_set_size(const MfFilterSet *self)
{
  return G_N_ELEMENTS(names);
}

const char *
mf_filter_set_name(const MfFilterSet *self, guint index)
{
  g_return_val_if_fail(index < G_N_ELEMENTS(names), NULL);
  return names[index];
}

xmlNode *
mf_filter_set_root(const MfFilterSet *self, guint index)
{
  g_return_val_if_fail(index < G_N_ELEMENTS(names), NULL);
  return xmlDocGetRootElement(self->docs[index]);
}

char *
mf_filter_set_format(const MfFilterSet *self, guint index, const char *uuid)
{
  g_autoptr(xmlDoc) copy = xmlCopyDoc(self->docs[index], 1);
  if (uuid != NULL)
    xmlNewTextChild(xmlDocGetRootElement(copy), NULL, BAD_CAST "uuid", BAD_CAST uuid);
  xmlChar *text = NULL;
  int length = 0;
  xmlDocDumpMemory(copy, &text, &length);
  char *result = g_strndup((const char *)text, (gsize)length);
  xmlFree(text);
  return result;
}

static int
compare_text(gconstpointer a, gconstpointer b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Element by element with sorted attributes; comments, white space and the uuid say nothing about
 * what a filter does. */
static void
describe(const xmlNode *node, GString *out)
{
  g_autoptr(GPtrArray) attributes = g_ptr_array_new_with_free_func(g_free);
  for (const xmlAttr *a = node->properties; a != NULL; a = a->next) {
    xmlChar *value = xmlNodeListGetString(node->doc, a->children, 1);
    g_ptr_array_add(attributes,
                    g_strdup_printf(" %s=%s", a->name, value != NULL ? (const char *)value : ""));
    xmlFree(value);
  }
  g_ptr_array_sort(attributes, compare_text);
  g_string_append_printf(out, "<%s", node->name);
  for (guint i = 0; i < attributes->len; i++)
    g_string_append(out, g_ptr_array_index(attributes, i));
  for (const xmlNode *child = node->children; child != NULL; child = child->next)
    if (child->type == XML_ELEMENT_NODE && !xmlStrEqual(child->name, BAD_CAST "uuid"))
      describe(child, out);
  g_string_append_c(out, '>');
}

gboolean
mf_filter_set_matches(const MfFilterSet *self, guint index, const char *xml, char **ret_uuid)
{
  *ret_uuid = NULL;
  g_autoptr(xmlDoc) doc = parse(xml, strlen(xml));
  xmlNode *root = doc != NULL ? xmlDocGetRootElement(doc) : NULL;
  if (root == NULL)
    return FALSE;
  for (xmlNode *child = root->children; child != NULL && *ret_uuid == NULL; child = child->next) {
    if (!xmlStrEqual(child->name, BAD_CAST "uuid"))
      continue;
    xmlChar *uuid = xmlNodeGetContent(child);
    *ret_uuid = g_strdup((const char *)uuid);
    xmlFree(uuid);
  }
  g_autoptr(GString) have = g_string_new(NULL);
  g_autoptr(GString) want = g_string_new(NULL);
  describe(root, have);
  describe(mf_filter_set_root(self, index), want);
  return g_string_equal(have, want);
}
