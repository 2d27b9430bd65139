/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The scheduler's inside: scheduler.c (jobs in), scheduler-admit.c (queue and admission),
 * scheduler-find.c, scheduler-run.c (from machine to result), scheduler-recover.c (after a restart,
 * and the reaper), scheduler-memory.c (the host's), scheduler-info.c and scheduler-machines.c (what
 * people see). */

#include "daemon/machine.h"
#include "daemon/memory-plan.h"
#include "daemon/pool.h"
#include "daemon/queue.h"
#include "daemon/scheduler.h"

/* One job as the scheduler has it. */
typedef struct {
  MfScheduler *scheduler;
  MfJob *job;
  MfMachine *machine; /* NULL: queued or finished */
  gboolean counted;   /* its grant is in used */
  const char *again; /* why it goes back to the queue once its machine is gone; NULL: it does not */
  guint lost;        /* machines that libvirtd went away from while they started */
  guint useless;     /* machines that waited for it, and could not be handed over */
  gboolean boots;    /* its fork failed: it is not tried again */
  gboolean loaded;   /* from its record, and not yet gone on with */
  guint watchers;
  guint lease_timer, deadline_timer, keep_timer;
} MfEntry;

/* The host's memory (scheduler-memory.c). */
typedef struct {
  MfHostMemory host;
  gint64 read_at; /* monotonic */
  MfMemoryLevel level;
  guint critical;       /* rounds in a row, or since something was ended */
  GHashTable *machines; /* id → MfMemoryMachine */
  guint64 taken;        /* bytes that machines do not have now */
  gboolean looked;      /* at the machines, since the start */
  gboolean asking;
  guint timer;
} MfSchedulerMemory;

struct _MfScheduler {
  GObject parent;
  const MfConfig *config;
  MfHypervisor *hypervisor;
  MfNetwork *network;
  MfHost host;
  MfForks *forks;
  MfPool *pool;
  char *accel_problem;
  MfUsage host_size, capacity, used;
  MfQueue *queue;     /* of MfEntry */
  GPtrArray *entries; /* MfEntry, oldest first */
  GHashTable *by_id;  /* id → MfEntry */
  gboolean draining;
  gboolean prepared; /* libvirt has our pool and filters */
  gboolean recovered;
  gboolean reaping;
  gint64 reaping_since;
  gboolean cleared;   /* of the machines that nobody owned when we started */
  guint leftovers;    /* of those, until then: being destroyed */
  GHashTable *bad_templates; /* name, what was last said to be wrong with it */
  GHashTable *reaped; /* ids of domains that nobody owned, since libvirtd came */
  MfSchedulerMemory memory;
  guint pump_idle, reap_timer, background_timer, later_timer;
  char *jobs_folder;
  GCancellable *cancellable;
};

/* Whose machine that is: NULL: no job's. */
MfEntry *mf_scheduler_by_machine(MfScheduler *self, const char *id);
/* One that waits for a job, or is being saved; NULL: none of those. (transfer none) */
MfMachine *mf_scheduler_idle_machine(MfScheduler *self, const char *id);
/* scheduler.c */
MfEntry *mf_scheduler_add(MfScheduler *self, MfJob *job);
void mf_scheduler_remove(MfScheduler *self, MfEntry *entry);
void mf_scheduler_count(MfEntry *entry, gboolean counted);
guint64 mf_scheduler_disk_free(MfScheduler *self);
/* Why nothing can start now, whatever the job, or NULL. */
const char *mf_scheduler_problem(MfScheduler *self);
/* scheduler-admit.c */
void mf_scheduler_pump(MfScheduler *self);
/* What is made ahead of need: memory images, pools. */
void mf_scheduler_look(MfScheduler *self);
/* Why pools and memory images cannot be looked after, or NULL. (transfer full) */
char *mf_scheduler_why_no_look(MfScheduler *self);
/* Why a machine cannot be started ahead of need now, or NULL. @data: the scheduler. (transfer full)
 */
char *mf_scheduler_why_not_ahead(const MfGrant *grant, gpointer data);
/* scheduler-memory.c */
void mf_scheduler_memory_begin(MfScheduler *self);
void mf_scheduler_memory_end(MfScheduler *self);
MfMemoryLevel mf_scheduler_memory_level(MfScheduler *self);
/* Why no machine can start now, @ahead of need or for a job, or NULL. (transfer full) */
char *mf_scheduler_memory_why_not(MfScheduler *self, gboolean ahead);
/* Why one more of @grant would bring the host there, or NULL. (transfer full) */
char *mf_scheduler_memory_has_room(MfScheduler *self, const MfGrant *grant);
/* {"level","available","reserve","taken"} (transfer full) */
MfJson *mf_scheduler_memory_json(MfScheduler *self);
/* scheduler-run.c */
void mf_entry_start(MfEntry *entry);
/* The same with a machine that waited for it. @machine: taken. */
void mf_entry_start_with(MfEntry *entry, MfMachine *machine);
void mf_entry_adopt(MfEntry *entry);
/* What is left of its machine goes; the job ends, or is queued again because of @again. */
void mf_entry_discard(MfEntry *entry, const char *again);
/* The job's result is decided; its teardown begins. Only the first has an effect. */
void mf_entry_end(MfEntry *entry, MfResult result, int exit_code, const char *reason);
void mf_entry_run_execs(MfEntry *entry);
void mf_entry_check_lease(MfEntry *entry);
void mf_entry_stop_timers(MfEntry *entry);
/* One line in the journal, with JOB_ID=. */
void mf_entry_log(MfEntry *entry, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* scheduler-recover.c */
void mf_scheduler_load(MfScheduler *self);
void mf_scheduler_recover(MfScheduler *self);
void mf_scheduler_reap(MfScheduler *self);
/* Queues a job that has no machine yet, or ends it if it cannot be started any more. */
void mf_scheduler_requeue(MfEntry *entry);
/* scheduler-info.c: {"machines","memory","cpus"} (transfer full) */
MfJson *mf_scheduler_usage_json(const MfUsage *usage);
/* scheduler-machines.c: a job's machine, and the host; @memory: NULL: not known. (transfer full) */
MfJson *mf_scheduler_machine_json(MfJob *job, const MfConfig *config);
MfJson *mf_scheduler_host_json(const MfUsage *size, const MfHostMemory *memory,
                               MfMemoryLevel level);
