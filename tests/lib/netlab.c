/* SPDX-License-Identifier: Apache-2.0 */
/* Netlab: see netlab.h. */
#include "tests/lib/netlab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BRIDGE_MAC "52:54:00:6d:ff:ff"
#define OPEN       "/run/mayfly-lab" /* for all users */
#define MARK       "mayfly-lab-"
#define WAIT_MS    25

/* --- commands --- */

static gboolean
spawn(const char *command, char **ret_output, char **ret_error)
{
  g_auto(GStrv) argv = NULL;
  g_autoptr(GError) error = NULL;
  int status = 0;
  if (!g_shell_parse_argv(command, NULL, &argv, &error) ||
      !g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, ret_output, ret_error,
                    &status, &error))
    g_error("%s: %s", command, error->message);
  return g_spawn_check_wait_status(status, NULL);
}

void
lab_run(const char *format, ...)
{
  va_list args;
  va_start(args, format);
  g_autofree char *command = g_strdup_vprintf(format, args);
  va_end(args);
  g_autofree char *output = NULL;
  g_autofree char *complaint = NULL;
  if (!spawn(command, &output, &complaint))
    g_error("%s: %s%s", command, output, complaint);
}

gboolean
lab_try(const char *format, ...)
{
  va_list args;
  va_start(args, format);
  g_autofree char *command = g_strdup_vprintf(format, args);
  va_end(args);
  g_autofree char *output = NULL;
  g_autofree char *complaint = NULL;
  return spawn(command, &output, &complaint);
}

char *
lab_output(const char *format, ...)
{
  va_list args;
  va_start(args, format);
  g_autofree char *command = g_strdup_vprintf(format, args);
  va_end(args);
  char *output = NULL;
  g_autofree char *complaint = NULL;
  if (!spawn(command, &output, &complaint))
    g_error("%s: %s", command, complaint);
  return output;
}

char *
lab_program(const char *name)
{
  const char *build = g_getenv("MAYFLY_BUILD");
  g_assert_nonnull(build);
  return g_build_filename(build, name, NULL);
}

/* --- the world --- */

MfConfig *
lab_new(guint ports, const char *holes)
{
  g_assert_cmpstr(g_getenv("MAYFLY_TEST_HOST"), ==, "1");
  /* Who works below a home that is closed to others shall be able to test there, too. */
  lab_run("install -d -m 755 " OPEN);
  lab_run("cp -r %s/filters %s/templates " OPEN, g_getenv("MAYFLY_SOURCE"),
          g_getenv("MAYFLY_SOURCE"));
  lab_run("chmod -R a+rX " OPEN);
  g_setenv("MAYFLY_DATADIR", OPEN, TRUE);
  g_autofree char *text = g_strdup_printf("[network]\nports=%u\nholes=%s\n", ports, holes);
  g_assert_cmpint(g_mkdir_with_parents("/etc/mayfly", 0755), ==, 0);
  g_assert_true(g_file_set_contents("/etc/mayfly/mayfly.conf", text, -1, NULL));

  /* Every address is local to "internet", so it answers for all of them. */
  lab_run("ip netns add internet");
  lab_run("ip link add " LAB_UPLINK " type veth peer name eth0 netns internet");
  lab_run("ip addr add " LAB_PUBLIC "/24 dev " LAB_UPLINK);
  lab_run("ip link set " LAB_UPLINK " up");
  lab_run("ip route add default via 45.33.32.1 dev " LAB_UPLINK);
  lab_run("ip -n internet link set lo up");
  lab_run("ip -n internet addr add 45.33.32.1/24 dev eth0");
  lab_run("ip -n internet link set eth0 up");
  lab_run("ip -n internet route add local 0.0.0.0/0 dev lo");
  /* With a known neighbour no packet waits for ARP. */
  g_autofree char *outside = lab_output("ip netns exec internet cat /sys/class/net/eth0/address");
  g_autofree char *inside = lab_output("cat /sys/class/net/" LAB_UPLINK "/address");
  lab_run("ip neigh replace 45.33.32.1 lladdr %s dev " LAB_UPLINK " nud permanent",
          g_strstrip(outside));
  lab_run("ip -n internet route replace " LAB_PUBLIC "/32 dev eth0");
  lab_run("ip -n internet neigh replace " LAB_PUBLIC " lladdr %s dev eth0 nud permanent",
          g_strstrip(inside));
  lab_set_bridge_netfilter(FALSE);
  lab_run("nft add table inet lab");
  lab_run("nft add chain inet lab input '{ type filter hook input priority 300; }'");
  lab_run("nft add counter inet lab received");
  lab_run("nft add rule inet lab input iifname " LAB_BRIDGE " counter name received");

  g_autoptr(GError) error = NULL;
  MfConfig *config = mf_config_load("/etc/mayfly/mayfly.conf", &error);
  g_assert_no_error(error);
  return config;
}

gboolean
lab_set_bridge_netfilter(gboolean on)
{
  return lab_try(
      "sysctl -q -w net.bridge.bridge-nf-call-iptables=%d net.bridge.bridge-nf-call-ip6tables=%d",
      on, on);
}

guint
lab_host_received(void)
{
  g_autofree char *text = lab_output("nft list counter inet lab received");
  const char *packets = strstr(text, "packets ");
  g_assert_nonnull(packets);
  return (guint)g_ascii_strtoull(packets + strlen("packets "), NULL, 10);
}

gboolean
lab_bind(guint index, const char *how, const char *addresses)
{
  static const char copy[] = OPEN "/bind-port";
  g_autofree char *program = lab_program("tests/system/bind-port");
  lab_run("install -m 755 %s %s", program, copy);
  return lab_try("setpriv --reuid=mayfly --regid=mayfly --init-groups -- %s %u %s %s", copy, index,
                 how, addresses);
}

int
lab_tap_open(const char *name, gboolean on_bridge)
{
  int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
  g_strlcpy(request.ifr_name, name, sizeof request.ifr_name);
  if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0)
    g_error("tap %s: %s", name, g_strerror(errno));
  if (!on_bridge)
    return fd;
  /* The bridge forwards to and from a port some time after it has a carrier. */
  for (int i = 0; i < 100; i++) {
    g_autofree char *state = lab_output("cat /sys/class/net/%s/brport/state", name);
    if (state[0] == '3')
      return fd;
    g_usleep(20000);
  }
  g_error("tap %s does not come up on its bridge", name);
}

int
lab_capture(const char *interface)
{
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
  struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                .sll_protocol = htons(ETH_P_ALL),
                                .sll_ifindex = (int)if_nametoindex(interface)};
  if (fd < 0 || address.sll_ifindex == 0 ||
      bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
    g_error("packet socket on %s: %s", interface, g_strerror(errno));
  return fd;
}

/* --- frames --- */

static void
put(GByteArray *out, const void *data, gsize length)
{
  g_byte_array_append(out, data, (guint)length);
}

static void
put16(GByteArray *out, guint value)
{
  guint16 big = htons((guint16)value);
  put(out, &big, sizeof big);
}

static void
put_mac(GByteArray *out, const char *text)
{
  struct ether_addr mac;
  g_assert_nonnull(ether_aton_r(text, &mac));
  put(out, &mac, sizeof mac);
}

static void
put_ip(GByteArray *out, const char *text)
{
  struct in_addr in;
  g_assert_cmpint(inet_pton(AF_INET, text, &in), ==, 1);
  put(out, &in, sizeof in);
}

static guint16
checksum(const guint8 *data, gsize length, guint32 sum)
{
  for (gsize i = 0; i < length; i++)
    sum += i % 2 == 0 ? (guint32)data[i] << 8 : data[i];
  while (sum > 0xffff)
    sum = (sum & 0xffff) + (sum >> 16);
  return (guint16)~sum;
}

static void
set16(GByteArray *out, gsize at, guint16 value)
{
  out->data[at] = (guint8)(value >> 8);
  out->data[at + 1] = (guint8)value;
}

static void
put_transport(GByteArray *out, const LabFrame *f, guint8 protocol, const char *payload)
{
  if (protocol == IPPROTO_ICMP) {
    put16(out, 0x0800);
    put16(out, 0);
    put16(out, 1);
    put16(out, 1);
  } else if (protocol == IPPROTO_TCP) {
    put16(out, f->sport != 0 ? f->sport : 40000);
    put16(out, f->dport);
    put16(out, 0);
    put16(out, 1);
    put16(out, 0);
    put16(out, 0);
    put16(out, 0x5002); /* SYN */
    put16(out, 1024);
    put16(out, 0);
    put16(out, 0);
  } else {
    put16(out, f->sport != 0 ? f->sport : 40000);
    put16(out, f->dport);
    put16(out, (guint)(8 + strlen(payload)));
    put16(out, 0);
  }
  put(out, payload, strlen(payload));
}

/* With right checksums: connection tracking takes nothing else for a connection. */
static void
put_ipv4(GByteArray *out, const LabFrame *f, const MfPort *machine, const char *payload)
{
  guint8 protocol = f->protocol != 0 ? f->protocol : IPPROTO_UDP;
  gsize start = out->len;
  put16(out, 0x4500);
  put16(out, 0);
  put16(out, 0x1234);
  put16(out, f->fragment);
  put16(out, 64u << 8 | protocol);
  put16(out, 0);
  put_ip(out, f->from != NULL ? f->from : machine->ip);
  put_ip(out, f->to);
  gsize transport = out->len;
  put_transport(out, f, protocol, payload);
  gsize length = out->len - transport;
  set16(out, start + 2, (guint16)(out->len - start));
  set16(out, start + 10, checksum(out->data + start, 20, 0));
  guint32 pseudo = 0;
  for (gsize i = start + 12; i < start + 20; i += 2)
    pseudo += (guint32)out->data[i] << 8 | out->data[i + 1];
  pseudo += protocol + (guint32)length;
  if (protocol == IPPROTO_ICMP)
    set16(out, transport + 2, checksum(out->data + transport, length, 0));
  else if (protocol == IPPROTO_TCP)
    set16(out, transport + 16, checksum(out->data + transport, length, pseudo));
}

static void
put_arp(GByteArray *out, const LabFrame *f, const MfPort *machine)
{
  put16(out, 1);
  put16(out, ETH_P_IP);
  put16(out, 0x0604);
  put16(out, f->arp);
  put_mac(out, f->arp_mac != NULL ? f->arp_mac : machine->mac);
  put_ip(out, f->from != NULL ? f->from : machine->ip);
  put_mac(out, "00:00:00:00:00:00");
  put_ip(out, f->to);
}

/* To all nodes of the link; "no next header". A bridge that snoops multicast drops what is no IPv6
 * packet by itself. */
static void
put_ipv6(GByteArray *out, const char *payload)
{
  static const guint8 from[16] = {0xfe, 0x80, [15] = 0x10}, to[16] = {0xff, 0x02, [15] = 0x01};
  put16(out, 0x6000);
  put16(out, 0);
  put16(out, (guint)strlen(payload));
  put16(out, 59 << 8 | 255);
  put(out, from, sizeof from);
  put(out, to, sizeof to);
}

guint32
lab_send(int fd, gboolean tap, const LabFrame *f, const MfPort *machine)
{
  static guint32 number;
  g_autofree char *payload = g_strdup_printf(MARK "%08x", ++number);
  g_autoptr(GByteArray) out = g_byte_array_new();
  struct virtio_net_hdr header = {0};
  if (tap)
    put(out, &header, sizeof header);
  put_mac(out, f->to_mac != NULL ? f->to_mac : tap ? BRIDGE_MAC : machine->mac);
  put_mac(out, f->from_mac != NULL ? f->from_mac : tap ? machine->mac : BRIDGE_MAC);
  if (f->vlan > 0) {
    put16(out, ETH_P_8021Q);
    put16(out, (guint)f->vlan - 1);
  }
  put16(out, f->type != 0 ? f->type : ETH_P_IP);
  if (f->type == 0)
    put_ipv4(out, f, machine, payload);
  else if (f->type == ETH_P_ARP)
    put_arp(out, f, machine);
  else if (f->type == ETH_P_IPV6)
    put_ipv6(out, payload);
  if (f->type != 0)
    put(out, payload, strlen(payload)); /* a trailer */
  static const guint8 padding[64];
  if (out->len < 80)
    put(out, padding, 80 - out->len);
  g_assert_cmpint(write(fd, out->data, out->len), ==, out->len);
  return number;
}

gboolean
lab_seen(int fd, gboolean tap, guint32 number)
{
  g_autofree char *mark = g_strdup_printf(MARK "%08x", number);
  gint64 end = g_get_monotonic_time() + WAIT_MS * 1000;
  guint8 buffer[4096];
  do {
    ssize_t n = read(fd, buffer, sizeof buffer);
    if (n > 0 && memmem(buffer, (gsize)n, mark, strlen(mark)) != NULL)
      return TRUE;
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    if (n < 0)
      poll(&wait, 1, 5);
  } while (g_get_monotonic_time() < end);
  return FALSE;
}

void
lab_drain(int fd)
{
  guint8 buffer[4096];
  while (read(fd, buffer, sizeof buffer) > 0)
    continue;
}
