/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the image itself has for its network: it takes up a fork's interface as any other, takes
 * its time for that, and some of it would first drop what the agent has set there.
 */

#include <stdbool.h>

/* Before the machine is saved. From here on systemd-networkd leaves alone what others have set, and
 * udev the name that the kernel gives. udev waits: what it does for a new interface, and has others
 * do, takes a fork longer than all else. */
void mf_network_services_settle(void);
/* In the fork, when its job has begun: they go on. */
void mf_network_services_go_on(void);
/* The files of that, below @root, which is "" but for tests. */
bool mf_network_services_keep(const char *root);
bool mf_network_services_keep_name(const char *root);

bool mf_network_services_has_networkd(void);
/* udev is about to give it another name, which kernels before 6.2 allow only until it is up. */
bool mf_network_services_will_rename(int interface);
/* One that would undo what the agent does: the interface is its. */
bool mf_network_services_insist(void);

/* Names can be looked up, as far as files tell. */
bool mf_network_services_have_names(void);
/* The machine behind @address answers for names, unless the image has said who does. Where it has
 * systemd-resolved that takes a moment, and mf_network_services_have_names() tells when. */
void mf_network_services_set_names(int interface, const char *address);
/* The same where /etc/resolv.conf is a file with nothing in it. Returns: it is not, or no longer:
 * names can be looked up, or what is there says that they cannot. */
bool mf_network_services_fill_names(const char *gateway);
