/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Jobs without machines, for what is above the scheduler: the functions of scheduler.h, job.h and
 * of the hypervisor's statistics, over plain fields that a test sets and looks at. Linked before
 * mf-core, whose own are then left out.
 */

#include "daemon/scheduler.h"

struct _MfHypervisor {
  GObject parent;
  gboolean is_down; /* for statistics of all machines */
};

struct _MfExec {
  GObject parent;
  guint number;
  char *key;
  gboolean done;
  MfOutputLog *output;
  GByteArray *input;
  gboolean input_closed;
  int signum;
  guint rows, cols;
};

struct _MfJob {
  GObject parent;
  char *id;
  uid_t owner;
  MfJobState state;
  MfResult result;
  MfOutputLog *console;
  GPtrArray *execs;
  char *name, *key;
  char *machine;   /* "p-" and its id, as if it had waited */
  char *cancelled; /* the reason given */
  MfResult ended;  /* by its client's word */
  int end_code;
  guint64 renewed;
  guint watchers;
};

struct _MfScheduler {
  GObject parent;
  MfConfig *config;
  char *directory; /* where logs are */
  GPtrArray *jobs;
  MfHypervisor *hypervisor;
  gboolean draining;
  char *used_image; /* digest */
};

/* @directory: its templates/ and images/ are the configuration's, its logs/ exists. */
MfScheduler *fake_scheduler_new(const char *directory);
MfJob *fake_scheduler_add(MfScheduler *self, const char *id, uid_t owner, MfJobState state);
void fake_scheduler_emit(MfScheduler *self, const char *type, const char *job);
MfExec *fake_job_add_exec(MfScheduler *scheduler, MfJob *self);
void fake_job_open_console(MfScheduler *scheduler, MfJob *self);
/* As the real one: the state, then "state-changed", then the host's event. */
void fake_job_set_state(MfScheduler *scheduler, MfJob *self, MfJobState state, MfResult result);
void fake_job_changed(MfJob *self);
void fake_exec_write(MfExec *self, guint stream, const void *data, gsize length);
void fake_exec_finish(MfExec *self);
