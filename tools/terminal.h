/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The user's terminal: its size, and raw mode and the alternate screen, which end with the process
 * however that ends by itself. */

#include <glib.h>

/* FALSE: @fd is no terminal, or does not say. */
gboolean mf_terminal_get_size(int fd, guint *ret_rows, guint *ret_cols);

/* Keys go through untouched, Ctrl-C too. Does nothing if @fd is no terminal. Returns: whether it is
 * raw now. */
gboolean mf_terminal_make_raw(int fd);

/* The alternate screen, without a cursor: what was there before comes back at the end. FALSE: it
 * cannot be written to. */
gboolean mf_terminal_open_screen(int fd);

/* All of @text. FALSE: the terminal is gone. */
gboolean mf_terminal_write(int fd, const char *text);

/* As it was before. Safe to call at any time. */
void mf_terminal_restore(void);
