/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Bytes of others made fit for a terminal, a log line or an error message. Pure. What could move
 * the cursor, change colours, reorder or hide text is spelled out: C0 controls as ^X (but newline
 * and tab), DEL as ^?, C1 controls and what is not UTF-8 as \xNN, characters that turn the
 * direction of writing as \u{NNNN}. Everything else stays as it is.
 */

#include <glib.h>

/* A stream made visible piece by piece: a character may be cut anywhere. Start with all zero. */
typedef struct {
  guint8 held[4]; /* the beginning of a character, or of CR LF, whose end has not come yet */
  gsize fill;
} MfTextVisible;

/* Appends to @out what is certain of @data; CR LF becomes LF. */
void mf_text_visible_feed(MfTextVisible *self, const void *data, gsize length, GString *out);
/* No more comes: what is held back is spelled out. */
void mf_text_visible_end(MfTextVisible *self, GString *out);

/* One piece of text in quotes for a message: visible, newlines too, and cut after 80 bytes. NULL
 * gives "nothing". (transfer full) */
char *mf_text_quote(const char *text);

/* The same for one line of a table or a screen, not cut: newlines and tabs are spaces. NULL gives "".
 * (transfer full) */
char *mf_text_line(const char *text);

/* How many columns of a terminal a visible line takes: wide characters take two, those that combine
 * with others none. */
guint mf_text_columns(const char *line);
/* As much of it as fits into @columns. (transfer full) */
char *mf_text_cut(const char *line, guint columns);
