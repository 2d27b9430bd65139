/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network as far as it is libvirt's and asked by the daemon: filters defined, ports bound, the
 * network active. Making the network is mayfly-netd's work.
 */
#include "daemon/binding-xml.h"
#include "daemon/filter-set.h"
#include "daemon/hypervisor-private.h"

static gboolean
is_missing(void)
{
  const virError *error = virGetLastError();
  return error != NULL &&
         (error->code == VIR_ERR_NO_NWFILTER || error->code == VIR_ERR_NO_NWFILTER_BINDING ||
          error->code == VIR_ERR_NO_NETWORK);
}

/* --- filters --- */

static gboolean
define_filter(virConnectPtr connection, const MfFilterSet *set, guint index, GError **error)
{
  const char *name = mf_filter_set_name(set, index);
  g_autoptr(virNWFilter) filter = virNWFilterLookupByName(connection, name);
  if (filter == NULL && !is_missing()) {
    mf_hypervisor_take_error(error, "filter %s cannot be looked up", name);
    return FALSE;
  }
  g_autofree char *uuid = NULL;
  if (filter != NULL) {
    char *xml = virNWFilterGetXMLDesc(filter, 0);
    gboolean same = xml != NULL && mf_filter_set_matches(set, index, xml, &uuid);
    free(xml);
    if (same)
      return TRUE;
  }
  /* libvirt takes a filter of a known name only with the uuid it has; and rebuilds what is bound to
   * it without a gap. */
  g_autofree char *text = mf_filter_set_format(set, index, uuid);
  g_autoptr(virNWFilter) defined =
      virNWFilterDefineXMLFlags(connection, text, VIR_NWFILTER_DEFINE_VALIDATE);
  if (defined == NULL) {
    mf_hypervisor_take_error(error, "filter %s cannot be defined", name);
    return FALSE;
  }
  return TRUE;
}

gboolean
mf_hypervisor_define_filters(virConnectPtr connection, const MfConfig *config, GError **error)
{
  static GMutex one_at_a_time; /* two workers would define the same filter twice */
  g_autoptr(MfFilterSet) set = mf_filter_set_load(config, error);
  if (set == NULL)
    return FALSE;
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&one_at_a_time);
  for (guint i = 0; i < mf_filter_set_size(set); i++)
    if (!define_filter(connection, set, i, error))
      return FALSE;
  return TRUE;
}

/* --- bindings --- */

typedef struct {
  const MfConfig *config;
  MfPort port; /* names and addresses only */
  char *gateway;
  char **host_addresses;
  gboolean in_use;
  gboolean force;
} Bind;

static void
bind_free(gpointer data)
{
  Bind *self = data;
  g_free(self->gateway);
  g_strfreev(self->host_addresses);
  g_free(self);
}

/*
 * Whether the binding that is there may stay. Making it anew leaves the port without a filter for a
 * moment. So while a machine is on the port, a change of the host's addresses alone has to wait:
 * the guard knows them all anyway.
 */
static gboolean
may_stay(virNWFilterBindingPtr binding, const Bind *call, MfBindingMatch *ret_match)
{
  char *xml = virNWFilterBindingGetXMLDesc(binding, 0);
  *ret_match = xml == NULL ? MF_BINDING_OTHER
                           : mf_binding_xml_compare(xml, &call->port, call->gateway,
                                                    (const char *const *)call->host_addresses);
  free(xml);
  return !call->force &&
         (*ret_match == MF_BINDING_SAME || (*ret_match == MF_BINDING_HOST && call->in_use));
}

static gboolean
bind_work(virConnectPtr connection, gpointer data, GCancellable *cancellable, GError **error)
{
  const Bind *call = data;
  const char *tap = call->port.tap;
  if (!mf_hypervisor_define_filters(connection, call->config, error))
    return FALSE;
  g_autoptr(virNWFilterBinding) old = virNWFilterBindingLookupByPortDev(connection, tap);
  if (old == NULL && !is_missing()) {
    mf_hypervisor_take_error(error, "the filter of port %s cannot be looked up", tap);
    return FALSE;
  }
  if (old != NULL) {
    MfBindingMatch match;
    if (may_stay(old, call, &match))
      return TRUE;
    if (match == MF_BINDING_FOREIGN) {
      g_set_error(error, MF_ERROR, MF_ERROR_CONFLICT,
                  "interface %s has a filter binding that is not mayfly's; remove it with \"virsh "
                  "nwfilter-binding-delete %s\", or the machine that uses the interface",
                  tap, tap);
      return FALSE;
    }
    if (virNWFilterBindingDelete(old) < 0) {
      mf_hypervisor_take_error(error, "the former filter of port %s cannot be removed", tap);
      return FALSE;
    }
  }
  g_autofree char *xml =
      mf_binding_xml_format(&call->port, call->gateway, (const char *const *)call->host_addresses);
  g_autoptr(virNWFilterBinding) made =
      virNWFilterBindingCreateXML(connection, xml, VIR_NWFILTER_BINDING_CREATE_VALIDATE);
  if (made == NULL) {
    mf_hypervisor_take_error(error, "port %s cannot be filtered", tap);
    return FALSE;
  }
  return TRUE;
}

void
mf_hypervisor_bind_port_async(MfHypervisor *self, const MfPort *port, const char *gateway,
                              const char *const *host_addresses, gboolean force, GCancellable *c,
                              GAsyncReadyCallback cb, gpointer data)
{
  g_return_if_fail(host_addresses != NULL);
  Bind *call = g_new0(Bind, 1);
  call->config = self->config;
  call->port.index = port->index;
  g_strlcpy(call->port.tap, port->tap, sizeof call->port.tap);
  g_strlcpy(call->port.mac, port->mac, sizeof call->port.mac);
  g_strlcpy(call->port.ip, port->ip, sizeof call->port.ip);
  call->gateway = g_strdup(gateway);
  /* A filter variable without a value cannot be instantiated; the gateway is one of the host's
   * addresses in any case. */
  g_autoptr(GStrvBuilder) addresses = g_strv_builder_new();
  g_strv_builder_addv(addresses, (const char **)host_addresses);
  if (!g_strv_contains(host_addresses, gateway))
    g_strv_builder_add(addresses, gateway);
  call->host_addresses = g_strv_builder_end(addresses);
  call->in_use = port->job != NULL;
  call->force = force;
  mf_hypervisor_call_async(self, MF_CONNECTION_EVENTS, bind_work, call, bind_free, c, cb, data);
}

gboolean
mf_hypervisor_bind_port_finish(MfHypervisor *self, GAsyncResult *r, GError **error)
{
  return mf_hypervisor_call_finish(self, r, bind_work, error) != NULL;
}

typedef struct {
  char **taps;
} ListBindings;

static void
list_bindings_free(gpointer data)
{
  ListBindings *self = data;
  g_strfreev(self->taps);
  g_free(self);
}

static gboolean
list_bindings_work(virConnectPtr connection, gpointer data, GCancellable *cancellable,
                   GError **error)
{
  ListBindings *call = data;
  virNWFilterBindingPtr *bindings = NULL;
  int n = virConnectListAllNWFilterBindings(connection, &bindings, 0);
  if (n < 0) {
    mf_hypervisor_take_error(error, "filter bindings cannot be listed");
    return FALSE;
  }
  g_autoptr(GStrvBuilder) taps = g_strv_builder_new();
  for (int i = 0; i < n; i++) {
    /* One that vanished meanwhile has no XML any more. */
    char *xml = virNWFilterBindingGetXMLDesc(bindings[i], 0);
    if (xml != NULL && mf_binding_xml_is_ours(xml))
      g_strv_builder_add(taps, virNWFilterBindingGetPortDev(bindings[i]));
    free(xml);
    virNWFilterBindingFree(bindings[i]);
  }
  free(bindings);
  call->taps = g_strv_builder_end(taps);
  return TRUE;
}

void
mf_hypervisor_list_bindings_async(MfHypervisor *self, GCancellable *c, GAsyncReadyCallback cb,
                                  gpointer data)
{
  mf_hypervisor_call_async(self, MF_CONNECTION_EVENTS, list_bindings_work, g_new0(ListBindings, 1),
                           list_bindings_free, c, cb, data);
}

char **
mf_hypervisor_list_bindings_finish(MfHypervisor *self, GAsyncResult *r, GError **error)
{
  ListBindings *call = mf_hypervisor_call_finish(self, r, list_bindings_work, error);
  return call != NULL ? g_steal_pointer(&call->taps) : NULL;
}

/* --- the network --- */

static gboolean
network_active_work(virConnectPtr connection, gpointer data, GCancellable *cancellable,
                    GError **error)
{
  const char *name = data;
  g_autoptr(virNetwork) network = virNetworkLookupByName(connection, name);
  if (network == NULL && is_missing()) {
    g_set_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE,
                "libvirt has no network \"%s\"; start mayfly-netd, which makes it", name);
    return FALSE;
  }
  int active = network != NULL ? virNetworkIsActive(network) : -1;
  if (active < 0) {
    mf_hypervisor_take_error(error, "network %s cannot be looked up", name);
    return FALSE;
  }
  if (active == 0) {
    g_set_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE,
                "libvirt's network \"%s\" is not active; start mayfly-netd, which starts it", name);
    return FALSE;
  }
  return TRUE;
}

void
mf_hypervisor_network_active_async(MfHypervisor *self, GCancellable *c, GAsyncReadyCallback cb,
                                   gpointer data)
{
  mf_hypervisor_call_async(self, MF_CONNECTION_EVENTS, network_active_work,
                           g_strdup(self->config->network), g_free, c, cb, data);
}

gboolean
mf_hypervisor_network_active_finish(MfHypervisor *self, GAsyncResult *r, GError **error)
{
  return mf_hypervisor_call_finish(self, r, network_active_work, error) != NULL;
}
