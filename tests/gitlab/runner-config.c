/* SPDX-License-Identifier: Apache-2.0 */
/* Runner config: see runner-config.h. What a real runner has besides is passed over in silence. */
#include "tests/gitlab/runner-config.h"

#include <gio/gio.h>

#include "tests/gitlab/toml.h"

static MfJson *
get(MfJson *table, const char *name, json_type type)
{
  MfJson *value = NULL;
  return json_object_object_get_ex(table, name, &value) && json_object_is_type(value, type) ? value
                                                                                            : NULL;
}

static char *
get_string(MfJson *table, const char *name, const char *otherwise)
{
  MfJson *value = get(table, name, json_type_string);
  return g_strdup(value != NULL ? json_object_get_string(value) : otherwise);
}

/* A number that is not above 0 is as good as none, as in a real runner. */
static guint
get_number(MfJson *table, const char *name, guint otherwise)
{
  MfJson *value = get(table, name, json_type_int);
  gint64 number = value != NULL ? json_object_get_int64(value) : 0;
  return number > 0 && number < G_MAXUINT ? (guint)number : otherwise;
}

static void
add_strings(MfJson *table, const char *name, GPtrArray *out)
{
  MfJson *array = get(table, name, json_type_array);
  for (gsize i = 0; array != NULL && i < json_object_array_length(array); i++)
    g_ptr_array_add(out, g_strdup(json_object_get_string(json_object_array_get_idx(array, i))));
}

static char **
get_strings(MfJson *table, const char *name)
{
  GPtrArray *out = g_ptr_array_new();
  add_strings(table, name, out);
  g_ptr_array_add(out, NULL);
  return (char **)g_ptr_array_free(out, FALSE);
}

static RunnerExec
get_exec(MfJson *custom, const char *stage)
{
  g_autofree char *exec = g_strconcat(stage, "_exec", NULL);
  g_autofree char *args = g_strconcat(stage, "_args", NULL);
  g_autofree char *timeout = g_strconcat(stage, "_exec_timeout", NULL);
  g_autofree char *program = get_string(custom, exec, "");
  RunnerExec result = {.timeout = get_number(custom, timeout, 3600)};
  if (*program != '\0') {
    GPtrArray *argv = g_ptr_array_new();
    g_ptr_array_add(argv, g_strdup(program));
    add_strings(custom, args, argv);
    g_ptr_array_add(argv, NULL);
    result.argv = (char **)g_ptr_array_free(argv, FALSE);
  }
  return result;
}

static char *
get_cache_url(MfJson *runner)
{
  MfJson *cache = get(runner, "cache", json_type_object);
  MfJson *s3 = cache != NULL ? get(cache, "s3", json_type_object) : NULL;
  if (s3 == NULL)
    return NULL;
  g_autofree char *address = get_string(s3, "ServerAddress", "");
  g_autofree char *bucket = get_string(s3, "BucketName", "");
  MfJson *insecure = get(s3, "Insecure", json_type_boolean);
  gboolean plain = insecure != NULL && json_object_get_boolean(insecure);
  return g_strdup_printf("%s://%s/%s", plain ? "http" : "https", address, bucket);
}

RunnerConfig *
runner_config_load(const char *path, GError **error)
{
  g_autofree char *text = NULL;
  if (!g_file_get_contents(path, &text, NULL, error))
    return NULL;
  g_autoptr(MfJson) root = toml_parse(text, error);
  if (root == NULL) {
    g_prefix_error(error, "%s: ", path);
    return NULL;
  }
  MfJson *runners = get(root, "runners", json_type_array);
  MfJson *runner = runners != NULL ? json_object_array_get_idx(runners, 0) : NULL;
  MfJson *custom = runner != NULL ? get(runner, "custom", json_type_object) : NULL;
  g_autofree char *executor = get_string(runner, "executor", "");
  if (custom == NULL || !g_str_equal(executor, "custom")) {
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                "%s: no [[runners]] with the executor custom", path);
    return NULL;
  }
  g_autoptr(RunnerConfig) self = g_new0(RunnerConfig, 1);
  self->concurrent = get_number(root, "concurrent", 1);
  self->check_interval = get_number(root, "check_interval", 3);
  self->name = get_string(runner, "name", "stand-in");
  self->url = get_string(runner, "url", "");
  self->token = get_string(runner, "token", "");
  self->shell = get_string(runner, "shell", "bash");
  self->builds_dir = get_string(runner, "builds_dir", NULL);
  self->cache_dir = get_string(runner, "cache_dir", NULL);
  self->limit = get_number(runner, "limit", 0);
  self->output_limit = (gsize)get_number(runner, "output_limit", 4096) << 10;
  self->environment = get_strings(runner, "environment");
  self->config = get_exec(custom, "config");
  self->prepare = get_exec(custom, "prepare");
  self->run = get_exec(custom, "run");
  self->cleanup = get_exec(custom, "cleanup");
  self->graceful_kill = get_number(custom, "graceful_kill_timeout", 600);
  self->force_kill = get_number(custom, "force_kill_timeout", 10);
  self->cache_url = get_cache_url(runner);
  self->prepare_interval = 3000;
  self->stage_interval = 1000;
  self->update_interval = 3000;
  self->touch_interval = 30000;
  self->build_finish = 300000;
  self->after_script = 300000;
  return g_steal_pointer(&self);
}

void
runner_config_free(RunnerConfig *self)
{
  RunnerExec *execs[] = {&self->config, &self->prepare, &self->run, &self->cleanup};
  for (guint i = 0; i < G_N_ELEMENTS(execs); i++)
    g_strfreev(execs[i]->argv);
  g_strfreev(self->environment);
  g_free(self->name);
  g_free(self->url);
  g_free(self->token);
  g_free(self->shell);
  g_free(self->builds_dir);
  g_free(self->cache_dir);
  g_free(self->cache_url);
  g_free(self);
}
