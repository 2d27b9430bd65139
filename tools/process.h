/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A program that works for the command: its output read line by line into progress, itself and all that it starts ended when
 * the command is interrupted or dies. Runs the main loop meanwhile.
 */

#include <gio/gio.h>

#include "tools/steps.h"

typedef struct {
  char *const *argv;
  char *const *environment; /* NULL: ours */
  const char *directory;    /* NULL: ours */
  MfSteps *progress;
  FILE *verbose; /* lines that are no progress go there as they come; NULL: they are kept for a failure */
  const char *what; /* for errors: "the recipe tiny" */
} MfProcess;

/*
 * mf_process_run() - "==> text" lines are steps, percentages progress. On failure the last lines that were neither are in
 * @ret_tail (NULL: not wanted; transfer full), one that starts "error: " is the error's text. CANCELLED when @cancellable was.
 */
gboolean mf_process_run(const MfProcess *process, GCancellable *cancellable, char **ret_tail,
                        GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Cancelled by SIGINT, SIGTERM and SIGHUP as long as it lives. @ret_signal gets which (0: none). */
typedef struct MfInterrupt MfInterrupt;
MfInterrupt *mf_interrupt_new(GCancellable *cancellable);
gboolean mf_interrupt_happened(const MfInterrupt *self);
void mf_interrupt_free(MfInterrupt *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfInterrupt, mf_interrupt_free)
