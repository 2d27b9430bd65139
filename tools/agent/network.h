/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Setting up an interface that was plugged in, ahead of what the image has for that. */

#include <stdbool.h>

#include "tools/agent/document.h"

typedef struct {
  char mac[18]; /* as the kernel writes it; "": there is no plan */
  char address[16], gateway[16];
  int prefix; /* bits */
} MfNetworkPlan;

/* From the "network" member of a RESEED. Return: whether it makes sense. */
bool mf_network_plan_read(MfNetworkPlan *plan, MfDocument *document);
/* The interface has come, and has the name that it keeps. */
bool mf_network_is_there(const MfNetworkPlan *plan);
/* Gives it its address and makes it the way out. */
bool mf_network_set_up(const MfNetworkPlan *plan);
/* What is sent goes out: a little after it was set up. */
bool mf_network_is_up(const MfNetworkPlan *plan);
