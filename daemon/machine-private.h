/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A machine's inside, for machine.c (start), machine-link.c (agent) and machine-stop.c (teardown).
 */

#include "daemon/console.h"
#include "daemon/inject.h"
#include "daemon/machine.h"

enum {
  MF_MACHINE_UP,
  MF_MACHINE_DOWN,
  MF_MACHINE_EXEC_FINISHED,
  MF_MACHINE_GONE,
  MF_MACHINE_N_SIGNALS
};
extern guint mf_machine_signals[MF_MACHINE_N_SIGNALS];

struct _MfMachine {
  GObject parent;
  const MfHost *host;
  MfJob *job; /* NULL while it waits for one */
  char *id, *uuid;
  MfTemplate *template;
  MfImage *image; /* NULL: taken on, and no longer there */
  MfGrant grant;
  char *log;           /* path of its console's */
  MfOutputLog *output; /* of its console, once it has started */
  double timings[MF_TIMING_LAST_];
  char *agent; /* which one greeted last: another knows nothing of our execs */
  /* start */
  guint step;
  gint64 step_began;  /* monotonic */
  gboolean in_step;   /* an answer is awaited: teardown waits for it */
  MfLimiter *limiter; /* the one whose place is held or waited for */
  guint limiter_id;
  gboolean place_held;
  GCancellable *cancellable;
  guint timer;      /* port wait or boot deadline, or an adopted machine's agent to speak */
  gulong available; /* network's signal while a port is awaited */
  char *overlay, *prepared;
  MfPort *port;
  char *sockets; /* folder */
  /* running */
  MfAgentLink *link;
  MfConsole *console;
  gboolean greeted, up, down;
  guint agents; /* that greeted, one after the other */
  MfReady level;
  char *lost; /* why the link is of no use, while libvirt may still say more */
  guint lost_timer;
  gboolean domain; /* one may exist */
  /* end */
  gboolean stopping, torn, shutdown_sent;
  gint64 stop_began;
  guint stop_timer;
  guint overlay_tries;
};

/* The answer of the step under way. @error: taken, NULL if it went well. */
void mf_machine_step_done(MfMachine *self, GError *error);
/* machine-config.c: its job's config, for the injection. (transfer full) */
MfInjectPlan *mf_machine_plan(MfMachine *self);
/* The exec number of requests that must not fail: what a job brings into a machine that waited. */
#define MF_MACHINE_CONFIG G_MAXUINT32
/* machine-link.c */
gboolean mf_machine_link_open(MfMachine *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void mf_machine_link_close(MfMachine *self);
/* The agent has reached a level; tells the step that waits for it. */
gboolean mf_machine_is_ready(MfMachine *self);
/* machine-stop.c: goes on with the teardown when the step under way has answered. */
void mf_machine_stop_continue(MfMachine *self);
/* Also its job's, if it has one. */
void mf_machine_set_timing(MfMachine *self, MfTiming timing, double seconds);
char *mf_machine_socket_path(MfMachine *self, const char *name);
