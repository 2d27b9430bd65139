/* SPDX-License-Identifier: Apache-2.0 */

/* Requests to rtnetlink: see netlink.h. */

#include "tools/agent/netlink.h"

#include "tools/agent/util.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define ANSWER_SECONDS 2

typedef struct {
  struct nlmsghdr header;
  char room[256]; /* for what follows, larger than anything here */
} Request;

bool
mf_netlink_open(MfNetlink *self)
{
  struct timeval limit = {.tv_sec = ANSWER_SECONDS};
  self->sequence = 0;
  self->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  return self->fd >= 0 && setsockopt(self->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0;
}

void
mf_netlink_close(MfNetlink *self)
{
  mf_util_close(&self->fd);
}

static void
begin(Request *request, uint16_t type, uint16_t flags, const void *head, size_t length)
{
  memset(request, 0, sizeof *request);
  request->header.nlmsg_type = type;
  request->header.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
  request->header.nlmsg_len = (uint32_t)NLMSG_SPACE(length);
  memcpy(NLMSG_DATA(&request->header), head, length);
}

static void
add(Request *request, uint16_t type, const void *value, size_t length)
{
  char *end = (char *)request + request->header.nlmsg_len;
  struct rtattr attribute = {.rta_type = type, .rta_len = (uint16_t)RTA_LENGTH(length)};
  memcpy(end, &attribute, sizeof attribute);
  memcpy(end + RTA_LENGTH(0), value, length);
  request->header.nlmsg_len += (uint32_t)RTA_SPACE(length);
}

/* The kernel answers each request, in order; an answer to one that was given up is passed over. */
static bool
call(MfNetlink *self, Request *request)
{
  struct {
    struct nlmsghdr header;
    struct nlmsgerr error;
    char rest[512]; /* the request again */
  } answer;
  request->header.nlmsg_seq = ++self->sequence;
  if (send(self->fd, request, request->header.nlmsg_len, 0) < 0)
    return false;
  do {
    ssize_t got = recv(self->fd, &answer, sizeof answer, 0);
    if (got < 0 && errno != EINTR)
      return false;
    if (got < (ssize_t)NLMSG_LENGTH(sizeof answer.error))
      answer.header.nlmsg_type = NLMSG_NOOP;
  } while (answer.header.nlmsg_type != NLMSG_ERROR || answer.header.nlmsg_seq != self->sequence);
  errno = -answer.error.error;
  return answer.error.error == 0;
}

bool
mf_netlink_set_up(MfNetlink *self, int index)
{
  struct ifinfomsg head = {
      .ifi_family = AF_UNSPEC, .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
  Request request;
  begin(&request, RTM_NEWLINK, 0, &head, sizeof head);
  return call(self, &request);
}

bool
mf_netlink_add_address(MfNetlink *self, int index, struct in_addr address, int prefix)
{
  struct ifaddrmsg head = {.ifa_family = AF_INET,
                           .ifa_prefixlen = (uint8_t)prefix,
                           .ifa_scope = RT_SCOPE_UNIVERSE,
                           .ifa_index = (uint32_t)index};
  struct in_addr broadcast = {.s_addr = address.s_addr | htonl(UINT32_MAX >> prefix)};
  Request request;
  begin(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof head);
  add(&request, IFA_LOCAL, &address, sizeof address);
  add(&request, IFA_ADDRESS, &address, sizeof address);
  add(&request, IFA_BROADCAST, &broadcast, sizeof broadcast);
  return call(self, &request) || errno == EEXIST;
}

bool
mf_netlink_add_default_route(MfNetlink *self, int index, struct in_addr gateway,
                             struct in_addr source, uint32_t metric, uint8_t protocol)
{
  struct rtmsg head = {.rtm_family = AF_INET,
                       .rtm_table = RT_TABLE_MAIN,
                       .rtm_protocol = protocol,
                       .rtm_scope = RT_SCOPE_UNIVERSE,
                       .rtm_type = RTN_UNICAST};
  uint32_t out = (uint32_t)index;
  Request request;
  begin(&request, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof head);
  add(&request, RTA_OIF, &out, sizeof out);
  add(&request, RTA_GATEWAY, &gateway, sizeof gateway);
  add(&request, RTA_PREFSRC, &source, sizeof source);
  add(&request, RTA_PRIORITY, &metric, sizeof metric);
  return call(self, &request) || errno == EEXIST;
}
