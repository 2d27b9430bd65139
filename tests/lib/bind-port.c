/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bind-port INDEX HOW ADDRESS,… - what the daemon does to a port, for tests: binds the filter as
 * whoever runs it. HOW: free, used (as if a machine were on the port), or force.
 */
#include "daemon/hypervisor.h"
#include "daemon/paths.h"

typedef struct {
  GMainLoop *loop;
  MfPortTable *ports;
  guint index;
  const char *how;
  char **addresses;
  int status;
} Bind;

static void
on_bound(GObject *source, GAsyncResult *result, gpointer data)
{
  Bind *call = data;
  g_autoptr(GError) error = NULL;
  call->status = mf_hypervisor_bind_port_finish(MF_HYPERVISOR(source), result, &error) ? 0 : 1;
  if (error != NULL)
    g_printerr("bind-port: %s\n", error->message);
  g_main_loop_quit(call->loop);
}

static void
on_connection(MfHypervisor *hypervisor, gboolean up, gpointer data)
{
  Bind *call = data;
  MfPort *port = mf_port_table_get(call->ports, call->index);
  if (!up)
    return;
  if (g_str_equal(call->how, "used"))
    port->job = g_strdup("job");
  mf_hypervisor_bind_port_async(hypervisor, port, mf_port_table_gateway(call->ports),
                                (const char *const *)call->addresses,
                                g_str_equal(call->how, "force"), NULL, on_bound, call);
}

int
main(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *path = mf_path_config();
  g_autoptr(MfConfig) config = argc == 4 ? mf_config_load(path, &error) : NULL;
  g_autoptr(MfPortTable) ports = config != NULL ? mf_port_table_new(config, &error) : NULL;
  if (ports == NULL) {
    g_printerr("bind-port: %s\n", error != NULL ? error->message : "needs INDEX HOW ADDRESSES");
    return 2;
  }
  g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
  g_auto(GStrv) addresses = g_strsplit(argv[3], ",", -1);
  Bind call = {loop, ports, (guint)g_ascii_strtoull(argv[1], NULL, 10), argv[2], addresses, 1};
  MfHypervisor *hypervisor = mf_hypervisor_new(config);
  g_signal_connect(hypervisor, "connection", G_CALLBACK(on_connection), &call);
  g_main_loop_run(loop);
  mf_hypervisor_close(hypervisor);
  g_object_unref(hypervisor);
  return call.status;
}
