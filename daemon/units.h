/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Sizes and durations as people write them: "1GiB", "512M", "90s", "1h30m". Pure. */

#include <glib.h>

/*
 * mf_size_parse() - bytes from "N", "NK|M|G|T" or "NKiB|MiB|GiB|TiB" (binary both).
 * Returns: FALSE with MF_ERROR_INVALID naming @text and the form wanted.
 */
gboolean mf_size_parse(const char *text, guint64 *ret_bytes, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The shortest exact form: "1GiB", "1536MiB", "1000". (transfer full) */
char *mf_size_format(guint64 bytes);

/* mf_duration_parse() - seconds from "N", "Ns", "Nm", "Nh", "Nd" and sums of these in that order ("1h30m"). */
gboolean mf_duration_parse(const char *text, guint64 *ret_seconds, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The shortest exact form: "1h", "90s" gives "1m30s". (transfer full) */
char *mf_duration_format(guint64 seconds);
