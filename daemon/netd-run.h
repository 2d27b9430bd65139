/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* mayfly-netd's only spawner: nft, ip and iptables, by argument vector, never through a shell. */

#include <glib.h>

/*
 * mf_netd_run() - run @argv with @input (nullable) as its standard input, at most 10 seconds.
 * @ret_output: (transfer full) (optional): what it wrote to standard output.
 * Returns: FALSE with UNAVAILABLE if it is not installed, TIMEOUT, or FAILED with the first line it
 * wrote to standard error.
 */
gboolean mf_netd_run(const char *const *argv, const char *input, char **ret_output,
                     GError **error) G_GNUC_WARN_UNUSED_RESULT;
