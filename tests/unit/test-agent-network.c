/* SPDX-License-Identifier: Apache-2.0 */

/* How the agent sets up a fork's interface: on a tap in a network, /etc and /run of its own. */

#include "tools/agent/network.h"
#include "tools/agent/network-services.h"

#include "tests/lib/own-child.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <ifaddrs.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLAN                                                                                       \
  "{\"mac\":\"52:54:00:0A:00:02\",\"address\":\"10.9.8.7\",\"prefix\":24,"                         \
  "\"gateway\":\"10.9.8.1\"}"
#define WAIT_US (2 * G_USEC_PER_SEC)
#define ROUTE   "eth7\t00000000\t0108090A\t0003\t0\t0\t"

static gboolean
read_plan(MfNetworkPlan *plan, const char *text)
{
  MF_AUTO_DOCUMENT MfDocument *document = mf_document_parse(text, strlen(text));
  g_assert_nonnull(document);
  return mf_network_plan_read(plan, document);
}

static void
test_plan(void)
{
  static const char *const wrong[] = {
      "{}",
      "{\"mac\":\"52:54:00\",\"address\":\"10.9.8.7\",\"prefix\":24,\"gateway\":\"10.9.8.1\"}",
      "{\"mac\":\"52:54:00:0a:00:02\",\"address\":\"fd00::1\",\"prefix\":24,\"gateway\":\"10.9.8."
      "1\"}",
      "{\"mac\":\"52:54:00:0a:00:02\",\"address\":\"10.9.8.7\",\"prefix\":0,\"gateway\":\"10.9.8."
      "1\"}",
      "{\"mac\":\"52:54:00:0a:00:02\",\"address\":\"10.9.8.7\",\"prefix\":24,\"gateway\":\"; "
      "reboot\"}",
  };
  MfNetworkPlan plan;
  g_assert_true(read_plan(&plan, PLAN));
  g_assert_cmpstr(plan.address, ==, "10.9.8.7");
  g_assert_cmpint(plan.prefix, ==, 24);
  for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
    g_assert_false(read_plan(&plan, wrong[i]));
    g_assert_cmpstr(plan.mac, ==, "");
  }
}

static void
put(const char *root, const char *path, const char *text)
{
  g_autofree char *whole = g_strconcat(root, path, NULL);
  g_assert_true(mf_util_write_file(whole, 0644, text, strlen(text)));
}

/* Wherever a .network file is, it is told the same. */
static void
test_keep(void)
{
  static const struct {
    const char *file, *told;
  } files[] = {
      {"/etc/systemd/network/80-mayfly.network", "80-mayfly.network.d"},
      {"/usr/lib/systemd/network/80-wifi.network", "80-wifi.network.d"},
      {"/run/systemd/network/a b.network", "a b.network.d"},
      {"/etc/systemd/network/99-default.link", NULL},
      {"/etc/systemd/network/.network", NULL},
  };
  g_autoptr(GError) error = NULL;
  g_autofree char *root = g_dir_make_tmp("mayfly-test-XXXXXX", &error);
  g_assert_no_error(error);
  for (guint i = 0; i < G_N_ELEMENTS(files); i++)
    put(root, files[i].file, "[Match]\nName=*\n");
  g_assert_true(mf_network_services_keep(root));
  g_assert_true(mf_network_services_keep(root));
  g_assert_true(mf_network_services_keep_name(root));
  guint expected = 2; /* the .network file itself, and the .link file */
  for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
    if (files[i].told == NULL)
      continue;
    g_autofree char *path =
        g_build_filename(root, "run/systemd/network", files[i].told, "90-mayfly.conf", NULL);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_nonnull(strstr(text, "[Network]\nKeepConfiguration=yes\n"));
    expected++;
  }
  g_autofree char *run = g_build_filename(root, "run/systemd/network", NULL);
  g_autoptr(GDir) folder = g_dir_open(run, 0, NULL);
  guint found = 0;
  while (g_dir_read_name(folder) != NULL)
    found++;
  g_assert_cmpuint(found, ==, expected);
  mf_util_remove_tree(root);
}

/* In a child from here on */

/* Root needs no user namespace, and may not be allowed one. */
static void
enter_own_host(void)
{
  own_child_need(unshare((geteuid() == 0 ? 0 : CLONE_NEWUSER) | CLONE_NEWNET | CLONE_NEWNS) == 0);
  own_child_need(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
  own_child_need(mount("tmpfs", "/etc", "tmpfs", 0, NULL) == 0);
  own_child_need(mount("tmpfs", "/run", "tmpfs", 0, NULL) == 0);
  own_child_need(mount("sysfs", "/sys", "sysfs", 0, NULL) == 0);
}

static int
make_interface(void)
{
  struct ifreq request = {.ifr_name = "eth7", .ifr_flags = IFF_TAP | IFF_NO_PI};
  static const guint8 mac[] = {0x52, 0x54, 0x00, 0x0a, 0x00, 0x02};
  int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  own_child_need(fd >= 0 && ioctl(fd, TUNSETIFF, &request) == 0);
  request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
  memcpy(request.ifr_hwaddr.sa_data, mac, sizeof mac);
  own_child_need(ioctl(control, SIOCSIFHWADDR, &request) == 0);
  close(control);
  return fd;
}

static void
expect_address(const char *text)
{
  struct ifaddrs *all = NULL;
  g_assert_cmpint(getifaddrs(&all), ==, 0);
  guint found = 0;
  for (struct ifaddrs *one = all; one != NULL; one = one->ifa_next) {
    if (one->ifa_addr == NULL || one->ifa_addr->sa_family != AF_INET)
      continue;
    char address[INET_ADDRSTRLEN], mask[INET_ADDRSTRLEN];
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)one->ifa_addr;
    struct sockaddr_in *net = (struct sockaddr_in *)(void *)one->ifa_netmask;
    inet_ntop(AF_INET, &in->sin_addr, address, sizeof address);
    inet_ntop(AF_INET, &net->sin_addr, mask, sizeof mask);
    g_autofree char *both = g_strdup_printf("%s %s %s", one->ifa_name, address, mask);
    g_assert_cmpstr(both, ==, text);
    g_assert_cmpint(one->ifa_flags & IFF_UP, !=, 0);
    found++;
  }
  freeifaddrs(all);
  g_assert_cmpuint(found, ==, 1);
}

static void
expect_route(const char *text)
{
  g_autofree char *routes = NULL;
  g_assert_true(g_file_get_contents("/proc/thread-self/net/route", &routes, NULL, NULL));
  const char *first = strstr(routes, "\t00000000\t");
  g_assert_nonnull(strstr(routes, text));
  g_assert_nonnull(first);
  g_assert_null(strstr(first + 1, "\t00000000\t0108"));
}

static void
expect_up(const MfNetworkPlan *plan)
{
  gint64 end = g_get_monotonic_time() + WAIT_US;
  while (!mf_network_is_up(plan)) {
    g_assert_cmpint(g_get_monotonic_time(), <, end);
    g_usleep(5000);
  }
}

static void
expect_names(const char *text)
{
  g_autofree char *names = NULL;
  g_assert_true(g_file_get_contents("/etc/resolv.conf", &names, NULL, NULL));
  g_assert_cmpstr(names, ==, text);
}

static void
set_up_alone(void)
{
  MfNetworkPlan plan;
  enter_own_host();
  g_assert_true(read_plan(&plan, PLAN));
  g_assert_false(mf_network_is_there(&plan));
  g_assert_false(mf_network_set_up(&plan));
  g_assert_false(mf_network_is_up(&plan));
  int fd = make_interface();
  g_assert_true(mf_network_is_there(&plan));
  put("", "/etc/resolv.conf", "# nothing yet\n");
  g_assert_false(mf_network_services_have_names());
  g_assert_true(mf_network_set_up(&plan));
  expect_up(&plan);
  expect_address("eth7 10.9.8.7 255.255.255.0");
  expect_route(ROUTE "0\t");
  expect_names("nameserver 10.9.8.1\n");
  /* Again, and what the image says stays. */
  put("", "/etc/resolv.conf", "nameserver 10.9.8.2\n");
  g_assert_true(mf_network_set_up(&plan));
  expect_names("nameserver 10.9.8.2\n");
  expect_address("eth7 10.9.8.7 255.255.255.0");
  close(fd);
}

/* udev names it first; networkd will find the route that it would set. */
static void
set_up_beside_networkd(void)
{
  MfNetworkPlan plan;
  enter_own_host();
  g_assert_true(read_plan(&plan, PLAN));
  put("", "/run/udev/control", "");
  put("", "/run/systemd/netif/state", "OPER_STATE=off\n");
  int fd = make_interface();
  g_assert_false(mf_network_is_there(&plan));
  g_autofree char *known = g_strdup_printf("/run/udev/data/n%u", if_nametoindex("eth7"));
  put("", known, "I:1\n");
  g_assert_true(mf_network_is_there(&plan));
  /* Nobody told it to let alone what we set. */
  g_assert_true(mf_network_services_has_networkd());
  g_assert_true(mf_network_services_insist());
  g_assert_true(mf_network_set_up(&plan));
  expect_up(&plan);
  expect_address("eth7 10.9.8.7 255.255.255.0");
  expect_route(ROUTE "1024\t");
  close(fd);
}

/* With systemd-resolved names are known when it says so, not when a file is there. */
static void
know_names(void)
{
  enter_own_host();
  g_assert_false(mf_network_services_have_names());
  put("", "/run/systemd/resolve/stub-resolv.conf", "nameserver 127.0.0.53\n");
  put("", "/run/systemd/resolve/resolv.conf", "# No DNS servers known.\n");
  g_assert_cmpint(symlink("../run/systemd/resolve/stub-resolv.conf", "/etc/resolv.conf"), ==, 0);
  g_assert_false(mf_network_services_have_names());
  put("", "/run/systemd/resolve/resolv.conf", "# …\nnameserver 10.9.8.1\n");
  g_assert_true(mf_network_services_have_names());
  /* A link into another folder is kept. */
  g_assert_cmpint(unlink("/etc/resolv.conf"), ==, 0);
  put("", "/run/resolvconf/resolv.conf", "");
  g_assert_cmpint(symlink("/run/resolvconf/resolv.conf", "/etc/resolv.conf"), ==, 0);
  mf_network_services_set_names(1, "10.9.8.1");
  expect_names("nameserver 10.9.8.1\n");
  g_assert_true(g_file_test("/etc/resolv.conf", G_FILE_TEST_IS_SYMLINK));
}

/* Only a file with nothing in it waits for somebody. */
static void
fill_names(void)
{
  enter_own_host();
  g_assert_true(mf_network_services_fill_names("10.9.8.1"));
  g_assert_false(g_file_test("/etc/resolv.conf", G_FILE_TEST_EXISTS));
  put("", "/etc/resolv.conf", "# none\n");
  g_assert_true(mf_network_services_fill_names("10.9.8.1"));
  expect_names("# none\n");
  put("", "/etc/resolv.conf", "");
  g_assert_false(mf_network_services_fill_names("0.0.0.0"));
  expect_names("");
  g_assert_true(mf_network_services_fill_names("10.9.8.1"));
  expect_names("nameserver 10.9.8.1\n");
}

int
main(int argc, char **argv)
{
  static const OwnChild alone = {set_up_alone}, beside = {set_up_beside_networkd},
                        names = {know_names}, fill = {fill_names};
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/agent-network/plan", test_plan);
  g_test_add_func("/agent-network/keep", test_keep);
  g_test_add_data_func("/agent-network/alone", &alone, own_child_test);
  g_test_add_data_func("/agent-network/beside-networkd", &beside, own_child_test);
  g_test_add_data_func("/agent-network/names", &names, own_child_test);
  g_test_add_data_func("/agent-network/fill-names", &fill, own_child_test);
  return g_test_run();
}
