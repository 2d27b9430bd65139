/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The daemon's side of the network: it reads what mayfly-netd sees, keeps a filter binding on every
 * port, and lends ports out. A port that is not as it should be is not lent; if a machine is on it,
 * "port-lost" says so and the machine must end. Main context only.
 */

#include "daemon/auto.h"
#include "daemon/hypervisor.h"
#include "daemon/port.h"

G_DECLARE_FINAL_TYPE(MfNetwork, mf_network, MF, NETWORK, GObject)

/* Signals: "port-lost" (const char *job_id, const char *reason); "available": a port may be free
 * that was not. */
MfNetwork *mf_network_new(const MfConfig *config, MfHypervisor *hypervisor,
                          GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Why no machine can have a network now, or NULL. */
const char *mf_network_problem(MfNetwork *self);
guint mf_network_size(MfNetwork *self);
/* NULL: none is free and whole now; "available" tells when to ask again. (transfer none) */
MfPort *mf_network_take(MfNetwork *self, const char *job);
/* After a restart: FALSE if the port is gone or not whole. */
MfPort *mf_network_claim(MfNetwork *self, const char *tap, const char *job);
/* The machine on it has got its job. */
void mf_network_pass_on(MfNetwork *self, MfPort *port, const char *job);
void mf_network_release(MfNetwork *self, MfPort *port);
const char *mf_network_gateway(MfNetwork *self);
guint mf_network_prefix(MfNetwork *self); /* bits */
/* The "network" member of /v1/info. (transfer full) */
MfJson *mf_network_to_json(MfNetwork *self);
