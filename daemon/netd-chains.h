/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Whether the rules that libvirt writes for a port's binding are in the kernel, whole and in order.
 * What has to be there follows from the filter set; what is there comes from "nft -j list table
 * bridge nat" (never from ebtables: its -L writes to the table it lists). Pure. Verdicts and their
 * order are compared, and addresses and ports where nft shows them: older ebtables hide some
 * matches from nft.
 */

#include "daemon/filter-set.h"
#include "daemon/port.h"

typedef struct MfNetdChains MfNetdChains;

/* @listing: NULL if there is no such table. DAMAGED if it is not what nft prints. */
MfNetdChains *mf_netd_chains_parse(const char *listing, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void mf_netd_chains_free(MfNetdChains *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfNetdChains, mf_netd_chains_free)

typedef enum {
  MF_CHAINS_NONE,     /* not a single rule: the port is not bound */
  MF_CHAINS_CHANGING, /* libvirt is at work: the former or the coming rules are in force */
  MF_CHAINS_BROKEN,
  MF_CHAINS_WHOLE,
} MfChainsState;

typedef struct {
  MfChainsState state;
  char *problem;  /* NULL = WHOLE */
  guint64 handle; /* names the chain that has the host's addresses, until libvirt writes it anew */
  guint host_addresses;
} MfChainsVerdict;
void mf_chains_verdict_clear(MfChainsVerdict *verdict);

MfChainsVerdict mf_netd_chains_judge(const MfNetdChains *self, const MfFilterSet *filters,
                                     const MfPort *port, const char *gateway);
