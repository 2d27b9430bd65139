/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A terminal or script attached to one exec of a job: its output, standard input, window size and
 * signals, from before it starts until it has ended. What mayfly run and mayfly exec have in
 * common.
 */

#include "tools/client.h"

typedef struct {
  const char *job; /* exec: the job that gets another exec; Ctrl-C goes to the command. NULL: run: a
                      new job, which Ctrl-C ends, and we stay until nothing is left of it */
  gboolean interactive; /* standard input is sent */
  gboolean tty;         /* the exec has a terminal: ours is made raw for it */
  int out, err;
} MfAttachOptions;

/*
 * mf_attach_run() - create by POST of @body, then stay with it. Runs a main loop of its own.
 * @ret_job: the job's newest document, or NULL if there is none yet (transfer full).
 * Returns: the exit status; on an error MF_EXIT_FAILURE.
 */
int mf_attach_run(MfClient *client, MfJson *body, const MfAttachOptions *options, MfJson **ret_job,
                  GError **error);
