/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A template's domain and one machine's values become the XML that libvirt gets. Values go in as
 * text nodes and attributes of a tree, never as text, so none can become markup; what XML cannot
 * hold at all (a control character) is refused.
 */
#include "daemon/domain-xml.h"

#include <libxml/parser.h>

#include "daemon/domain-check.h"
#include "daemon/error.h"
#include "daemon/frame.h"
#include "daemon/hypervisor.h"

#define TEXT_MAX (1024 * 1024)
/* sun_path, with its NUL */
#define SOCKET_PATH_MAX 108

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)

/* --- a little of libxml2, without casts --- */

static xmlNode *
add(xmlNode *parent, const char *name, const char *text)
{
  return xmlNewTextChild(parent, NULL, (const xmlChar *)name, (const xmlChar *)text);
}

static void
set(xmlNode *node, const char *name, const char *value)
{
  xmlSetProp(node, (const xmlChar *)name, (const xmlChar *)value);
}

static void
remove_all(xmlNode *parent, const char *name)
{
  xmlNode *node;

  while ((node = mf_xml_child(parent, name)) != NULL) {
    xmlUnlinkNode(node);
    xmlFreeNode(node);
  }
}

/* A fresh element where the first of that name was, and no other of that name. */
static xmlNode *
replace(xmlNode *parent, const char *name, const char *text)
{
  xmlNode *fresh = add(parent, name, text);
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

/* What the admin's file explains to its reader is nothing to libvirt, which would keep it with
 * every machine. */
static void
remove_comments(xmlNode *parent)
{
  for (xmlNode *node = parent->children, *next; node != NULL; node = next) {
    next = node->next;
    remove_comments(node);
    if (node->type == XML_COMMENT_NODE) {
      xmlUnlinkNode(node);
      xmlFreeNode(node);
    }
  }
}

static void
replace_number(xmlNode *parent, const char *name, guint64 number)
{
  g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, number);
  replace(parent, name, text);
}

static void
set_number(xmlNode *node, const char *name, guint64 number)
{
  g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, number);
  set(node, name, text);
}

static char *
text_of(xmlNode *node)
{
  if (node == NULL)
    return NULL;
  xmlChar *content = xmlNodeGetContent(node);
  char *text = g_strdup(content != NULL ? (const char *)content : "");
  xmlFree(content);
  return g_strstrip(text);
}

/* --- the values --- */

static gboolean
check_text(const char *what, const char *value, gboolean needed, GError **error)
{
  gboolean bad = value == NULL ? needed : !g_utf8_validate(value, -1, NULL);

  for (const char *p = value; p != NULL && *p != '\0' && !bad; p++)
    bad = g_ascii_iscntrl(*p);
  if (bad)
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "machine: %s is %s: change it", what,
                value == NULL ? "missing" : "not plain text (UTF-8 without control characters)");
  return !bad;
}

static gboolean
check_spec(const MfDomainSpec *spec, GError **error)
{
  const struct {
    const char *what, *value;
    gboolean needed;
  } values[] = {
      {"id", spec->id, TRUE},
      {"uuid", spec->uuid, TRUE},
      {"emulator", spec->emulator, TRUE},
      {"overlay", spec->overlay, TRUE},
      {"prepared layer", spec->prepared, FALSE},
      {"image's disk", spec->image->disk, TRUE},
      {"image's kernel", spec->image->kernel, FALSE},
      {"image's initrd", spec->image->initrd, FALSE},
      {"image's kernel command line", spec->image->cmdline, FALSE},
      {"image's root device", spec->image->root_device, FALSE},
      {"agent socket", spec->agent_socket, TRUE},
      {"console socket", spec->console_socket, TRUE},
      {"security label", spec->label, FALSE},
  };
  for (guint i = 0; i < G_N_ELEMENTS(values); i++)
    if (!check_text(values[i].what, values[i].value, values[i].needed, error))
      return FALSE;
  const char *const sockets[] = {spec->agent_socket, spec->console_socket};
  for (guint i = 0; i < G_N_ELEMENTS(sockets); i++)
    if (strlen(sockets[i]) >= SOCKET_PATH_MAX) {
      g_set_error(
          error, MF_ERROR, MF_ERROR_INVALID,
          "machine: the socket's path %s is longer than the %d bytes a socket can have: choose a "
          "shorter runtime-directory",
          sockets[i], SOCKET_PATH_MAX - 1);
      return FALSE;
    }
  return TRUE;
}

/* --- identity, memory, boot --- */

/* The reaper and a restarted daemon know a domain as ours by this, not only by its name. */
static void
set_metadata(xmlNode *domain, const MfDomainSpec *spec)
{
  xmlNode *metadata = mf_xml_child(domain, "metadata");
  if (metadata == NULL)
    metadata = add(domain, "metadata", NULL);
  for (xmlNode *node = metadata->children, *next; node != NULL; node = next) {
    next = node->next;
    if (node->ns != NULL && g_strcmp0((const char *)node->ns->href, MF_METADATA_NS) == 0) {
      xmlUnlinkNode(node);
      xmlFreeNode(node);
    }
  }
  xmlNode *job = xmlNewChild(metadata, NULL, (const xmlChar *)"job", NULL);
  xmlSetNs(job, xmlNewNs(job, (const xmlChar *)MF_METADATA_NS, (const xmlChar *)"mayfly"));
  set(job, "id", spec->id);
  if (spec->deadline > 0)
    set_number(job, "deadline", (guint64)spec->deadline);
  if (spec->port != NULL)
    set(job, "port", spec->port->tap);
}

static void
set_identity(xmlNode *domain, const MfDomainSpec *spec)
{
  g_autofree char *name = g_strconcat(MF_DOMAIN_PREFIX, spec->id, NULL);

  set(domain, "type", spec->kvm ? "kvm" : "qemu");
  xmlUnsetProp(domain, (const xmlChar *)"id");
  replace(domain, "name", name);
  replace(domain, "uuid", spec->uuid);
  set_metadata(domain, spec);
  /* A GUID in the template would be the same for all machines. */
  if (mf_xml_child(domain, "genid") != NULL)
    replace(domain, "genid", NULL);
}

static void
set_resources(xmlNode *domain, const MfDomainSpec *spec)
{
  guint64 floor = spec->memory_floor > 0 ? MIN(spec->memory_floor, spec->memory) : spec->memory;
  xmlNode *vcpu = mf_xml_child(domain, "vcpu");
  g_autofree char *cpuset = vcpu != NULL ? mf_xml_attribute(vcpu, "cpuset") : g_strdup("");

  replace_number(domain, "memory", spec->memory / 1024);
  set(mf_xml_child(domain, "memory"), "unit", "KiB");
  replace_number(domain, "currentMemory", floor / 1024);
  set(mf_xml_child(domain, "currentMemory"), "unit", "KiB");
  replace_number(domain, "vcpu", spec->cpus);
  if (*cpuset != '\0')
    set(mf_xml_child(domain, "vcpu"), "cpuset", cpuset);
  /* What the host's processor is called means nothing to an emulated one. */
  if (!spec->kvm)
    set(replace(domain, "cpu", NULL), "mode", "maximum");
}

static gboolean
has_option(const char *cmdline, const char *option)
{
  g_auto(GStrv) words = g_strsplit_set(cmdline != NULL ? cmdline : "", " ", -1);

  for (char **word = words; *word != NULL; word++)
    if (g_str_has_suffix(option, "=") ? g_str_has_prefix(*word, option)
                                      : g_str_equal(*word, option))
      return TRUE;
  return FALSE;
}

/* libguestfs saw the disk as /dev/sda; here it is a virtio disk. */
static char *
root_in_guest(const char *root_device)
{
  if (root_device == NULL)
    return g_strdup("/dev/vda");
  if (g_str_has_prefix(root_device, "/dev/sda"))
    return g_strconcat("/dev/vda", root_device + strlen("/dev/sda"), NULL);
  return g_strdup(root_device);
}

/* The image's own options first: of an option given twice, the kernel mostly takes the last, which
 * is the admin's. */
static char *
kernel_cmdline(const MfImage *image, const char *common)
{
  g_autoptr(GString) line = g_string_new(image->cmdline);

  if (!has_option(image->cmdline, "root=")) {
    g_autofree char *root = root_in_guest(image->root_device);
    g_string_append_printf(line, "%sroot=%s", line->len > 0 ? " " : "", root);
  }
  if (!has_option(image->cmdline, "rw") && !has_option(image->cmdline, "ro"))
    g_string_append(line, " rw");
  if (common != NULL && *common != '\0')
    g_string_append_printf(line, " %s", common);
  return g_string_free(g_steal_pointer(&line), FALSE);
}

static void
set_boot(xmlNode *os, const MfImage *image)
{
  g_autofree char *common = text_of(mf_xml_child(os, "cmdline"));

  remove_all(os, "kernel");
  remove_all(os, "initrd");
  remove_all(os, "cmdline");
  if (image->kernel == NULL) {
    set(replace(os, "boot", NULL), "dev", "hd");
    return;
  }
  g_autofree char *cmdline = kernel_cmdline(image, common);
  add(os, "kernel", image->kernel);
  if (image->initrd != NULL)
    add(os, "initrd", image->initrd);
  add(os, "cmdline", cmdline);
}

/* --- devices --- */

/* Goldens keep their owner whatever happens: libvirt would give them to QEMU's user, and not give
 * them back. */
static void
set_source(xmlNode *parent, const char *path, gboolean relabel)
{
  xmlNode *source = add(parent, "source", NULL);

  set(source, "file", path);
  if (!relabel) {
    xmlNode *label = add(source, "seclabel", NULL);
    set(label, "model", "dac");
    set(label, "relabel", "no");
  }
}

static xmlNode *
add_layer(xmlNode *parent, const char *path, const MfDomainSpec *spec)
{
  xmlNode *layer = add(parent, "backingStore", NULL);

  set(layer, "type", "file");
  set(add(layer, "format", NULL), "type", "qcow2");
  /* With a label for the whole domain nothing is relabelled, and libvirt refuses to hear it again.
   */
  set_source(layer, path, spec->label != NULL);
  return layer;
}

/* The chain is spelled out to its end, so that libvirt neither probes it nor opens what a guest
 * wrote into its header. */
static void
set_disk(xmlNode *disk, const MfDomainSpec *spec)
{
  const MfTemplate *limits = spec->template;
  xmlNode *driver = mf_xml_child(disk, "driver");
  if (driver == NULL)
    driver = add(disk, "driver", NULL);

  set(disk, "type", "file");
  set(disk, "device", "disk");
  set(driver, "name", "qemu");
  set(driver, "type", "qcow2");
  set(driver, "error_policy", "stop");
  xmlUnsetProp(driver, (const xmlChar *)"rerror_policy");
  set_source(disk, spec->overlay, TRUE);
  xmlNode *layer = disk;
  if (spec->prepared != NULL)
    layer = add_layer(layer, spec->prepared, spec);
  layer = add_layer(layer, spec->image->disk, spec);
  add(layer, "backingStore", NULL);
  if (limits == NULL || (limits->disk_iops == 0 && limits->disk_bytes_per_second == 0))
    return;
  xmlNode *tune = replace(disk, "iotune", NULL);
  if (limits->disk_bytes_per_second > 0)
    replace_number(tune, "total_bytes_sec", limits->disk_bytes_per_second);
  if (limits->disk_iops > 0)
    replace_number(tune, "total_iops_sec", limits->disk_iops);
}

/* libvirt counts in KiB; a burst of a fifth of a second keeps TCP at the full rate. */
static void
add_bandwidth(xmlNode *interface, guint64 bytes_per_second)
{
  guint64 average = MAX(bytes_per_second / 1024, 1);
  xmlNode *bandwidth = add(interface, "bandwidth", NULL);
  static const char *const directions[] = {"inbound", "outbound"};

  for (guint i = 0; i < G_N_ELEMENTS(directions); i++) {
    xmlNode *direction = add(bandwidth, directions[i], NULL);
    set_number(direction, "average", average);
    set_number(direction, "burst", MAX(average / 5, 64));
  }
}

/* The tap is there already, with its filter: "unmanaged" makes libvirt use it as it is and leave it
 * behind. */
static void
add_interface(xmlNode *devices, const MfDomainSpec *spec)
{
  const MfPort *port = spec->port;
  xmlNode *interface = add(devices, "interface", NULL);
  xmlNode *target;
  xmlNode *address;

  set(interface, "type", "ethernet");
  set(add(interface, "mac", NULL), "address", port->mac);
  target = add(interface, "target", NULL);
  set(target, "dev", port->tap);
  set(target, "managed", "no");
  set(add(interface, "model", NULL), "type", "virtio");
  if (spec->template != NULL && spec->template->network_bytes_per_second > 0)
    add_bandwidth(interface, spec->template->network_bytes_per_second);
  /* Nothing is ever booted from the network. */
  set(add(interface, "rom", NULL), "enabled", "no");
  address = add(interface, "address", NULL);
  set(address, "type", "pci");
  set(address, "domain", "0x0000");
  set(address, "bus", "0x00");
  set(address, "slot", "0x10");
  set(address, "function", "0x0");
}

static xmlNode *
add_socket(xmlNode *devices, const char *element, const char *path)
{
  xmlNode *device = add(devices, element, NULL);
  xmlNode *source = add(device, "source", NULL);

  set(device, "type", "unix");
  set(source, "mode", "bind");
  set(source, "path", path);
  return add(device, "target", NULL);
}

static void
set_devices(xmlNode *devices, const MfDomainSpec *spec)
{
  xmlNode *target;

  replace(devices, "emulator", spec->emulator);
  set_disk(mf_xml_child(devices, "disk"), spec);
  if (spec->port != NULL)
    add_interface(devices, spec);
  target = add_socket(devices, "serial", spec->console_socket);
  set(target, "type", "isa-serial");
  set(target, "port", "0");
  target = add_socket(devices, "channel", spec->agent_socket);
  set(target, "type", "virtio");
  set(target, "name", MF_FRAME_PORT_NAME);
}

/* --- all of it --- */

static xmlDoc *
parse(const char *text, GError **error)
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
                "domain template, line %d: it is not well-formed XML (%s): correct it",
                last != NULL ? last->line : 1, g_strstrip(why));
    return NULL;
  }
  if (doc->intSubset != NULL || doc->extSubset != NULL) {
    g_set_error_literal(error, MF_ERROR, MF_ERROR_INVALID,
                        "domain template: it has a document type: remove the <!DOCTYPE …>");
    return NULL;
  }
  return g_steal_pointer(&doc);
}

static void
set_end(xmlNode *domain)
{
  static const char *const events[] = {"on_poweroff", "on_reboot", "on_crash"};

  for (guint i = 0; i < G_N_ELEMENTS(events); i++)
    replace(domain, events[i], "destroy");
}

/* QEMU runs as it always does, and finds every file open to it; libvirt changes the owner of none.
 */
static void
add_label(xmlNode *domain, const char *label)
{
  xmlNode *seclabel = add(domain, "seclabel", NULL);

  set(seclabel, "type", "static");
  set(seclabel, "model", "dac");
  set(seclabel, "relabel", "no");
  add(seclabel, "label", label);
}

char *
mf_domain_xml(const char *text, const MfDomainSpec *spec, GError **error)
{
  g_return_val_if_fail(text != NULL && spec != NULL && spec->image != NULL, NULL);

  g_autoptr(xmlDoc) doc = parse(text, error);
  if (doc == NULL)
    return NULL;
  xmlNode *domain = xmlDocGetRootElement(doc);
  if (!mf_domain_check(domain, error) || !check_spec(spec, error))
    return NULL;
  remove_comments((xmlNode *)doc);
  set_identity(domain, spec);
  set_resources(domain, spec);
  set_boot(mf_xml_child(domain, "os"), spec->image);
  set_end(domain);
  set_devices(mf_xml_child(domain, "devices"), spec);
  if (spec->label != NULL)
    add_label(domain, spec->label);

  xmlChar *output = NULL;
  int length = 0;
  xmlDocDumpFormatMemoryEnc(doc, &output, &length, "UTF-8", 1);
  char *result = output != NULL ? g_strndup((const char *)output, (gsize)length) : NULL;
  xmlFree(output);
  if (result == NULL)
    g_set_error_literal(error, MF_ERROR, MF_ERROR_FAILED,
                        "machine: its domain XML cannot be written");
  return result;
}
