/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A machine's serial console: read from its socket for as long as the machine lives, kept in a
 * capped log. Reading never stops, or the guest would. Main context only.
 */

#include "daemon/output-log.h"

typedef struct MfConsole MfConsole;

/* Connect while the machine is paused, so that nothing is missed. @log: where it goes. */
MfConsole *mf_console_open(const char *path, MfOutputLog *log,
                           GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Reads what is still there, then lets go; the log is not closed. */
void mf_console_close(MfConsole *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfConsole, mf_console_close)

/* The last @lines lines, made safe to show. (transfer full, never NULL) */
char **mf_console_tail(MfOutputLog *log, guint lines);
