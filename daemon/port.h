/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Ports: persistent taps on our bridge, each with its MAC, IP, isolation and filter already in place, lent to one machine
 * at a time. This module is pure: what port N is called, who has it, who gets the next. mayfly-netd makes the taps, the
 * daemon's hypervisor the bindings; both ask here what they are to look like.
 */

#include <glib.h>

#include "daemon/config.h"

typedef struct {
  guint index;      /* 0..ports-1 */
  char tap[16];     /* "mf0", "mf1", … */
  char mac[18];     /* 52:54:00:6d:… from the index */
  char ip[16];      /* subnet + 16 + index */
  /* while running: */
  gboolean bound;   /* the binding was seen in place and whole */
  char *fault;      /* why it may not be handed out, or NULL */
  char *job;        /* id of the job whose machine has it, or NULL */
  gint64 released;  /* monotonic microseconds; 0 = never used */
} MfPort;

typedef struct MfPortTable MfPortTable;

/* INVALID if the subnet cannot hold the ports. */
MfPortTable *mf_port_table_new(const MfConfig *config, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void mf_port_table_free(MfPortTable *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfPortTable, mf_port_table_free)

guint mf_port_table_size(const MfPortTable *self);
MfPort *mf_port_table_get(MfPortTable *self, guint index);
const char *mf_port_table_gateway(const MfPortTable *self); /* "10.177.0.1" */
guint mf_port_table_prefix(const MfPortTable *self);        /* 24 */
/* Ports that could be taken now. */
guint mf_port_table_available(const MfPortTable *self, gint64 now);
/*
 * mf_port_table_take() - the port for @job: bound, no fault, rested, least recently used. NULL if there is none.
 * @now: g_get_monotonic_time().
 */
MfPort *mf_port_table_take(MfPortTable *self, const char *job, gint64 now);
/* mf_port_table_claim() - after a restart: the port named @tap belongs to @job. FALSE if there is none or it is another's. */
gboolean mf_port_table_claim(MfPortTable *self, const char *tap, const char *job);
void mf_port_table_release(MfPortTable *self, MfPort *port, gint64 now);
void mf_port_set_fault(MfPort *self, const char *fault); /* NULL clears */

/*
 * What mayfly-netd saw last, from the file config->network_state (JSON, replaced atomically, world readable):
 * {"version":1,"updated":<unix s>,"network":{"ok":bool,"problem":…},"guard":{"ok":bool,"problem":…,"restored":n},
 *  "host_addresses":["192.0.2.1",…],
 *  "ports":[{"tap":"mf0","ok":bool,"problem":…,"isolated":bool,"chains":bool}]}
 * "chains": ebtables chains of the binding are in the kernel and whole. Host addresses are every IPv4 address of the host.
 */
typedef struct MfNetworkState MfNetworkState;
MfNetworkState *mf_network_state_load(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void mf_network_state_free(MfNetworkState *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfNetworkState, mf_network_state_free)
gint64 mf_network_state_updated(const MfNetworkState *self);
const char *mf_network_state_problem(const MfNetworkState *self); /* network or guard; NULL = good */
const char *const *mf_network_state_host_addresses(const MfNetworkState *self);
/* NULL = the tap is there, isolated, and (if @with_chains) filtered; else what is wrong. */
const char *mf_network_state_port_problem(const MfNetworkState *self, const char *tap, gboolean with_chains);
