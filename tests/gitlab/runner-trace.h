/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A job's log on its way to the coordinator, and how the runner learns of a cancel: by the answer
 * to the next part of the log or, when the job is silent, by asking from time to time. Sent by a
 * thread of its own; everybody may write.
 */

#include <glib.h>

#include "tests/gitlab/runner-config.h"

typedef struct _Trace Trace;

/* Called in the trace's thread. @force: the coordinator takes no more of this job. */
typedef void (*TraceCancel)(gpointer data, gboolean force);

Trace *trace_new(const RunnerConfig *config, const char *id, const char *token, TraceCancel cancel,
                 gpointer data);
void trace_write(gpointer self, const char *bytes, gsize length);
void trace_printf(Trace *self, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* Sends what is left and the final state, and waits until that is taken. */
void trace_finish(Trace *self, const char *state, const char *reason, int exit_code);
void trace_free(Trace *self);
