/* SPDX-License-Identifier: Apache-2.0 */

/* The image's own network services: see network-services.h. */

#include "tools/agent/network-services.h"

#include "tools/agent/shell.h"
#include "tools/agent/util.h"

#include <dirent.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define NAMES          "/etc/resolv.conf"
#define RESOLVED       "/run/systemd/resolve"
#define RESOLVED_NAMES RESOLVED "/resolv.conf"
#define NETWORK        ".network"
#define UDEV           "/run/udev/control"

/* They survive the saving: a fork finds them as they were left. */
static bool networkd_keeps, udev_keeps, udev_waits;

bool
mf_network_services_has_networkd(void)
{
  return access("/run/systemd/netif/state", F_OK) == 0;
}

bool
mf_network_services_insist(void)
{
  bool manager = access("/run/NetworkManager", F_OK) == 0;
  return manager || (mf_network_services_has_networkd() && !networkd_keeps);
}

/* Not "static": what we set looks to networkd like what an earlier run of its own got by DHCP. And
 * a lease that cannot be renewed takes nothing away: the address is this machine's for its life. */
static bool
keep_in(const char *root, const char *name)
{
  static const char text[] = "# By mayfly-agent, for machines that are started from memory.\n"
                             "[Network]\nKeepConfiguration=yes\n";
  MF_AUTO_FREE char *path =
      mf_util_printf("%s/run/systemd/network/%s.d/90-mayfly.conf", root, name);
  return mf_util_write_file(path, 0644, text, sizeof text - 1);
}

bool
mf_network_services_keep(const char *root)
{
  static const char *const folders[] = {"/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"};
  bool good = true;
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
    MF_AUTO_FREE char *path = mf_util_printf("%s%s/systemd/network", root, folders[i]);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
      size_t length = strlen(entry->d_name), end = strlen(NETWORK);
      if (length > end && strcmp(entry->d_name + length - end, NETWORK) == 0)
        good = keep_in(root, entry->d_name) && good;
    }
    if (folder != NULL)
      closedir(folder);
  }
  return good;
}

/* The name that a booted machine's interface has is none of these in any case: it sits elsewhere on
 * the bus. By its other names it can be found as before. */
bool
mf_network_services_keep_name(const char *root)
{
  static const char text[] = "# By mayfly-agent, for machines that are started from memory.\n"
                             "[Match]\nDriver=virtio_net\n"
                             "[Link]\nNamePolicy=keep\n"
                             "AlternativeNamesPolicy=database onboard slot path\n";
  MF_AUTO_FREE char *path = mf_util_printf("%s/run/systemd/network/00-mayfly.link", root);
  return mf_util_write_file(path, 0644, text, sizeof text - 1);
}

bool
mf_network_services_will_rename(int interface)
{
  MF_AUTO_FREE char *known = mf_util_printf("/run/udev/data/n%d", interface);
  return !udev_keeps && access(UDEV, F_OK) == 0 && access(known, F_OK) != 0;
}

void
mf_network_services_settle(void)
{
  /* Without D-Bus it cannot be told; no interface suffers from its restart yet. */
  if (mf_network_services_has_networkd())
    networkd_keeps = mf_network_services_keep("") &&
                     mf_shell_run("networkctl reload || systemctl restart systemd-networkd");
  /* It reads its rules with the next event: that is not to be the fork's. */
  if (access(UDEV, F_OK) == 0)
    udev_keeps = mf_network_services_keep_name("") &&
                 mf_shell_run("udevadm control --reload && "
                              "udevadm trigger --settle --action=change /sys/class/net/lo");
  if (udev_keeps && !mf_network_services_insist())
    udev_waits = mf_shell_run("udevadm control --stop-exec-queue");
}

void
mf_network_services_go_on(void)
{
  if (udev_waits)
    mf_shell_start("udevadm control --start-exec-queue");
  udev_waits = false;
}

static bool
uses_resolved(void)
{
  char target[PATH_MAX];
  return realpath(NAMES, target) != NULL &&
         strncmp(target, RESOLVED "/", strlen(RESOLVED "/")) == 0;
}

static bool
has_name_server(const char *path)
{
  static const char word[] = "nameserver";
  MF_AUTO_FREE char *text = mf_util_read_file(path, 1 << 20, NULL);
  for (char *line = text; line != NULL && *line != '\0';) {
    if (strncmp(line, word, sizeof word - 1) == 0)
      return true;
    char *end = strchr(line, '\n');
    line = end != NULL ? end + 1 : NULL;
  }
  return false;
}

bool
mf_network_services_have_names(void)
{
  return has_name_server(uses_resolved() ? RESOLVED_NAMES : NAMES);
}

void
mf_network_services_set_names(int interface, const char *address)
{
  if (mf_network_services_have_names())
    return;
  if (uses_resolved()) {
    MF_AUTO_FREE char *script = mf_util_printf("resolvectl dns %d %s", interface, address);
    mf_shell_start(script);
    return;
  }
  char target[PATH_MAX];
  MF_AUTO_FREE char *line = mf_util_printf("nameserver %s\n", address);
  mf_util_write_file(realpath(NAMES, target) != NULL ? target : NAMES, 0644, line, strlen(line));
}

static bool
is_empty(const char *path)
{
  struct stat status;
  return stat(path, &status) == 0 && S_ISREG(status.st_mode) && status.st_size == 0;
}

bool
mf_network_services_fill_names(const char *gateway)
{
  if (is_empty(NAMES) && strcmp(gateway, "0.0.0.0") != 0)
    mf_network_services_set_names(0, gateway);
  return !is_empty(NAMES);
}
