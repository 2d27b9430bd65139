/* SPDX-License-Identifier: Apache-2.0 */
/* Network: bindings kept in place, ports lent out. */
#include "daemon/network.h"

#include <string.h>

#include "daemon/error.h"

/* mayfly-netd writes at each change and at least this often; older news than three of these is no
 * news. */
#define STATE_PERIOD 5
/* What was seen while libvirt still wrote the chains says nothing about them. */
#define SETTLE_SECONDS 2
#define STATE_STALE    (3 * STATE_PERIOD + 5)

struct _MfNetwork {
  GObject parent;
  const MfConfig *config;
  MfHypervisor *hypervisor;
  MfPortTable *ports;
  MfNetworkState *state;
  char *problem;
  gboolean *binding; /* per port: a call is under way */
  gint64 *bound_at;  /* per port: unix seconds */
  GFileMonitor *monitor;
  GCancellable *cancellable;
  guint timer;
};

G_DEFINE_FINAL_TYPE(MfNetwork, mf_network, G_TYPE_OBJECT)

enum { PORT_LOST, AVAILABLE, N_SIGNALS };
static guint signals[N_SIGNALS];

typedef struct {
  MfNetwork *network;
  guint index;
} BindCall;

static void
port_fault(MfNetwork *self, MfPort *port, const char *fault)
{
  port->bound = FALSE;
  mf_port_set_fault(port, fault);
  if (port->job != NULL) {
    g_autofree char *job = g_strdup(port->job);
    g_autofree char *reason =
        g_strdup_printf("the network of its port %s is not as it must be: %s", port->tap, fault);
    g_signal_emit(self, signals[PORT_LOST], 0, job, reason);
  }
}

static void
on_bound(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autofree BindCall *call = data;
  g_autoptr(MfNetwork) self = call->network;
  g_autoptr(GError) error = NULL;
  MfPort *port = mf_port_table_get(self->ports, call->index);
  self->binding[call->index] = FALSE;
  if (!mf_hypervisor_bind_port_finish(MF_HYPERVISOR(source), result, &error)) {
    if (mf_error_code(error) == MF_ERROR_CANCELLED)
      return;
    /* libvirtd being away says nothing about the filter in the kernel: a machine on the port stays.
     */
    if (mf_error_code(error) == MF_ERROR_UNAVAILABLE && (port->bound || port->job != NULL))
      return;
    if (g_strcmp0(port->fault, error->message) != 0)
      g_message("port %s cannot be filtered: %s", port->tap, error->message);
    port_fault(self, port, error->message);
    return;
  }
  if (!port->bound)
    self->bound_at[call->index] = g_get_real_time() / G_USEC_PER_SEC;
  port->bound = TRUE;
  mf_port_set_fault(port, NULL);
  g_signal_emit(self, signals[AVAILABLE], 0);
}

static void
bind_port(MfNetwork *self, MfPort *port, gboolean force)
{
  if (self->binding[port->index] || !mf_hypervisor_is_up(self->hypervisor))
    return;
  self->binding[port->index] = TRUE;
  BindCall *call = g_new(BindCall, 1);
  *call = (BindCall){g_object_ref(self), port->index};
  mf_hypervisor_bind_port_async(self->hypervisor, port, mf_port_table_gateway(self->ports),
                                mf_network_state_host_addresses(self->state), force,
                                self->cancellable, on_bound, call);
}

static void
check_port(MfNetwork *self, MfPort *port, gboolean addresses_changed)
{
  const char *bare = mf_network_state_port_problem(self->state, port->tap, FALSE);
  if (bare != NULL) {
    port_fault(self, port, bare);
    return;
  }
  const char *chains = mf_network_state_port_problem(self->state, port->tap, TRUE);
  if (port->bound && chains != NULL &&
      mf_network_state_updated(self->state) < self->bound_at[port->index] + SETTLE_SECONDS)
    return;
  if (port->bound && chains != NULL) {
    g_autofree char *fault = g_strdup_printf("%s; it is being made anew", chains);
    g_message("port %s: %s", port->tap, fault);
    port_fault(self, port, fault);
    bind_port(self, port, TRUE);
  } else if (!port->bound || (addresses_changed && port->job == NULL)) {
    /* Made anew, the port is without a filter for a moment: it must not be lent meanwhile. */
    port->bound = FALSE;
    bind_port(self, port, FALSE);
  }
}

static void
set_problem(MfNetwork *self, const char *problem)
{
  if (g_strcmp0(self->problem, problem) == 0)
    return;
  if (problem != NULL)
    g_message("network: %s", problem);
  g_free(self->problem);
  self->problem = g_strdup(problem);
  if (problem == NULL)
    g_signal_emit(self, signals[AVAILABLE], 0);
}

static gboolean
same_addresses(const MfNetworkState *a, const MfNetworkState *b)
{
  return a != NULL && b != NULL &&
         g_strv_equal(mf_network_state_host_addresses(a), mf_network_state_host_addresses(b));
}

static void
refresh(MfNetwork *self)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfNetworkState) state = mf_network_state_load(self->config->network_state, &error);
  if (state == NULL) {
    g_autofree char *text = g_strdup_printf(
        "mayfly-netd has not made the network (%s): start it with 'systemctl start mayfly-netd'",
        error->message);
    set_problem(self, text);
    return;
  }
  if (mf_network_state_updated(state) + STATE_STALE < g_get_real_time() / G_USEC_PER_SEC) {
    set_problem(self, "mayfly-netd has stopped watching the network: start it with 'systemctl "
                      "start mayfly-netd'");
    return;
  }
  gboolean changed = !same_addresses(self->state, state);
  g_clear_pointer(&self->state, mf_network_state_free);
  self->state = g_steal_pointer(&state);
  set_problem(self, mf_network_state_problem(self->state));
  for (guint i = 0; i < mf_port_table_size(self->ports); i++)
    check_port(self, mf_port_table_get(self->ports, i), changed);
}

static gboolean
on_timer(gpointer data)
{
  refresh(data);
  return G_SOURCE_CONTINUE;
}

static void
on_file_changed(GFileMonitor *monitor, GFile *file, GFile *other, GFileMonitorEvent event,
                gpointer data)
{
  refresh(data);
}

static void
on_connection(MfHypervisor *hypervisor, gboolean up, gpointer data)
{
  if (up)
    refresh(data);
}

MfNetwork *
mf_network_new(const MfConfig *config, MfHypervisor *hypervisor, GError **error)
{
  g_autoptr(MfPortTable) ports = mf_port_table_new(config, error);
  if (ports == NULL)
    return NULL;
  MfNetwork *self = g_object_new(mf_network_get_type(), NULL);
  self->config = config;
  self->hypervisor = g_object_ref(hypervisor);
  self->ports = g_steal_pointer(&ports);
  self->binding = g_new0(gboolean, mf_port_table_size(self->ports));
  self->bound_at = g_new0(gint64, mf_port_table_size(self->ports));
  self->cancellable = g_cancellable_new();
  g_signal_connect_object(hypervisor, "connection", G_CALLBACK(on_connection), self, 0);
  g_autoptr(GFile) file = g_file_new_for_path(config->network_state);
  self->monitor = g_file_monitor_file(file, G_FILE_MONITOR_WATCH_MOVES, NULL, NULL);
  if (self->monitor != NULL)
    g_signal_connect_object(self->monitor, "changed", G_CALLBACK(on_file_changed), self, 0);
  self->timer = g_timeout_add_seconds(STATE_PERIOD, on_timer, self);
  refresh(self);
  return self;
}

const char *
mf_network_problem(MfNetwork *self)
{
  return self->problem;
}

guint
mf_network_size(MfNetwork *self)
{
  return mf_port_table_size(self->ports);
}

MfPort *
mf_network_take(MfNetwork *self, const char *job)
{
  return self->problem == NULL ? mf_port_table_take(self->ports, job, g_get_monotonic_time())
                               : NULL;
}

MfPort *
mf_network_claim(MfNetwork *self, const char *tap, const char *job)
{
  if (!mf_port_table_claim(self->ports, tap, job))
    return NULL;
  for (guint i = 0; i < mf_port_table_size(self->ports); i++)
    if (strcmp(mf_port_table_get(self->ports, i)->tap, tap) == 0)
      return mf_port_table_get(self->ports, i);
  return NULL;
}

void
mf_network_pass_on(MfNetwork *self, MfPort *port, const char *job)
{
  g_free(port->job);
  port->job = g_strdup(job);
}

void
mf_network_release(MfNetwork *self, MfPort *port)
{
  mf_port_table_release(self->ports, port, g_get_monotonic_time());
  /* The host's addresses may have changed under the machine, whose binding then had to stay. */
  if (self->state != NULL && port->bound) {
    port->bound = FALSE;
    bind_port(self, port, FALSE);
  }
  g_signal_emit(self, signals[AVAILABLE], 0);
}

const char *
mf_network_gateway(MfNetwork *self)
{
  return mf_port_table_gateway(self->ports);
}

guint
mf_network_prefix(MfNetwork *self)
{
  return mf_port_table_prefix(self->ports);
}

static MfJson *
port_to_json(const MfPort *port)
{
  MfJson *json = json_object_new_object();
  json_object_object_add(json, "tap", json_object_new_string(port->tap));
  json_object_object_add(json, "ip", json_object_new_string(port->ip));
  json_object_object_add(json, "mac", json_object_new_string(port->mac));
  const char *state = port->job     ? "used"
                      : port->fault ? "faulty"
                      : port->bound ? "free"
                                    : "unfiltered";
  json_object_object_add(json, "state", json_object_new_string(state));
  json_object_object_add(json, "job", port->job ? json_object_new_string(port->job) : NULL);
  json_object_object_add(json, "problem", port->fault ? json_object_new_string(port->fault) : NULL);
  return json;
}

MfJson *
mf_network_to_json(MfNetwork *self)
{
  MfJson *json = json_object_new_object();
  json_object_object_add(json, "ok", json_object_new_boolean(self->problem == NULL));
  json_object_object_add(json, "problem",
                         self->problem ? json_object_new_string(self->problem) : NULL);
  json_object_object_add(json, "name", json_object_new_string(self->config->network));
  json_object_object_add(json, "gateway",
                         json_object_new_string(mf_port_table_gateway(self->ports)));
  MfJson *holes = json_object_new_array();
  for (guint i = 0; self->config->holes != NULL && self->config->holes[i] != NULL; i++)
    json_object_array_add(holes, json_object_new_string(self->config->holes[i]));
  json_object_object_add(json, "holes", holes);
  MfJson *ports = json_object_new_array();
  for (guint i = 0; i < mf_port_table_size(self->ports); i++)
    json_object_array_add(ports, port_to_json(mf_port_table_get(self->ports, i)));
  json_object_object_add(json, "ports", ports);
  return json;
}

static void
mf_network_dispose(GObject *object)
{
  MfNetwork *self = MF_NETWORK(object);
  g_clear_handle_id(&self->timer, g_source_remove);
  g_cancellable_cancel(self->cancellable);
  g_clear_object(&self->cancellable);
  g_clear_object(&self->monitor);
  g_clear_object(&self->hypervisor);
  G_OBJECT_CLASS(mf_network_parent_class)->dispose(object);
}

static void
mf_network_finalize(GObject *object)
{
  MfNetwork *self = MF_NETWORK(object);
  g_clear_pointer(&self->ports, mf_port_table_free);
  g_clear_pointer(&self->state, mf_network_state_free);
  g_free(self->binding);
  g_free(self->bound_at);
  g_free(self->problem);
  G_OBJECT_CLASS(mf_network_parent_class)->finalize(object);
}

static void
mf_network_class_init(MfNetworkClass *class)
{
  G_OBJECT_CLASS(class)->dispose = mf_network_dispose;
  G_OBJECT_CLASS(class)->finalize = mf_network_finalize;
  GType type = G_TYPE_FROM_CLASS(class);
  signals[PORT_LOST] = g_signal_new("port-lost", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                    G_TYPE_NONE, 2, G_TYPE_STRING, G_TYPE_STRING);
  signals[AVAILABLE] =
      g_signal_new("available", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
}

static void
mf_network_init(MfNetwork *self)
{
}
