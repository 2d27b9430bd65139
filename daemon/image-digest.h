/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The sha256 of one file, read once from start to end, with progress. Blocking. */

#include <gio/gio.h>

typedef void (*MfImageDigestProgress)(guint64 bytes, gpointer user_data);

/*
 * mf_image_digest_file() - lower-case hex (transfer full); @progress gets the bytes read since its
 * last call. A symbolic link or anything but a regular file is refused. CANCELLED if @cancellable
 * was.
 */
char *mf_image_digest_file(const char *path, GCancellable *cancellable,
                           MfImageDigestProgress progress, gpointer user_data, guint64 *ret_size,
                           GError **error) G_GNUC_WARN_UNUSED_RESULT;
