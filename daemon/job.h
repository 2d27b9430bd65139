/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A job: the lease of one machine by one client, from queueing to its final result, with its execs. Lives on the main context.
 * Changing its state goes through mf_job_set_state() alone, which checks the table, writes the record, then emits.
 */

#include <gio/gio.h>
#include <sys/types.h>

#include "daemon/auto.h"
#include "daemon/job-spec.h"
#include "daemon/job-state.h"
#include "daemon/output-log.h"
#include "daemon/template.h"

G_DECLARE_FINAL_TYPE(MfExec, mf_exec, MF, EXEC, GObject)
G_DECLARE_FINAL_TYPE(MfJob, mf_job, MF, JOB, GObject)

/* Exec: signals "changed". */
guint mf_exec_get_number(MfExec *self); /* 1, 2, … within its job */
MfOutputLog *mf_exec_get_output(MfExec *self);
gboolean mf_exec_is_done(MfExec *self);
/* {"number":1,"key","state":"waiting"|"running"|"finished","exit_code":n|null,"signal":n|null,"error":…,"stdout_bytes":n,
    "stderr_bytes":n,"argv":[…],"tty":bool,"started":t,"finished":t,"stdin_offset":n} (transfer full) */
MfJson *mf_exec_to_json(MfExec *self);
/*
 * mf_exec_write_stdin() - @offset: position of the first byte; what is already taken is skipped, a gap is INVALID. Returns bytes
 * taken up to now (may be fewer than sent: the window is full, "changed" tells when it opens), or -1.
 * @eof: this is the last.
 */
gint64 mf_exec_write_stdin(MfExec *self, guint64 offset, const void *data, gsize length, gboolean eof, GError **error) G_GNUC_WARN_UNUSED_RESULT;
gboolean mf_exec_signal(MfExec *self, int signum, GError **error) G_GNUC_WARN_UNUSED_RESULT;
gboolean mf_exec_resize(MfExec *self, guint rows, guint cols, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Job: signals "state-changed" (after it was recorded), "changed" (position, phase, keep, exec added). */
const char *mf_job_get_id(MfJob *self);
const char *mf_job_get_name(MfJob *self); /* or NULL */
const char *mf_job_get_machine(MfJob *self); /* id of its machine: its own, unless one was waiting or it was started again */
uid_t mf_job_get_owner(MfJob *self);
const char *mf_job_get_owner_name(MfJob *self); /* NULL: the uid has none */
MfJobState mf_job_get_state(MfJob *self);
MfResult mf_job_get_result(MfJob *self);
MfOutputLog *mf_job_get_console(MfJob *self); /* NULL before the machine starts */
MfExec *mf_job_get_exec(MfJob *self, guint number); /* NULL: none such */
/* The exec that was made with this key; NULL: none such. */
MfExec *mf_job_find_exec(MfJob *self, const char *key);
GPtrArray *mf_job_get_execs(MfJob *self);
/*
 * The job as clients see it (transfer full):
 * {"id","name","key","owner":uid,"owner_name","state","result":null|"succeeded"|…,"exit_code":n|null,"reason":text|null,"phase":text|null,
 *  "position":n|null (1 = next), "queued_for":why text|null,"template","image":"name@digest12","cpus","memory","disk","timeout","lease","keep_on_failure","retryable",
 *  "kept_until":t|null,"deadline":t|null,"ip":…|null,"port":…|null,"created":t,"started":t|null,"finished":t|null,"accel":"kvm"|"tcg"|null,
 *  "how":"cold"|"fork"|"pool"|null,"timings":{"queue":s,"prepare":s,"clone":s,"wait":s,"inject":s,"port":s,"start":s,"hello":s,
 *  "boot":s,"first_output":s,"teardown":s} (what did not happen is not there),
 *  "console_tail":[lines] (system-failure only),"execs":[…]}; times are unix seconds with fraction.
 */
MfJson *mf_job_to_json(MfJob *self);
