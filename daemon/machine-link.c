/* SPDX-License-Identifier: Apache-2.0 */
/* Machine: what its agent says, and to which exec. */
#include "daemon/error.h"
#include "daemon/frame.h"
#include "daemon/json.h"
#include "daemon/machine-private.h"
#include "daemon/text.h"

#define LOST_SETTLE_MS  1500
#define INSTANCE_LENGTH 64
/* Each new one costs a synced write. */
#define MOST_AGENTS 16

static char *const *
job_env(MfMachine *self)
{
  return self->job != NULL && self->job->spec != NULL ? self->job->spec->env : NULL;
}

/* NULL: none such. */
static MfExec *
find_exec(MfMachine *self, guint number)
{
  return self->job != NULL ? mf_job_get_exec(self->job, number) : NULL;
}

static MfJson *
on_welcome(gpointer data)
{
  MfMachine *self = data;
  MfJson *execs = json_object_new_object();
  for (guint i = 0; self->job != NULL && i < self->job->execs->len; i++) {
    MfExec *exec = g_ptr_array_index(self->job->execs, i);
    g_autofree char *key = g_strdup_printf("%u", exec->number);
    if (exec->state != MF_EXEC_WAITING)
      json_object_object_add(execs, key, mf_exec_welcome(exec));
  }
  return execs;
}

static gboolean
has_running(MfMachine *self)
{
  for (guint i = 0; self->job != NULL && i < self->job->execs->len; i++)
    if (((MfExec *)g_ptr_array_index(self->job->execs, i))->state == MF_EXEC_RUNNING)
      return TRUE;
  return FALSE;
}

void
mf_machine_run(MfMachine *self, MfExec *exec)
{
  if (mf_machine_is_up(self) && self->greeted)
    mf_exec_attach(exec, self->link, job_env(self));
}

static void
on_hello(MfJson *hello, gpointer data)
{
  MfMachine *self = data;
  g_autofree char *instance = NULL;
  if (!mf_json_read_string(hello, "", "instance", &instance, NULL))
    instance = NULL;
  gboolean other = g_strcmp0(instance, self->agent) != 0;
  gboolean lost = other && self->agent != NULL && has_running(self);
  if (!self->greeted && self->resumed > 0)
    mf_machine_set_timing(self, MF_TIMING_HELLO,
                          (double)(g_get_monotonic_time() - self->resumed) / G_USEC_PER_SEC);
  self->greeted = TRUE;
  if (self->up)
    g_clear_handle_id(&self->timer, g_source_remove);
  if (other && self->agents < MOST_AGENTS) {
    g_free(self->agent);
    self->agent = instance != NULL ? g_strndup(instance, INSTANCE_LENGTH) : NULL;
    /* Before it runs anything: a daemon after this one has to know whether it is still the same. */
    if (self->job != NULL) {
      g_free(self->job->agent);
      self->job->agent = g_strdup(self->agent);
      mf_job_save(self->job);
    }
  }
  if (other && ++self->agents > MOST_AGENTS) {
    mf_machine_guest_failed(self, "the agent in the machine is restarted again and again");
    return;
  }
  if (lost) {
    mf_machine_fail(self,
                    "the agent in the machine was restarted and no longer knows the job's command");
    return;
  }
  g_autofree char *token = NULL;
  if (!mf_json_read_string(hello, "", "token", &token, NULL))
    token = NULL;
  /* What this brings up has its execs attached by whoever hears of it. */
  gboolean was_up = mf_machine_is_up(self);
  mf_machine_fork_greeted(self, token);
  mf_machine_assign_greeted(self, token);
  mf_machine_shrink_greeted(self, token);
  for (guint i = 0; self->job != NULL && was_up && i < self->job->execs->len; i++)
    mf_exec_attach(g_ptr_array_index(self->job->execs, i), self->link, job_env(self));
}

/* What is to be forked is to have everything behind it; its network comes with the fork. */
MfReady
mf_machine_wanted_level(MfMachine *self)
{
  return self->portless ? MF_READY_SYSTEM : self->template->ready;
}

gboolean
mf_machine_is_ready(MfMachine *self)
{
  return self->greeted && (self->memory_image == NULL || self->in_time) &&
         self->level >= mf_machine_wanted_level(self);
}

static void
on_ready(const char *text, gpointer data)
{
  MfMachine *self = data;
  MfReady level;
  /* Before a fork is a machine of its own, it says how far the saved one had come. */
  if (self->memory_image != NULL && !self->up && !self->own)
    return;
  if (!mf_ready_from_string(text, &level) || level < self->level)
    return;
  self->level = level;
  if (self->booting && mf_machine_is_ready(self))
    mf_machine_step_done(self, NULL);
}

static void
on_output(guint number, guint stream, guint64 offset, const void *payload, gsize length,
          gpointer data)
{
  MfMachine *self = data;
  MfExec *exec = find_exec(self, number);
  if (exec == NULL)
    return;
  if (self->job->timings[MF_TIMING_FIRST_OUTPUT] < 0 && exec->started > 0)
    mf_job_set_timing(self->job, MF_TIMING_FIRST_OUTPUT,
                      (double)(g_get_real_time() - exec->started) / G_USEC_PER_SEC);
  g_autoptr(GError) error = NULL;
  if (!mf_exec_take_output(exec, stream, offset, payload, length, &error)) {
    g_autofree char *reason =
        g_strdup_printf("the job's output cannot be kept: %s", error->message);
    mf_machine_fail(self, reason);
  }
}

static void
on_stdin_taken(guint number, guint64 offset, gpointer data)
{
  MfMachine *self = data;
  MfExec *exec = find_exec(self, number);
  if (exec != NULL)
    mf_exec_take_stdin_ack(exec, offset);
}

static void
on_exited(guint number, MfJson *status, gpointer data)
{
  MfMachine *self = data;
  MfExec *exec = find_exec(self, number);
  if (exec == NULL || exec->state == MF_EXEC_WAITING)
    return;
  guint64 code = 0, signum = 0;
  gboolean good = mf_json_read_uint(status, "", "code", 0, 255, &code, NULL) &&
                  mf_json_read_uint(status, "", "signal", 0, 127, &signum, NULL);
  guint64 out_length = 0, err_length = 0;
  gboolean news = exec->state != MF_EXEC_FINISHED;
  if (mf_json_read_uint(status, "", "stdout", 0, G_MAXINT64, &out_length, NULL) &&
      mf_json_read_uint(status, "", "stderr", 0, G_MAXINT64, &err_length, NULL) && news &&
      !mf_exec_has_output(exec, out_length, err_length))
    return;
  mf_exec_take_exit(exec, good ? (int)code : 255, good ? (int)signum : 0,
                    good ? NULL : "the agent gave no exit status that makes sense");
  if (news)
    mf_job_save(self->job);
  mf_agent_link_send(self->link, MF_FRAME_ACK, number, MF_STREAM_EXIT, 0, NULL, 0);
  if (news)
    g_signal_emit(self, mf_machine_signals[MF_MACHINE_EXEC_FINISHED], 0, exec);
}

static void
on_failed(guint number, const char *message, gpointer data)
{
  MfMachine *self = data;
  MfExec *exec = find_exec(self, number);
  gboolean config = number == MF_MACHINE_CONFIG;
  if (!config && (exec == NULL || exec->error != NULL))
    return;
  g_autoptr(GString) safe = g_string_new(NULL);
  MfTextVisible visible = {0};
  mf_text_visible_feed(&visible, message, MIN(strlen(message), 500), safe);
  mf_text_visible_end(&visible, safe);
  if (config) {
    g_autofree char *reason =
        g_strdup_printf("the agent could not make the machine ready for a job: %s", safe->str);
    mf_machine_guest_failed(self, reason);
    return;
  }
  exec->error = g_string_free(g_steal_pointer(&safe), FALSE);
}

static gboolean
on_lost_settled(gpointer data)
{
  MfMachine *self = data;
  self->lost_timer = 0;
  mf_machine_guest_failed(self, self->lost);
  return G_SOURCE_REMOVE;
}

/* A channel that closes is mostly a machine that ended, and libvirt is about to say how: that is
 * the better reason. */
static void
on_lost(const char *reason, gpointer data)
{
  MfMachine *self = data;
  g_free(self->lost);
  self->lost = g_strdup_printf("the agent in the machine %s", reason);
  if (self->lost_timer == 0)
    self->lost_timer = g_timeout_add(LOST_SETTLE_MS, on_lost_settled, self);
}

gboolean
mf_machine_link_open(MfMachine *self, GError **error)
{
  static const MfAgentHandler handler = {
      .welcome = on_welcome,
      .hello = on_hello,
      .ready = on_ready,
      .output = on_output,
      .stdin_taken = on_stdin_taken,
      .exited = on_exited,
      .failed = on_failed,
      .lost = on_lost,
  };
  g_autofree char *path = mf_machine_socket_path(self, "agent.sock");
  self->link = mf_agent_link_open(path, self->host->config->agent_timeout, &handler, self, error);
  return self->link != NULL;
}

void
mf_machine_link_close(MfMachine *self)
{
  for (guint i = 0; self->job != NULL && i < self->job->execs->len; i++)
    mf_exec_detach(g_ptr_array_index(self->job->execs, i));
  g_clear_handle_id(&self->lost_timer, g_source_remove);
  g_clear_pointer(&self->link, mf_agent_link_close);
}
