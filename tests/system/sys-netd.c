/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly-netd as a service: what somebody removes is back within two seconds, and what netd cannot
 * put right itself stands in the network state. Runs in tests/lib/test-host.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/netlab.h"

#define WITHIN (2 * G_USEC_PER_SEC)

static MfConfig *config;
static char *netd;
static GPid service;

/* --- looking --- */

static MfNetworkState *
state(void)
{
  g_autoptr(GError) error = NULL;
  MfNetworkState *now = mf_network_state_load(config->network_state, &error);
  g_assert_no_error(error);
  return now;
}

typedef gboolean (*Check)(void);

static gboolean
all_well(void)
{
  g_autoptr(MfNetworkState) now = state();
  gboolean good = mf_network_state_problem(now) == NULL;
  for (guint i = 0; i < 2; i++) {
    g_autofree char *tap = g_strdup_printf("mf%u", i);
    good = good && mf_network_state_port_problem(now, tap, FALSE) == NULL;
  }
  return good;
}

static gboolean
filtered(void)
{
  g_autoptr(MfNetworkState) now = state();
  return mf_network_state_port_problem(now, "mf0", TRUE) == NULL;
}

static gboolean
not_filtered(void)
{
  return !filtered();
}

static gboolean
guarded(void)
{
  return lab_try("nft list chain inet mayfly_guard to_host") && all_well();
}

static gboolean
isolated(void)
{
  g_autofree char *link = lab_output("bridge -d link show dev mf1");
  return strstr(link, "isolated on") != NULL && strstr(link, "master " LAB_BRIDGE) != NULL &&
         all_well();
}

static gboolean
tap_is_back(void)
{
  return lab_try("ip link show mf1") && isolated();
}

static gboolean
network_runs(void)
{
  g_autofree char *info = lab_output("virsh -q net-list --name --persistent --autostart");
  return strstr(info, LAB_BRIDGE) != NULL && isolated();
}

static gboolean
nat_is_back(void)
{
  g_autofree char *rules = lab_output("iptables -w -t nat -S");
  return strstr(rules, "MASQUERADE") != NULL && all_well();
}

static void
expect(Check check, const char *what, gint64 within)
{
  gint64 begin = g_get_monotonic_time();
  while (!check()) {
    if (g_get_monotonic_time() - begin > within) {
      g_autofree char *text = lab_output("cat %s", config->network_state);
      g_error("not %s in time: %s", what, text);
    }
    g_usleep(20000);
  }
  g_test_message("%s after %" G_GINT64_FORMAT " ms", what, (g_get_monotonic_time() - begin) / 1000);
}

/* --- the service --- */

static void
start_service(void)
{
  char *argv[] = {netd, NULL};
  g_autoptr(GError) error = NULL;
  g_assert_true(
      g_spawn_async(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &service, &error));
}

static void
stop_service(void)
{
  int status;
  g_assert_cmpint(kill(service, SIGTERM), ==, 0);
  g_assert_cmpint(waitpid(service, &status, 0), ==, service);
  g_assert_true(g_spawn_check_wait_status(status, NULL));
}

/* --- what somebody may do to it --- */

static void
test_guard_removed(void)
{
  lab_run("nft delete table inet mayfly_guard");
  expect(guarded, "guarded again", WITHIN);
}

static gboolean
not_open(void)
{
  g_autofree char *chain = lab_output("nft list chain inet mayfly_guard to_host");
  return strstr(chain, "\t\taccept\n") == NULL && guarded();
}

static void
test_guard_changed(void)
{
  lab_run("nft insert rule inet mayfly_guard to_host accept");
  g_usleep(50000);
  expect(not_open, "guard put right", WITHIN);
}

static gboolean
no_second_table(void)
{
  return !lab_try("nft list table inet mayfly_guard_wanted");
}

/* What somebody adds the moment that it is loaded is not taken for a part of it. */
static void
test_guard_changed_at_once(void)
{
  for (int i = 0; i < 6; i++) {
    lab_run("nft delete table inet mayfly_guard");
    lab_run("bash -c 'until nft insert rule inet mayfly_guard to_host accept; do :; done'");
    g_usleep(50000);
    expect(not_open, "guard put right", WITHIN);
  }
  expect(no_second_table, "nothing else left", WITHIN);
}

static void
test_tap_deleted(void)
{
  lab_run("ip link del mf1");
  expect(tap_is_back, "tap", WITHIN);
}

static void
test_isolation_off(void)
{
  lab_run("bridge link set dev mf1 isolated off");
  expect(isolated, "isolated again", WITHIN);
}

static void
test_off_bridge(void)
{
  lab_run("ip link set mf1 nomaster");
  expect(isolated, "on the bridge again", WITHIN);
}

static void
test_network_destroyed(void)
{
  lab_run("virsh -q net-destroy " LAB_BRIDGE);
  expect(network_runs, "network", 2 * WITHIN);
}

/* Then libvirt forgets it, but for its next look netd has a minute: nobody misses it before. */
static void
test_network_undefined(void)
{
  lab_run("virsh -q net-undefine " LAB_BRIDGE);
  lab_run("virsh -q net-destroy " LAB_BRIDGE);
  expect(network_runs, "network", 2 * WITHIN);
}

static void
test_server_killed(void)
{
  g_autofree char *pid = lab_output("cat /run/libvirt/network/" LAB_BRIDGE ".pid");
  lab_run("kill %s", g_strstrip(pid));
  for (int i = 0; i < 500; i++) {
    g_autofree char *now = lab_output("cat /run/libvirt/network/" LAB_BRIDGE ".pid");
    if (strcmp(g_strstrip(now), pid) != 0 && lab_try("kill -0 %s", now))
      return;
    g_usleep(20000);
  }
  g_error("dnsmasq was not started again");
}

static void
test_chain_deleted(void)
{
  g_assert_true(lab_bind(0, "free", LAB_PUBLIC));
  expect(filtered, "filtered", WITHIN);
  lab_run("nft flush chain bridge nat I-mf0-mac");
  expect(not_filtered, "reported as not filtered", WITHIN);
  g_assert_true(lab_bind(0, "force", LAB_PUBLIC));
  expect(filtered, "filtered again", WITHIN);
  lab_run("nft flush chain bridge nat PREROUTING");
  expect(not_filtered, "reported as not filtered", WITHIN);
  g_assert_true(lab_bind(0, "force", LAB_PUBLIC));
  expect(filtered, "filtered again", WITHIN);
}

/* One of several rules for the host's addresses: told by the chain having had more. */
static void
test_host_rule_deleted(void)
{
  g_autofree char *chain = lab_output("nft -a list chain bridge nat I-mf0-ipv4-hostlan");
  const char *rule = strstr(chain, "ip daddr " LAB_PUBLIC " counter");
  g_assert_nonnull(rule);
  const char *handle = strstr(rule, "# handle ");
  lab_run("nft delete rule bridge nat I-mf0-ipv4-hostlan handle %d",
          atoi(handle + strlen("# handle ")));
  expect(not_filtered, "reported as not filtered", WITHIN);
  g_assert_true(lab_bind(0, "force", LAB_PUBLIC));
  expect(filtered, "filtered again", WITHIN);
}

/* libvirt writes a filter in use anew without a gap: no machine must die of it. */
static void
test_filter_rebuilt(void)
{
  g_autofree char *pid = lab_output("cat /run/libvirtd.pid");
  lab_run("kill -HUP %s", g_strstrip(pid));
  gint64 end = g_get_monotonic_time() + 4 * G_USEC_PER_SEC;
  while (g_get_monotonic_time() < end) {
    g_assert_true(filtered());
    g_usleep(20000);
  }
}

/* Everything at once. libvirt's part comes back through libvirtd, which takes longer than the
 * guard. */
static void
test_ruleset_flushed(void)
{
  lab_run("nft flush ruleset");
  expect(guarded, "guarded again", WITHIN);
  expect(nat_is_back, "NAT", 2 * WITHIN);
  expect(filtered, "filtered again", 5 * WITHIN);
}

static gboolean
has_address(void)
{
  g_autoptr(MfNetworkState) now = state();
  return g_strv_contains(mf_network_state_host_addresses(now), "203.0.113.77");
}

static void
test_address_added(void)
{
  g_autoptr(MfNetworkState) before = state();
  g_assert_true(g_strv_contains(mf_network_state_host_addresses(before), LAB_PUBLIC));
  g_assert_true(g_strv_contains(mf_network_state_host_addresses(before), "10.177.86.1"));
  lab_run("ip addr add 203.0.113.77/32 dev lo");
  expect(has_address, "new address", WITHIN);
  lab_run("ip addr del 203.0.113.77/32 dev lo");
}

/* The network is not as it should be, but no port has a fault that would end its machine. */
static gboolean
network_gone(void)
{
  g_autoptr(MfNetworkState) now = state();
  const char *fault = mf_network_state_port_problem(now, "mf0", TRUE);
  if (fault != NULL)
    g_error("port mf0: %s", fault);
  return mf_network_state_problem(now) != NULL;
}

/* A machine's tap keeps its file descriptor through all of it, so the machine keeps its network. */
static void
test_machine_keeps_its_tap(void)
{
  int tap = lab_tap_open("mf0", TRUE);
  lab_run("virsh -q net-destroy " LAB_BRIDGE);
  expect(network_gone, "reported as gone", WITHIN);
  expect(network_runs, "network", 2 * WITHIN);
  g_autoptr(MfPortTable) ports = mf_port_table_new(config, NULL);
  const MfPort *machine = mf_port_table_get(ports, 0);
  /* As a machine that answers ARP. */
  lab_run("ip neigh replace %s lladdr %s dev " LAB_BRIDGE " nud permanent", machine->ip,
          machine->mac);
  const LabFrame ping = {.what = "ping", .to = "9.9.9.9", .protocol = 1};
  gboolean answered = FALSE;
  for (int i = 0; i < 100 && !answered; i++)
    answered = lab_seen(tap, TRUE, lab_send(tap, TRUE, &ping, machine));
  g_assert_true(answered);
  close(tap);
}

static void
test_one_at_a_time(void)
{
  g_assert_false(lab_try("%s --once", netd));
  g_assert_false(lab_try("%s --down", netd));
}

/* What nobody touched is never loaded again: each time would end what a machine sends just then. */
static void
test_left_alone(void)
{
  g_autofree char *state = lab_output("cat %s", config->network_state);
  g_assert_nonnull(strstr(state, "\"restored\":0"));
}

/* --- the end --- */

static void
test_stays(void)
{
  stop_service();
  g_assert_true(guarded());
  lab_run("%s --check", netd);
  lab_run("nft flush chain inet mayfly_guard input");
  g_assert_false(lab_try("%s --check", netd));
  lab_run("%s --once", netd);
  lab_run("%s --check", netd);
}

static void
test_fewer_ports(void)
{
  g_assert_true(g_file_set_contents("/etc/mayfly/mayfly.conf", "[network]\nports=1\n", -1, NULL));
  g_assert_false(lab_try("%s --check", netd));
  lab_run("%s --once", netd);
  lab_run("%s --check", netd);
  g_assert_false(lab_try("ip link show mf1"));
}

static void
test_foreign_network(void)
{
  lab_run("%s --down", netd);
  const char *xml = "<network><name>" LAB_BRIDGE "</name></network>";
  g_assert_true(g_file_set_contents("/run/foreign.xml", xml, -1, NULL));
  lab_run("virsh -q net-define /run/foreign.xml");
  g_assert_false(lab_try("%s --once", netd));
  g_assert_false(lab_try("%s --down", netd));
  lab_run("virsh -q net-undefine " LAB_BRIDGE);
}

static void
test_down(void)
{
  lab_run("%s --once", netd);
  g_assert_true(lab_bind(0, "free", LAB_PUBLIC));
  int tap = lab_tap_open("mf0", TRUE);
  g_assert_false(lab_try("%s --down", netd)); /* in use */
  lab_run("%s --down --force", netd);
  close(tap);
  g_assert_false(lab_try("ip link show mf0"));
  g_assert_false(lab_try("ip link show " LAB_BRIDGE));
  g_assert_false(lab_try("nft list table inet mayfly_guard"));
  g_autofree char *bindings = lab_output("virsh -q nwfilter-binding-list");
  g_assert_cmpstr(g_strstrip(bindings), ==, "");
  g_autofree char *networks = lab_output("virsh -q net-list --all --name");
  g_assert_cmpstr(g_strstrip(networks), ==, "");
  g_assert_false(g_file_test(config->network_state, G_FILE_TEST_EXISTS));
  lab_run("%s --down", netd);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  config = lab_new(2, "192.168.5.5:443");
  netd = lab_program("daemon/mayfly-netd");
  lab_run("%s --once", netd);
  start_service();
  g_usleep(G_USEC_PER_SEC / 2);
  g_test_add_func("/netd/one-at-a-time", test_one_at_a_time);
  g_test_add_func("/netd/left-alone", test_left_alone);
  g_test_add_func("/netd/guard-removed", test_guard_removed);
  g_test_add_func("/netd/guard-changed", test_guard_changed);
  g_test_add_func("/netd/guard-changed-at-once", test_guard_changed_at_once);
  g_test_add_func("/netd/tap-deleted", test_tap_deleted);
  g_test_add_func("/netd/isolation-off", test_isolation_off);
  g_test_add_func("/netd/off-bridge", test_off_bridge);
  g_test_add_func("/netd/network-destroyed", test_network_destroyed);
  g_test_add_func("/netd/network-undefined", test_network_undefined);
  g_test_add_func("/netd/server-killed", test_server_killed);
  g_test_add_func("/netd/chain-deleted", test_chain_deleted);
  g_test_add_func("/netd/host-rule-deleted", test_host_rule_deleted);
  g_test_add_func("/netd/filter-rebuilt", test_filter_rebuilt);
  g_test_add_func("/netd/machine-keeps-its-tap", test_machine_keeps_its_tap);
  g_test_add_func("/netd/address-added", test_address_added);
  g_test_add_func("/netd/ruleset-flushed", test_ruleset_flushed);
  g_test_add_func("/netd/stays", test_stays);
  g_test_add_func("/netd/fewer-ports", test_fewer_ports);
  g_test_add_func("/netd/foreign-network", test_foreign_network);
  g_test_add_func("/netd/down", test_down);
  int status = g_test_run();
  mf_config_free(config);
  g_free(netd);
  return status;
}
