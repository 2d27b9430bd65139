/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A machine: one throw-away domain for one job, from its overlay to the last trace of it. It is
 * made for its job, or waits for one that it is given once. It drives hypervisor, injection,
 * network and agent link; what its ends mean for the job is the scheduler's business. Main context
 * only.
 */

#include "daemon/accel.h"
#include "daemon/job-private.h"
#include "daemon/limiter.h"
#include "daemon/memory-image.h"
#include "daemon/network.h"
#include "daemon/runner.h"

/* What all machines of a host share. Outlives them. */
typedef struct {
  const MfConfig *config;
  MfHypervisor *hypervisor;
  MfNetwork *network;
  MfAccel *accel; /* NULL until the probe has answered */
  char *agent;    /* path of the static mayfly-agent */
  char *inject;   /* path of mayfly-inject */
  MfRunner *runner;
  char *cache; /* where libguestfs keeps its appliance */
  MfLimiter *injects, *starts;
} MfHost;

G_DECLARE_FINAL_TYPE(MfMachine, mf_machine, MF, MACHINE, GObject)

/*
 * Signals:
 *  "up"            it is ready for execs; once, and again when it was assigned
 *  "down"          (const char *reason): it is of no use any more, mf_machine_stop() is due; at
 *                  most once
 *  "exec-finished" (MfExec *exec)
 *  "saved"         as mf_machine_save() says
 *  "gone"          nothing of it is left on the host; once, after mf_machine_stop()
 */
MfMachine *mf_machine_new(const MfHost *host, MfJob *job);
/* An id for a machine, or for a job and the machine made for it: ten letters and digits without
 * those that are easily misread, because people type beginnings of it. (transfer full) */
char *mf_machine_new_id(void);
/* What a machine is made of that has no job yet. */
typedef struct {
  const char *id; /* its own, unlike any job's */
  MfTemplate *template;
  MfImage *image;
  MfGrant grant;
  const char *console; /* path of its console's log, until its job has it */
  gboolean portless;   /* without an interface, to be saved; up means that the whole system is */
} MfMachineSpec;
MfMachine *mf_machine_new_waiting(const MfHost *host, const MfMachineSpec *spec);
/* Before it starts: it is forked from @image instead of booted. What fails before it is up may go
 * well without that. */
void mf_machine_set_memory_image(MfMachine *self, MfMemoryImage *image);
/* NULL: it boots. (transfer none) */
MfMemoryImage *mf_machine_get_memory_image(MfMachine *self);
/* Of one that is down: it did not wake up, which is what its memory image may be to blame for. */
gboolean mf_machine_did_not_wake(MfMachine *self);
/* Its start failed because libvirtd went away meanwhile: another may not. */
gboolean mf_machine_lost_libvirt(MfMachine *self);
/* One that is up and waits for a job gives back what it does not use, until it gets one. */
void mf_machine_shrink(MfMachine *self);
/*
 * mf_machine_save() - a portless machine that is up is made small and quiet and saved into the
 * folder @work, as "memory" and disk.qcow2. "saved" follows, or "down"; mf_machine_stop() is due
 * after either.
 */
void mf_machine_save(MfMachine *self, const char *work);
/* Begins. */
void mf_machine_start(MfMachine *self);
/* What @job brings fits through the agent's link; else it needs a machine made for it. */
gboolean mf_machine_can_bring(const MfJob *job);
/*
 * mf_machine_assign() - a machine that waits, and is up, serves @job from now on, and never
 * another. "up" follows when its agent has answered, or "down"; what the job brings gets there
 * before any exec. The job's record is not written. FALSE: it is of no use and must be stopped.
 */
gboolean mf_machine_assign(MfMachine *self, MfJob *job, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* It waited for the job that it has. Not known of one that was adopted. */
gboolean mf_machine_was_assigned(MfMachine *self);
const char *mf_machine_get_id(MfMachine *self);
/* Takes on the running domain of a job that was ready or running when the daemon ended. "down" if
 * that cannot be. */
void mf_machine_adopt(MfMachine *self);
/* Tears down whatever the daemon left of a job's machine when it ended. "gone" follows. */
void mf_machine_discard(MfMachine *self);
/* A new exec of the job: starts it if the machine is up. */
void mf_machine_run(MfMachine *self, MfExec *exec);
void mf_machine_domain_event(MfMachine *self, MfDomainEvent event, const char *detail);
/* @reason: as "down". For what others find out about it. */
void mf_machine_fail(MfMachine *self, const char *reason);
/*
 * mf_machine_stop() - the one teardown, from any state, any number of times. @graceful: let the
 * guest shut down first, for the template's grace period; a second call without it cuts that short.
 */
void mf_machine_stop(MfMachine *self, gboolean graceful);
/* It was brought up, so that statistics can be asked for without waiting for libvirt's lock. */
gboolean mf_machine_is_up(MfMachine *self);
/* It is, and was already at @time (monotonic). */
gboolean mf_machine_was_up(MfMachine *self, gint64 time);
gboolean mf_machine_is_stopping(MfMachine *self);
