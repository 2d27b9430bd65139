/* SPDX-License-Identifier: Apache-2.0 */

/* Setting up a plugged-in interface: see network.h. */

#include "tools/agent/network.h"

#include "tools/agent/netlink.h"
#include "tools/agent/network-services.h"
#include "tools/agent/util.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NETWORKD_METRIC 1024 /* of what it gets by DHCP, unless it is told another */

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

/* Return: its index, or 0. */
static int
find_interface(const MfNetworkPlan *plan, char name[IFNAMSIZ])
{
  DIR *all = opendir("/sys/class/net");
  int index = 0;
  for (struct dirent *entry; all != NULL && index == 0 && (entry = readdir(all)) != NULL;) {
    if (entry->d_name[0] == '.' || strlen(entry->d_name) >= IFNAMSIZ)
      continue;
    MF_AUTO_FREE char *path = mf_util_printf("/sys/class/net/%s/address", entry->d_name);
    MF_AUTO_FREE char *text = mf_util_read_file(path, 4096, NULL);
    if (text == NULL || strncasecmp(text, plan->mac, strlen(plan->mac)) != 0)
      continue;
    copy(name, IFNAMSIZ, entry->d_name);
    index = (int)if_nametoindex(name);
  }
  if (all != NULL)
    closedir(all);
  return index;
}

bool
mf_network_is_there(const MfNetworkPlan *plan)
{
  char name[IFNAMSIZ];
  int index = find_interface(plan, name);
  return index > 0 && !mf_network_services_will_rename(index);
}

/* The very route that systemd-networkd will set there: then there is one, not two. Others set
 * theirs as route(8) does. */
static bool
set_route(MfNetlink *netlink, int index, struct in_addr gateway, struct in_addr address)
{
  if (mf_network_services_has_networkd())
    return mf_netlink_add_default_route(netlink, index, gateway, address, NETWORKD_METRIC,
                                        RTPROT_DHCP);
  return mf_netlink_add_default_route(netlink, index, gateway, (struct in_addr){0}, 0, RTPROT_BOOT);
}

bool
mf_network_set_up(const MfNetworkPlan *plan)
{
  char name[IFNAMSIZ];
  struct in_addr address, gateway;
  int index = find_interface(plan, name);
  if (index == 0 || inet_pton(AF_INET, plan->address, &address) != 1 ||
      inet_pton(AF_INET, plan->gateway, &gateway) != 1)
    return false;
  MfNetlink netlink;
  bool good =
      mf_netlink_open(&netlink) && mf_netlink_add_address(&netlink, index, address, plan->prefix);
  /* First: who sees the network up looks for them. */
  if (good)
    mf_network_services_set_names(index, plan->gateway);
  good = good && mf_netlink_set_up(&netlink, index) && set_route(&netlink, index, gateway, address);
  mf_netlink_close(&netlink);
  return good;
}

/* Not its "operstate", which the kernel may take a second to tell. */
bool
mf_network_is_up(const MfNetworkPlan *plan)
{
  char name[IFNAMSIZ];
  if (find_interface(plan, name) == 0)
    return false;
  MF_AUTO_FREE char *path = mf_util_printf("/sys/class/net/%s/carrier", name);
  MF_AUTO_FREE char *state = mf_util_read_file(path, 4096, NULL);
  return state != NULL && strcmp(state, "1\n") == 0;
}
