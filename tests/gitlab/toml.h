/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * As much of TOML as gitlab-runner's config.toml uses: tables, arrays of tables, bare and quoted
 * keys, strings, integers, booleans and arrays of them. So the stand-in is started with the very
 * file that a real runner would read, and with what `mayfly gitlab setup` prints.
 */

#include <glib.h>

#include "daemon/auto.h"

/* The document as a JSON object (transfer full); [[x]] becomes an array of objects. */
MfJson *toml_parse(const char *text, GError **error);
