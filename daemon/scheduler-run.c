/* SPDX-License-Identifier: Apache-2.0 */
/* Scheduler: one job from its machine's start to its result. */
#include <stdarg.h>

#include "daemon/console.h"
#include "daemon/scheduler-private.h"
#include "daemon/units.h"

#define TAIL_LINES 40
/* Starts of a job that may be what libvirtd does not live through. */
#define MOST_LOST 3

static gboolean on_deadline(gpointer data);

void
mf_entry_log(MfEntry *entry, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  g_autofree char *text = g_strdup_vprintf(format, args);
  va_end(args);
  g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_MESSAGE, "JOB_ID", entry->job->id, "JOB_STATE",
                   mf_job_state_to_string(entry->job->state), "VM_UUID",
                   entry->job->uuid ? entry->job->uuid : "", "MESSAGE", "job %s: %s",
                   entry->job->id, text);
}

void
mf_entry_stop_timers(MfEntry *entry)
{
  g_clear_handle_id(&entry->lease_timer, g_source_remove);
  g_clear_handle_id(&entry->deadline_timer, g_source_remove);
  g_clear_handle_id(&entry->keep_timer, g_source_remove);
}

/* Leases */

static gboolean
on_lease_over(gpointer data)
{
  MfEntry *entry = data;
  entry->lease_timer = 0;
  g_autofree char *lease = mf_duration_format(entry->job->lease);
  g_autofree char *reason =
      g_strdup_printf("its client went away and did not come back within %s (lease)", lease);
  mf_entry_end(entry, MF_RESULT_CANCELLED, -1, reason);
  return G_SOURCE_REMOVE;
}

void
mf_entry_check_lease(MfEntry *entry)
{
  MfJob *job = entry->job;
  gboolean runs = job->lease > 0 && entry->watchers == 0 && job->kept_until == 0 &&
                  job->state < MF_JOB_STOPPING;
  if (!runs)
    g_clear_handle_id(&entry->lease_timer, g_source_remove);
  else if (entry->lease_timer == 0)
    entry->lease_timer =
        g_timeout_add_seconds((guint)MIN(job->lease, G_MAXINT), on_lease_over, entry);
}

/* The end */

static void
finish(MfEntry *entry)
{
  MfJob *job = entry->job;
  MfScheduler *scheduler = entry->scheduler;
  for (guint i = 0; i < job->execs->len; i++)
    mf_exec_take_exit(g_ptr_array_index(job->execs, i), -1, 0,
                      job->reason ? job->reason : "the machine ended before it did");
  if (job->console != NULL)
    mf_output_log_close(job->console);
  mf_job_wipe(job);
  mf_scheduler_count(entry, FALSE);
  if (entry->machine != NULL)
    g_signal_handlers_disconnect_by_data(entry->machine, entry);
  g_clear_object(&entry->machine);
  mf_job_set_state(job, MF_JOB_FINISHED);
  const char *result = mf_result_to_string(job->result);
  if (job->exit_code >= 0)
    mf_entry_log(entry, "finished, %s (%d)", result, job->exit_code);
  else
    mf_entry_log(entry, "finished, %s%s%s", result, job->reason ? ": " : "",
                 job->reason ? job->reason : "");
  mf_scheduler_pump(scheduler);
}

static gboolean
on_keep_over(gpointer data)
{
  MfEntry *entry = data;
  entry->keep_timer = 0;
  mf_entry_end(entry, entry->job->result, entry->job->exit_code, NULL);
  return G_SOURCE_REMOVE;
}

/* A failed job's machine stays for a while, so that somebody can look inside; its result is
 * decided. */
static gboolean
keep(MfEntry *entry, MfResult result)
{
  MfJob *job = entry->job;
  gboolean failed = result == MF_RESULT_FAILED || result == MF_RESULT_TIMED_OUT;
  if (job->kept_until != 0 || job->grant.keep == 0 || !failed || entry->machine == NULL ||
      !mf_machine_is_up(entry->machine))
    return FALSE;
  job->kept_until = g_get_real_time() + (gint64)job->grant.keep * G_USEC_PER_SEC;
  mf_entry_stop_timers(entry);
  entry->keep_timer = g_timeout_add_seconds((guint)job->grant.keep, on_keep_over, entry);
  g_autofree char *time = mf_duration_format(job->grant.keep);
  mf_entry_log(entry, "%s; its machine is kept for %s", mf_result_to_string(result), time);
  if (job->state == MF_JOB_RUNNING)
    mf_job_set_state(job, MF_JOB_READY);
  else
    mf_job_save(job);
  mf_job_emit_changed(job);
  return TRUE;
}

void
mf_entry_end(MfEntry *entry, MfResult result, int exit_code, const char *reason)
{
  MfJob *job = entry->job;
  if (job->state >= MF_JOB_STOPPING)
    return;
  mf_job_set_result(job, result, exit_code, reason);
  if (keep(entry, result))
    return;
  if (result == MF_RESULT_SYSTEM_FAILURE && job->console != NULL && job->console_tail == NULL)
    job->console_tail = mf_console_tail(job->console, TAIL_LINES);
  mf_entry_stop_timers(entry);
  mf_queue_remove(entry->scheduler->queue, entry);
  gboolean queued = job->state == MF_JOB_QUEUED;
  mf_job_set_state(job, MF_JOB_STOPPING);
  /* What is left of its machine, and on which port, is not known yet: the recovery sees to it. */
  if (entry->loaded && !queued)
    return;
  if (entry->machine != NULL)
    mf_machine_stop(entry->machine, result != MF_RESULT_SYSTEM_FAILURE && job->template != NULL &&
                                        job->template->graceful);
  else
    finish(entry);
}

/* The machine's words */

static void
set_deadline_timer(MfEntry *entry)
{
  gint64 left = (entry->job->deadline - g_get_real_time()) / G_USEC_PER_SEC;
  g_clear_handle_id(&entry->deadline_timer, g_source_remove);
  entry->deadline_timer =
      g_timeout_add_seconds((guint)CLAMP(left + 1, 0, G_MAXINT), on_deadline, entry);
}

static gboolean
on_deadline(gpointer data)
{
  MfEntry *entry = data;
  entry->deadline_timer = 0;
  /* The timer runs on the monotonic clock, the deadline is on the real one: it may have been set
   * back. */
  if (g_get_real_time() < entry->job->deadline) {
    set_deadline_timer(entry);
    return G_SOURCE_REMOVE;
  }
  g_autofree char *timeout = mf_duration_format(entry->job->grant.timeout);
  g_autofree char *reason = g_strdup_printf("it ran longer than its timeout of %s", timeout);
  mf_entry_end(entry, MF_RESULT_TIMED_OUT, -1, reason);
  return G_SOURCE_REMOVE;
}

void
mf_entry_run_execs(MfEntry *entry)
{
  MfJob *job = entry->job;
  if (entry->machine == NULL || !mf_machine_is_up(entry->machine))
    return;
  for (guint i = 0; i < job->execs->len; i++) {
    MfExec *exec = g_ptr_array_index(job->execs, i);
    if (exec->state != MF_EXEC_WAITING)
      continue;
    if (job->state == MF_JOB_READY)
      mf_job_set_state(job, MF_JOB_RUNNING);
    mf_machine_run(entry->machine, exec);
  }
}

static void
on_up(MfMachine *machine, gpointer data)
{
  MfEntry *entry = data;
  MfJob *job = entry->job;
  MfMemoryImage *memory = mf_machine_get_memory_image(machine);
  if (memory != NULL)
    mf_forks_tell(entry->scheduler->forks, memory, NULL);
  job->deadline = g_get_real_time() + (gint64)job->grant.timeout * G_USEC_PER_SEC;
  set_deadline_timer(entry);
  mf_job_set_state(job, MF_JOB_READY);
  mf_entry_log(entry, "ready on port %s (%s)", job->port, job->ip);
  mf_entry_run_execs(entry);
}

/* Nothing of the job has run: it goes back to the queue once this machine is gone. */
static void
start_again(MfEntry *entry, const char *again)
{
  entry->again = again;
  mf_machine_stop(entry->machine, FALSE);
}

static void
could_not_take(MfEntry *entry, const char *reason)
{
  entry->useless++;
  mf_entry_log(entry, "could not take machine %s: %s", mf_machine_get_id(entry->machine), reason);
  start_again(entry, "the machine that waited for it is of no use");
}

/* What saved memory could not do, a boot can. */
static void
could_not_fork(MfEntry *entry, MfMemoryImage *memory, const char *reason)
{
  mf_entry_log(entry, "could not be forked: %s", reason);
  if (mf_machine_did_not_wake(entry->machine))
    mf_forks_tell(entry->scheduler->forks, memory, reason);
  entry->boots = TRUE;
  start_again(entry, "its machine could not be forked, and is booted instead");
}

static void
on_down(MfMachine *machine, const char *reason, gpointer data)
{
  MfEntry *entry = data;
  MfMemoryImage *memory = mf_machine_get_memory_image(machine);
  gboolean starting = entry->job->state == MF_JOB_STARTING;
  if (starting && mf_machine_lost_libvirt(machine) && entry->lost++ < MOST_LOST) {
    mf_entry_log(entry, "could not be started: %s", reason);
    start_again(entry, "libvirtd went away while its machine was starting");
  } else if (starting && mf_machine_was_assigned(machine)) {
    could_not_take(entry, reason);
  } else if (starting && memory != NULL) {
    could_not_fork(entry, memory, reason);
  } else {
    mf_entry_end(entry, MF_RESULT_SYSTEM_FAILURE, -1, reason);
  }
}

static void
on_exec_finished(MfMachine *machine, MfExec *exec, gpointer data)
{
  MfEntry *entry = data;
  MfJob *job = entry->job;
  if (exec->number == 1 && !job->hold && job->result == MF_RESULT_NONE) {
    int code = exec->signal > 0 ? 128 + exec->signal : exec->exit_code;
    mf_entry_end(entry, code == 0 ? MF_RESULT_SUCCEEDED : MF_RESULT_FAILED, code, exec->error);
    return;
  }
  if (job->state == MF_JOB_RUNNING && !mf_job_has_running_exec(job))
    mf_job_set_state(job, MF_JOB_READY);
}

static void
on_gone(MfMachine *machine, gpointer data)
{
  MfEntry *entry = data;
  const char *again = entry->again;
  if (again == NULL || entry->job->state != MF_JOB_STARTING) {
    finish(entry);
    return;
  }
  entry->again = NULL;
  g_signal_handlers_disconnect_by_data(entry->machine, entry);
  g_clear_object(&entry->machine);
  mf_scheduler_count(entry, FALSE);
  mf_job_start_over(entry->job, mf_machine_new_id());
  mf_entry_log(entry, "queued again: %s", again);
  mf_scheduler_requeue(entry);
  mf_scheduler_pump(entry->scheduler);
}

/* @machine: taken */
static void
set_machine(MfEntry *entry, MfMachine *machine)
{
  entry->machine = machine;
  g_signal_connect(entry->machine, "up", G_CALLBACK(on_up), entry);
  g_signal_connect(entry->machine, "down", G_CALLBACK(on_down), entry);
  g_signal_connect(entry->machine, "exec-finished", G_CALLBACK(on_exec_finished), entry);
  g_signal_connect(entry->machine, "gone", G_CALLBACK(on_gone), entry);
}

void
mf_entry_start(MfEntry *entry)
{
  mf_job_set_state(entry->job, MF_JOB_STARTING);
  mf_entry_log(entry, "starting with %u cpus", entry->job->grant.cpus);
  MfJob *job = entry->job;
  MfMemoryImage *memory =
      !entry->boots && mf_machine_can_bring(job)
          ? mf_forks_find(entry->scheduler->forks, job->template, job->image, &job->grant)
          : NULL;
  set_machine(entry, mf_machine_new(&entry->scheduler->host, job));
  if (memory != NULL)
    mf_machine_set_memory_image(entry->machine, memory);
  mf_machine_start(entry->machine);
}

void
mf_entry_start_with(MfEntry *entry, MfMachine *machine)
{
  g_autoptr(GError) error = NULL;
  mf_job_set_state(entry->job, MF_JOB_STARTING);
  set_machine(entry, machine);
  if (mf_machine_assign(machine, entry->job, &error))
    mf_entry_log(entry, "takes machine %s", mf_machine_get_id(machine));
  else
    could_not_take(entry, error->message);
}

void
mf_entry_adopt(MfEntry *entry)
{
  MfJob *job = entry->job;
  mf_scheduler_count(entry, TRUE);
  set_machine(entry, mf_machine_new(&entry->scheduler->host, entry->job));
  if (job->kept_until > 0) {
    gint64 left = (job->kept_until - g_get_real_time()) / G_USEC_PER_SEC;
    entry->keep_timer = g_timeout_add_seconds((guint)CLAMP(left, 0, G_MAXINT), on_keep_over, entry);
  } else {
    set_deadline_timer(entry);
  }
  mf_entry_check_lease(entry);
  mf_machine_adopt(entry->machine);
  mf_entry_run_execs(entry);
  if (entry->machine != NULL && mf_machine_is_up(entry->machine))
    mf_entry_log(entry, "taken on again after a restart");
}

/* What the machine of before said last: there may be no better hint at why it ended. */
static void
show_console(MfEntry *entry)
{
  MfJob *job = entry->job;
  g_autofree char *path = g_build_filename(job->folder, "console.log", NULL);
  g_autoptr(GError) error = NULL;
  if (job->console != NULL || !g_file_test(path, G_FILE_TEST_EXISTS))
    return;
  job->console = mf_output_log_open(path, entry->scheduler->config->console_limit, &error);
  if (job->console == NULL)
    g_warning("job %s: %s, ignoring", job->id, error->message);
  else if (job->result == MF_RESULT_SYSTEM_FAILURE && job->console_tail == NULL)
    job->console_tail = mf_console_tail(job->console, TAIL_LINES);
}

void
mf_entry_discard(MfEntry *entry, const char *again)
{
  mf_scheduler_count(entry, TRUE);
  set_machine(entry, mf_machine_new(&entry->scheduler->host, entry->job));
  entry->again = again;
  if (again == NULL && entry->job->state != MF_JOB_STOPPING)
    mf_job_set_state(entry->job, MF_JOB_STOPPING);
  show_console(entry);
  mf_machine_discard(entry->machine);
}
