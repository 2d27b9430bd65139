/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a job's end means to a shell: the exit status, and the sentence on stderr. Pure. */

#include "daemon/auto.h"

/* Of a finished exec: its code, 128 + signal, or 125 when its machine ended before it did. */
int mf_outcome_of_exec(MfJson *exec);

/* "running", "finished with 3", "did not finish (why)": for people, not yet made visible. (transfer full) */
char *mf_outcome_describe_exec(MfJson *exec);

/* What it runs: its words, or "a script" and, as GitLab's stages are called in the beginning of
 * their keys, which. (transfer full) */
char *mf_outcome_describe_command(MfJson *exec);

/* Of a finished job: its own, which is that of its first exec unless it was held, or 124, 125, 130. */
int mf_outcome_of_job(MfJson *job);

/* What to say about it beyond the command's own status; NULL: nothing. Visible text, the console's
 * last lines included. (transfer full) */
char *mf_outcome_explain(MfJson *job);

/* "running", "succeeded", "failed (42)", "system-failure": for lists. (transfer full) */
char *mf_outcome_describe_state(MfJson *job);

/* The exec of that number, borrowed, or NULL. */
MfJson *mf_outcome_find_exec(MfJson *job, guint number);
