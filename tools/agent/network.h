/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Setting up an interface that was plugged in, where nothing in the image does it. */

#include <stdbool.h>

#include "tools/agent/document.h"

typedef struct {
  char mac[18]; /* as the kernel writes it; "": there is no plan */
  char address[16], gateway[16];
  int prefix; /* bits */
} MfNetworkPlan;

/* From the "network" member of a RESEED. Return: whether it makes sense. */
bool mf_network_plan_read(MfNetworkPlan *plan, MfDocument *document);
/* The interface has come. */
bool mf_network_is_there(const MfNetworkPlan *plan);
/* Return: whether it has its address and is the way out; call again until it is. */
bool mf_network_set_up(const MfNetworkPlan *plan);
