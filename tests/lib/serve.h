/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An HTTP server in a test's own process, in mayflyd's place. */

#include <libsoup/soup.h>

/* Listens at @path, a socket that is not there yet; @callback answers all. (transfer full) */
SoupServer *serve_at(const char *path, SoupServerCallback callback, gpointer data);
