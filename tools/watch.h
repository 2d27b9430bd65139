/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A job watched: its document now and at each change, until it is finished, through restarts of
 * mayflyd. While the owner watches, the job's lease does not run. Main context only.
 */

#include "tools/client.h"

G_DECLARE_FINAL_TYPE(MfWatch, mf_watch, MF, WATCH, GObject)

/* Called for each document; return FALSE to end watching. */
typedef gboolean (*MfWatchCallback)(MfJson *document, gpointer user_data);

/* @path: "/v1/jobs/ID/events" or "/v1/events". */
MfWatch *mf_watch_new(MfClient *client, const char *path, MfWatchCallback each, gpointer user_data);
/* Completes when @each has said so; an error: mayflyd was gone for a minute, or there is no such
 * job. Once only. */
void mf_watch_run_async(MfWatch *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                        gpointer user_data);
gboolean mf_watch_run_finish(MfWatch *self, GAsyncResult *result,
                             GError **error) G_GNUC_WARN_UNUSED_RESULT;
