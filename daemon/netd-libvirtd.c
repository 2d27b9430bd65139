/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measured with libvirt 9.0.0: after "nft flush ruleset", a reload of libvirtd fails quietly and
 * net-start says "No chain/target/match by that name", because networkSetupPrivateChains() runs
 * once a process. With the chains back, a reload is enough.
 */
#include "daemon/netd-libvirtd.h"

#include <arpa/inet.h>
#include <signal.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/netd-run.h"

#define IPTABLES "iptables", "-w", "5"

static const struct {
  const char *table, *from, *chain;
} private_chains[] = {
    {"filter", "INPUT", "LIBVIRT_INP"},       {"filter", "OUTPUT", "LIBVIRT_OUT"},
    {"filter", "FORWARD", "LIBVIRT_FWO"},     {"filter", "FORWARD", "LIBVIRT_FWI"},
    {"filter", "FORWARD", "LIBVIRT_FWX"},     {"nat", "POSTROUTING", "LIBVIRT_PRT"},
    {"mangle", "POSTROUTING", "LIBVIRT_PRT"},
};

/* --- looking --- */

static char *
subnet(MfPortTable *ports)
{
  struct in_addr in = {0};
  char address[INET_ADDRSTRLEN];
  inet_pton(AF_INET, mf_port_table_gateway(ports), &in);
  in.s_addr = htonl(ntohl(in.s_addr) & ~((1u << (32 - mf_port_table_prefix(ports))) - 1));
  inet_ntop(AF_INET, &in, address, sizeof address);
  return g_strdup_printf("%s/%u", address, mf_port_table_prefix(ports));
}

/* Whether one line of @text has both words; case does not matter, because "masquerade" is a target
 * here and a statement there. */
static gboolean
has_line(const char *text, const char *a, const char *b)
{
  g_autofree char *lower = g_ascii_strdown(text, -1);
  g_auto(GStrv) lines = g_strsplit(lower, "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++)
    if (strstr(lines[i], a) != NULL && strstr(lines[i], b) != NULL)
      return TRUE;
  return FALSE;
}

static gboolean
output_has(const char *const *argv, const char *a, const char *b)
{
  g_autofree char *output = NULL;
  return mf_netd_run(argv, NULL, &output, NULL) && has_line(output, a, b);
}

/* libvirt writes them with iptables, or since 10.4 where it is told so into a table of its own. */
static char *
rules_problem(MfPortTable *ports)
{
  static const char *const nat[] = {IPTABLES, "-t", "nat", "-S", NULL};
  static const char *const forward[] = {IPTABLES, "-S", "FORWARD", NULL};
  static const char *const own_table[] = {"nft", "list", "table", "ip", "libvirt_network", NULL};
  g_autofree char *net = subnet(ports);
  if (output_has(nat, net, "masquerade"))
    return output_has(forward, "-j", "libvirt_fwo")
               ? NULL
               : g_strdup("libvirt's rules for forwarding are missing");
  return output_has(own_table, net, "masquerade")
             ? NULL
             : g_strdup("libvirt's NAT rules for the machines' network are missing");
}

static gboolean
process_is(GPid pid, const char *name)
{
  g_autofree char *path = g_strdup_printf("/proc/%d/comm", pid);
  g_autofree char *comm = NULL;
  return g_file_get_contents(path, &comm, NULL, NULL) && g_str_equal(g_strchomp(comm), name);
}

static GPid
read_pid(const char *path)
{
  g_autofree char *text = NULL;
  guint64 pid = 0;
  if (!g_file_get_contents(path, &text, NULL, NULL) ||
      !g_ascii_string_to_unsigned(g_strstrip(text), 10, 2, G_MAXINT32, &pid, NULL))
    return 0;
  return (GPid)pid;
}

char *
mf_netd_libvirtd_problem(const char *network, MfPortTable *ports)
{
  g_autofree char *path = g_strdup_printf("/run/libvirt/network/%s.pid", network);
  GPid dnsmasq = read_pid(path);
  if (dnsmasq == 0 || !process_is(dnsmasq, "dnsmasq"))
    return g_strdup_printf("the DHCP and DNS server (dnsmasq) of the network %s does not run",
                           network);
  return rules_problem(ports);
}

/* --- healing --- */

static gboolean
succeeds(const char *const *argv)
{
  return mf_netd_run(argv, NULL, NULL, NULL);
}

gboolean
mf_netd_libvirtd_make_chains(GError **error)
{
  for (guint i = 0; i < G_N_ELEMENTS(private_chains); i++) {
    const char *table = private_chains[i].table, *from = private_chains[i].from,
               *chain = private_chains[i].chain;
    const char *const list[] = {IPTABLES, "-t", table, "-S", chain, NULL};
    const char *const make[] = {IPTABLES, "-t", table, "-N", chain, NULL};
    const char *const look[] = {IPTABLES, "-t", table, "-C", from, "-j", chain, NULL};
    const char *const link[] = {IPTABLES, "-t", table, "-I", from, "-j", chain, NULL};
    if ((!succeeds(list) && !mf_netd_run(make, NULL, NULL, error)) ||
        (!succeeds(look) && !mf_netd_run(link, NULL, NULL, error))) {
      g_prefix_error(error, "libvirt's chain %s cannot be made again: ", chain);
      return FALSE;
    }
  }
  return TRUE;
}

gboolean
mf_netd_libvirtd_reload(GError **error)
{
  static const char *const daemons[] = {"libvirtd", "virtnetworkd"};
  if (!mf_netd_libvirtd_make_chains(error))
    return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS(daemons); i++) {
    g_autofree char *path = g_strdup_printf("/run/%s.pid", daemons[i]);
    GPid pid = read_pid(path);
    if (pid != 0 && process_is(pid, daemons[i]) && kill(pid, SIGHUP) < 0) {
      g_set_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE,
                  "%s cannot be told to reload: %s; restart it with 'systemctl restart %s'",
                  daemons[i], g_strerror(errno), daemons[i]);
      return FALSE;
    }
  }
  return TRUE;
}
