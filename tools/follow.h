/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Output of a job brought to file descriptors: read, taken apart, written, in that order and never
 * further ahead than one piece, so that a reader who stops reading stops the guest's process and
 * not us. A lost connection is taken up again where it broke. Writing happens in a worker: whoever
 * waits for a slow reader still hears Ctrl-C. Main context only.
 */

#include "tools/client.h"

G_DECLARE_FINAL_TYPE(MfFollow, mf_follow, MF, FOLLOW, GObject)

typedef struct {
  const char *path; /* "/v1/jobs/ID/execs/N/output", without a query */
  gboolean mux;     /* take it apart: stderr to @err; else everything goes to @out as it comes */
  gboolean follow;  /* until mf_follow_set_finished(); else what there is now */
  gboolean pace;    /* a slow reader of ours makes the command in the machine wait */
  gboolean visible; /* control bytes are spelled out, see text.h */
  int out, err;
} MfFollowOptions;

/* Signal "data": before the first bytes are written. */
MfFollow *mf_follow_new(MfClient *client, const MfFollowOptions *options);

/* Completes when all has been written. Once only. */
void mf_follow_run_async(MfFollow *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                         gpointer user_data);
/* An error of writing is one of G_IO_ERROR: BROKEN_PIPE if nobody reads any more. */
gboolean mf_follow_run_finish(MfFollow *self, GAsyncResult *result,
                              GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* No more will be added at the source: what is there is fetched to its end, then _run completes. */
void mf_follow_set_finished(MfFollow *self);
