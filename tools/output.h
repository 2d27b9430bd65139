/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Standard output as a whole: commands print to it and do not look whether that worked; main()
 * looks once, at the end.
 */

#include <glib.h>

/* Before anything is opened: a standard descriptor that is closed is taken, or a connection would
 * get its number and then what we print. */
void mf_output_begin(void);

/* What was printed so far. FALSE: there is no use in printing more; mf_output_end() says why. */
gboolean mf_output_flush(void);

/* Writes what is left. Returns: @status; or, instead of MF_EXIT_OK, silently MF_EXIT_PIPE if its
 * reader has left, and MF_EXIT_FAILURE if something could not be written, which stderr is told. */
int mf_output_end(int status);
