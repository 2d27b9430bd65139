/* SPDX-License-Identifier: Apache-2.0 */
/* The list of what a domain template may hold; see domain-check.h for why it is a list of what may,
 * not of what may not. */
#include "daemon/domain-check.h"

#include "daemon/error.h"

static const char *const domain_elements[] = {
    "name",      "uuid",        "genid",   "title",         "description", "metadata",
    "memory",    "maxMemory",   "memtune", "currentMemory", "vcpu",        "memoryBacking",
    "iothreads", "iothreadids", "cputune", "numatune",      "blkiotune",   "resource",
    "os",        "features",    "cpu",     "clock",         "on_poweroff", "on_reboot",
    "on_crash",  "pm",          "perf",    "devices",       NULL,
};
static const char *const device_elements[] = {
    "emulator", "disk",  "controller", "rng",   "memballoon", "panic",
    "watchdog", "input", "video",      "vsock", "iommu",      NULL,
};
/* Files, the chain and locks are mayfly's; how the disk behaves is the admin's. */
static const char *const disk_elements[] = {
    "driver", "target", "boot", "iotune", "serial", "blockio", "geometry", "address", "alias", NULL,
};
static const char *const os_elements[] = {
    "type", "cmdline", "boot", "bootmenu", "bios", "smbios", "loader", "kernel", "initrd", NULL,
};

gboolean
mf_xml_is(const xmlNode *node, const char *name)
{
  return node->type == XML_ELEMENT_NODE && node->ns == NULL &&
         g_str_equal((const char *)node->name, name);
}

xmlNode *
mf_xml_next(xmlNode *node, const char *name)
{
  while (node != NULL && !mf_xml_is(node, name))
    node = node->next;
  return node;
}

xmlNode *
mf_xml_child(xmlNode *parent, const char *name)
{
  return mf_xml_next(parent->children, name);
}

char *
mf_xml_attribute(xmlNode *node, const char *name)
{
  xmlChar *value = xmlGetNoNsProp(node, (const xmlChar *)name);
  char *copy = g_strdup(value != NULL ? (const char *)value : "");
  xmlFree(value);
  return copy;
}

static gboolean
refuse(const xmlNode *node, const char *why, GError **error)
{
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
              "domain template, line %ld: <%s%s%s> %s: remove it, or start again from the template "
              "that came with mayfly",
              xmlGetLineNo(node),
              node->ns != NULL && node->ns->prefix != NULL ? (const char *)node->ns->prefix : "",
              node->ns != NULL && node->ns->prefix != NULL ? ":" : "", (const char *)node->name,
              why);
  return FALSE;
}

static gboolean
check_children(xmlNode *parent, const char *const *allowed, const char *why, GError **error)
{
  for (xmlNode *node = parent->children; node != NULL; node = node->next) {
    if (node->type == XML_ENTITY_REF_NODE)
      return refuse(parent, "uses an entity", error);
    if (node->type != XML_ELEMENT_NODE)
      continue;
    if (node->ns != NULL || !g_strv_contains(allowed, (const char *)node->name))
      return refuse(node, why, error);
  }
  return TRUE;
}

static gboolean
check_disk(xmlNode *disk, guint *disks, GError **error)
{
  xmlNode *target = mf_xml_child(disk, "target");
  g_autofree char *name = target != NULL ? mf_xml_attribute(target, "dev") : g_strdup("");

  if (!g_str_equal(name, "vda") || ++*disks > 1)
    return refuse(disk, "is not the one disk with <target dev='vda'> that a machine has", error);
  return check_children(disk, disk_elements, "of the disk is set by mayfly", error);
}

/* A backend other than these reads from a socket or a file of the admin's choice. */
static gboolean
check_rng(xmlNode *rng, GError **error)
{
  static const char *const sources[] = {"/dev/urandom", "/dev/random", "/dev/hwrng", NULL};

  for (xmlNode *node = mf_xml_child(rng, "backend"); node != NULL;
       node = mf_xml_next(node->next, "backend")) {
    g_autofree char *model = mf_xml_attribute(node, "model");
    xmlChar *content = xmlNodeGetContent(node);
    g_autofree char *source = g_strstrip(g_strdup((const char *)content));
    xmlFree(content);
    if (g_str_equal(model, "builtin"))
      continue;
    if (!g_str_equal(model, "random") || !(*source == '\0' || g_strv_contains(sources, source)))
      return refuse(node, "must be model='random' with /dev/urandom, or builtin", error);
  }
  return TRUE;
}

static gboolean
check_watchdog(xmlNode *watchdog, GError **error)
{
  g_autofree char *action = mf_xml_attribute(watchdog, "action");

  if (g_str_equal(action, "dump"))
    return refuse(watchdog, "with action='dump' would write the guest's memory to the host", error);
  return TRUE;
}

static gboolean
check_devices(xmlNode *devices, GError **error)
{
  guint disks = 0;

  if (!check_children(devices, device_elements, "is not for a throw-away machine", error))
    return FALSE;
  for (xmlNode *node = devices->children; node != NULL; node = node->next) {
    if (mf_xml_is(node, "disk") && !check_disk(node, &disks, error))
      return FALSE;
    if (mf_xml_is(node, "rng") && !check_rng(node, error))
      return FALSE;
    if (mf_xml_is(node, "watchdog") && !check_watchdog(node, error))
      return FALSE;
  }
  if (disks == 0)
    return refuse(devices, "has no <disk> with <target dev='vda'>", error);
  return TRUE;
}

/* Firmware with a variable store leaves a file on the host; and nothing may be written to the
 * firmware itself. */
static gboolean
check_os(xmlNode *os, GError **error)
{
  g_autofree char *firmware = mf_xml_attribute(os, "firmware");
  xmlNode *loader = mf_xml_child(os, "loader");

  if (*firmware != '\0')
    return refuse(os, "with firmware= would leave a variable store on the host", error);
  if (loader != NULL) {
    g_autofree char *readonly = mf_xml_attribute(loader, "readonly");
    g_autofree char *stateless = mf_xml_attribute(loader, "stateless");
    g_autofree char *type = mf_xml_attribute(loader, "type");
    if (!g_str_equal(readonly, "yes") ||
        (g_str_equal(type, "pflash") && !g_str_equal(stateless, "yes")))
      return refuse(loader, "must be readonly='yes', and stateless='yes' if it is pflash", error);
  }
  return check_children(os, os_elements, "is not for a throw-away machine", error);
}

gboolean
mf_domain_check(xmlNode *domain, GError **error)
{
  if (domain == NULL || !mf_xml_is(domain, "domain")) {
    g_set_error_literal(
        error, MF_ERROR, MF_ERROR_INVALID,
        "domain template: it is not a <domain>: start again from the template that came "
        "with mayfly");
    return FALSE;
  }
  xmlNode *os = mf_xml_child(domain, "os");
  xmlNode *devices = mf_xml_child(domain, "devices");
  if (os == NULL || devices == NULL)
    return refuse(domain, "has no <os> or no <devices>", error);
  if (mf_xml_next(os->next, "os") != NULL || mf_xml_next(devices->next, "devices") != NULL)
    return refuse(domain, "has <os> or <devices> twice", error);
  return check_children(domain, domain_elements, "is not for a throw-away machine", error) &&
         check_os(os, error) && check_devices(devices, error);
}
