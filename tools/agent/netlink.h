/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Telling the kernel how an interface is to be set up. Addresses are IPv4, in network byte order.
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
  int fd;
  uint32_t sequence;
} MfNetlink;

/* False: errno says why, here and below. */
bool mf_netlink_open(MfNetlink *self);
void mf_netlink_close(MfNetlink *self);

bool mf_netlink_set_up(MfNetlink *self, int index);
/* An address that is there already stays. */
bool mf_netlink_add_address(MfNetlink *self, int index, struct in_addr address, int prefix);
/* @protocol: who says so, RTPROT_…. The same route that is there already stays. */
bool mf_netlink_add_default_route(MfNetlink *self, int index, struct in_addr gateway,
                                  struct in_addr source, uint32_t metric, uint8_t protocol);
