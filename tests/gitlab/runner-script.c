/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runner script: see runner-script.h. The commands stand in one quoted word that is evaluated with
 * nothing on standard input, so that a shell that reads the script there never has it eaten by what
 * the job runs.
 */
#include "tests/gitlab/runner-script.h"

#include <string.h>

static MfJson *
get(MfJson *object, const char *name)
{
  MfJson *value = NULL;
  return json_object_object_get_ex(object, name, &value) ? value : NULL;
}

static const char *
get_string(MfJson *object, const char *name, const char *otherwise)
{
  MfJson *value = get(object, name);
  return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : otherwise;
}

static gsize
count(MfJson *array)
{
  return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

/* One shell word. (transfer full) */
static char *
quote(const Script *self, const char *text)
{
  if (strcmp(self->shell, "bash") != 0)
    return g_shell_quote(text);
  GString *out = g_string_new("$'");
  for (; *text != '\0'; text++) {
    if (*text == '\\' || *text == '\'')
      g_string_append_printf(out, "\\%c", *text);
    else if (*text == '\n')
      g_string_append(out, "\\n");
    else if ((guchar)*text < 0x20 || (guchar)*text >= 0x7f)
      g_string_append_printf(out, "\\x%02x", (guchar)*text);
    else
      g_string_append_c(out, *text);
  }
  g_string_append_c(out, '\'');
  return g_string_free(out, FALSE);
}

/* A line of the script; every %s of @format is given as text and stands there as one word. */
static void
add(const Script *self, GString *body, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  for (; *format != '\0'; format++) {
    if (format[0] == '%' && format[1] == 's') {
      g_autofree char *word = quote(self, va_arg(args, const char *));
      g_string_append(body, word);
      format++;
    } else {
      g_string_append_c(body, *format);
    }
  }
  va_end(args);
  g_string_append_c(body, '\n');
}

static char *
file_of(const Script *self, const Variable *variable)
{
  return g_strdup_printf("%s.tmp/%s", self->project_dir, variable->key);
}

static void
add_variables(const Script *self, GString *body)
{
  g_autofree char *folder = g_strconcat(self->project_dir, ".tmp", NULL);
  for (guint i = 0; i < self->variables->list->len; i++) {
    const Variable *variable = self->variables->list->pdata[i];
    if (!variable->file) {
      g_string_append_printf(body, "export %s=", variable->key);
      add(self, body, "%s", variable->value);
      continue;
    }
    g_autofree char *path = file_of(self, variable);
    add(self, body, "mkdir -p %s", folder);
    g_string_append(body, "printf '%s' ");
    add(self, body, "%s > %s", variable->value, path);
    g_string_append_printf(body, "export %s=", variable->key);
    add(self, body, "%s", path);
  }
}

/* --- stages --- */

static gboolean
prepare_script(const Script *self, GString *body)
{
  g_string_append(body, "echo \"Running on $(hostname) via stand-in...\"\n");
  return TRUE;
}

static void
fetch(const Script *self, GString *body, MfJson *info)
{
  g_autofree char *template = g_strconcat(self->project_dir, ".tmp/git-template", NULL);
  g_autofree char *config = g_strconcat(template, "/config", NULL);
  MfJson *refspecs = get(info, "refspecs"), *depth = get(info, "depth");
  add(self, body, "echo 'Fetching changes...'");
  add(self, body, "mkdir -p %s", template);
  add(self, body, "git config -f %s init.defaultBranch none", config);
  add(self, body, "git config -f %s fetch.recurseSubmodules false", config);
  add(self, body, "git init -q %s --template %s", self->project_dir, template);
  add(self, body, "cd %s", self->project_dir);
  add(self, body, "git remote add origin %s || git remote set-url origin %s",
      get_string(info, "repo_url", ""), get_string(info, "repo_url", ""));
  g_string_append(body, "git -c http.userAgent=stand-in fetch origin --quiet --force --prune");
  if (depth != NULL && json_object_get_int(depth) > 0)
    g_string_append_printf(body, " --depth %d", json_object_get_int(depth));
  for (gsize i = 0; i < count(refspecs); i++) {
    g_autofree char *word =
        quote(self, json_object_get_string(json_object_array_get_idx(refspecs, i)));
    g_string_append_printf(body, " %s", word);
  }
  g_string_append_c(body, '\n');
  add(self, body, "git checkout -f -q %s", get_string(info, "sha", "FETCH_HEAD"));
  add(self, body, "git clean -ffdx");
}

static gboolean
get_sources(const Script *self, GString *body)
{
  const char *strategy = variables_get(self->variables, "GIT_STRATEGY");
  if (strategy != NULL && (strcmp(strategy, "none") == 0 || strcmp(strategy, "empty") == 0)) {
    add(self, body, "mkdir -p %s", self->project_dir);
    add(self, body, "echo 'Skipping Git repository setup'");
  } else {
    fetch(self, body, get(self->payload, "git_info"));
  }
  return TRUE;
}

static gboolean
clear_worktree(const Script *self, GString *body)
{
  add(self, body, "rm -rf %s", self->project_dir);
  return TRUE;
}

/* What only the guest's own gitlab-runner can do is left out where there is none, and said. */
static void
open_helper(const Script *self, GString *body, const char *what)
{
  add(self, body, "if gitlab-runner --version >/dev/null 2>&1; then");
  add(self, body, "cd %s", self->project_dir);
  add(self, body, "echo %s", what);
}

static void
close_helper(const Script *self, GString *body, const char *what)
{
  add(self, body, "else");
  g_string_append_printf(body, "echo 'Missing gitlab-runner. %s is disabled.'\nfi\n", what);
}

static void
add_paths(const Script *self, GString *body, MfJson *paths)
{
  for (gsize i = 0; i < count(paths); i++) {
    g_autofree char *path = variables_expand(
        self->variables, json_object_get_string(json_object_array_get_idx(paths, i)));
    g_autofree char *word = quote(self, path);
    g_string_append_printf(body, " --path %s", word);
  }
}

/* @when: put what is to be kept then into the cache; NULL: take it out. */
static gboolean
use_cache(const Script *self, GString *body, const char *when)
{
  MfJson *caches = get(self->payload, "cache");
  gboolean archive = when != NULL, any = FALSE;
  for (gsize i = 0; i < count(caches); i++) {
    MfJson *cache = json_object_array_get_idx(caches, i);
    const char *wanted = get_string(cache, "when", "on_success");
    const char *policy = get_string(cache, "policy", "pull-push");
    if (strstr(policy, archive ? "push" : "pull") == NULL ||
        (archive && strcmp(wanted, "always") != 0 && strcmp(wanted, when) != 0))
      continue;
    any = TRUE;
    g_autofree char *key = variables_expand(self->variables, get_string(cache, "key", "default"));
    g_autofree char *file = g_strdup_printf("%s/%s/cache.zip", self->cache_dir, key);
    g_autofree char *url = self->config->cache_url != NULL
                               ? g_strdup_printf("%s/project/%s", self->config->cache_url, key)
                               : NULL;
    open_helper(self, body, archive ? "Creating cache..." : "Checking cache...");
    g_autofree char *file_word = quote(self, file);
    g_autofree char *url_word = quote(self, url != NULL ? url : "");
    g_string_append_printf(body, "if gitlab-runner cache-%s --file %s --timeout 10",
                           archive ? "archiver" : "extractor", file_word);
    if (archive)
      add_paths(self, body, get(cache, "paths"));
    if (url != NULL)
      g_string_append_printf(body, " --url %s", url_word);
    g_string_append_printf(body, "; then\necho '%s'\nelse\necho '%s'\nfi\n",
                           archive ? "Created cache" : "Successfully extracted cache",
                           archive ? "Failed to create cache" : "Failed to extract cache");
    close_helper(self, body, archive ? "Creating cache" : "Extracting cache");
  }
  return any;
}

static gboolean
download_artifacts(const Script *self, GString *body)
{
  MfJson *dependencies = get(self->payload, "dependencies");
  for (gsize i = 0; i < count(dependencies); i++) {
    MfJson *from = json_object_array_get_idx(dependencies, i);
    open_helper(self, body, "Downloading artifacts...");
    add(self, body, "gitlab-runner artifacts-downloader --url %s --token %s --id %s",
        self->config->url, get_string(from, "token", self->token),
        json_object_get_string(get(from, "id")));
    close_helper(self, body, "Downloading artifacts");
  }
  return count(dependencies) > 0;
}

static gboolean
upload_artifacts(const Script *self, GString *body, const char *when)
{
  MfJson *list = get(self->payload, "artifacts");
  gboolean any = FALSE;
  for (gsize i = 0; i < count(list); i++) {
    MfJson *artifact = json_object_array_get_idx(list, i);
    const char *wanted = get_string(artifact, "when", "on_success");
    if (strcmp(wanted, "always") != 0 && strcmp(wanted, when) != 0)
      continue;
    any = TRUE;
    open_helper(self, body, "Uploading artifacts...");
    g_autofree char *url = quote(self, self->config->url);
    g_autofree char *token = quote(self, self->token);
    g_string_append_printf(body, "gitlab-runner artifacts-uploader --url %s --token %s --id %s",
                           url, token, self->id);
    add_paths(self, body, get(artifact, "paths"));
    g_string_append(body, " --artifact-format zip --artifact-type archive\n");
    close_helper(self, body, "Uploading artifacts");
  }
  return any;
}

MfJson *
script_find_step(MfJson *payload, const char *name)
{
  MfJson *steps = get(payload, "steps");
  for (gsize i = 0; i < count(steps); i++) {
    MfJson *step = json_object_array_get_idx(steps, i);
    if (strcmp(get_string(step, "name", ""), name) == 0)
      return step;
  }
  return NULL;
}

static gboolean
run_step(const Script *self, GString *body, const char *name)
{
  MfJson *lines = get(script_find_step(self->payload, name), "script");
  add(self, body, "cd %s", self->project_dir);
  for (gsize i = 0; i < count(lines); i++) {
    const char *line = json_object_get_string(json_object_array_get_idx(lines, i));
    g_autofree char *shown = g_strdup_printf("\033[32;1m$ %s\033[0;m", line);
    add(self, body, "echo %s", shown);
    g_string_append_printf(body, "%s\n", line);
  }
  return count(lines) > 0;
}

static gboolean
cleanup_file_variables(const Script *self, GString *body)
{
  for (guint i = 0; i < self->variables->list->len; i++) {
    const Variable *variable = self->variables->list->pdata[i];
    g_autofree char *path = file_of(self, variable);
    if (variable->file)
      add(self, body, "rm -f %s", path);
  }
  return TRUE;
}

static gboolean
add_stage(const Script *self, GString *body, const char *stage)
{
  if (strcmp(stage, "prepare_script") == 0)
    return prepare_script(self, body);
  if (strcmp(stage, "get_sources") == 0)
    return get_sources(self, body);
  if (strcmp(stage, "clear_worktree") == 0)
    return clear_worktree(self, body);
  if (strcmp(stage, "restore_cache") == 0)
    return use_cache(self, body, NULL);
  if (strcmp(stage, "download_artifacts") == 0)
    return download_artifacts(self, body);
  if (strcmp(stage, "archive_cache") == 0)
    return use_cache(self, body, "on_success");
  if (strcmp(stage, "archive_cache_on_failure") == 0)
    return use_cache(self, body, "on_failure");
  if (strcmp(stage, "upload_artifacts_on_success") == 0)
    return upload_artifacts(self, body, "on_success");
  if (strcmp(stage, "upload_artifacts_on_failure") == 0)
    return upload_artifacts(self, body, "on_failure");
  if (strcmp(stage, "cleanup_file_variables") == 0)
    return cleanup_file_variables(self, body);
  if (g_str_has_prefix(stage, "step_"))
    return run_step(self, body, stage + strlen("step_"));
  return run_step(self, body, stage);
}

char *
script_generate(const Script *self, const char *stage)
{
  g_autoptr(GString) body = g_string_new(NULL);
  add_variables(self, body);
  if (!add_stage(self, body, stage))
    return NULL;
  g_autofree char *word = quote(self, body->str);
  if (strcmp(self->shell, "bash") != 0)
    return g_strdup_printf("#!/usr/bin/env sh\n\n"
                           "trap 'exit 1' TERM\n"
                           "set -o errexit\n"
                           "(trap 'exit 1' TERM; eval %s) </dev/null\n"
                           "exit 0\n",
                           word);
  return g_strdup_printf(
      "#!/usr/bin/env bash\n\n"
      "trap 'exit 1' TERM\n"
      "if set -o | grep pipefail >/dev/null; then set -o pipefail; fi; set -o errexit\n"
      "(trap 'exit 1' TERM; eval %s) </dev/null\n"
      "exit 0\n",
      word);
}
