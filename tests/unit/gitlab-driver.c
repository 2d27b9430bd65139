/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly gitlab as a child of the test: see gitlab-host.h. */
#include <string.h>

#include "tests/unit/gitlab-host.h"

static void
on_ended(GObject *source, GAsyncResult *result, gpointer data)
{
  Driver *self = data;
  g_autoptr(GBytes) out = NULL;
  g_autoptr(GBytes) err = NULL;
  g_assert_true(g_subprocess_communicate_finish(G_SUBPROCESS(source), result, &out, &err, NULL));
  self->out_length = g_bytes_get_size(out);
  self->out = g_malloc0(self->out_length + 1);
  if (self->out_length > 0)
    memcpy(self->out, g_bytes_get_data(out, NULL), self->out_length);
  self->err = g_bytes_get_size(err) > 0
                  ? g_strndup(g_bytes_get_data(err, NULL), g_bytes_get_size(err))
                  : g_strdup("");
  self->status =
      g_subprocess_get_if_exited(self->process) ? g_subprocess_get_exit_status(self->process) : -1;
  self->ended = TRUE;
}

static char *
write_file(Host *host, const char *name, const char *text)
{
  g_autoptr(GError) error = NULL;
  char *path = g_build_filename(host->folder, name, NULL);
  g_file_set_contents(path, text, -1, &error);
  g_assert_no_error(error);
  return path;
}

Driver *
driver_start(Host *host, const char *response, const char *const *env, const char *const *argv)
{
  g_autoptr(GError) error = NULL;
  Driver *self = g_new0(Driver, 1);
  g_autofree char *response_file = write_file(host, "response.json", response);
  g_autofree char *config = write_file(host, "gitlab.conf", "[machines]\nterm-grace=1s\n");
  g_autofree char *code_file = g_build_filename(host->folder, "code", NULL);
  g_autoptr(GSubprocessLauncher) launcher =
      g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_PIPE);
  g_subprocess_launcher_setenv(launcher, "MAYFLY_SOCKET", host->socket, TRUE);
  g_subprocess_launcher_setenv(launcher, "MAYFLY_GITLAB_CONFIG", config, TRUE);
  g_subprocess_launcher_setenv(launcher, "JOB_RESPONSE_FILE", response_file, TRUE);
  g_subprocess_launcher_setenv(launcher, "BUILD_EXIT_CODE_FILE", code_file, TRUE);
  g_subprocess_launcher_setenv(launcher, "BUILD_FAILURE_EXIT_CODE", "1", TRUE);
  g_subprocess_launcher_setenv(launcher, "SYSTEM_FAILURE_EXIT_CODE", "2", TRUE);
  for (; env != NULL && *env != NULL; env += 2)
    g_subprocess_launcher_setenv(launcher, env[0], env[1], TRUE);
  g_autoptr(GPtrArray) words = g_ptr_array_new();
  g_ptr_array_add(words, (gpointer)MF_TEST_MAYFLY);
  g_ptr_array_add(words, (gpointer) "gitlab");
  for (; *argv != NULL; argv++)
    g_ptr_array_add(words, (gpointer)*argv);
  g_ptr_array_add(words, NULL);
  self->process = g_subprocess_launcher_spawnv(launcher, (const char *const *)words->pdata, &error);
  g_assert_no_error(error);
  g_subprocess_communicate_async(self->process, NULL, NULL, on_ended, self);
  return self;
}

int
driver_wait(Driver *self)
{
  while (!self->ended)
    g_main_context_iteration(NULL, TRUE);
  return self->status;
}

void
driver_free(Driver *self)
{
  driver_wait(self);
  g_object_unref(self->process);
  g_free(self->out);
  g_free(self->err);
  g_free(self);
}
