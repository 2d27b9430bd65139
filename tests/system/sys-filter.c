/* SPDX-License-Identifier: Apache-2.0 */
/*
 * no-host-lan and the guard against frames, each without the help of the other: the filter is
 * judged by what reaches the bridge, the guard on a port without a filter by what reaches the
 * host's stack and its uplink. The filter is bound as the daemon does it, by the user mayfly. Runs
 * in tests/lib/test-host.
 */
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "daemon/filter-set.h"
#include "daemon/netd-chains.h"
#include "tests/lib/netlab.h"

#define GATEWAY "10.177.86.1"
#define OTHER   "10.177.86.17" /* the machine on port mf1 */
#define HOLE    "192.168.5.5"
#define HOLES   HOLE ":443 " LAB_PUBLIC ":5000 " LAB_PUBLIC ":8443"

static MfConfig *config;
static MfPortTable *ports;
static MfPort *machine;
static int tap, bridge;

/* --- what a machine may send --- */

#define UDP(to_, port_)                                                                            \
  {                                                                                                \
    .what = "udp " to_ ":" #port_, .to = to_, .dport = port_                                       \
  }
#define TCP(to_, port_)                                                                            \
  {                                                                                                \
    .what = "tcp " to_ ":" #port_, .to = to_, .protocol = IPPROTO_TCP, .dport = port_              \
  }
#define ICMP(to_)                                                                                  \
  {                                                                                                \
    .what = "ping " to_, .to = to_, .protocol = IPPROTO_ICMP                                       \
  }

static const LabFrame to_internet[] = {
    UDP("9.9.9.9", 53),       TCP("9.9.9.9", 443),       ICMP("9.9.9.9"),
    UDP("1.0.0.0", 9),        UDP("9.255.255.255", 9),   UDP("11.0.0.0", 9),
    UDP("100.63.255.255", 9), UDP("100.128.0.0", 9),     UDP("126.255.255.255", 9),
    UDP("128.0.0.0", 9),      UDP("169.253.255.255", 9), UDP("169.255.0.0", 9),
    UDP("172.15.255.255", 9), UDP("172.32.0.0", 9),      UDP("191.255.255.255", 9),
    UDP("192.0.1.0", 9),      UDP("192.0.1.255", 9),     UDP("192.0.3.0", 9),
    UDP("192.88.98.255", 9),  UDP("192.88.100.0", 9),    UDP("192.167.255.255", 9),
    UDP("192.169.0.0", 9),    UDP("198.17.255.255", 9),  UDP("198.20.0.0", 9),
    UDP("198.51.99.255", 9),  UDP("198.51.101.0", 9),    UDP("203.0.112.255", 9),
    UDP("203.0.114.0", 9),    UDP("223.255.255.255", 9), TCP(HOLE, 443),
};

static const LabFrame to_closed[] = {
    UDP("0.0.0.1", 9),
    UDP("0.255.255.255", 9),
    UDP("10.0.0.0", 9),
    UDP("10.255.255.255", 9),
    UDP(OTHER, 9),
    TCP(OTHER, 22),
    UDP("100.64.0.0", 9),
    UDP("100.127.255.255", 9),
    UDP("127.0.0.1", 9),
    UDP("127.255.255.255", 9),
    UDP("169.254.0.0", 9),
    TCP("169.254.169.254", 80),
    UDP("169.254.255.255", 9),
    UDP("172.16.0.0", 9),
    UDP("172.31.255.255", 9),
    UDP("192.0.0.0", 9),
    UDP("192.0.0.255", 9),
    UDP("192.0.2.0", 9),
    UDP("192.0.2.255", 9),
    UDP("192.88.99.0", 9),
    UDP("192.88.99.255", 9),
    UDP("192.168.0.0", 9),
    UDP("192.168.255.255", 9),
    UDP("198.18.0.0", 9),
    UDP("198.19.255.255", 9),
    UDP("198.51.100.0", 9),
    UDP("198.51.100.255", 9),
    UDP("203.0.113.0", 9),
    UDP("203.0.113.255", 9),
    UDP("224.0.0.1", 9),
    UDP("239.255.255.255", 9),
    UDP("240.0.0.0", 9),
    UDP("255.255.255.254", 9),
    UDP("255.255.255.255", 9),
    TCP(HOLE, 80),
    UDP(HOLE, 443),
    TCP("192.168.5.6", 443),
    ICMP(HOLE),
    {.what = "another's address to the internet", .from = OTHER, .to = "9.9.9.9", .dport = 53},
    {.what = "a stranger's address to the internet",
     .from = "8.8.8.8",
     .to = "9.9.9.9",
     .dport = 53},
    {.what = "no address to the internet", .from = "0.0.0.0", .to = "9.9.9.9", .dport = 53},
};

static const LabFrame to_host[] = {
    {.what = "DHCP discover",
     .from = "0.0.0.0",
     .to = "255.255.255.255",
     .to_mac = "ff:ff:ff:ff:ff:ff",
     .sport = 68,
     .dport = 67},
    {.what = "DHCP renewal", .to = GATEWAY, .sport = 68, .dport = 67},
    UDP(GATEWAY, 53),
    TCP(GATEWAY, 53),
    TCP(LAB_PUBLIC, 8443),
};

static const LabFrame to_host_closed[] = {
    TCP(GATEWAY, 22),
    TCP(GATEWAY, 80),
    UDP(GATEWAY, 123),
    UDP(GATEWAY, 67),
    ICMP(GATEWAY),
    TCP(LAB_PUBLIC, 22),
    UDP(LAB_PUBLIC, 53),
    UDP(LAB_PUBLIC, 8443),
    ICMP(LAB_PUBLIC),
    {.what = "DNS from another's address", .from = OTHER, .to = GATEWAY, .dport = 53},
    {.what = "DNS from no address", .from = "0.0.0.0", .to = GATEWAY, .dport = 53},
};

#define BROADCAST "ff:ff:ff:ff:ff:ff"

/* Where connections are tracked, a fragment alone waits for the others: nothing to compare with
 * where there is no filter. */
static const LabFrame fragments[] = {
    {.what = "a later fragment to the gateway", .to = GATEWAY, .dport = 53, .fragment = 100},
    {.what = "a later fragment to a closed address",
     .to = "10.0.0.1",
     .dport = 53,
     .fragment = 100},
};

static const LabFrame layer2[] = {
    {.what = "ARP for the gateway",
     .type = ETH_P_ARP,
     .arp = 1,
     .to = GATEWAY,
     .to_mac = BROADCAST},
    {.what = "ARP answer to the gateway", .type = ETH_P_ARP, .arp = 2, .to = GATEWAY},
    {.what = "ARP probe",
     .type = ETH_P_ARP,
     .arp = 1,
     .from = "0.0.0.0",
     .to = "10.177.86.16",
     .to_mac = BROADCAST},
    {.what = "ARP announcement",
     .type = ETH_P_ARP,
     .arp = 1,
     .to = "10.177.86.16",
     .to_mac = BROADCAST},
};

static const LabFrame layer2_closed[] = {
    {.what = "another's MAC", .from_mac = "52:54:00:6d:00:01", .to = "9.9.9.9", .dport = 53},
    {.what = "the bridge's MAC", .from_mac = "02:00:00:00:00:01", .to = "9.9.9.9", .dport = 53},
    {.what = "ARP as another", .type = ETH_P_ARP, .arp = 2, .from = OTHER, .to = GATEWAY},
    {.what = "ARP as the gateway",
     .type = ETH_P_ARP,
     .arp = 2,
     .from = GATEWAY,
     .to = OTHER,
     .to_mac = BROADCAST},
    {.what = "ARP with another's MAC inside",
     .type = ETH_P_ARP,
     .arp = 2,
     .to = GATEWAY,
     .arp_mac = "52:54:00:6d:00:01"},
    {.what = "ARP with another's MAC outside",
     .type = ETH_P_ARP,
     .arp = 2,
     .to = GATEWAY,
     .from_mac = "52:54:00:6d:00:01"},
    {.what = "ARP for another machine",
     .type = ETH_P_ARP,
     .arp = 1,
     .to = OTHER,
     .to_mac = BROADCAST},
    {.what = "ARP probe for another machine",
     .type = ETH_P_ARP,
     .arp = 1,
     .from = "0.0.0.0",
     .to = OTHER,
     .to_mac = BROADCAST},
    {.what = "VLAN 5", .vlan = 6, .to = "9.9.9.9", .dport = 53},
    {.what = "VLAN 0", .vlan = 1, .to = "9.9.9.9", .dport = 53},
    {.what = "VLAN 5 with ARP", .vlan = 6, .type = ETH_P_ARP, .arp = 1, .to = GATEWAY},
    {.what = "IPv6", .type = ETH_P_IPV6},
    {.what = "IPv6 to all nodes", .type = ETH_P_IPV6, .to_mac = "33:33:00:00:00:01"},
    {.what = "RARP", .type = ETH_P_RARP, .to_mac = BROADCAST},
    {.what = "an unknown protocol", .type = 0x88b5},
    {.what = "STP", .type = 0x0027, .to_mac = "01:80:c2:00:00:00"},
};

static void
expect_on_bridge(const LabFrame *frames, guint n, gboolean seen)
{
  for (guint i = 0; i < n; i++) {
    guint32 number = lab_send(tap, TRUE, &frames[i], machine);
    if (lab_seen(bridge, FALSE, number) != seen) {
      g_test_message("%s should %s", frames[i].what, seen ? "pass" : "be dropped");
      g_test_fail();
    }
  }
}
#define EXPECT(frames, seen) expect_on_bridge(frames, G_N_ELEMENTS(frames), seen)

/* --- the guard, on a port that has no filter --- */

static void
expect_forwarded(const LabFrame *frame, gboolean seen)
{
  int uplink = lab_capture(LAB_UPLINK);
  guint32 number = lab_send(tap, TRUE, frame, machine);
  if (lab_seen(uplink, FALSE, number) != seen) {
    g_test_message("%s should %s forwarded", frame->what, seen ? "be" : "not be");
    g_test_fail();
  }
  close(uplink);
}

static void
expect_received(const LabFrame *frame, gboolean received)
{
  guint before = lab_host_received();
  lab_send(tap, TRUE, frame, machine);
  if ((lab_host_received() > before) != received) {
    g_test_message("%s should %s the host", frame->what, received ? "reach" : "not reach");
    g_test_fail();
  }
}

/* Without it the cases below would prove nothing. */
static void
test_no_filter(void)
{
  EXPECT(to_internet, TRUE);
  EXPECT(to_closed, TRUE);
  EXPECT(to_host_closed, TRUE);
  EXPECT(layer2, TRUE);
  EXPECT(layer2_closed, TRUE);
}

static void
test_guard_forward(void)
{
  for (guint i = 0; i < G_N_ELEMENTS(to_internet); i++)
    expect_forwarded(&to_internet[i], TRUE);
  for (guint i = 0; i < G_N_ELEMENTS(to_closed); i++) {
    /* Another machine's address is inside the subnet, so the guard takes it for one of ours; that
     * is the filter's part. */
    if (to_closed[i].from == NULL || !g_str_equal(to_closed[i].from, OTHER))
      expect_forwarded(&to_closed[i], FALSE);
  }
}

static void
test_guard_input(void)
{
  for (guint i = 0; i < G_N_ELEMENTS(to_host); i++)
    expect_received(&to_host[i], TRUE);
  for (guint i = 0; i < G_N_ELEMENTS(to_host_closed); i++) {
    if (to_host_closed[i].from == NULL || !g_str_equal(to_host_closed[i].from, OTHER))
      expect_received(&to_host_closed[i], FALSE);
  }
}

/* The same where the guard sees bridged frames, and connection tracking with it. */
static void
test_guard_bridge_netfilter(void)
{
  if (!lab_set_bridge_netfilter(TRUE)) {
    g_test_skip("the kernel has no br_netfilter; load it with modprobe");
    return;
  }
  test_guard_forward();
  test_guard_input();
  lab_set_bridge_netfilter(FALSE);
}

/* A container's published port: closed as the container is, unless there is a hole for what the
 * machine asked for. */
static void
test_guard_dnat(void)
{
  lab_run("nft add table ip labnat");
  lab_run("nft add chain ip labnat pre '{ type nat hook prerouting priority -100; }'");
  lab_run("nft add rule ip labnat pre ip daddr " LAB_PUBLIC
          " tcp dport '{ 5000, 5001 }' dnat to 172.20.0.5:80");
  const LabFrame hole = TCP(LAB_PUBLIC, 5000), closed = TCP(LAB_PUBLIC, 5001);
  expect_forwarded(&hole, TRUE);
  expect_forwarded(&closed, FALSE);
  lab_run("nft delete table ip labnat");
}

/* Even where the host's own firewall lets everything through. */
static void
test_guard_from_outside(void)
{
  lab_run("iptables -I FORWARD -j ACCEPT");
  lab_run("ip -n internet route add 10.177.86.0/24 via " LAB_PUBLIC);
  lab_drain(tap);
  g_assert_false(lab_try("ip netns exec internet ping -c 1 -W 0.3 %s", machine->ip));
  guint8 buffer[2048];
  for (;;) {
    ssize_t n = read(tap, buffer, sizeof buffer);
    if (n <= 0)
      break;
    /* Virtio header, Ethernet, then the protocol in the IPv4 header. */
    g_assert_false(n > 34 && buffer[22] == 0x08 && buffer[23] == 0x00 &&
                   buffer[33] == IPPROTO_ICMP);
  }
  lab_run("ip -n internet route del 10.177.86.0/24");
  lab_run("iptables -D FORWARD -j ACCEPT");
}

/* A tap that is not on its bridge would lead straight into the host. */
static void
test_guard_off_bridge(void)
{
  lab_run("ip link set mf2 nomaster");
  lab_run("nft add rule inet lab input iifname mf2 counter name received");
  g_autofree char *mac = lab_output("cat /sys/class/net/mf2/address");
  const LabFrame frame = {.what = "ssh from a stray tap",
                          .to = LAB_PUBLIC,
                          .protocol = IPPROTO_TCP,
                          .dport = 22,
                          .to_mac = g_strstrip(mac)};
  int stray = lab_tap_open("mf2", FALSE);
  guint before = lab_host_received();
  lab_send(stray, TRUE, &frame, mf_port_table_get(ports, 2));
  g_assert_cmpuint(lab_host_received(), ==, before);
  /* The same without the guard, to show that it is the guard that stops it. */
  lab_run("nft delete table inet mayfly_guard");
  lab_send(stray, TRUE, &frame, mf_port_table_get(ports, 2));
  g_assert_cmpuint(lab_host_received(), >, before);
  close(stray);
  close(tap); /* mayfly-netd complains of a port that is in use without a filter */
  g_autofree char *netd = lab_program("daemon/mayfly-netd");
  g_assert_false(lab_try("%s --check", netd));
  lab_run("%s --once", netd);
  lab_run("%s --check", netd);
  tap = lab_tap_open(machine->tap, TRUE);
}

/* --- ports among themselves --- */

static void
test_isolation(void)
{
  int other = lab_tap_open("mf1", TRUE);
  const LabFrame direct = {
      .what = "to the other's MAC", .to = OTHER, .dport = 9, .to_mac = "52:54:00:6d:00:01"};
  const LabFrame all = {
      .what = "broadcast", .to = "255.255.255.255", .dport = 9, .to_mac = BROADCAST};
  g_assert_false(lab_seen(other, TRUE, lab_send(tap, TRUE, &direct, machine)));
  g_assert_false(lab_seen(other, TRUE, lab_send(tap, TRUE, &all, machine)));
  /* It is the isolation that stops them. */
  lab_run("bridge link set dev mf1 isolated off");
  g_assert_true(lab_seen(other, TRUE, lab_send(tap, TRUE, &direct, machine)));
  g_assert_true(lab_seen(other, TRUE, lab_send(tap, TRUE, &all, machine)));
  /* Where the guard sees such frames it stops them too. */
  if (lab_set_bridge_netfilter(TRUE)) {
    g_assert_false(lab_seen(other, TRUE, lab_send(tap, TRUE, &direct, machine)));
    g_assert_false(lab_seen(other, TRUE, lab_send(tap, TRUE, &all, machine)));
    lab_set_bridge_netfilter(FALSE);
  }
  lab_run("bridge link set dev mf1 isolated on");
  close(other);
}

/* --- binding --- */

static MfChainsVerdict
judge(guint index)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *listing = lab_output("nft -a list table bridge nat");
  g_autoptr(MfFilterSet) filters = mf_filter_set_load(config, &error);
  g_assert_no_error(error);
  g_autoptr(MfNetdChains) chains = mf_netd_chains_parse(listing, &error);
  g_assert_no_error(error);
  MfChainsVerdict verdict =
      mf_netd_chains_judge(chains, filters, mf_port_table_get(ports, index), GATEWAY);
  if (verdict.problem != NULL)
    g_test_message("%s", verdict.problem);
  return verdict;
}

/* What libvirtd really writes: its order of the sub chains, and rule by rule what the filter files
 * say. */
static void
test_chains(void)
{
  g_assert_true(lab_bind(0, "free", GATEWAY "," LAB_PUBLIC));
  MfChainsVerdict verdict = judge(0);
  g_assert_cmpint(verdict.state, ==, MF_CHAINS_WHOLE);
  g_assert_cmpuint(verdict.host_addresses, ==, 2);
  mf_chains_verdict_clear(&verdict);
  g_autofree char *root = lab_output("nft list chain bridge nat libvirt-I-mf0");
  const char *mac = strstr(root, "I-mf0-mac"), *ipv4 = strstr(root, "I-mf0-ipv4-hostlan"),
             *arp = strstr(root, "I-mf0-arp"), *rest = strstr(root, "drop");
  g_assert_true(mac != NULL && mac < ipv4 && ipv4 < arp && arp < rest);
  g_autofree char *holes = lab_output("nft list chain bridge nat I-mf0-ipv4-hostlan");
  const char *hole = strstr(holes, "ip daddr " HOLE " tcp dport 443"),
             *closed = strstr(holes, "ip daddr " LAB_PUBLIC " counter"),
             *spoof = strstr(holes, "ip saddr != 10.177.86.16");
  g_assert_true(spoof != NULL && spoof < hole && hole < closed);
}

/* A new binding is a new chain with another handle. */
static void
test_binding_kept_or_made_anew(void)
{
  MfChainsVerdict first = judge(0);
  g_assert_true(lab_bind(0, "free", GATEWAY "," LAB_PUBLIC));
  g_assert_true(lab_bind(0, "used", GATEWAY "," LAB_PUBLIC ",203.0.113.77"));
  MfChainsVerdict kept = judge(0);
  g_assert_cmpuint(kept.handle, ==, first.handle);
  g_assert_cmpuint(kept.host_addresses, ==, 2);
  g_assert_true(lab_bind(0, "free", GATEWAY "," LAB_PUBLIC ",203.0.113.77"));
  MfChainsVerdict changed = judge(0);
  g_assert_cmpuint(changed.handle, !=, first.handle);
  g_assert_cmpuint(changed.host_addresses, ==, 3);
  g_assert_true(lab_bind(0, "force", GATEWAY "," LAB_PUBLIC));
  MfChainsVerdict forced = judge(0);
  g_assert_cmpuint(forced.handle, !=, changed.handle);
  g_assert_cmpuint(forced.host_addresses, ==, 2);
  g_assert_cmpint(forced.state, ==, MF_CHAINS_WHOLE);
}

/* --- the filter --- */

static void
test_filter_out(void)
{
  EXPECT(to_internet, TRUE);
  EXPECT(to_closed, FALSE);
  EXPECT(to_host, TRUE);
  EXPECT(to_host_closed, FALSE);
  EXPECT(fragments, FALSE);
  EXPECT(layer2, TRUE);
  EXPECT(layer2_closed, FALSE);
}

static void
test_filter_in(void)
{
  static const struct {
    LabFrame frame;
    gboolean pass;
  } cases[] = {
      {{.what = "DHCP offer", .from = GATEWAY, .to = "10.177.86.16", .sport = 67, .dport = 68},
       TRUE},
      {{.what = "DHCP offer to all",
        .from = GATEWAY,
        .to = "255.255.255.255",
        .to_mac = BROADCAST,
        .sport = 67,
        .dport = 68},
       TRUE},
      {{.what = "a stranger's DHCP offer",
        .from = OTHER,
        .to = "10.177.86.16",
        .sport = 67,
        .dport = 68},
       FALSE},
      {{.what = "an answer", .from = "9.9.9.9", .to = "10.177.86.16", .sport = 53, .dport = 40000},
       TRUE},
      {{.what = "an answer to another",
        .from = "9.9.9.9",
        .to = OTHER,
        .sport = 53,
        .dport = 40000},
       FALSE},
      {{.what = "multicast",
        .from = GATEWAY,
        .to = "224.0.0.251",
        .to_mac = BROADCAST,
        .dport = 5353},
       FALSE},
      {{.what = "broadcast",
        .from = GATEWAY,
        .to = "10.177.86.255",
        .to_mac = BROADCAST,
        .dport = 137},
       FALSE},
      {{.what = "ARP by the gateway",
        .type = ETH_P_ARP,
        .arp = 1,
        .from = GATEWAY,
        .to = "10.177.86.16",
        .to_mac = BROADCAST},
       TRUE},
      {{.what = "ARP by another",
        .type = ETH_P_ARP,
        .arp = 1,
        .from = OTHER,
        .to = "10.177.86.16",
        .to_mac = BROADCAST},
       FALSE},
      {{.what = "IPv6", .type = ETH_P_IPV6, .to_mac = BROADCAST}, FALSE},
      {{.what = "VLAN",
        .vlan = 6,
        .from = GATEWAY,
        .to = "10.177.86.16",
        .to_mac = BROADCAST,
        .dport = 9},
       FALSE},
  };
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    guint32 number = lab_send(bridge, FALSE, &cases[i].frame, machine);
    if (lab_seen(tap, TRUE, number) != cases[i].pass) {
      g_test_message("%s should %s", cases[i].frame.what, cases[i].pass ? "pass" : "be dropped");
      g_test_fail();
    }
  }
}

/* All of it together, with NAT: a question goes out and its answer comes back. */
static void
test_internet(void)
{
  const LabFrame ping = ICMP("9.9.9.9");
  lab_drain(tap);
  g_assert_true(lab_seen(tap, TRUE, lab_send(tap, TRUE, &ping, machine)));
}

/* --- */

static void
set_up(void)
{
  g_autoptr(GError) error = NULL;
  config = lab_new(3, HOLES);
  ports = mf_port_table_new(config, &error);
  g_assert_no_error(error);
  machine = mf_port_table_get(ports, 0);
  g_autofree char *netd = lab_program("daemon/mayfly-netd");
  lab_run("%s --once", netd);
  tap = lab_tap_open(machine->tap, TRUE);
  bridge = lab_capture(LAB_BRIDGE);
  lab_run("ip neigh replace %s lladdr %s dev " LAB_BRIDGE " nud permanent", machine->ip,
          machine->mac);
}

static void
tear_down(void)
{
  close(tap);
  close(bridge);
  g_autofree char *netd = lab_program("daemon/mayfly-netd");
  lab_run("%s --down", netd);
  mf_port_table_free(ports);
  mf_config_free(config);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  set_up();
  /* Before the cases without a filter, in which the bridge learns other machines' MACs on our port.
   */
  g_test_add_func("/filter/isolation", test_isolation);
  g_test_add_func("/filter/without", test_no_filter);
  g_test_add_func("/filter/guard-forward", test_guard_forward);
  g_test_add_func("/filter/guard-input", test_guard_input);
  g_test_add_func("/filter/guard-bridge-netfilter", test_guard_bridge_netfilter);
  g_test_add_func("/filter/guard-dnat", test_guard_dnat);
  g_test_add_func("/filter/guard-from-outside", test_guard_from_outside);
  g_test_add_func("/filter/guard-off-bridge", test_guard_off_bridge);
  g_test_add_func("/filter/chains", test_chains);
  g_test_add_func("/filter/out", test_filter_out);
  g_test_add_func("/filter/in", test_filter_in);
  g_test_add_func("/filter/internet", test_internet);
  g_test_add_func("/filter/binding", test_binding_kept_or_made_anew);
  int status = g_test_run();
  tear_down();
  return status;
}
