/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The head of a request, checked before libsoup sees it. Pure. libsoup gets a head of our own
 * writing that holds the request line and the few fields that mean something here; so what else a
 * client writes cannot reach what libsoup makes of it.
 */

#include <glib.h>

#define MF_API_HEAD_MAX (16u << 10)

/* Bytes up to and with the empty line that ends the head; 0: it has not come yet. */
gsize mf_api_head_find_end(const char *data, gsize length);

/* @data: one whole head, of @length bytes. Returns: (transfer full) the head for libsoup, or
 * INVALID, which says what is wrong. */
char *mf_api_head_rewrite(const char *data, gsize length, GError **error) G_GNUC_WARN_UNUSED_RESULT;
