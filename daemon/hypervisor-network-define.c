/* SPDX-License-Identifier: Apache-2.0 */
/* The network in libvirt: ours is told by its metadata, never by its name alone. */
#include "daemon/hypervisor-network-define.h"

#include "daemon/binding-xml.h"
#include "daemon/hypervisor-private.h"
#include "daemon/network-xml.h"
#include "daemon/paths.h"

typedef struct {
  virConnectPtr connection;
  virNetworkPtr network; /* NULL if there is none */
  char *wanted;
  gboolean defined_right;
  gboolean active;
  gboolean active_right;
  gboolean autostart;
} Network;

static void
network_clear(Network *self)
{
  g_clear_pointer(&self->network, virNetworkFree);
  g_clear_pointer(&self->connection, virConnectClose);
  g_clear_pointer(&self->wanted, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Network, network_clear)

static void
ignore_error(void *data, virErrorPtr error)
{
}

static virConnectPtr
open_connection(const char *uri, GError **error)
{
  virSetErrorFunc(NULL, ignore_error);
  virConnectPtr connection = virConnectOpen(uri);
  if (connection == NULL) {
    g_autofree char *problem = mf_hypervisor_open_problem(uri);
    g_set_error_literal(error, MF_ERROR, MF_ERROR_UNAVAILABLE, problem);
  }
  return connection;
}

static gboolean
look_up(Network *self, const char *name, GError **error)
{
  self->network = virNetworkLookupByName(self->connection, name);
  const virError *last = self->network == NULL ? virGetLastError() : NULL;
  if (last != NULL && last->code != VIR_ERR_NO_NETWORK) {
    mf_hypervisor_take_error(error, "network %s cannot be looked up", name);
    return FALSE;
  }
  return TRUE;
}

/* (transfer full) */
static char *
describe(virNetworkPtr network, unsigned int flags)
{
  char *xml = virNetworkGetXMLDesc(network, flags);
  char *copy = g_strdup(xml != NULL ? xml : "");
  free(xml);
  return copy;
}

/* One that somebody removed since it was looked up is as good as none. */
static gboolean
require_ours(Network *self, const char *name, GError **error)
{
  virResetLastError();
  g_autofree char *xml = describe(self->network, 0);
  const virError *last = *xml == '\0' ? virGetLastError() : NULL;
  if (last != NULL && last->code == VIR_ERR_NO_NETWORK) {
    g_clear_pointer(&self->network, virNetworkFree);
    return TRUE;
  }
  if (last != NULL) {
    mf_hypervisor_take_error(error, "network %s cannot be read", name);
    return FALSE;
  }
  if (mf_network_xml_is_ours(xml))
    return TRUE;
  g_set_error(error, MF_ERROR, MF_ERROR_CONFLICT,
              "libvirt has a network \"%s\" that mayfly did not make; set another \"network\" in "
              "mayfly.conf, or "
              "remove that one with 'virsh net-undefine %s'",
              name, name);
  return FALSE;
}

static gboolean
look(Network *self, const MfConfig *config, MfPortTable *ports, GError **error)
{
  self->connection = open_connection(config->uri, error);
  if (self->connection == NULL || !look_up(self, config->network, error))
    return FALSE;
  char uuid[VIR_UUID_STRING_BUFLEN] = "";
  if (self->network != NULL) {
    if (!require_ours(self, config->network, error))
      return FALSE;
    if (self->network != NULL)
      virNetworkGetUUIDString(self->network, uuid);
  }
  g_autofree char *path = mf_path_data("templates/network.xml");
  self->wanted = mf_network_xml_format(path, config, ports, uuid[0] != '\0' ? uuid : NULL, error);
  if (self->wanted == NULL)
    return FALSE;
  if (self->network == NULL)
    return TRUE;
  g_autofree char *inactive = describe(self->network, VIR_NETWORK_XML_INACTIVE);
  g_autofree char *live = describe(self->network, 0);
  int autostart = 0;
  self->defined_right =
      mf_network_xml_same(inactive, self->wanted) && virNetworkIsPersistent(self->network) == 1;
  self->active = virNetworkIsActive(self->network) == 1;
  self->active_right = self->active && mf_network_xml_same(live, self->wanted);
  self->autostart = virNetworkGetAutostart(self->network, &autostart) == 0 && autostart != 0;
  return TRUE;
}

static gboolean
define(Network *self, const char *name, GError **error)
{
  virNetworkPtr defined = virNetworkDefineXML(self->connection, self->wanted);
  if (defined == NULL) {
    mf_hypervisor_take_error(error, "network %s cannot be defined", name);
    return FALSE;
  }
  g_clear_pointer(&self->network, virNetworkFree);
  self->network = defined;
  return TRUE;
}

static gboolean
start(Network *self, const char *name, gboolean (*repair)(GError **error), GError **error)
{
  if (virNetworkCreate(self->network) == 0)
    return TRUE;
  g_autoptr(GError) first = NULL;
  mf_hypervisor_take_error(&first, "network %s cannot be started", name);
  if (repair != NULL && repair(NULL) && virNetworkCreate(self->network) == 0)
    return TRUE;
  g_propagate_error(error, g_steal_pointer(&first));
  return FALSE;
}

gboolean
mf_hypervisor_network_ensure(const MfConfig *config, MfPortTable *ports,
                             gboolean (*repair)(GError **error), char **ret_done, GError **error)
{
  const char *name = config->network;
  const char *done = NULL;
  g_auto(Network) self = {0};
  if (!look(&self, config, ports, error))
    return FALSE;
  if (!self.defined_right) {
    if (!define(&self, name, error))
      return FALSE;
    done = "defined";
  }
  /* The taps stay; whoever watches the links puts them on the new bridge. */
  if (self.active && !self.active_right) {
    if (virNetworkDestroy(self.network) < 0) {
      mf_hypervisor_take_error(error, "network %s cannot be stopped to take its new configuration",
                               name);
      return FALSE;
    }
    self.active = FALSE;
    done = "changed and restarted";
  }
  if (!self.active) {
    if (!start(&self, name, repair, error))
      return FALSE;
    done = done != NULL ? done : "started";
  }
  if (!self.autostart && virNetworkSetAutostart(self.network, 1) < 0) {
    mf_hypervisor_take_error(error, "network %s cannot be made to start with libvirtd", name);
    return FALSE;
  }
  *ret_done = g_strdup(done);
  return TRUE;
}

gboolean
mf_hypervisor_network_check(const MfConfig *config, MfPortTable *ports, GError **error)
{
  g_auto(Network) self = {0};
  if (!look(&self, config, ports, error))
    return FALSE;
  const char *problem = self.network == NULL ? "is not defined"
                        : !self.active       ? "is not active"
                        : !self.active_right ? "is not the one that is configured"
                        : !self.defined_right
                            ? "will not be the one that is configured when libvirtd restarts"
                        : !self.autostart ? "will not start with libvirtd"
                                          : NULL;
  if (problem != NULL)
    g_set_error(error, MF_ERROR, MF_ERROR_CONFLICT,
                "the libvirt network %s %s; run mayfly-netd to correct it", config->network,
                problem);
  return problem == NULL;
}

static gboolean
remove_bindings(virConnectPtr connection, GError **error)
{
  virNWFilterBindingPtr *bindings = NULL;
  int n = virConnectListAllNWFilterBindings(connection, &bindings, 0);
  gboolean good = n >= 0;
  if (!good)
    mf_hypervisor_take_error(error, "filter bindings cannot be listed");
  for (int i = 0; i < n; i++) {
    char *xml = virNWFilterBindingGetXMLDesc(bindings[i], 0);
    if (good && xml != NULL && mf_binding_xml_is_ours(xml) &&
        virNWFilterBindingDelete(bindings[i]) < 0) {
      mf_hypervisor_take_error(error, "the filter of port %s cannot be removed",
                               virNWFilterBindingGetPortDev(bindings[i]));
      good = FALSE;
    }
    free(xml);
    virNWFilterBindingFree(bindings[i]);
  }
  free(bindings);
  return good;
}

gboolean
mf_hypervisor_network_remove(const MfConfig *config, GError **error)
{
  g_auto(Network) self = {0};
  self.connection = open_connection(config->uri, error);
  if (self.connection == NULL || !remove_bindings(self.connection, error) ||
      !look_up(&self, config->network, error))
    return FALSE;
  if (self.network == NULL)
    return TRUE;
  if (!require_ours(&self, config->network, error))
    return FALSE;
  if (self.network == NULL)
    return TRUE;
  if ((virNetworkIsActive(self.network) == 1 && virNetworkDestroy(self.network) < 0) ||
      (virNetworkIsPersistent(self.network) == 1 && virNetworkUndefine(self.network) < 0)) {
    mf_hypervisor_take_error(error, "network %s cannot be removed", config->network);
    return FALSE;
  }
  return TRUE;
}
