/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One program of the driver, as gitlab-runner runs it: in a process group of its own, with nothing
 * on standard input, and not over before it has ended and nobody holds its output any more.
 */

#include <glib.h>

/* Why something is to stop. A context ends by itself at its deadline, and with its parent. */
typedef enum {
  CAUSE_NONE,
  CAUSE_TIMEOUT,
  CAUSE_CANCELED,
  CAUSE_INTERRUPTED, /* the runner itself is to stop */
} Cause;

typedef struct _Context Context;
struct _Context {
  Context *parent;
  gint64 deadline; /* monotonic, in microseconds; 0: none */
  gint cause;      /* atomic */
};

void context_init(Context *self, Context *parent, gint64 milliseconds);
void context_end(Context *self, Cause cause);
Cause context_cause(Context *self);
/* Sleeps, at most until the context ends. FALSE: it has ended. */
gboolean context_sleep(Context *self, guint milliseconds);

typedef void (*ProcessSink)(gpointer data, const char *bytes, gsize length);

typedef struct {
  char *const *argv;
  char *const *environment;
  const char *folder;
  ProcessSink out, err;
  gpointer out_data, err_data;
  guint graceful_kill, force_kill; /* seconds */
} Process;

typedef struct {
  int error;  /* errno: it could not be started; 0: it was */
  int status; /* its exit status; -1: a signal ended it, or it was abandoned */
  gboolean abandoned;
} ProcessEnd;

ProcessEnd process_run(const Process *self, Context *context);
