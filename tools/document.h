/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Reading the documents that mayflyd answers with: lenient, because a newer daemon may say more or
 * leave something out. What is missing or of another type is nothing, zero or no. Texts may hold
 * words of guests: make them visible (text.h).
 */

#include "daemon/auto.h"

const char *mf_document_text(MfJson *self, const char *key); /* NULL if there is none; borrowed */
double mf_document_number(MfJson *self, const char *key);
guint64 mf_document_uint(MfJson *self, const char *key);
gboolean mf_document_flag(MfJson *self, const char *key);
gboolean mf_document_has(MfJson *self, const char *key);   /* there and not null */
MfJson *mf_document_member(MfJson *self, const char *key); /* object or array, borrowed, or NULL */
gsize mf_document_count(MfJson *array);                    /* NULL has none */
MfJson *mf_document_item(MfJson *array, gsize index);      /* borrowed */

/* For people: times as "2026-03-01 12:00:00", how long ago as "5m", sizes as "1.5 GiB". (transfer
 * full) */
char *mf_document_format_time(double unix_time);
char *mf_document_format_age(double unix_time, double now);
char *mf_document_format_size(guint64 bytes);
char *mf_document_format_seconds(double seconds); /* "0.42s", "12.3s", "2m05s" */

/* "problem" and the time of its "retry": "no room; again in 40s". NULL: there is neither. (transfer
 * full) */
char *mf_document_format_problem(MfJson *self, double now);

/* Pretty JSON and a newline on stdout. */
void mf_document_print(MfJson *self);
