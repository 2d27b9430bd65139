/* SPDX-License-Identifier: Apache-2.0 */
/* Job: its state, its record, what clients see of it. */
#include "daemon/job.h"

#include <pwd.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/job-private.h"
#include "daemon/json.h"
#include "daemon/record.h"

G_DEFINE_FINAL_TYPE(MfJob, mf_job, G_TYPE_OBJECT)

enum { STATE_CHANGED, CHANGED, N_SIGNALS };
static guint signals[N_SIGNALS];

static const char *const timing_names[] = {
    [MF_TIMING_QUEUE] = "queue",       [MF_TIMING_PREPARE] = "prepare",
    [MF_TIMING_CLONE] = "clone",       [MF_TIMING_WAIT] = "wait",
    [MF_TIMING_INJECT] = "inject",     [MF_TIMING_PORT] = "port",
    [MF_TIMING_START] = "start",       [MF_TIMING_HELLO] = "hello",
    [MF_TIMING_BOOT] = "boot",         [MF_TIMING_FIRST_OUTPUT] = "first_output",
    [MF_TIMING_TEARDOWN] = "teardown",
};
G_STATIC_ASSERT(G_N_ELEMENTS(timing_names) == MF_TIMING_LAST_);

const char *
mf_timing_to_string(MfTiming timing)
{
  g_return_val_if_fail((guint)timing < MF_TIMING_LAST_, NULL);
  return timing_names[timing];
}

MfJob *
mf_job_new(const char *id, uid_t owner, const char *jobs_folder, MfJobSpec *spec,
           MfTemplate *template, MfImage *image, const MfGrant *grant)
{
  MfJob *self = g_object_new(mf_job_get_type(), NULL);
  self->id = g_strdup(id);
  self->owner = owner;
  self->folder = g_build_filename(jobs_folder, id, NULL);
  self->spec = mf_job_spec_ref(spec);
  self->template = mf_template_ref(template);
  self->image = mf_image_ref(image);
  self->name = g_strdup(spec->name);
  self->key = g_strdup(spec->key);
  self->template_name = g_strdup(template->name);
  self->image_ref = g_strdup_printf("%s@%.12s", image->name, image->digest);
  self->image_digest = g_strdup(image->digest);
  self->grant = *grant;
  self->lease = spec->lease;
  self->hold = spec->hold || spec->exec == NULL;
  self->retryable = spec->retryable;
  self->machine = g_strdup(id);
  self->uuid = g_uuid_string_random();
  self->created = g_get_real_time();
  return self;
}

static MfJson *
time_json(gint64 microseconds)
{
  return microseconds > 0 ? json_object_new_double((double)microseconds / G_USEC_PER_SEC) : NULL;
}

/* The name of a uid is asked once and kept: the user database may be on the network. */
static const char *
owner_name(uid_t uid)
{
  static GHashTable *names;
  if (names == NULL)
    names = g_hash_table_new(NULL, NULL);
  const char *name = g_hash_table_lookup(names, GUINT_TO_POINTER(uid));
  if (name == NULL) {
    struct passwd *entry = getpwuid(uid);
    name = entry ? g_intern_string(entry->pw_name) : "";
    g_hash_table_insert(names, GUINT_TO_POINTER(uid), (gpointer)name);
  }
  return *name ? name : NULL;
}

const char *
mf_job_get_owner_name(MfJob *self)
{
  return owner_name(self->owner);
}

static void
add_result(MfJob *self, MfJson *json)
{
  mf_json_add_string(json, "state", mf_job_state_to_string(self->state));
  mf_json_add_string(json, "result",
                     self->result == MF_RESULT_NONE ? NULL : mf_result_to_string(self->result));
  mf_json_add(json, "exit_code",
              self->exit_code >= 0 ? json_object_new_int(self->exit_code) : NULL);
  mf_json_add_string(json, "reason", self->reason);
  mf_json_add_string(json, "phase", self->phase);
  mf_json_add(json, "position",
              self->position > 0 ? json_object_new_int((int)self->position) : NULL);
  mf_json_add_string(json, "queued_for", self->state == MF_JOB_QUEUED ? self->queued_for : NULL);
}

static MfJson *
timings_json(MfJob *self)
{
  MfJson *json = json_object_new_object();
  for (int i = 0; i < MF_TIMING_LAST_; i++)
    if (self->timings[i] >= 0) {
      char text[G_ASCII_DTOSTR_BUF_SIZE];
      g_ascii_formatd(text, sizeof text, "%.3f", self->timings[i]);
      mf_json_add(json, timing_names[i], json_object_new_double_s(self->timings[i], text));
    }
  return json;
}

MfJson *
mf_job_to_json(MfJob *self)
{
  if (self->filed) {
    g_autoptr(MfJson) record = mf_record_read(self->folder, "record.json", NULL);
    MfJson *filed = NULL;
    if (json_object_object_get_ex(record, "job", &filed))
      return json_object_get(filed);
  }
  MfJson *json = json_object_new_object();
  mf_json_add_string(json, "id", self->id);
  mf_json_add_string(json, "name", self->name);
  mf_json_add_string(json, "key", self->key);
  mf_json_add_uint(json, "owner", self->owner);
  mf_json_add_string(json, "owner_name", owner_name(self->owner));
  add_result(self, json);
  mf_json_add_string(json, "template", self->template_name);
  mf_json_add_string(json, "image", self->image_ref);
  mf_json_add_uint(json, "cpus", self->grant.cpus);
  mf_json_add_uint(json, "memory", self->grant.memory);
  mf_json_add_uint(json, "disk", self->grant.disk);
  mf_json_add_uint(json, "timeout", self->grant.timeout);
  mf_json_add_uint(json, "lease", self->lease);
  mf_json_add_uint(json, "keep_on_failure", self->grant.keep);
  mf_json_add_bool(json, "retryable", self->retryable);
  mf_json_add(json, "kept_until", time_json(self->kept_until));
  mf_json_add(json, "deadline", time_json(self->deadline));
  mf_json_add_string(json, "machine", self->machine);
  mf_json_add_string(json, "ip", self->ip);
  mf_json_add_string(json, "port", self->port);
  mf_json_add(json, "created", time_json(self->created));
  mf_json_add(json, "started", time_json(self->started));
  mf_json_add(json, "finished", time_json(self->finished));
  mf_json_add_string(json, "accel", self->accel);
  mf_json_add_string(json, "how", self->how);
  mf_json_add(json, "timings", timings_json(self));
  if (self->console_tail != NULL)
    mf_json_add_strv(json, "console_tail", self->console_tail);
  MfJson *execs = json_object_new_array();
  for (guint i = 0; self->execs != NULL && i < self->execs->len; i++)
    json_object_array_add(execs, mf_exec_to_json(g_ptr_array_index(self->execs, i)));
  mf_json_add(json, "execs", execs);
  return json;
}

/* The record is what clients see, and beside it what only a restarted daemon needs. */
static MfJson *
record_json(MfJob *self)
{
  MfJson *json = json_object_new_object();
  mf_json_add_uint(json, "version", 1);
  mf_json_add(json, "job", mf_job_to_json(self));
  mf_json_add_string(json, "uuid", self->uuid);
  mf_json_add_string(json, "image_digest", self->image_digest);
  mf_json_add_string(json, "agent", self->agent);
  mf_json_add_bool(json, "hold", self->hold);
  return json;
}

gboolean
mf_job_create_record(MfJob *self, GError **error)
{
  g_autoptr(MfJson) record = record_json(self);
  g_autoptr(MfJson) secrets = mf_job_spec_to_json(self->spec);
  return mf_record_create(self->folder, record, secrets, error);
}

void
mf_job_save(MfJob *self)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJson) record = record_json(self);
  self->behind = !mf_record_write(self->folder, record, &error);
  if (self->behind)
    g_warning("job %s: its record is behind: %s", self->id, error->message);
}

void
mf_job_set_state(MfJob *self, MfJobState state)
{
  if (!mf_job_state_allows(self->state, state)) {
    g_critical("job %s: no transition from %s to %s", self->id, mf_job_state_to_string(self->state),
               mf_job_state_to_string(state));
    return;
  }
  self->state = state;
  if (state == MF_JOB_STARTING)
    self->started = g_get_real_time();
  if (state == MF_JOB_FINISHED)
    self->finished = g_get_real_time();
  if (state != MF_JOB_QUEUED)
    self->position = 0;
  if (state != MF_JOB_STARTING)
    self->phase = NULL;
  mf_job_save(self);
  g_signal_emit(self, signals[STATE_CHANGED], 0);
}

void
mf_job_start_over(MfJob *self, char *machine)
{
  g_free(self->machine);
  self->machine = machine;
  g_free(self->uuid);
  self->uuid = g_uuid_string_random();
  g_clear_pointer(&self->port, g_free);
  g_clear_pointer(&self->ip, g_free);
  self->started = 0;
  for (int i = 0; i < MF_TIMING_LAST_; i++)
    self->timings[i] = -1;
  mf_job_set_state(self, MF_JOB_QUEUED);
}

void
mf_job_emit_changed(MfJob *self)
{
  g_signal_emit(self, signals[CHANGED], 0);
}

void
mf_job_set_phase(MfJob *self, const char *phase)
{
  if (self->phase == phase)
    return;
  self->phase = phase;
  mf_job_emit_changed(self);
}

void
mf_job_set_timing(MfJob *self, MfTiming timing, double seconds)
{
  self->timings[timing] = seconds;
}

void
mf_job_set_result(MfJob *self, MfResult result, int exit_code, const char *reason)
{
  if (self->result != MF_RESULT_NONE)
    return;
  self->result = result;
  self->exit_code = exit_code;
  self->reason = g_strdup(reason);
}

static void
on_exec_changed(MfExec *exec, gpointer data)
{
  MfJob *self = data;
  g_autoptr(GError) error = NULL;
  /* What came with the job is in the job's own, of which others may need the variables. */
  if (exec->state == MF_EXEC_FINISHED && !mf_record_wipe_exec(self->folder, exec->number, &error))
    g_warning("job %s: %s", self->id, error->message);
  mf_job_emit_changed(self);
}

gboolean
mf_job_keep_exec(MfJob *self, MfExec *exec, GError **error)
{
  g_autoptr(MfJson) secrets = mf_exec_spec_to_json(exec->spec);
  return mf_record_write_exec(self->folder, exec->number, secrets, error);
}

void
mf_job_add_exec(MfJob *self, MfExec *exec)
{
  g_ptr_array_add(self->execs, g_object_ref(exec));
  g_signal_connect_object(exec, "changed", G_CALLBACK(on_exec_changed), self, 0);
  mf_job_emit_changed(self);
}

gboolean
mf_job_has_running_exec(MfJob *self)
{
  for (guint i = 0; i < self->execs->len; i++)
    if (((MfExec *)g_ptr_array_index(self->execs, i))->state != MF_EXEC_FINISHED)
      return TRUE;
  return FALSE;
}

void
mf_job_wipe(MfJob *self)
{
  g_autoptr(GError) error = NULL;
  if (!mf_record_wipe_secrets(self->folder, &error))
    g_warning("job %s: %s", self->id, error->message);
  g_clear_pointer(&self->spec, mf_job_spec_unref);
  for (guint i = 0; i < self->execs->len; i++)
    g_clear_pointer(&((MfExec *)g_ptr_array_index(self->execs, i))->spec, mf_exec_spec_unref);
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
  mf_job_fetch(self);
  return self->console;
}

MfExec *
mf_job_get_exec(MfJob *self, guint number)
{
  mf_job_fetch(self);
  return number >= 1 && number <= self->execs->len ? g_ptr_array_index(self->execs, number - 1)
                                                   : NULL;
}

MfExec *
mf_job_find_exec(MfJob *self, const char *key)
{
  mf_job_fetch(self);
  for (guint i = 0; i < self->execs->len; i++) {
    MfExec *exec = g_ptr_array_index(self->execs, i);
    if (g_strcmp0(exec->key, key) == 0)
      return exec;
  }
  return NULL;
}

GPtrArray *
mf_job_get_execs(MfJob *self)
{
  mf_job_fetch(self);
  return self->execs;
}

static void
mf_job_finalize(GObject *object)
{
  MfJob *self = MF_JOB(object);
  g_clear_pointer(&self->spec, mf_job_spec_unref);
  g_clear_pointer(&self->template, mf_template_unref);
  g_clear_pointer(&self->image, mf_image_unref);
  g_clear_pointer(&self->console, mf_output_log_unref);
  g_clear_pointer(&self->execs, g_ptr_array_unref);
  g_strfreev(self->console_tail);
  g_free(self->id);
  g_free(self->folder);
  g_free(self->name);
  g_free(self->key);
  g_free(self->template_name);
  g_free(self->image_ref);
  g_free(self->image_digest);
  g_free(self->reason);
  g_free(self->queued_for);
  g_free(self->ip);
  g_free(self->port);
  g_free(self->machine);
  g_free(self->uuid);
  g_free(self->agent);
  G_OBJECT_CLASS(mf_job_parent_class)->finalize(object);
}

static void
mf_job_class_init(MfJobClass *class)
{
  G_OBJECT_CLASS(class)->finalize = mf_job_finalize;
  GType type = G_TYPE_FROM_CLASS(class);
  signals[STATE_CHANGED] =
      g_signal_new("state-changed", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
  signals[CHANGED] =
      g_signal_new("changed", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
}

static void
mf_job_init(MfJob *self)
{
  self->exit_code = -1;
  self->execs = g_ptr_array_new_with_free_func(g_object_unref);
  for (int i = 0; i < MF_TIMING_LAST_; i++)
    self->timings[i] = -1;
}
