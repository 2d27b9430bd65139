/* SPDX-License-Identifier: Apache-2.0 */
/* A job's specification as JSON again: what secrets.json holds, and what a restarted daemon reads
 * back. */
#include "daemon/job-spec.h"

#include <string.h>

#include "daemon/json.h"

static void
add_base64(MfJson *json, const char *key, GBytes *bytes)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  g_autofree char *text = g_base64_encode(data, length);
  mf_json_add_string(json, key, text);
}

static void
add_env(MfJson *json, char *const *env)
{
  if (env == NULL)
    return;
  MfJson *object = json_object_new_object();
  for (char *const *pair = env; *pair != NULL; pair++) {
    const char *equals = strchr(*pair, '=');
    g_autofree char *name = g_strndup(*pair, (gsize)(equals - *pair));
    json_object_object_add(object, name, json_object_new_string(equals + 1));
  }
  mf_json_add(json, "env", object);
}

MfJson *
mf_exec_spec_to_json(const MfExecSpec *self)
{
  MfJson *json = json_object_new_object();
  mf_json_add_string(json, "key", self->key);
  if (self->argv != NULL)
    mf_json_add_strv(json, "argv", self->argv);
  if (self->script != NULL)
    add_base64(json, "script_base64", self->script);
  if (self->shell != NULL)
    mf_json_add_strv(json, "shell", self->shell);
  add_env(json, self->env);
  mf_json_add_string(json, "cwd", self->cwd);
  mf_json_add_string(json, "user", self->user);
  mf_json_add_bool(json, "tty", self->tty);
  if (self->tty) {
    mf_json_add_uint(json, "rows", self->rows);
    mf_json_add_uint(json, "cols", self->cols);
  }
  mf_json_add_bool(json, "stdin", self->open_stdin);
  return json;
}

MfJson *
mf_job_spec_to_json(const MfJobSpec *self)
{
  MfJson *json = json_object_new_object();
  mf_json_add_string(json, "template", self->template);
  mf_json_add_string(json, "name", self->name);
  mf_json_add_string(json, "key", self->key);
  mf_json_add_uint(json, "cpus", self->cpus);
  mf_json_add_uint(json, "memory", self->memory);
  mf_json_add_uint(json, "disk", self->disk);
  mf_json_add_uint(json, "timeout", self->timeout);
  mf_json_add_uint(json, "lease", self->lease);
  mf_json_add_uint(json, "keep_on_failure", self->keep);
  mf_json_add_bool(json, "hold", self->hold);
  mf_json_add_bool(json, "retryable", self->retryable);
  add_env(json, self->env);
  MfJson *files = json_object_new_array();
  for (guint i = 0; self->files != NULL && i < self->files->len; i++) {
    const MfFile *file = g_ptr_array_index(self->files, i);
    g_autofree char *mode = g_strdup_printf("%04o", file->mode);
    MfJson *item = json_object_new_object();
    mf_json_add_string(item, "path", file->path);
    mf_json_add_string(item, "mode", mode);
    add_base64(item, "content_base64", file->content);
    json_object_array_add(files, item);
  }
  mf_json_add(json, "files", files);
  if (self->exec != NULL)
    mf_json_add(json, "exec", mf_exec_spec_to_json(self->exec));
  return json;
}
