/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a job does until its command runs, as one live line on the terminal that is wiped when the
 * command's own output comes. */

#include "daemon/auto.h"

typedef struct MfProgress MfProgress;

/* Shows nothing if @fd is no terminal. */
MfProgress *mf_progress_new(int fd);
/* @job: the newest document. */
void mf_progress_update(MfProgress *self, MfJson *job);
/* Wipes the line, for good. */
void mf_progress_end(MfProgress *self);
void mf_progress_free(MfProgress *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfProgress, mf_progress_free)

/* Pure: the line. @seconds: how long the present phase has taken. NULL: nothing to say. (transfer
 * full) */
char *mf_progress_format(MfJson *job, double seconds);
