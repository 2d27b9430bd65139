/* SPDX-License-Identifier: Apache-2.0 */
/* A fork's domain: see domain-fork.h. */
#include "daemon/domain-fork.h"

#include "daemon/domain-check.h"
#include "daemon/domain-edit.h"
#include "daemon/error.h"
#include "daemon/frame.h"
#include "daemon/hypervisor.h"

static gboolean
refuse(GError **error, const char *why)
{
  g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED,
              "the memory image's domain is not one that can be forked: %s", why);
  return FALSE;
}

/* The only element of that name in @parent, or NULL. */
static xmlNode *
only(xmlNode *parent, const char *name)
{
  xmlNode *node = parent != NULL ? mf_xml_child(parent, name) : NULL;
  return node != NULL && mf_xml_next(node->next, name) == NULL ? node : NULL;
}

/* Ours is the one with our namespace; its names and values are rewritten where they are. */
static gboolean
set_metadata(xmlNode *domain, const MfForkSpec *spec, GError **error)
{
  xmlNode *metadata = only(domain, "metadata");
  for (xmlNode *node = metadata != NULL ? metadata->children : NULL; node != NULL;
       node = node->next) {
    if (node->type != XML_ELEMENT_NODE || node->ns == NULL ||
        g_strcmp0((const char *)node->ns->href, MF_METADATA_NS) != 0)
      continue;
    mf_xml_set(node, "id", spec->id);
    xmlUnsetProp(node, (const xmlChar *)"deadline");
    xmlUnsetProp(node, (const xmlChar *)"port");
    if (spec->deadline > 0)
      mf_xml_set_number(node, "deadline", (guint64)spec->deadline);
    return TRUE;
  }
  return refuse(error, "it is not one of mayfly's");
}

/* What was the top of the chain becomes the layer below it: the same file under its new path. */
static gboolean
set_disk(xmlNode *devices, const MfForkSpec *spec, GError **error)
{
  xmlNode *disk = only(devices, "disk");
  xmlNode *source = disk != NULL ? only(disk, "source") : NULL;
  xmlNode *below = disk != NULL ? only(disk, "backingStore") : NULL;
  if (source == NULL || below == NULL)
    return refuse(error, "it has not exactly one disk");
  xmlUnlinkNode(below);
  xmlNode *label = mf_xml_child(source, "seclabel");
  xmlNode *layer = mf_xml_add(disk, "backingStore", NULL);
  mf_xml_set(layer, "type", "file");
  mf_xml_set(mf_xml_add(layer, "format", NULL), "type", "qcow2");
  xmlNode *layer_source = mf_xml_add(layer, "source", NULL);
  mf_xml_set(layer_source, "file", spec->disk);
  if (label != NULL)
    xmlAddChild(layer_source, xmlCopyNode(label, 1));
  xmlAddChild(layer, below);
  mf_xml_set(source, "file", spec->overlay);
  xmlUnsetProp(source, (const xmlChar *)"index");
  return TRUE;
}

static gboolean
set_socket(xmlNode *device, const char *path)
{
  xmlNode *source = device != NULL ? only(device, "source") : NULL;
  g_autofree char *mode = source != NULL ? mf_xml_attribute(source, "mode") : NULL;
  if (g_strcmp0(mode, "bind") != 0)
    return FALSE;
  mf_xml_set(source, "path", path);
  return TRUE;
}

static gboolean
set_sockets(xmlNode *devices, const MfForkSpec *spec, GError **error)
{
  xmlNode *channel = only(devices, "channel");
  xmlNode *target = channel != NULL ? only(channel, "target") : NULL;
  g_autofree char *name = target != NULL ? mf_xml_attribute(target, "name") : NULL;
  if (g_strcmp0(name, MF_FRAME_PORT_NAME) != 0 || !set_socket(channel, spec->agent_socket))
    return refuse(error, "it has not exactly one channel, the agent's");
  if (!set_socket(only(devices, "serial"), spec->console_socket))
    return refuse(error, "it has not exactly one console");
  /* libvirt says the same device twice. */
  if (mf_xml_child(devices, "console") != NULL &&
      !set_socket(only(devices, "console"), spec->console_socket))
    return refuse(error, "its console is not one");
  return TRUE;
}

char *
mf_domain_fork_xml(const char *saved, const MfForkSpec *spec, GError **error)
{
  g_autoptr(GError) local = NULL;
  g_autoptr(xmlDoc) doc = mf_xml_parse("memory image", saved, &local);
  if (doc == NULL) {
    refuse(error, local->message);
    return NULL;
  }
  xmlNode *domain = xmlDocGetRootElement(doc);
  xmlNode *devices = only(domain, "devices");
  g_autofree char *name = g_strconcat(MF_DOMAIN_PREFIX, spec->id, NULL);
  if (!mf_xml_is(domain, "domain") || devices == NULL || only(domain, "name") == NULL ||
      only(domain, "uuid") == NULL) {
    refuse(error, "it is not a domain");
    return NULL;
  }
  if (mf_xml_child(devices, "interface") != NULL || mf_xml_child(devices, "hostdev") != NULL) {
    refuse(error, "it has an interface of its own");
    return NULL;
  }
  mf_xml_replace(domain, "name", name);
  mf_xml_replace(domain, "uuid", spec->uuid);
  if (!set_metadata(domain, spec, error) || !set_disk(devices, spec, error) ||
      !set_sockets(devices, spec, error))
    return NULL;
  return mf_xml_dump(doc, error);
}
