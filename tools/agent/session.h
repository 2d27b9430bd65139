/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What host and agent say to each other: who we are, what is asked of us, what there is to tell.
 * The loop of the agent.
 */

#include "tools/agent/document.h"
#include "tools/agent/environment.h"
#include "tools/agent/exec.h"
#include "tools/agent/link.h"
#include "tools/agent/ready.h"

typedef struct {
  MfLink *link;
  MfPoller poller;
  MfExecTable execs;
  MfReady ready;
  MfReadyLevel told; /* on this connection */
  MfJoiner joiner;
  MfEnvironment environment;
  char instance[33];
  char *token;   /* of the last RESEED or SETTLE that was carried out; NULL: none */
  bool welcomed; /* on this connection */
  bool met;      /* welcomed ever */
  int64_t hello_at;
  int child_fd, child_place; /* signalfd */
  /* From our initrd we begin before there is a root file system: requests wait for it, the greeting
   * does not. */
  int boot_fd, boot_place; /* -1: the root is there */
  bool port_told, in_root;
} MfSession;

/* @boot_fd: from init.h, or -1. Returns when the agent's work is done. */
void mf_session_run(MfLinkKind kind, const char *path, int fd, int boot_fd);
