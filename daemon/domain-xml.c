/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A template's domain and one machine's values become the XML that libvirt gets. Values go in as
 * text nodes and attributes of a tree, never as text, so none can become markup; what XML cannot
 * hold at all (a control character) is refused.
 */
#include "daemon/domain-xml.h"

#include "daemon/domain-check.h"
#include "daemon/domain-edit.h"
#include "daemon/error.h"
#include "daemon/frame.h"
#include "daemon/hypervisor.h"

/* sun_path, with its NUL */
#define SOCKET_PATH_MAX 108

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
    metadata = mf_xml_add(domain, "metadata", NULL);
  for (xmlNode *node = metadata->children, *next; node != NULL; node = next) {
    next = node->next;
    if (node->ns != NULL && g_strcmp0((const char *)node->ns->href, MF_METADATA_NS) == 0) {
      xmlUnlinkNode(node);
      xmlFreeNode(node);
    }
  }
  xmlNode *job = xmlNewChild(metadata, NULL, (const xmlChar *)"job", NULL);
  xmlSetNs(job, xmlNewNs(job, (const xmlChar *)MF_METADATA_NS, (const xmlChar *)"mayfly"));
  mf_xml_set(job, "id", spec->id);
  if (spec->deadline > 0)
    mf_xml_set_number(job, "deadline", (guint64)spec->deadline);
  if (spec->port != NULL)
    mf_xml_set(job, "port", spec->port->tap);
}

static void
set_identity(xmlNode *domain, const MfDomainSpec *spec)
{
  g_autofree char *name = g_strconcat(MF_DOMAIN_PREFIX, spec->id, NULL);

  mf_xml_set(domain, "type", spec->kvm ? "kvm" : "qemu");
  xmlUnsetProp(domain, (const xmlChar *)"id");
  mf_xml_replace(domain, "name", name);
  mf_xml_replace(domain, "uuid", spec->uuid);
  set_metadata(domain, spec);
  /* A GUID in the template would be the same for all machines. */
  if (mf_xml_child(domain, "genid") != NULL)
    mf_xml_replace(domain, "genid", NULL);
}

/* libvirt refuses settings of TCG in a domain of KVM's. */
static void
drop_tcg(xmlNode *domain)
{
  xmlNode *features = mf_xml_child(domain, "features");
  if (features != NULL)
    mf_xml_remove_all(features, "tcg");
}

/* What the host's processor is called means nothing to an emulated one. With erms kernels copy by
 * "rep movsb", which TCG does byte by byte; without, eight at a time. */
static void
set_emulated_cpu(xmlNode *domain)
{
  xmlNode *cpu = mf_xml_replace(domain, "cpu", NULL);
  mf_xml_set(cpu, "mode", "maximum");
  xmlNode *feature = mf_xml_add(cpu, "feature", NULL);
  mf_xml_set(feature, "policy", "disable");
  mf_xml_set(feature, "name", "erms");
}

static void
set_resources(xmlNode *domain, const MfDomainSpec *spec)
{
  xmlNode *vcpu = mf_xml_child(domain, "vcpu");
  g_autofree char *cpuset = vcpu != NULL ? mf_xml_attribute(vcpu, "cpuset") : g_strdup("");

  mf_xml_replace_number(domain, "memory", spec->memory / 1024);
  mf_xml_set(mf_xml_child(domain, "memory"), "unit", "KiB");
  mf_xml_replace_number(domain, "currentMemory", spec->memory / 1024);
  mf_xml_set(mf_xml_child(domain, "currentMemory"), "unit", "KiB");
  mf_xml_replace_number(domain, "vcpu", spec->cpus);
  if (*cpuset != '\0')
    mf_xml_set(mf_xml_child(domain, "vcpu"), "cpuset", cpuset);
  if (spec->kvm)
    drop_tcg(domain);
  else
    set_emulated_cpu(domain);
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
  g_autofree char *common = mf_xml_text(mf_xml_child(os, "cmdline"));

  mf_xml_remove_all(os, "kernel");
  mf_xml_remove_all(os, "initrd");
  mf_xml_remove_all(os, "cmdline");
  if (image->kernel == NULL) {
    mf_xml_set(mf_xml_replace(os, "boot", NULL), "dev", "hd");
    return;
  }
  g_autofree char *cmdline = kernel_cmdline(image, common);
  mf_xml_add(os, "kernel", image->kernel);
  if (image->initrd != NULL)
    mf_xml_add(os, "initrd", image->initrd);
  mf_xml_add(os, "cmdline", cmdline);
}

/* --- devices --- */

/* Goldens keep their owner whatever happens: libvirt would give them to QEMU's user, and not give
 * them back. */
static void
set_source(xmlNode *parent, const char *path, gboolean relabel)
{
  xmlNode *source = mf_xml_add(parent, "source", NULL);

  mf_xml_set(source, "file", path);
  if (!relabel) {
    xmlNode *label = mf_xml_add(source, "seclabel", NULL);
    mf_xml_set(label, "model", "dac");
    mf_xml_set(label, "relabel", "no");
  }
}

static xmlNode *
add_layer(xmlNode *parent, const char *path, const MfDomainSpec *spec)
{
  xmlNode *layer = mf_xml_add(parent, "backingStore", NULL);

  mf_xml_set(layer, "type", "file");
  mf_xml_set(mf_xml_add(layer, "format", NULL), "type", "qcow2");
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
    driver = mf_xml_add(disk, "driver", NULL);

  mf_xml_set(disk, "type", "file");
  mf_xml_set(disk, "device", "disk");
  mf_xml_set(driver, "name", "qemu");
  mf_xml_set(driver, "type", "qcow2");
  mf_xml_set(driver, "error_policy", "stop");
  xmlUnsetProp(driver, (const xmlChar *)"rerror_policy");
  set_source(disk, spec->overlay, TRUE);
  xmlNode *layer = disk;
  if (spec->prepared != NULL)
    layer = add_layer(layer, spec->prepared, spec);
  layer = add_layer(layer, spec->image->disk, spec);
  mf_xml_add(layer, "backingStore", NULL);
  if (limits == NULL || (limits->disk_iops == 0 && limits->disk_bytes_per_second == 0))
    return;
  xmlNode *tune = mf_xml_replace(disk, "iotune", NULL);
  if (limits->disk_bytes_per_second > 0)
    mf_xml_replace_number(tune, "total_bytes_sec", limits->disk_bytes_per_second);
  if (limits->disk_iops > 0)
    mf_xml_replace_number(tune, "total_iops_sec", limits->disk_iops);
}

/* libvirt counts in KiB; a burst of a fifth of a second keeps TCP at the full rate. */
static void
add_bandwidth(xmlNode *interface, guint64 bytes_per_second)
{
  guint64 average = MAX(bytes_per_second / 1024, 1);
  xmlNode *bandwidth = mf_xml_add(interface, "bandwidth", NULL);
  static const char *const directions[] = {"inbound", "outbound"};

  for (guint i = 0; i < G_N_ELEMENTS(directions); i++) {
    xmlNode *direction = mf_xml_add(bandwidth, directions[i], NULL);
    mf_xml_set_number(direction, "average", average);
    mf_xml_set_number(direction, "burst", MAX(average / 5, 64));
  }
}

/* The tap is there already, with its filter: "unmanaged" makes libvirt use it as it is and leave it
 * behind. */
static xmlNode *
add_interface(xmlNode *parent, const MfPort *port, const MfTemplate *template)
{
  xmlNode *interface = mf_xml_add(parent, "interface", NULL);
  xmlNode *target;

  mf_xml_set(interface, "type", "ethernet");
  mf_xml_set(mf_xml_add(interface, "mac", NULL), "address", port->mac);
  target = mf_xml_add(interface, "target", NULL);
  mf_xml_set(target, "dev", port->tap);
  mf_xml_set(target, "managed", "no");
  mf_xml_set(mf_xml_add(interface, "model", NULL), "type", "virtio");
  if (template != NULL && template->network_bytes_per_second > 0)
    add_bandwidth(interface, template->network_bytes_per_second);
  /* Nothing is ever booted from the network. */
  mf_xml_set(mf_xml_add(interface, "rom", NULL), "enabled", "no");
  return interface;
}

static void
add_address(xmlNode *device)
{
  xmlNode *address = mf_xml_add(device, "address", NULL);

  mf_xml_set(address, "type", "pci");
  mf_xml_set(address, "domain", "0x0000");
  mf_xml_set(address, "bus", "0x00");
  mf_xml_set(address, "slot", "0x10");
  mf_xml_set(address, "function", "0x0");
}

/* Nothing can be plugged into the root bus itself: this is the socket for an interface to come. */
static void
add_root_port(xmlNode *devices)
{
  guint64 index = 0;

  for (xmlNode *node = mf_xml_child(devices, "controller"); node != NULL;
       node = mf_xml_next(node->next, "controller")) {
    g_autofree char *type = mf_xml_attribute(node, "type");
    g_autofree char *number = mf_xml_attribute(node, "index");
    if (g_strcmp0(type, "pci") == 0)
      index = MAX(index, g_ascii_strtoull(number, NULL, 10));
  }
  xmlNode *controller = mf_xml_add(devices, "controller", NULL);
  mf_xml_set(controller, "type", "pci");
  mf_xml_set_number(controller, "index", index + 1);
  mf_xml_set(controller, "model", "pcie-root-port");
  add_address(controller);
}

static xmlNode *
add_socket(xmlNode *devices, const char *element, const char *path)
{
  xmlNode *device = mf_xml_add(devices, element, NULL);
  xmlNode *source = mf_xml_add(device, "source", NULL);

  mf_xml_set(device, "type", "unix");
  mf_xml_set(source, "mode", "bind");
  mf_xml_set(source, "path", path);
  return mf_xml_add(device, "target", NULL);
}

static void
set_devices(xmlNode *devices, const MfDomainSpec *spec)
{
  xmlNode *target;

  mf_xml_replace(devices, "emulator", spec->emulator);
  set_disk(mf_xml_child(devices, "disk"), spec);
  if (spec->port != NULL)
    add_address(add_interface(devices, spec->port, spec->template));
  else
    add_root_port(devices);
  target = add_socket(devices, "serial", spec->console_socket);
  mf_xml_set(target, "type", "isa-serial");
  mf_xml_set(target, "port", "0");
  target = add_socket(devices, "channel", spec->agent_socket);
  mf_xml_set(target, "type", "virtio");
  mf_xml_set(target, "name", MF_FRAME_PORT_NAME);
}

/* --- all of it --- */

static void
set_end(xmlNode *domain)
{
  static const char *const events[] = {"on_poweroff", "on_reboot", "on_crash"};

  for (guint i = 0; i < G_N_ELEMENTS(events); i++)
    mf_xml_replace(domain, events[i], "destroy");
}

/* QEMU runs as it always does, and finds every file open to it; libvirt changes the owner of none.
 */
static void
add_label(xmlNode *domain, const char *label)
{
  xmlNode *seclabel = mf_xml_add(domain, "seclabel", NULL);

  mf_xml_set(seclabel, "type", "static");
  mf_xml_set(seclabel, "model", "dac");
  mf_xml_set(seclabel, "relabel", "no");
  mf_xml_add(seclabel, "label", label);
}

char *
mf_domain_xml(const char *text, const MfDomainSpec *spec, GError **error)
{
  g_return_val_if_fail(text != NULL && spec != NULL && spec->image != NULL, NULL);

  g_autoptr(xmlDoc) doc = mf_xml_parse("domain template", text, error);
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

  return mf_xml_dump(doc, error);
}

char *
mf_domain_interface_xml(const MfPort *port, const MfTemplate *template, GError **error)
{
  g_autoptr(xmlDoc) doc = xmlNewDoc((const xmlChar *)"1.0");
  xmlNode *parent = xmlNewDocNode(doc, NULL, (const xmlChar *)"devices", NULL);
  xmlNode *interface = add_interface(parent, port, template);

  xmlUnlinkNode(interface);
  xmlDocSetRootElement(doc, interface);
  xmlFreeNode(parent);
  return mf_xml_dump(doc, error);
}
