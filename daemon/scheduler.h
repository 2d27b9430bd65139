/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * All jobs of this host: admission, the fair queue, deadlines, leases. Everything the API does goes
 * through here and job.h. Main context only.
 */

#include "daemon/config.h"
#include "daemon/hypervisor.h"
#include "daemon/job.h"
#include "daemon/network.h"
#include "daemon/template.h"

G_DECLARE_FINAL_TYPE(MfScheduler, mf_scheduler, MF, SCHEDULER, GObject)

/* Signal "event" (MfJson *event): {"time":t,"type":"job.state"|"job.changed"|"host","job":id,…},
 * for /v1/events. */

/*
 * Reads the records, asks for the acceleration, and from then on drives everything as soon as
 * @hypervisor and @network are there. All three outlive it.
 */
MfScheduler *mf_scheduler_new(const MfConfig *config, MfHypervisor *hypervisor, MfNetwork *network);
/* Checks against the template's limits, records, queues. INVALID, LIMIT (which, who sets it),
 * NOT_FOUND, BUSY (queue full or draining), NO_SPACE. (transfer none) */
MfJob *mf_scheduler_submit(MfScheduler *self, MfJobSpec *spec, uid_t owner,
                           GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* By id or a unique beginning of one. NOT_FOUND, CONFLICT (ambiguous). (transfer none) */
MfJob *mf_scheduler_find(MfScheduler *self, const char *id,
                         GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The job of @owner with this key that has not finished; NULL: none such. (transfer none) */
MfJob *mf_scheduler_find_key(MfScheduler *self, const char *key, uid_t owner);
/* Every job that has a record, oldest first (transfer container). */
GPtrArray *mf_scheduler_list(MfScheduler *self);
/* Asks for the end; returns at once; a finished job is left alone. */
void mf_scheduler_cancel(MfScheduler *self, MfJob *job, const char *reason);
/*
 * The client says how a job that it holds went: succeeded, failed with @exit_code, or timed out.
 * Returns at once; a failed machine is kept for as long as the job asked. CONFLICT when it is
 * stopping or finished, or over and only kept.
 */
gboolean mf_scheduler_end(MfScheduler *self, MfJob *job, MfResult result, int exit_code,
                          GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Another exec in a machine that is ready or running (or still queued or starting: it waits).
 * CONFLICT when it is stopping or finished. (transfer none) */
MfExec *mf_scheduler_add_exec(MfScheduler *self, MfJob *job, MfExecSpec *spec,
                              GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A connection watches the job: its lease does not run while any does. */
void mf_scheduler_watch(MfScheduler *self, MfJob *job);
void mf_scheduler_unwatch(MfScheduler *self, MfJob *job);
/* Renews: the job lives for @seconds from now without a watcher. */
void mf_scheduler_renew(MfScheduler *self, MfJob *job, guint64 seconds);
/* No new jobs are admitted or accepted while draining. */
void mf_scheduler_set_draining(MfScheduler *self, gboolean draining);
gboolean mf_scheduler_get_draining(MfScheduler *self);
/* Does any job or queue entry use this image version? */
gboolean mf_scheduler_uses_image(MfScheduler *self, const char *digest);
/*
 * {"version","accel":{"mode","kvm":bool,"reason"},"libvirt":{"up":bool,"problem","versions"},"host":{"cpus","memory"},
 *  "limits":{"machines","memory","cpus","disk_reserve","queue","timeout","keep"},"used":{"machines","memory","cpus","disk_free"},
 *  "queue":n,"running":n,"draining":bool,"network":{"ok":bool,"problem","name","gateway","ports":[{"tap","ip","mac","state","job","problem"}]},
 *  "gitlab_runner":{"path","version","problem"}|null,"images":n,"templates":n}: /v1/info. (transfer full)
 */
MfJson *mf_scheduler_info(MfScheduler *self);
/* Machines that wait for jobs, see pool.h; /v1/pools. (transfer full) */
MfJson *mf_scheduler_pools(MfScheduler *self);
/* What its machines are forked from, see forks.h; NULL: they boot. (transfer full) */
MfJson *mf_scheduler_fork(MfScheduler *self, const MfTemplate *template);
const MfConfig *mf_scheduler_get_config(MfScheduler *self);
MfHypervisor *mf_scheduler_get_hypervisor(MfScheduler *self);
/*
 * {"host":{"cpus","memory","memory_available":n|null,"pressure":{"some","full"}|null},"limits":{…},"used":{…} as in info,
 *  "machines":[{"id","job":id|null,"name":text|null,"template","owner":uid|null,"owner_name":text|null,"state":a job's, or
 *  "starting"|"waiting"|"stopping" in the pool,"how":text|null,"cpus","memory","since":t|null}]}: /v1/machines without what
 *  libvirt says. (transfer full)
 */
MfJson *mf_scheduler_machines(MfScheduler *self);
