/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A network to test the network with, inside tests/lib/test-host: "the internet" behind a veth,
 * where every address answers, and frames made by hand that are written into a port's tap as a
 * machine would. Each frame carries a number of its own, by which it is recognised wherever it
 * comes out. Whatever fails here ends the test.
 */

#include <glib.h>

#include "daemon/port.h"

#define LAB_PUBLIC "45.33.32.10" /* the host's address towards the internet */
#define LAB_BRIDGE "mayfly0"
#define LAB_UPLINK "up0"

/* /etc/mayfly/mayfly.conf with @ports and @holes ("A:P A:P"), the internet behind LAB_UPLINK. */
MfConfig *lab_new(guint ports, const char *holes);
/* Runs a command line, without a shell. */
void lab_run(const char *format, ...) G_GNUC_PRINTF(1, 2);
gboolean lab_try(const char *format, ...) G_GNUC_PRINTF(1, 2);
/* What it prints. (transfer full) */
char *lab_output(const char *format, ...) G_GNUC_PRINTF(1, 2);
/* The program as built, "daemon/mayfly-netd". (transfer full) */
char *lab_program(const char *name);

/* Binds the filter to a port as the daemon does: by the user mayfly, through libvirt. @how: see
 * bind-port.c. */
gboolean lab_bind(guint index, const char *how, const char *addresses);

/* Opens a tap as libvirt does. @on_bridge: and waits until the bridge takes frames from it. */
int lab_tap_open(const char *name, gboolean on_bridge);
/* A packet socket on an interface: what comes in there, and what goes out. */
int lab_capture(const char *interface);

typedef struct {
  const char *what;
  /* Ethernet; NULL: the machine's, the bridge's */
  const char *from_mac, *to_mac;
  guint16 type; /* 0: IPv4 */
  gint16 vlan;  /* 1 + VID; 0: untagged */
  /* IPv4, or ARP with sender and target */
  const char *from, *to; /* NULL: the machine's, none */
  guint8 protocol;       /* IPPROTO_…; 0: UDP */
  guint16 sport, dport;
  guint16 fragment;    /* offset in 8 bytes */
  guint16 arp;         /* operation */
  const char *arp_mac; /* sender in the ARP packet; NULL: the machine's */
} LabFrame;

/* Writes the frame into @fd (a tap, with @tap set, or a packet socket). Returns: its number. */
guint32 lab_send(int fd, gboolean tap, const LabFrame *frame, const MfPort *machine);
/* Whether the frame comes out of @fd; waits a moment for it. Frames before it are lost. */
gboolean lab_seen(int fd, gboolean tap, guint32 number);
/* Throws away what waits. */
void lab_drain(int fd);

/* Whether iptables and the guard see frames on their way through a bridge, as with Docker. FALSE if
 * the kernel has no such switch. */
gboolean lab_set_bridge_netfilter(gboolean on);

/* Packets that the host's own stack has accepted from the bridge so far. */
guint lab_host_received(void);
