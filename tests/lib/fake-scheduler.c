/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs without machines: see the header. */
#include "tests/lib/fake-scheduler.h"

#include <string.h>

#include "daemon/error.h"
#include "daemon/frame.h"
#include "daemon/json.h"

#define LOG_LIMIT (G_GUINT64_CONSTANT(1) << 40)

G_DEFINE_FINAL_TYPE(MfHypervisor, mf_hypervisor, G_TYPE_OBJECT)
G_DEFINE_FINAL_TYPE(MfExec, mf_exec, G_TYPE_OBJECT)
G_DEFINE_FINAL_TYPE(MfJob, mf_job, G_TYPE_OBJECT)
G_DEFINE_FINAL_TYPE(MfScheduler, mf_scheduler, G_TYPE_OBJECT)

static void
mf_hypervisor_init(MfHypervisor *self)
{
}

static void
mf_hypervisor_class_init(MfHypervisorClass *class)
{
}

void
mf_hypervisor_stats_async(MfHypervisor *self, const char *id, GCancellable *cancellable,
                          GAsyncReadyCallback callback, gpointer data)
{
  g_autoptr(GTask) task = g_task_new(self, cancellable, callback, data);
  g_assert_true(g_str_has_prefix(id, "p-"));
  MfDomainStats *stats = g_new0(MfDomainStats, 1);
  stats->resident = 4096;
  g_task_return_pointer(task, stats, g_free);
}

MfDomainStats *
mf_hypervisor_stats_finish(MfHypervisor *self, GAsyncResult *result, GError **error)
{
  return g_task_propagate_pointer(G_TASK(result), error);
}

static void
simple_signal(const char *name, gpointer class)
{
  g_signal_new(name, G_TYPE_FROM_CLASS(class), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE,
               0);
}

static void
mf_exec_finalize(GObject *object)
{
  MfExec *self = MF_EXEC(object);
  g_free(self->key);
  mf_output_log_unref(self->output);
  g_byte_array_unref(self->input);
  G_OBJECT_CLASS(mf_exec_parent_class)->finalize(object);
}

static void
mf_exec_init(MfExec *self)
{
  self->input = g_byte_array_new();
}

static void
mf_exec_class_init(MfExecClass *class)
{
  G_OBJECT_CLASS(class)->finalize = mf_exec_finalize;
  simple_signal("changed", class);
}

guint
mf_exec_get_number(MfExec *self)
{
  return self->number;
}

MfOutputLog *
mf_exec_get_output(MfExec *self)
{
  return self->output;
}

gboolean
mf_exec_is_done(MfExec *self)
{
  return self->done;
}

MfJson *
mf_exec_to_json(MfExec *self)
{
  MfJson *json = json_object_new_object();
  mf_json_add_uint(json, "number", self->number);
  mf_json_add_string(json, "state", self->done ? "finished" : "running");
  /* What is not UTF-8 must not make the answer something else than JSON. */
  mf_json_add_string(json, "error", "\xff");
  return json;
}

gint64
mf_exec_write_stdin(MfExec *self, guint64 offset, const void *data, gsize length, gboolean eof,
                    GError **error)
{
  if (offset > self->input->len) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "There is a gap.");
    return -1;
  }
  gsize skip = MIN(self->input->len - offset, length);
  g_byte_array_append(self->input, (const guint8 *)data + skip, (guint)(length - skip));
  self->input_closed |= eof;
  return self->input->len;
}

gboolean
mf_exec_signal(MfExec *self, int signum, GError **error)
{
  self->signum = signum;
  return TRUE;
}

gboolean
mf_exec_resize(MfExec *self, guint rows, guint cols, GError **error)
{
  self->rows = rows;
  self->cols = cols;
  return TRUE;
}

void
fake_exec_write(MfExec *self, guint stream, const void *data, gsize length)
{
  g_autoptr(GError) error = NULL;
  gboolean written = mf_output_log_append(self->output, stream, data, length, &error);
  g_assert_no_error(error);
  g_assert_true(written);
}

void
fake_exec_finish(MfExec *self)
{
  self->done = TRUE;
  mf_output_log_close(self->output);
  g_signal_emit_by_name(self, "changed");
}

static void
mf_job_finalize(GObject *object)
{
  MfJob *self = MF_JOB(object);
  g_free(self->id);
  g_free(self->name);
  g_free(self->key);
  g_free(self->machine);
  g_free(self->cancelled);
  g_ptr_array_unref(self->execs);
  g_clear_pointer(&self->console, mf_output_log_unref);
  G_OBJECT_CLASS(mf_job_parent_class)->finalize(object);
}

static void
mf_job_init(MfJob *self)
{
  self->execs = g_ptr_array_new_with_free_func(g_object_unref);
}

static void
mf_job_class_init(MfJobClass *class)
{
  G_OBJECT_CLASS(class)->finalize = mf_job_finalize;
  simple_signal("changed", class);
  simple_signal("state-changed", class);
}

const char *
mf_job_get_id(MfJob *self)
{
  return self->id;
}

const char *
mf_job_get_name(MfJob *self)
{
  return self->name;
}

const char *
mf_job_get_machine(MfJob *self)
{
  return self->machine;
}

MfExec *
mf_job_find_exec(MfJob *self, const char *key)
{
  for (guint i = 0; i < self->execs->len; i++)
    if (g_strcmp0(((MfExec *)self->execs->pdata[i])->key, key) == 0)
      return self->execs->pdata[i];
  return NULL;
}

uid_t
mf_job_get_owner(MfJob *self)
{
  return self->owner;
}

MfJobState
mf_job_get_state(MfJob *self)
{
  return self->state;
}

MfResult
mf_job_get_result(MfJob *self)
{
  return self->result;
}

MfOutputLog *
mf_job_get_console(MfJob *self)
{
  return self->console;
}

MfExec *
mf_job_get_exec(MfJob *self, guint number)
{
  return number >= 1 && number <= self->execs->len ? self->execs->pdata[number - 1] : NULL;
}

GPtrArray *
mf_job_get_execs(MfJob *self)
{
  return self->execs;
}

MfJson *
mf_job_to_json(MfJob *self)
{
  MfJson *json = json_object_new_object();
  MfJson *timings = json_object_new_object();
  mf_json_add_string(json, "id", self->id);
  mf_json_add_uint(json, "owner", self->owner);
  mf_json_add_string(json, "state", mf_job_state_to_string(self->state));
  mf_json_add(timings, "queue", json_object_new_double(0.03));
  mf_json_add(json, "timings", timings);
  return json;
}

void
fake_job_changed(MfJob *self)
{
  g_signal_emit_by_name(self, "changed");
}

static MfOutputLog *
open_log(MfScheduler *scheduler, MfJob *job, const char *name)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *file = g_strconcat(job->id, "-", name, NULL);
  g_autofree char *path = g_build_filename(scheduler->directory, "logs", file, NULL);
  MfOutputLog *log = mf_output_log_open(path, LOG_LIMIT, &error);
  g_assert_no_error(error);
  return log;
}

MfExec *
fake_job_add_exec(MfScheduler *scheduler, MfJob *self)
{
  MfExec *exec = g_object_new(mf_exec_get_type(), NULL);
  exec->number = self->execs->len + 1;
  g_autofree char *name = g_strdup_printf("%u", exec->number);
  exec->output = open_log(scheduler, self, name);
  g_ptr_array_add(self->execs, exec);
  return exec;
}

void
fake_job_open_console(MfScheduler *scheduler, MfJob *self)
{
  self->console = open_log(scheduler, self, "console");
}

void
fake_job_set_state(MfScheduler *scheduler, MfJob *self, MfJobState state, MfResult result)
{
  self->state = state;
  self->result = result;
  g_signal_emit_by_name(self, "state-changed");
  fake_scheduler_emit(scheduler, "job.state", self->id);
}

static void
mf_scheduler_finalize(GObject *object)
{
  MfScheduler *self = MF_SCHEDULER(object);
  mf_config_free(self->config);
  g_free(self->directory);
  g_free(self->used_image);
  g_ptr_array_unref(self->jobs);
  g_object_unref(self->hypervisor);
  G_OBJECT_CLASS(mf_scheduler_parent_class)->finalize(object);
}

static void
mf_scheduler_init(MfScheduler *self)
{
  self->jobs = g_ptr_array_new_with_free_func(g_object_unref);
  self->hypervisor = g_object_new(mf_hypervisor_get_type(), NULL);
}

static void
mf_scheduler_class_init(MfSchedulerClass *class)
{
  G_OBJECT_CLASS(class)->finalize = mf_scheduler_finalize;
  g_signal_new("event", G_TYPE_FROM_CLASS(class), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
               G_TYPE_NONE, 1, G_TYPE_POINTER);
}

MfScheduler *
fake_scheduler_new(const char *directory)
{
  g_autoptr(GError) error = NULL;
  MfScheduler *self = g_object_new(mf_scheduler_get_type(), NULL);
  self->directory = g_strdup(directory);
  self->config = mf_config_load(NULL, &error);
  g_assert_no_error(error);
  g_free(self->config->state_directory);
  g_free(self->config->template_directory);
  self->config->state_directory = g_strdup(directory);
  self->config->template_directory = g_build_filename(directory, "templates", NULL);
  return self;
}

MfJob *
fake_scheduler_add(MfScheduler *self, const char *id, uid_t owner, MfJobState state)
{
  MfJob *job = g_object_new(mf_job_get_type(), NULL);
  job->id = g_strdup(id);
  job->machine = g_strconcat("p-", id, NULL);
  job->owner = owner;
  job->state = state;
  g_ptr_array_add(self->jobs, job);
  return job;
}

void
fake_scheduler_emit(MfScheduler *self, const char *type, const char *job)
{
  g_autoptr(MfJson) event = json_object_new_object();
  mf_json_add_string(event, "type", type);
  if (job != NULL)
    mf_json_add_string(event, "job", job);
  g_signal_emit_by_name(self, "event", event);
}

MfJob *
mf_scheduler_submit(MfScheduler *self, MfJobSpec *spec, uid_t owner, GError **error)
{
  if (self->draining) {
    g_set_error(error, MF_ERROR, MF_ERROR_BUSY, "No jobs are taken for now.");
    return NULL;
  }
  g_autofree char *id = g_strdup_printf("new%u", self->jobs->len);
  MfJob *job = fake_scheduler_add(self, id, owner, MF_JOB_QUEUED);
  job->name = g_strdup(spec->name);
  job->key = g_strdup(spec->key);
  return job;
}

MfJob *
mf_scheduler_find_key(MfScheduler *self, const char *key, uid_t owner)
{
  for (guint i = 0; i < self->jobs->len; i++) {
    MfJob *job = self->jobs->pdata[i];
    if (job->owner == owner && g_strcmp0(job->key, key) == 0)
      return job;
  }
  return NULL;
}

gboolean
mf_scheduler_end(MfScheduler *self, MfJob *job, MfResult result, int exit_code, GError **error)
{
  if (job->ended != MF_RESULT_NONE) {
    g_set_error(error, MF_ERROR, MF_ERROR_CONFLICT, "The job is over.");
    return FALSE;
  }
  job->ended = result;
  job->end_code = exit_code;
  return TRUE;
}

MfJob *
mf_scheduler_find(MfScheduler *self, const char *id, GError **error)
{
  for (guint i = 0; i < self->jobs->len; i++)
    if (strcmp(((MfJob *)self->jobs->pdata[i])->id, id) == 0)
      return self->jobs->pdata[i];
  g_set_error(error, MF_ERROR, MF_ERROR_NOT_FOUND, "There is no such job.");
  return NULL;
}

GPtrArray *
mf_scheduler_list(MfScheduler *self)
{
  return g_ptr_array_copy(self->jobs, (GCopyFunc)(GCallback)g_object_ref, NULL);
}

void
mf_scheduler_cancel(MfScheduler *self, MfJob *job, const char *reason)
{
  g_free(job->cancelled);
  job->cancelled = g_strdup(reason);
}

MfExec *
mf_scheduler_add_exec(MfScheduler *self, MfJob *job, MfExecSpec *spec, GError **error)
{
  if (job->state != MF_JOB_FINISHED) {
    MfExec *exec = fake_job_add_exec(self, job);
    exec->key = g_strdup(spec->key);
    return exec;
  }
  g_set_error(error, MF_ERROR, MF_ERROR_CONFLICT, "The job is finished.");
  return NULL;
}

void
mf_scheduler_watch(MfScheduler *self, MfJob *job)
{
  job->watchers++;
}

void
mf_scheduler_unwatch(MfScheduler *self, MfJob *job)
{
  g_assert_cmpuint(job->watchers, >, 0);
  job->watchers--;
}

void
mf_scheduler_renew(MfScheduler *self, MfJob *job, guint64 seconds)
{
  job->renewed = seconds;
}

void
mf_scheduler_set_draining(MfScheduler *self, gboolean draining)
{
  self->draining = draining;
}

gboolean
mf_scheduler_get_draining(MfScheduler *self)
{
  return self->draining;
}

gboolean
mf_scheduler_uses_image(MfScheduler *self, const char *digest)
{
  return g_strcmp0(self->used_image, digest) == 0;
}

MfJson *
mf_scheduler_info(MfScheduler *self)
{
  static const char text[] =
      "{\"version\":\"0\",\"accel\":{\"kvm\":false},\"used\":{\"machines\":2},\"network\":{\"ok\":"
      "true,"
      "\"ports\":[{\"tap\":\"a\",\"state\":\"lent\",\"job\":\"mine\"},{\"tap\":\"b\",\"state\":"
      "\"lent\","
      "\"job\":\"theirs\"},{\"tap\":\"c\",\"state\":\"free\",\"job\":null}]}}";
  return json_tokener_parse(text);
}

MfJson *
mf_scheduler_fork(MfScheduler *self, const MfTemplate *template)
{
  if (!template->fork)
    return NULL;
  MfJson *json = json_object_new_object();
  mf_json_add_string(json, "state", "ready");
  mf_json_add_uint(json, "size", 4096);
  mf_json_add_string(json, "problem", NULL);
  mf_json_add_uint(json, "failures", 2);
  mf_json_add(json, "retry", NULL);
  return json;
}

MfJson *
mf_scheduler_pools(MfScheduler *self)
{
  static const char text[] =
      "[{\"template\":\"tiny\",\"wanted\":2,\"ready\":1,\"starting\":0,\"problem\":\"no room\","
      "\"failures\":3,\"retry\":1500.5,\"machines\":[{\"id\":\"p-a\",\"state\":\"ready\",\"since\":"
      "1.5,"
      "\"image\":\"tiny@0123\"}]}]";
  return json_tokener_parse(text);
}

const MfConfig *
mf_scheduler_get_config(MfScheduler *self)
{
  return self->config;
}

MfHypervisor *
mf_scheduler_get_hypervisor(MfScheduler *self)
{
  return self->hypervisor;
}
