/* SPDX-License-Identifier: Apache-2.0 */

/* Setting up a plugged-in interface: see network.h. */

#include "tools/agent/network.h"

#include "tools/agent/util.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

static bool
copy(char *out, size_t room, const char *text)
{
  if (text == NULL || strlen(text) >= room)
    return false;
  memcpy(out, text, strlen(text) + 1);
  return true;
}

bool
mf_network_plan_read(MfNetworkPlan *plan, MfDocument *document)
{
  struct in_addr address;
  memset(plan, 0, sizeof *plan);
  plan->prefix = (int)mf_document_int(document, "prefix", 0);
  bool good = copy(plan->mac, sizeof plan->mac, mf_document_string(document, "mac")) &&
              copy(plan->address, sizeof plan->address, mf_document_string(document, "address")) &&
              copy(plan->gateway, sizeof plan->gateway, mf_document_string(document, "gateway")) &&
              strlen(plan->mac) == 17 && inet_pton(AF_INET, plan->address, &address) == 1 &&
              inet_pton(AF_INET, plan->gateway, &address) == 1 && plan->prefix > 0 &&
              plan->prefix <= 30;
  if (!good)
    plan->mac[0] = '\0';
  return good;
}

static bool
find_interface(const MfNetworkPlan *plan, char name[IFNAMSIZ])
{
  DIR *all = opendir("/sys/class/net");
  bool found = false;
  for (struct dirent *entry; all != NULL && !found && (entry = readdir(all)) != NULL;) {
    if (entry->d_name[0] == '.' || strlen(entry->d_name) >= IFNAMSIZ)
      continue;
    MF_AUTO_FREE char *path = mf_util_printf("/sys/class/net/%s/address", entry->d_name);
    MF_AUTO_FREE char *text = mf_util_read_file(path, 4096, NULL);
    found = text != NULL && strncasecmp(text, plan->mac, strlen(plan->mac)) == 0;
    if (found)
      copy(name, IFNAMSIZ, entry->d_name);
  }
  if (all != NULL)
    closedir(all);
  return found;
}

bool
mf_network_is_there(const MfNetworkPlan *plan)
{
  char name[IFNAMSIZ];
  return find_interface(plan, name);
}

static void
put_address(struct sockaddr *place, in_addr_t address)
{
  struct sockaddr_in value = {.sin_family = AF_INET, .sin_addr.s_addr = address};
  memcpy(place, &value, sizeof value);
}

static bool
set_address(int fd, const char *name, const MfNetworkPlan *plan)
{
  struct ifreq request = {0};
  copy(request.ifr_name, sizeof request.ifr_name, name);
  put_address(&request.ifr_addr, inet_addr(plan->address));
  if (ioctl(fd, SIOCSIFADDR, &request) != 0)
    return false;
  put_address(&request.ifr_netmask, htonl(~0u << (32 - plan->prefix)));
  if (ioctl(fd, SIOCSIFNETMASK, &request) != 0 || ioctl(fd, SIOCGIFFLAGS, &request) != 0)
    return false;
  request.ifr_flags = (short)(request.ifr_flags | IFF_UP | IFF_RUNNING);
  return ioctl(fd, SIOCSIFFLAGS, &request) == 0;
}

static bool
set_route(int fd, char *name, const MfNetworkPlan *plan)
{
  struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY, .rt_dev = name};
  put_address(&route.rt_dst, INADDR_ANY);
  put_address(&route.rt_genmask, INADDR_ANY);
  put_address(&route.rt_gateway, inet_addr(plan->gateway));
  return ioctl(fd, SIOCADDRT, &route) == 0 || errno == EEXIST;
}

/* The gateway answers names too. What an image says for itself stays. */
static void
set_name_server(const MfNetworkPlan *plan)
{
  struct stat status;
  if (stat("/etc/resolv.conf", &status) == 0 && status.st_size > 0)
    return;
  MF_AUTO_FREE char *line = mf_util_printf("nameserver %s\n", plan->gateway);
  mf_util_write_file("/etc/resolv.conf", 0644, line, strlen(line));
}

bool
mf_network_set_up(const MfNetworkPlan *plan)
{
  char name[IFNAMSIZ];
  if (!find_interface(plan, name))
    return false;
  MF_AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || !set_address(fd, name, plan) || !set_route(fd, name, plan))
    return false;
  set_name_server(plan);
  return true;
}
