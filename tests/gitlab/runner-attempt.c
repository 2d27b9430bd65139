/* SPDX-License-Identifier: Apache-2.0 */
/* Runner attempt: one try of prepare has its own TMPDIR, asks config_exec anew, and ends with
 * cleanup_exec. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>

#include "daemon/tree.h"
#include "tests/gitlab/runner-job.h"

static MfJson *
get(MfJson *object, const char *name)
{
  MfJson *value = NULL;
  return json_object_object_get_ex(object, name, &value) ? value : NULL;
}

static const char *
get_string(MfJson *object, const char *name)
{
  MfJson *value = get(object, name);
  return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : NULL;
}

static Result
system_failure(char *message)
{
  return (Result){.kind = RESULT_SYSTEM, .reason = "runner_system_failure", .message = message};
}

/* --- TMPDIR --- */

static void
write_response(Job *self)
{
  g_autofree char *path = g_build_filename(self->attempt.folder, "response.json", NULL);
  const char *text = json_object_to_json_string_ext(
      self->payload, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
  g_auto(MfFd) fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  gsize length = strlen(text);
  if (fd < 0 || write(fd, text, length) != (gssize)length)
    g_error("%s: %s", path, g_strerror(errno));
}

static void
begin(Job *self)
{
  Attempt *attempt = &self->attempt;
  attempt->folder = g_build_filename(g_get_tmp_dir(), "custom-executorXXXXXX", NULL);
  if (g_mkdtemp_full(attempt->folder, 0700) == NULL)
    g_error("%s: %s", attempt->folder, g_strerror(errno));
  attempt->builds_dir = g_strdup(self->config->builds_dir);
  attempt->cache_dir = g_strdup(self->config->cache_dir);
  attempt->shell = g_strdup(self->config->shell);
  write_response(self);
}

void
attempt_clear(Attempt *attempt)
{
  g_clear_pointer(&attempt->folder, g_free);
  g_clear_pointer(&attempt->job_env, g_strfreev);
  g_clear_pointer(&attempt->builds_dir, g_free);
  g_clear_pointer(&attempt->cache_dir, g_free);
  g_clear_pointer(&attempt->shell, g_free);
  g_clear_pointer(&attempt->hostname, g_free);
  g_clear_pointer(&attempt->driver, g_free);
  attempt->shared = FALSE;
}

/* --- variables --- */

/* "group/project" out of the repository's URL. (transfer full) */
static char *
project_path(Job *self)
{
  MfJson *info = get(self->payload, "git_info");
  const char *url = get_string(info, "repo_url");
  const char *host = url != NULL ? strstr(url, "://") : NULL;
  const char *path = host != NULL ? strchr(host + 3, '/') : NULL;
  if (path == NULL)
    return g_strdup("group/project");
  path++;
  return g_strndup(path, strlen(path) - (g_str_has_suffix(path, ".git") ? 4 : 0));
}

static char *
project_dir(Job *self)
{
  g_autofree char *path = project_path(self);
  if (!self->attempt.shared)
    return g_build_filename(self->attempt.builds_dir, path, NULL);
  g_autofree char *slot = g_strdup_printf("%u", self->slot);
  g_autofree char *token = g_strndup(self->config->token, 8);
  return g_build_filename(self->attempt.builds_dir, token, slot, path, NULL);
}

/* The runner's first, so that the job's can stand in their place: a driver must not trust them. */
static void
set_variables(Job *self)
{
  g_autoptr(Variables) variables = variables_new();
  g_autofree char *slot = g_strdup_printf("%u", self->slot);
  MfJson *image = get(self->payload, "image");
  variables_set(variables, "CI_SERVER", "yes");
  variables_set(variables, "CI_CONCURRENT_ID", slot);
  variables_set(variables, "CI_CONCURRENT_PROJECT_ID", slot);
  variables_set(variables, "CI_SHARED_ENVIRONMENT", "true");
  variables_set(variables, "CI_JOB_STATUS", "running");
  if (self->attempt.builds_dir != NULL) {
    g_autofree char *folder = project_dir(self);
    variables_set(variables, "CI_BUILDS_DIR", self->attempt.builds_dir);
    variables_set(variables, "CI_PROJECT_DIR", folder);
  }
  if (get_string(image, "name") != NULL)
    variables_set(variables, "CI_JOB_IMAGE", get_string(image, "name"));
  MfJson *services = get(self->payload, "services");
  gboolean none = services == NULL || json_object_array_length(services) == 0;
  variables_set(variables, "CI_JOB_SERVICES", none ? "" : json_object_to_json_string(services));
  for (guint i = 0; self->config->environment[i] != NULL; i++) {
    g_auto(GStrv) pair = g_strsplit(self->config->environment[i], "=", 2);
    if (pair[0] != NULL && pair[1] != NULL)
      variables_set(variables, pair[0], pair[1]);
  }
  variables_add_json(variables, get(self->payload, "variables"));
  g_clear_pointer(&self->variables, variables_free);
  self->variables = g_steal_pointer(&variables);
}

/* --- config_exec --- */

static void
take_string(MfJson *config, const char *name, char **place)
{
  if (get_string(config, name) != NULL) {
    g_free(*place);
    *place = g_strdup(get_string(config, name));
  }
}

static void
take_config(Job *self, MfJson *config)
{
  Attempt *attempt = &self->attempt;
  take_string(config, "builds_dir", &attempt->builds_dir);
  take_string(config, "cache_dir", &attempt->cache_dir);
  take_string(config, "hostname", &attempt->hostname);
  take_string(config, "shell", &attempt->shell);
  MfJson *shared = get(config, "builds_dir_is_shared");
  attempt->shared = shared != NULL && json_object_get_boolean(shared);
  MfJson *driver = get(config, "driver");
  const char *name = get_string(driver, "name"), *version = get_string(driver, "version");
  if (name != NULL)
    attempt->driver = g_strjoin(" ", name, version, NULL);
  MfJson *env = get(config, "job_env");
  g_autoptr(GPtrArray) list = g_ptr_array_new();
  if (json_object_is_type(env, json_type_object)) {
    json_object_object_foreach(env, key, value)
        g_ptr_array_add(list, g_strconcat(key, "=", json_object_get_string(value), NULL));
    g_ptr_array_add(list, NULL);
    attempt->job_env = (char **)g_ptr_array_free(g_steal_pointer(&list), FALSE);
  }
}

/* Nothing printed is no change; anything else must be one object, a line end alone too. */
static Result
ask_config(Job *self)
{
  if (self->config->config.argv == NULL)
    return (Result){.kind = RESULT_OK};
  g_autoptr(GString) output = g_string_new(NULL);
  Result result = job_program(self, &self->config->config, &self->context, output);
  if (result.kind != RESULT_OK || output->len == 0)
    return result;
  g_autoptr(MfJson) config = json_tokener_parse(output->str);
  if (!json_object_is_type(config, json_type_object))
    return system_failure(g_strdup("error while parsing JSON output of config_exec"));
  take_config(self, config);
  return result;
}

/* --- the attempt --- */

static void
expand_names(Job *self)
{
  MfJson *image = get(self->payload, "image");
  const char *name = get_string(image, "name");
  if (name == NULL)
    return;
  g_autofree char *expanded = variables_expand(self->variables, name);
  json_object_object_add(image, "name", json_object_new_string(expanded));
}

Result
job_attempt(Job *self)
{
  attempt_clear(&self->attempt);
  set_variables(self);
  expand_names(self);
  begin(self);
  set_variables(self);
  Result result = ask_config(self);
  if (result.kind != RESULT_OK)
    return result;
  if (self->attempt.driver != NULL)
    trace_printf(self->trace, "Using Custom executor with driver %s...\n", self->attempt.driver);
  else
    trace_printf(self->trace, "Using Custom executor...\n");
  if (self->attempt.builds_dir == NULL)
    return system_failure(g_strdup("the builds_dir is not configured"));
  set_variables(self);
  if (self->config->prepare.argv == NULL)
    return result;
  return job_program(self, &self->config->prepare, &self->context, NULL);
}

/* What it says is for the runner's own log; the job does not see it. */
static void
log_line(gpointer data, const char *bytes, gsize length)
{
  const Job *self = data;
  g_printerr("runner: job %s: cleanup: %.*s%s", self->id, (int)length, bytes,
             length > 0 && bytes[length - 1] == '\n' ? "" : "\n");
}

void
job_attempt_end(Job *self)
{
  Context whatever;
  const RunnerExec *exec = &self->config->cleanup;
  g_autoptr(GString) output = g_string_new(NULL);
  context_init(&whatever, NULL, 0);
  if (exec->argv != NULL) {
    g_auto(Result) result = job_program(self, exec, &whatever, output);
    if (output->len > 0)
      log_line(self, output->str, output->len);
    if (result.kind != RESULT_OK)
      trace_printf(self->trace, "WARNING: Cleanup script failed: %s\n", result.message);
  }
  /* Its name stays: a program that was left behind may still be asked about. */
  (void)mf_tree_remove(self->attempt.folder);
}
