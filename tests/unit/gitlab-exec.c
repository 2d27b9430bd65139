/* SPDX-License-Identifier: Apache-2.0 */
/* Scripts of a played machine: see the header. */
#include "tests/unit/gitlab-exec.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "daemon/json.h"

gboolean
host_exec_is_over(const HostExec *self)
{
  return self->error != NULL || (self->exited && self->read_out);
}

MfJson *
host_exec_document(const HostExec *self)
{
  MfJson *json = json_object_new_object();
  gboolean done = host_exec_is_over(self);
  mf_json_add_uint(json, "number", self->number);
  mf_json_add_string(json, "key", self->key);
  mf_json_add_string(json, "state", done ? "finished" : "running");
  mf_json_add_string(json, "error", self->error);
  mf_json_add_uint(json, "stdout_bytes", self->output->len);
  if (done && self->error == NULL && g_subprocess_get_if_signaled(self->process))
    mf_json_add_uint(json, "signal", (guint64)g_subprocess_get_term_sig(self->process));
  else if (done && self->error == NULL)
    mf_json_add_uint(json, "exit_code", (guint64)g_subprocess_get_exit_status(self->process));
  return json;
}

static void
on_read(GObject *source, GAsyncResult *result, gpointer data)
{
  HostExec *exec = data;
  g_autoptr(GBytes) bytes = g_input_stream_read_bytes_finish(G_INPUT_STREAM(source), result, NULL);
  exec->read_out = bytes == NULL || g_bytes_get_size(bytes) == 0;
  if (!exec->read_out) {
    g_byte_array_append(exec->output, g_bytes_get_data(bytes, NULL),
                        (guint)g_bytes_get_size(bytes));
    g_input_stream_read_bytes_async(G_INPUT_STREAM(source), 65536, 0, NULL, on_read, exec);
  }
  exec->changed(exec);
}

static void
on_exited(GObject *source, GAsyncResult *result, gpointer data)
{
  HostExec *exec = data;
  g_assert_true(g_subprocess_wait_finish(G_SUBPROCESS(source), result, NULL));
  exec->exited = TRUE;
  exec->changed(exec);
}

static void
lead_group(gpointer unused)
{
  setpgid(0, 0);
}

void
host_exec_run(HostExec *self, MfJson *json, const char *folder)
{
  g_autoptr(GError) error = NULL;
  gsize length = 0;
  MfJson *script = NULL;
  g_autofree guchar *data = NULL;
  if (json_object_object_get_ex(json, "script", &script)) {
    length = (gsize)json_object_get_string_len(script);
    data = g_memdup2(json_object_get_string(script), length);
  } else if (json_object_object_get_ex(json, "script_base64", &script)) {
    data = g_base64_decode(json_object_get_string(script), &length);
  }
  g_assert_nonnull(script);
  g_autofree char *file = g_strdup_printf("%s/exec-%u", folder, self->number);
  g_assert_true(g_file_set_contents(file, (char *)data, (gssize)length, NULL));
  g_autoptr(GSubprocessLauncher) launcher =
      g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_MERGE);
  g_subprocess_launcher_set_stdin_file_path(launcher, file);
  g_subprocess_launcher_set_child_setup(launcher, lead_group, NULL, NULL);
  /* What prepare itself runs, unlike a stage, looks for gitlab-runner: it is in our folder or
   * nowhere. */
  if (strchr(self->key, '/') == NULL)
    g_subprocess_launcher_setenv(launcher, "PATH", folder, TRUE);
  self->process = g_subprocess_launcher_spawn(launcher, &error, "bash", NULL);
  g_assert_no_error(error);
  g_unlink(file);
  g_subprocess_wait_async(self->process, NULL, on_exited, self);
  g_input_stream_read_bytes_async(g_subprocess_get_stdout_pipe(self->process), 65536, 0, NULL,
                                  on_read, self);
}

void
host_exec_signal(HostExec *self, const char *name)
{
  const char *pid = g_subprocess_get_identifier(self->process);
  if (pid != NULL)
    kill(-atoi(pid), strcmp(name, "KILL") == 0 ? SIGKILL : SIGTERM);
}

void
host_exec_free(HostExec *self)
{
  /* Its callbacks point to it. */
  g_subprocess_force_exit(self->process);
  while (!self->exited || !self->read_out)
    g_main_context_iteration(NULL, TRUE);
  g_object_unref(self->process);
  g_byte_array_unref(self->output);
  g_free(self->key);
  g_free(self);
}
