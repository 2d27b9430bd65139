/* SPDX-License-Identifier: Apache-2.0 */
/* A job from its record, after the daemon was restarted. */
#include "daemon/error.h"
#include "daemon/job-private.h"
#include "daemon/json.h"
#include "daemon/record.h"

static gint64
read_time(MfJson *json, const char *key)
{
  MfJson *value;
  return json_object_object_get_ex(json, key, &value)
             ? (gint64)(json_object_get_double(value) * G_USEC_PER_SEC)
             : 0;
}

static gboolean
read_identity(MfJob *self, MfJson *json, GError **error)
{
  guint64 owner = 0, code = G_MAXUINT64;
  g_autofree char *state = NULL;
  g_autofree char *result = NULL;
  if (!mf_json_read_string(json, "job", "id", &self->id, error) ||
      !mf_json_read_uint(json, "job", "owner", 0, G_MAXUINT32, &owner, error) ||
      !mf_json_read_string(json, "job", "name", &self->name, error) ||
      !mf_json_read_string(json, "job", "state", &state, error) ||
      !mf_json_read_string(json, "job", "result", &result, error) ||
      !mf_json_read_string(json, "job", "reason", &self->reason, error) ||
      !mf_json_read_uint(json, "job", "exit_code", 0, 255, &code, error))
    return FALSE;
  g_autofree char *folder_name = g_path_get_basename(self->folder);
  if (g_strcmp0(self->id, folder_name) != 0 || !mf_job_state_from_string(state, &self->state) ||
      (result != NULL && !mf_result_from_string(result, &self->result))) {
    g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED,
                "%s/record.json is not this job's: move the folder away", self->folder);
    return FALSE;
  }
  self->owner = (uid_t)owner;
  self->exit_code = code <= 255 ? (int)code : -1;
  return TRUE;
}

/* One of few words. (transfer none) */
static const char *
read_word(MfJson *json, const char *key)
{
  g_autofree char *word = NULL;
  return mf_json_read_string(json, "job", key, &word, NULL) && word != NULL ? g_intern_string(word)
                                                                            : NULL;
}

static gboolean
read_grant(MfJob *self, MfJson *json, GError **error)
{
  guint64 cpus = 0;
  if (!mf_json_read_uint(json, "job", "cpus", 0, G_MAXUINT, &cpus, error) ||
      !mf_json_read_uint(json, "job", "memory", 0, G_MAXINT64, &self->grant.memory, error) ||
      !mf_json_read_uint(json, "job", "disk", 0, G_MAXINT64, &self->grant.disk, error) ||
      !mf_json_read_uint(json, "job", "timeout", 0, G_MAXINT64, &self->grant.timeout, error) ||
      !mf_json_read_uint(json, "job", "keep_on_failure", 0, G_MAXINT64, &self->grant.keep, error) ||
      !mf_json_read_uint(json, "job", "lease", 0, G_MAXINT64, &self->lease, error) ||
      !mf_json_read_bool(json, "job", "retryable", &self->retryable, error) ||
      !mf_json_read_string(json, "job", "key", &self->key, error) ||
      !mf_json_read_string(json, "job", "template", &self->template_name, error) ||
      !mf_json_read_string(json, "job", "image", &self->image_ref, error) ||
      !mf_json_read_string(json, "job", "machine", &self->machine, error) ||
      !mf_json_read_string(json, "job", "ip", &self->ip, error) ||
      !mf_json_read_string(json, "job", "port", &self->port, error))
    return FALSE;
  self->grant.cpus = (guint)cpus;
  self->created = read_time(json, "created");
  self->started = read_time(json, "started");
  self->deadline = read_time(json, "deadline");
  self->kept_until = read_time(json, "kept_until");
  /* Of a version that knew no others. */
  if (self->machine == NULL)
    self->machine = g_strdup(self->id);
  self->accel = read_word(json, "accel");
  self->how = read_word(json, "how");
  MfJson *timings, *value;
  for (int i = 0; json_object_object_get_ex(json, "timings", &timings) && i < MF_TIMING_LAST_; i++)
    if (json_object_object_get_ex(timings, mf_timing_to_string((MfTiming)i), &value))
      self->timings[i] = json_object_get_double(value);
  return TRUE;
}

/* NULL: it has ended. (transfer full) */
static MfExecSpec *
exec_spec(MfJob *self, guint number)
{
  if (number == 1 && self->spec != NULL && self->spec->exec != NULL)
    return mf_exec_spec_ref(self->spec->exec);
  g_autoptr(MfJson) secrets = mf_record_read_exec(self->folder, number, NULL);
  return secrets != NULL ? mf_exec_spec_from_json(secrets, NULL) : NULL;
}

static gboolean
read_execs(MfJob *self, MfJson *json, guint64 output_limit, GError **error)
{
  MfJson *execs = NULL;
  if (!mf_json_read_array(json, "job", "execs", &execs, error))
    return FALSE;
  for (gsize i = 0; execs != NULL && i < json_object_array_length(execs); i++) {
    g_autoptr(MfExecSpec) spec = exec_spec(self, (guint)i + 1);
    g_autoptr(MfExec) exec =
        mf_exec_restore(self, json_object_array_get_idx(execs, i), spec, output_limit, error);
    if (exec == NULL)
      return FALSE;
    /* Of a job that is over nothing changes any more, and nobody is to be told. */
    if (self->filed)
      g_ptr_array_add(self->execs, g_steal_pointer(&exec));
    else
      mf_job_add_exec(self, exec);
  }
  return TRUE;
}

MfJob *
mf_job_load(const char *folder, guint64 output_limit, GError **error)
{
  g_autoptr(MfJson) record = mf_record_read(folder, "record.json", error);
  if (record == NULL)
    return NULL;
  MfJson *json = NULL;
  g_autoptr(MfJob) self = g_object_new(mf_job_get_type(), NULL);
  self->folder = g_strdup(folder);
  if (!mf_json_read_object(record, "", "job", &json, error) || json == NULL ||
      !mf_json_read_string(record, "", "uuid", &self->uuid, error) ||
      !mf_json_read_string(record, "", "image_digest", &self->image_digest, error) ||
      !mf_json_read_string(record, "", "agent", &self->agent, error) ||
      !mf_json_read_bool(record, "", "hold", &self->hold, error) ||
      !read_identity(self, json, error)) {
    if (error != NULL && *error == NULL)
      g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED,
                  "%s/record.json is not what mayfly wrote there: move the folder away", folder);
    return NULL;
  }
  if (self->state == MF_JOB_FINISHED) {
    self->created = read_time(json, "created");
    self->finished = read_time(json, "finished");
    mf_job_file(self);
    return g_steal_pointer(&self);
  }
  g_autoptr(MfJson) secrets = mf_record_read(folder, "secrets.json", NULL);
  if (secrets != NULL)
    self->spec = mf_job_spec_from_json(secrets, NULL);
  if (!read_grant(self, json, error) || !read_execs(self, json, output_limit, error))
    return NULL;
  return g_steal_pointer(&self);
}

void
mf_job_file(MfJob *self)
{
  char **texts[] = {&self->key,    &self->template_name, &self->image_ref, &self->image_digest,
                    &self->reason, &self->queued_for,    &self->machine,   &self->ip,
                    &self->port,   &self->uuid,          &self->agent};
  /* Memory alone knows how such a job ended. */
  if (self->state != MF_JOB_FINISHED || self->behind)
    return;
  self->filed = TRUE;
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
    g_clear_pointer(texts[i], g_free);
  g_clear_pointer(&self->spec, mf_job_spec_unref);
  g_clear_pointer(&self->template, mf_template_unref);
  g_clear_pointer(&self->image, mf_image_unref);
  g_clear_pointer(&self->console_tail, g_strfreev);
  g_clear_pointer(&self->console, mf_output_log_unref);
  g_clear_pointer(&self->execs, g_ptr_array_unref);
}

void
mf_job_fetch(MfJob *self)
{
  if (!self->filed || self->execs != NULL)
    return;
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJson) record = mf_record_read(self->folder, "record.json", &error);
  MfJson *json = NULL;
  g_autofree char *console = g_build_filename(self->folder, "console.log", NULL);
  if (g_file_test(console, G_FILE_TEST_EXISTS))
    self->console = mf_output_log_new_closed(console, 0, 0);
  self->execs = g_ptr_array_new_with_free_func(g_object_unref);
  /* They are over, so that no limit of their output is asked for. */
  if (record == NULL || !mf_json_read_object(record, "", "job", &json, &error) || json == NULL ||
      !read_execs(self, json, 0, &error))
    g_warning("job %s: its record cannot be read: %s", self->id,
              error != NULL ? error->message : "it is empty");
}
