/* SPDX-License-Identifier: Apache-2.0 */
/* Runner: where the host's gitlab-runner is, and which. */
#include "daemon/runner.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/json.h"

#define ANSWER_SECONDS 20
#define VERSION_MAX    64

struct MfRunner {
  char *path;
  char *stamp;   /* of what was asked for its version */
  char *version; /* NULL: not known */
  GCancellable *cancellable;
};

char *
mf_runner_stamp(const char *path)
{
  struct stat st;
  if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || access(path, R_OK | X_OK) != 0)
    return NULL;
  return g_strdup_printf("%s %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GINT64_FORMAT ".%ld",
                         path, (guint64)st.st_ino, (guint64)st.st_size, (gint64)st.st_mtim.tv_sec,
                         st.st_mtim.tv_nsec);
}

/* "Version:      17.5.3" among other lines. (transfer full) */
static char *
find_version(const char *text)
{
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  for (char **line = lines; *line != NULL; line++) {
    if (!g_str_has_prefix(*line, "Version:"))
      continue;
    char *version = g_strstrip(*line + strlen("Version:"));
    for (const char *c = version; *c != '\0'; c++)
      if (!g_ascii_isgraph(*c))
        return NULL;
    return *version != '\0' && strlen(version) <= VERSION_MAX ? g_strdup(version) : NULL;
  }
  return NULL;
}

static void
on_version(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *text = NULL;
  gboolean told =
      g_subprocess_communicate_utf8_finish(G_SUBPROCESS(source), result, &text, NULL, &error);
  if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return;
  MfRunner *self = data;
  self->version = told && text != NULL ? find_version(text) : NULL;
  if (self->version != NULL)
    g_message("gitlab-runner %s goes into the machines (%s)", self->version, self->path);
  else
    g_warning("%s goes into the machines, but does not tell its version", self->path);
}

/* A program that hangs is not waited for beyond its time. */
static void
ask_version(MfRunner *self)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *seconds = g_strdup_printf("%d", ANSWER_SECONDS);
  g_autoptr(GSubprocess) child =
      g_subprocess_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_SILENCE, &error,
                       "timeout", "--signal=KILL", seconds, self->path, "--version", NULL);
  if (child != NULL)
    g_subprocess_communicate_utf8_async(child, NULL, self->cancellable, on_version, self);
  else
    g_warning("%s: %s", self->path, error->message);
}

/* Asked again when it was replaced. */
static gboolean
look(MfRunner *self)
{
  g_autofree char *stamp = mf_runner_stamp(self->path);
  if (g_strcmp0(stamp, self->stamp) == 0)
    return stamp != NULL;
  g_cancellable_cancel(self->cancellable);
  g_object_unref(self->cancellable);
  self->cancellable = g_cancellable_new();
  g_clear_pointer(&self->version, g_free);
  g_free(self->stamp);
  self->stamp = g_steal_pointer(&stamp);
  if (self->stamp != NULL)
    ask_version(self);
  return self->stamp != NULL;
}

MfRunner *
mf_runner_new(const char *path)
{
  MfRunner *self = g_new0(MfRunner, 1);
  self->path = g_strdup(path);
  self->cancellable = g_cancellable_new();
  look(self);
  return self;
}

void
mf_runner_free(MfRunner *self)
{
  g_cancellable_cancel(self->cancellable);
  g_object_unref(self->cancellable);
  g_free(self->path);
  g_free(self->stamp);
  g_free(self->version);
  g_free(self);
}

const char *
mf_runner_path(MfRunner *self)
{
  return look(self) ? self->path : NULL;
}

/* Why what is there cannot be used; NULL: it can, or nothing is there. (transfer full) */
static char *
find_problem(const char *path)
{
  struct stat st;
  if (stat(path, &st) != 0)
    return errno == ENOENT || errno == ENOTDIR
               ? NULL
               : g_strdup_printf("user %s cannot reach %s: %s", g_get_user_name(), path,
                                 g_strerror(errno));
  if (!S_ISREG(st.st_mode))
    return g_strdup_printf("%s is no file", path);
  if (access(path, R_OK | X_OK) != 0)
    return g_strdup_printf("user %s may not read and execute %s", g_get_user_name(), path);
  return NULL;
}

MfJson *
mf_runner_to_json(MfRunner *self)
{
  gboolean usable = look(self);
  g_autofree char *problem = usable ? NULL : find_problem(self->path);
  if (!usable && problem == NULL)
    return NULL;
  MfJson *json = json_object_new_object();
  mf_json_add_string(json, "path", self->path);
  mf_json_add_string(json, "version", self->version);
  mf_json_add_string(json, "problem", problem);
  return json;
}
