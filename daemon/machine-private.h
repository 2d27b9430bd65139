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
  MF_MACHINE_SAVED,
  MF_MACHINE_GONE,
  MF_MACHINE_N_SIGNALS
};
extern guint mf_machine_signals[MF_MACHINE_N_SIGNALS];

/* Of a start; in the order of a table that ends with {0}, because each needs what the one before
 * made. */
typedef struct {
  const char *phase;
  MfTiming timing;
  void (*run)(MfMachine *self);
} MfMachineStep;
extern const MfMachineStep mf_machine_cold_steps[], mf_machine_fork_steps[];

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
  char *agent;       /* which one greeted last: another knows nothing of our execs */
  gboolean portless; /* no interface: it is to be saved and forked */
  /* start */
  const MfMachineStep *steps;
  guint step;
  gint64 step_began;  /* monotonic; of one that needs a place, when it got that */
  gint64 resumed;     /* monotonic; 0: not yet, or by the daemon before this one */
  gboolean in_step;   /* an answer is awaited: teardown waits for it */
  MfLimiter *limiter; /* the one whose place is held or waited for */
  guint limiter_id;
  gboolean place_held;
  GCancellable *cancellable;
  gboolean booting; /* the step that waits for the guest is under way */
  guint timer;      /* port wait or boot deadline, or an adopted machine's agent to speak */
  gulong available; /* network's signal while a port is awaited */
  char *overlay, *prepared;
  MfPort *port;
  char *sockets; /* folder */
  /* requests (machine-ask.c) */
  char *token;  /* of what the agent was last asked for */
  gint64 asked; /* monotonic */
  guint asks;
  gboolean own; /* the first was carried out: a fork is no longer the same as the others */
  /* fork (machine-fork.c, machine-save.c) */
  MfMemoryImage *memory_image; /* that it is forked from; NULL: it boots */
  gboolean in_time;            /* and its clock is right */
  gboolean did_not_wake;       /* its guest failed before it was up */
  gboolean lost_libvirt;
  char *work; /* folder that it is saved to */
  gboolean saving;
  struct {
    guint stage, looks, rests, timer;
    guint64 number; /* what the stage last saw */
  } shrink;         /* machine-shrink.c */
  gboolean shrunk;  /* it has less than its job is to have */
  /* running */
  MfAgentLink *link;
  MfConsole *console;
  gboolean greeted, up, down;
  gint64 up_since; /* monotonic */
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

/* machine.c: what the tables of steps share */
void mf_machine_begin(MfMachine *self, const MfMachineStep *steps);
void mf_machine_enter_limiter(MfMachine *self, MfLimiter *limiter, GSourceOnceFunc callback);
/* What the callback begins with: it has the place, and its step's time begins. */
void mf_machine_got_place(MfMachine *self);
guint64 mf_machine_start_timeout(MfMachine *self);
/* The folder of its sockets. */
gboolean mf_machine_make_folder(MfMachine *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Console and agent's link, of a domain that is paused, so that no byte is missed, or runs again
 * after a restart. */
gboolean mf_machine_connect(MfMachine *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Its answer ends the step. */
void mf_machine_resume(MfMachine *self);
/* machine-cold.c */
/* The step that makes its overlay. @backing: path of the backing file. */
void mf_machine_clone(MfMachine *self, const char *backing);
void mf_machine_step_port(MfMachine *self);
void mf_machine_step_boot(MfMachine *self);
/* machine-ask.c */
/* The agent is to do what @request says (MF_FRAME_RESEED), and to set the clock. */
void mf_machine_ask(MfMachine *self, MfJson *request);
/* The agent has greeted, with the token of the last request that it carried out. TRUE: it was that
 * one, and the clock is right. */
gboolean mf_machine_has_answered(MfMachine *self, const char *token);
/* machine-fork.c, machine-assign.c: the agent has greeted. */
void mf_machine_fork_greeted(MfMachine *self, const char *token);
void mf_machine_assign_greeted(MfMachine *self, const char *token);
/* machine-shrink.c */
void mf_machine_shrink_greeted(MfMachine *self, const char *token);
void mf_machine_shrink_stop(MfMachine *self);
/* It waited or was saved small: with its job it gets all of its memory. */
void mf_machine_give_memory(MfMachine *self);
/* The same, when the job's first command has had its turn. */
void mf_machine_give_memory_soon(MfMachine *self);
/* machine-save.c: it is as small as it gets. @error: taken, or NULL */
void mf_machine_save_shrunk(MfMachine *self, GError *error);
/* machine-config.c: gives the job's config to the agent, before any exec. */
void mf_machine_send_config(MfMachine *self);
/* Its job's, if it has one. (transfer full) */
char *mf_machine_hostname(MfMachine *self);
/* A request that must not fail. */
void mf_machine_send(MfMachine *self, guint type, MfJson *document);
/* As mf_machine_fail(), by what happened in the guest or to QEMU. */
void mf_machine_guest_failed(MfMachine *self, const char *reason);
/* The answer of the step under way. @error: taken, NULL if it went well. */
void mf_machine_step_done(MfMachine *self, GError *error);
/* machine-config.c: its job's config, for the injection. (transfer full) */
MfInjectPlan *mf_machine_plan(MfMachine *self);
/* The exec number of requests that must not fail: what a job brings into a machine that waited. */
#define MF_MACHINE_CONFIG G_MAXUINT32
/* machine-link.c */
gboolean mf_machine_link_open(MfMachine *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void mf_machine_link_close(MfMachine *self);
MfReady mf_machine_wanted_level(MfMachine *self);
/* The agent has reached a level; tells the step that waits for it. */
gboolean mf_machine_is_ready(MfMachine *self);
/* machine-stop.c: goes on with the teardown when the step under way has answered. */
void mf_machine_stop_continue(MfMachine *self);
/* Also its job's, if it has one. */
void mf_machine_set_timing(MfMachine *self, MfTiming timing, double seconds);
char *mf_machine_socket_path(MfMachine *self, const char *name);
