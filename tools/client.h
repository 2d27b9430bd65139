/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * mayflyd as a client sees it: HTTP over its socket. Problem documents become MF_ERROR with their
 * code and sentence; a daemon that is not there, or a socket that may not be used, is UNAVAILABLE
 * or FORBIDDEN and says what to do.
 */

#include <gio/gio.h>

#include "daemon/auto.h"

G_DECLARE_FINAL_TYPE(MfClient, mf_client, MF, CLIENT, GObject)

/* @socket: NULL for the usual one. Nothing is opened yet. */
MfClient *mf_client_new(const char *socket);

/* Can the socket be connected to? */
gboolean mf_client_check(MfClient *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* One request; blocks. @body: (nullable). Returns: the answer; an empty one gives an empty object.
 * (transfer full) */
MfJson *mf_client_call(MfClient *self, const char *method, const char *path, MfJson *body,
                       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The same on the main loop. @bytes: (nullable) sent as they are, or @json. */
void mf_client_call_async(MfClient *self, const char *method, const char *path, MfJson *json,
                          GBytes *bytes, GCancellable *cancellable, GAsyncReadyCallback callback,
                          gpointer user_data);
MfJson *mf_client_call_finish(MfClient *self, GAsyncResult *result,
                              GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The body of GET @path as it comes. An error on reading it that is not end-of-file means the
 * connection was lost. */
void mf_client_stream_async(MfClient *self, const char *path, GCancellable *cancellable,
                            GAsyncReadyCallback callback, gpointer user_data);
GInputStream *mf_client_stream_finish(MfClient *self, GAsyncResult *result,
                                      GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Whether trying the same again can help: mayflyd is being restarted. */
gboolean mf_client_error_is_passing(const GError *error);

/* The MF_ERROR that a problem document (or any other body) with an HTTP status says. */
GError *mf_client_error_from_problem(guint status, const char *body, gsize length);

/* "/v1/a/b" of the elements up to NULL, each escaped: a name from the command line cannot leave its
 * place. (transfer full) */
char *mf_client_path(const char *element, ...) G_GNUC_NULL_TERMINATED;
