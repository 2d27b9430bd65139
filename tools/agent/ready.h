/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How far this machine has come up: agent, then network (a default route and an address, or surely
 * no interface at all), then system (its init says that it has started everything). Levels are
 * reached in this order, and kept.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tools/agent/network.h"
#include "tools/agent/poller.h"

typedef enum {
  MF_READY_NONE,
  MF_READY_AGENT,
  MF_READY_NETWORK,
  MF_READY_SYSTEM,
} MfReadyLevel;

typedef struct {
  MfReadyLevel level;
  int64_t reached_ms[MF_READY_SYSTEM + 1]; /* uptime at which each level was seen */
  int64_t look_at;
  pid_t asking; /* a running systemctl, or 0 */
  int answer_fd, place;
  char answer[64];
  size_t answer_length;
  bool cannot_wait;   /* this systemctl does not know --wait */
  bool started;       /* all has been, once */
  MfNetworkPlan plan; /* of the interface that is to come; its MAC empty: nothing is known of one */
  int64_t plan_since;
  bool plan_done, plan_over;
} MfReady;

void mf_ready_init(MfReady *self);
const char *mf_ready_level_to_string(MfReadyLevel level);
bool mf_ready_has_systemd(void);
/* As if the machine had just come up, with an interface that is about to be there. */
void mf_ready_begin_again(MfReady *self, const MfNetworkPlan *plan);
void mf_ready_prepare(MfReady *self, MfPoller *poller);
void mf_ready_dispatch(MfReady *self, const MfPoller *poller);
/* A child of the agent was reaped: it may have been ours. */
void mf_ready_reaped(MfReady *self, pid_t pid);
