/* SPDX-License-Identifier: Apache-2.0 */
/* GitLab job: identity from the runner's words, wishes from the job's, variables put in. */
#include "tools/gitlab-job.h"

#include <string.h>

#include "daemon/error.h"
#include "daemon/json.h"
#include "daemon/text.h"
#include "daemon/units.h"
#include "tools/document.h"

#define TOKEN_DIGITS   12
#define MAX_DEPTH      8    /* variables within variables */
#define MAX_INSERTIONS 256  /* of variables into one text */
#define MAX_VALUE      4096 /* bytes of such a text */
#define MAX_CPUS       4096
#define MAX_SERVICES   16 /* that a message lists */

/* The token is this job's alone, here and at any other GitLab, and the same in all its stages. */
static char *
name_of(guint64 id, const char *token)
{
  g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, token, -1);
  return g_strdup_printf("gitlab-%" G_GUINT64_FORMAT "-%.*s", id, TOKEN_DIGITS, digest);
}

MfGitlabJob *
mf_gitlab_job_parse(const void *data, gsize length, GError **error)
{
  guint64 id = G_MAXUINT64;
  g_autofree char *token = NULL;
  g_autoptr(MfJson) response = mf_json_parse(data, length, "the job's response", error);
  if (response == NULL || !mf_json_read_uint(response, "", "id", 0, G_MAXINT64, &id, error) ||
      !mf_json_read_string(response, "", "token", &token, error)) {
    g_prefix_error(error, "JOB_RESPONSE_FILE: ");
    return NULL;
  }
  if (id == G_MAXUINT64 || token == NULL || token[0] == '\0') {
    g_set_error_literal(error, MF_ERROR, MF_ERROR_INVALID,
                        "JOB_RESPONSE_FILE: there is no id or no token in it, so it is not the "
                        "description of a job: is this gitlab-runner 14.7 or newer?");
    return NULL;
  }
  MfGitlabJob *self = g_new0(MfGitlabJob, 1);
  self->id = id;
  self->name = name_of(id, token);
  self->response = g_steal_pointer(&response);
  return self;
}

MfGitlabJob *
mf_gitlab_job_load(const char *path, GError **error)
{
  g_autofree char *data = NULL;
  gsize length;
  if (path == NULL || path[0] == '\0') {
    g_set_error_literal(
        error, MF_ERROR, MF_ERROR_INVALID,
        "JOB_RESPONSE_FILE is not set: this command is for gitlab-runner's custom executor; "
        "mayfly gitlab setup prints its configuration");
    return NULL;
  }
  if (!g_file_get_contents(path, &data, &length, error))
    return NULL;
  return mf_gitlab_job_parse(data, length, error);
}

/* Variables */

typedef struct {
  const MfGitlabJob *job;
  const char *what; /* "image:", "variable MAYFLY_CPUS", for messages */
  GString *out;
  guint insertions;
} Expansion;

static gboolean expand(Expansion *self, const char *text, guint depth, GError **error);

/* The last one of a name counts, as for the runner. */
static MfJson *
find_variable(const MfGitlabJob *self, const char *name, gsize length)
{
  MfJson *variables = mf_document_member(self->response, "variables");
  for (gsize i = mf_document_count(variables); i > 0; i--) {
    MfJson *variable = mf_document_item(variables, i - 1);
    const char *key = mf_document_text(variable, "key");
    if (key != NULL && strlen(key) == length && memcmp(key, name, length) == 0)
      return variable;
  }
  return NULL;
}

/* NULL: it has none, or one with a NUL in it. */
static const char *
value_of(MfJson *variable)
{
  MfJson *value = NULL;
  json_object_object_get_ex(variable, "value", &value);
  const char *text = mf_document_text(variable, "value");
  gboolean whole = text != NULL && strlen(text) == (gsize)json_object_get_string_len(value);
  return whole ? text : NULL;
}

static gboolean
insert(Expansion *self, const char *name, gsize length, guint depth, GError **error)
{
  MfJson *variable = find_variable(self->job, name, length);
  const char *value = variable != NULL ? value_of(variable) : NULL;
  if (value == NULL) {
    g_autofree char *text = g_strndup(name, length);
    g_autofree char *shown = mf_text_quote(text);
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "%s names the variable %s, which this job does not have: set it, or write the "
                "value itself",
                self->what, shown);
    return FALSE;
  }
  if (++self->insertions > MAX_INSERTIONS || depth >= MAX_DEPTH) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "%s is made of variables that name too many others: write the value itself",
                self->what);
    return FALSE;
  }
  if (!mf_document_flag(variable, "raw"))
    return expand(self, value, depth + 1, error);
  g_string_append(self->out, value);
  return TRUE;
}

/* The name behind a '$', and where the text goes on; NULL: this '$' begins none. */
static const char *
name_after_dollar(const char *text, gsize *ret_length, const char **ret_rest)
{
  gboolean braces = text[0] == '{';
  const char *name = text + braces;
  gsize length = 0;
  while (g_ascii_isalnum(name[length]) || name[length] == '_')
    length++;
  if (length == 0 || (braces && name[length] != '}'))
    return NULL;
  *ret_length = length;
  *ret_rest = name + length + braces;
  return name;
}

static gboolean
expand(Expansion *self, const char *text, guint depth, GError **error)
{
  while (*text != '\0') {
    gsize plain = strcspn(text, "$");
    g_string_append_len(self->out, text, (gssize)plain);
    text += plain;
    gsize length;
    const char *rest;
    const char *name = *text == '$' ? name_after_dollar(text + 1, &length, &rest) : NULL;
    if (name != NULL) {
      if (!insert(self, name, length, depth, error))
        return FALSE;
      text = rest;
    } else if (*text == '$') {
      g_string_append_c(self->out, '$');
      text += text[1] == '$' ? 2 : 1;
    }
    if (self->out->len > MAX_VALUE) {
      g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "%s is longer than %d bytes", self->what,
                  MAX_VALUE);
      return FALSE;
    }
  }
  return TRUE;
}

/* (transfer full) */
static char *
expand_text(const MfGitlabJob *job, const char *what, const char *text, GError **error)
{
  g_autoptr(GString) out = g_string_new(NULL);
  Expansion self = {.job = job, .what = what, .out = out};
  return expand(&self, text, 0, error) ? g_strdup(out->str) : NULL;
}

/* *ret is "" where the variable is not set. */
static gboolean
read_variable(const MfGitlabJob *self, const char *name, char **ret, GError **error)
{
  MfJson *variable = find_variable(self, name, strlen(name));
  g_autofree char *what = g_strconcat("variable ", name, NULL);
  const char *text = variable != NULL ? value_of(variable) : "";
  if (text == NULL) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "%s has no text as its value", what);
    return FALSE;
  }
  gboolean raw = variable == NULL || mf_document_flag(variable, "raw");
  char *value = raw ? g_strdup(text) : expand_text(self, what, text, error);
  if (value == NULL)
    return FALSE;
  *ret = g_strstrip(value);
  return TRUE;
}

static gboolean
refuse(GError **error, const char *name, const char *wanted)
{
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "variable %s must be %s", name, wanted);
  return FALSE;
}

static gboolean
read_number(const MfGitlabJob *self, const char *name, guint *ret, GError **error)
{
  g_autofree char *text = NULL;
  guint64 number = 0;
  if (!read_variable(self, name, &text, error))
    return FALSE;
  if (text[0] != '\0' && (!g_ascii_isdigit(text[0]) ||
                          !g_ascii_string_to_unsigned(text, 10, 1, MAX_CPUS, &number, NULL)))
    return refuse(error, name, "a whole number from 1 on, such as 4");
  *ret = (guint)number;
  return TRUE;
}

static gboolean
read_size(const MfGitlabJob *self, const char *name, guint64 *ret, GError **error)
{
  g_autofree char *text = NULL;
  guint64 number = 0;
  if (!read_variable(self, name, &text, error))
    return FALSE;
  if (text[0] != '\0' && (!mf_size_parse(text, &number, NULL) || number == 0 ||
                          number > (G_GUINT64_CONSTANT(1) << 60)))
    return refuse(error, name, "a size such as 512M or 4GiB");
  *ret = number;
  return TRUE;
}

static gboolean
read_time(const MfGitlabJob *self, const char *name, guint64 *ret, GError **error)
{
  g_autofree char *text = NULL;
  guint64 number = 0;
  if (!read_variable(self, name, &text, error))
    return FALSE;
  if (text[0] != '\0' && !mf_duration_parse(text, &number, NULL))
    return refuse(error, name, "a time such as 30m or 1h");
  *ret = MIN(number, G_MAXINT32);
  return TRUE;
}

/* Wishes */

/* Not set: @otherwise. */
static gboolean
read_flag(const MfGitlabJob *self, const char *name, gboolean otherwise, gboolean *ret,
          GError **error)
{
  g_autofree char *text = NULL;
  if (!read_variable(self, name, &text, error))
    return FALSE;
  if (text[0] != '\0' && strcmp(text, "yes") != 0 && strcmp(text, "no") != 0)
    return refuse(error, name, "yes or no");
  *ret = text[0] != '\0' ? text[0] == 'y' : otherwise;
  return TRUE;
}

static gboolean
read_image(const MfGitlabJob *self, MfGitlabWishes *wishes, GError **error)
{
  MfJson *image = mf_document_member(self->response, "image");
  const char *name = mf_document_text(image, "name");
  if (name == NULL || name[0] == '\0')
    return TRUE;
  wishes->image_shown = mf_text_quote(name);
  /* gitlab-runner before 15 leaves the variables in. */
  wishes->image = expand_text(self, "image:", name, error);
  if (wishes->image == NULL)
    return FALSE;
  gsize length = strlen(wishes->image);
  if (length > 0 && length <= MF_GITLAB_IMAGE_LIMIT)
    return TRUE;
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "image: %s is %s", wishes->image_shown,
              length > 0 ? "too long for a name" : "empty when its variables are put in");
  return FALSE;
}

static char **
read_services(const MfGitlabJob *self)
{
  MfJson *services = mf_document_member(self->response, "services");
  gsize count = mf_document_count(services);
  g_autoptr(GStrvBuilder) names = g_strv_builder_new();
  for (gsize i = 0; i < MIN(count, MAX_SERVICES); i++) {
    const char *name = mf_document_text(mf_document_item(services, i), "name");
    g_autofree char *shown = mf_text_quote(name != NULL ? name : "?");
    g_strv_builder_add(names, shown);
  }
  return g_strv_builder_end(names);
}

static gboolean
has_items(const MfGitlabJob *self, const char *key)
{
  return mf_document_count(mf_document_member(self->response, key)) > 0;
}

MfGitlabWishes *
mf_gitlab_job_get_wishes(const MfGitlabJob *self, GError **error)
{
  g_autoptr(MfGitlabWishes) wishes = g_new0(MfGitlabWishes, 1);
  if (!read_image(self, wishes, error) || !read_number(self, "MAYFLY_CPUS", &wishes->cpus, error) ||
      !read_size(self, "MAYFLY_MEMORY", &wishes->memory, error) ||
      !read_size(self, "MAYFLY_DISK", &wishes->disk, error) ||
      !read_time(self, "MAYFLY_KEEP_ON_FAILURE", &wishes->keep, error) ||
      !read_flag(self, "MAYFLY_RETRYABLE", TRUE, &wishes->retryable, error))
    return NULL;
  MfJson *runner = mf_document_member(self->response, "runner_info");
  guint64 timeout = mf_document_uint(runner, "timeout");
  wishes->timeout = timeout <= G_MAXINT32 ? timeout : 0;
  wishes->services = read_services(self);
  wishes->needs_runner =
      has_items(self, "artifacts") || has_items(self, "cache") || has_items(self, "dependencies");
  return g_steal_pointer(&wishes);
}

void
mf_gitlab_wishes_free(MfGitlabWishes *self)
{
  if (self == NULL)
    return;
  g_free(self->image);
  g_free(self->image_shown);
  g_strfreev(self->services);
  g_free(self);
}

void
mf_gitlab_job_free(MfGitlabJob *self)
{
  if (self == NULL)
    return;
  g_free(self->name);
  g_clear_pointer(&self->response, json_object_put);
  g_free(self);
}
