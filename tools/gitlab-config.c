/* SPDX-License-Identifier: Apache-2.0 */
/* GitLab configuration: the table of its keys, and images looked up in its list. */
#include "tools/gitlab-config.h"

#include <fnmatch.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/text.h"
#include "tools/document.h"

#define PATH_LIMIT     64 /* a builds_dir this short leaves room for sockets below it */
#define TEMPLATE_LIMIT 63

static gboolean
is_template_name(const char *value)
{
  gsize length = strlen(value);
  return length > 0 && length <= TEMPLATE_LIMIT && strchr("._-", value[0]) == NULL &&
         strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789._-") == length;
}

/* "PATTERN" or "PATTERN=TEMPLATE": names of templates have no '=', so the last one divides. */
static gboolean
is_image_rule(const char *value)
{
  const char *equals = strrchr(value, '=');
  return equals == NULL || (equals != value && is_template_name(equals + 1));
}

/* Job scripts put it between quotes of several kinds. */
static gboolean
is_guest_folder(const char *value)
{
  gsize length = strlen(value);
  return value[0] == '/' && length > 1 && length <= PATH_LIMIT && value[length - 1] != '/' &&
         strstr(value, "//") == NULL &&
         strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/") ==
             length;
}

#define MINUTE      G_GUINT64_CONSTANT(60)
#define DAY         (24 * 60 * MINUTE)
#define FOLDER      "an absolute path of at most 64 letters, digits, '.', '_', '-' and '/'"
#define FIELD(name) .offset = G_STRUCT_OFFSET(MfGitlabConfig, name)

/* clang-format off */
static const MfKey keys[] = {
    {"images", "template", MF_KEY_TEXT, "default", FIELD(template), .check = is_template_name,
     .allowed = "the name of a template",
     .meaning = "What a job's machine is made from if the job names no image."},
    {"images", "images", MF_KEY_LIST, "*", FIELD(images), .check = is_image_rule,
     .allowed = "PATTERN or PATTERN=TEMPLATE, such as debian:*=debian-12",
     .meaning = "What a job may name as its image, the first that fits; a PATTERN alone stands for templates with names like it."},

    {"machines", "builds-dir", MF_KEY_TEXT, "/builds", FIELD(builds_dir), .check = is_guest_folder, .allowed = FOLDER,
     .meaning = "Folder in the machine for what a job checks out and builds."},
    {"machines", "cache-dir", MF_KEY_TEXT, "/cache", FIELD(cache_dir), .check = is_guest_folder, .allowed = FOLDER,
     .meaning = "Folder in the machine for what cache: brings from and takes to a cache server."},
    {"machines", "margin", MF_KEY_TIME, "5m", 0, 1 * DAY, FIELD(margin),
     .meaning = "How much longer than its job's timeout a machine lives at most."},
    {"machines", "lease", MF_KEY_TIME, "10m", 1 * MINUTE, 1 * DAY, FIELD(lease),
     .meaning = "How long a machine outlives gitlab-runner if that is killed: longer than the runner waits between two tries of a stage."},
    {"machines", "keep-limit", MF_KEY_TIME, "1h", 0, 30 * DAY, FIELD(keep_limit),
     .meaning = "The most that MAYFLY_KEEP_ON_FAILURE gets; 0: nothing. max-keep in mayfly.conf is a limit too."},
    {"machines", "retryable", MF_KEY_FLAG, "yes", FIELD(retryable),
     .meaning = "When the host runs out of memory the newest job may be ended, as a failure of the runner's system, which GitLab tries again where the job has retry: for that. A job with MAYFLY_RETRYABLE=no is not."},
    {"machines", "term-grace", MF_KEY_TIME, "10s", 1, 10 * MINUTE, FIELD(term_grace),
     .meaning = "What a script that is to end gets from SIGTERM to SIGKILL: below the runner's graceful_kill_timeout."},
};
/* clang-format on */

static const MfKeyTable table = {keys, G_N_ELEMENTS(keys)};

static MfGitlabConfig *
new_with_defaults(void)
{
  MfGitlabConfig *self = g_new0(MfGitlabConfig, 1);
  mf_key_table_set_defaults(&table, self);
  return self;
}

MfGitlabConfig *
mf_gitlab_config_load(const char *path, GError **error)
{
  g_autoptr(MfGitlabConfig) self = new_with_defaults();
  g_autoptr(GError) local = NULL;
  if (!mf_key_table_read(&table, self, path, NULL, &local) &&
      !g_error_matches(local, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
    g_propagate_error(error, g_steal_pointer(&local));
    return NULL;
  }
  return g_steal_pointer(&self);
}

MfGitlabConfig *
mf_gitlab_config_from_data(const char *name, const char *data, gsize length, GError **error)
{
  g_autoptr(MfGitlabConfig) self = new_with_defaults();
  if (!mf_key_table_parse(&table, self, name, data, length, NULL, error))
    return NULL;
  return g_steal_pointer(&self);
}

const MfKeyTable *
mf_gitlab_config_table(void)
{
  return &table;
}

char *
mf_gitlab_config_dump(const MfGitlabConfig *self, gboolean commented)
{
  g_autofree char *body = mf_key_table_dump(&table, self, commented);
  if (!commented)
    return g_steal_pointer(&body);
  return g_strconcat(
      "# gitlab.conf - configuration of mayfly gitlab, see mayfly-gitlab(1).\n"
      "# Every key stands here with its default: to change one, remove its '#'. It applies to the\n"
      "# next job. gitlab-runner's user must be able to read this file, so it is no place for "
      "secrets.\n\n",
      body, NULL);
}

static void
add_all(MfJson *to, MfJson *from)
{
  for (gsize i = 0; i < mf_document_count(from); i++)
    json_object_array_add(to, json_object_get(mf_document_item(from, i)));
}

MfJson *
mf_gitlab_config_templates(MfJson *answer)
{
  MfJson *all = json_object_new_array();
  add_all(all, mf_document_member(answer, "templates"));
  add_all(all, mf_document_member(answer, "errors"));
  return all;
}

static gboolean
is_template(MfJson *templates, const char *name)
{
  for (gsize i = 0; i < mf_document_count(templates); i++)
    if (g_strcmp0(mf_document_text(mf_document_item(templates, i), "name"), name) == 0)
      return TRUE;
  return FALSE;
}

/* What one rule makes of @image: a template's name (borrowed), or NULL: it does not fit. */
static const char *
apply(const char *rule, const char *image, MfJson *templates)
{
  const char *equals = strrchr(rule, '=');
  g_autofree char *pattern =
      g_strndup(rule, equals != NULL ? (gsize)(equals - rule) : strlen(rule));
  if (fnmatch(pattern, image, 0) != 0)
    return NULL;
  if (equals != NULL)
    return equals + 1;
  return is_template(templates, image) ? image : NULL;
}

static void
add_once(GPtrArray *names, const char *name)
{
  if (!g_ptr_array_find_with_equal_func(names, name, g_str_equal, NULL))
    g_ptr_array_add(names, g_strdup(name));
}

/* "debian-12, tiny, debian:*": in the rules' order. (transfer full) */
static char *
list_allowed(const MfGitlabConfig *self, MfJson *templates)
{
  g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
  for (char **rule = self->images; *rule != NULL; rule++) {
    const char *equals = strrchr(*rule, '=');
    if (equals != NULL) {
      g_autofree char *pattern = g_strndup(*rule, (gsize)(equals - *rule));
      add_once(names, pattern);
      continue;
    }
    for (gsize i = 0; i < mf_document_count(templates); i++) {
      const char *name = mf_document_text(mf_document_item(templates, i), "name");
      if (name != NULL && apply(*rule, name, templates) != NULL)
        add_once(names, name);
    }
  }
  g_ptr_array_add(names, NULL);
  return g_strjoinv(", ", (char **)names->pdata);
}

char *
mf_gitlab_config_find_template(const MfGitlabConfig *self, const char *image, const char *shown,
                               MfJson *templates, GError **error)
{
  if (image == NULL)
    return g_strdup(self->template);
  for (char **rule = self->images; *rule != NULL; rule++) {
    const char *template = apply(*rule, image, templates);
    if (template != NULL)
      return g_strdup(template);
  }
  g_autofree char *allowed = list_allowed(self, templates);
  if (allowed[0] == '\0')
    g_set_error(error, MF_ERROR, MF_ERROR_FORBIDDEN,
                "image: %s is not allowed here, nor is any other: leave image: out", shown);
  else
    g_set_error(error, MF_ERROR, MF_ERROR_FORBIDDEN,
                "image: %s is not allowed here. Machines are made from templates of this host: "
                "use one of %s, or leave image: out",
                shown, allowed);
  return NULL;
}

static gboolean
fits_any(const char *pattern, MfJson *templates)
{
  for (gsize i = 0; i < mf_document_count(templates); i++) {
    const char *name = mf_document_text(mf_document_item(templates, i), "name");
    if (name != NULL && fnmatch(pattern, name, 0) == 0)
      return TRUE;
  }
  return FALSE;
}

char **
mf_gitlab_config_find_problems(const MfGitlabConfig *self, MfJson *templates)
{
  g_autoptr(GStrvBuilder) found = g_strv_builder_new();
  for (char **rule = self->images; *rule != NULL; rule++) {
    const char *equals = strrchr(*rule, '=');
    g_autofree char *problem = NULL;
    if (equals != NULL && !is_template(templates, equals + 1))
      problem = g_strdup_printf("there is no template %s", equals + 1);
    else if (equals == NULL && !fits_any(*rule, templates))
      problem = g_strdup_printf("no template's name is like it: write %s=TEMPLATE", *rule);
    g_autofree char *sentence =
        g_strdup_printf("rule %s (images= in gitlab.conf): %s", *rule, problem);
    if (problem != NULL)
      g_strv_builder_add(found, sentence);
  }
  return g_strv_builder_end(found);
}

void
mf_gitlab_config_free(MfGitlabConfig *self)
{
  if (self == NULL)
    return;
  mf_key_table_clear(&table, self);
  g_free(self);
}
