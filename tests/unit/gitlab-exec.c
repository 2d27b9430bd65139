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
  mf_json_add_uint(json, "stderr_bytes", self->errors);
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
  GInputStream *errors = g_subprocess_get_stderr_pipe(exec->process);
  char text[256];
  if (errors != NULL)
    (void)!g_input_stream_read_all(errors, text, sizeof text, &exec->errors, NULL, NULL);
  exec->changed(exec);
}

static void
lead_group(gpointer unused)
{
  setpgid(0, 0);
}

/* (transfer full) */
static GBytes *
script_of(MfJson *json)
{
  gsize length = 0;
  MfJson *script = NULL;
  if (json_object_object_get_ex(json, "script", &script)) {
    const char *text = json_object_get_string(script);
    return g_bytes_new(text, (gsize)json_object_get_string_len(script));
  }
  g_assert_true(json_object_object_get_ex(json, "script_base64", &script));
  guchar *data = g_base64_decode(json_object_get_string(script), &length);
  return g_bytes_new_take(data, length);
}

/* (transfer full) */
static GBytes *
move(GBytes *script, const char *folder)
{
  g_autoptr(GString) text =
      g_string_new_len(g_bytes_get_data(script, NULL), (gssize)g_bytes_get_size(script));
  g_string_replace(text, "/usr/local/bin", folder, 0);
  return g_bytes_new(text->str, text->len);
}

void
host_exec_run(HostExec *self, MfJson *json, const char *folder, gboolean moved)
{
  g_autoptr(GError) error = NULL;
  gboolean own = strchr(self->key, '/') == NULL;
  g_autoptr(GBytes) posted = script_of(json);
  g_autoptr(GBytes) script = moved && own ? move(posted, folder) : g_bytes_ref(posted);
  g_autofree char *file = g_strdup_printf("%s/exec-%u", folder, self->number);
  g_assert_true(g_file_set_contents(file, g_bytes_get_data(script, NULL),
                                    (gssize)g_bytes_get_size(script), NULL));
  g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(
      G_SUBPROCESS_FLAGS_STDOUT_PIPE |
      (own ? G_SUBPROCESS_FLAGS_STDERR_PIPE : G_SUBPROCESS_FLAGS_STDERR_MERGE));
  g_subprocess_launcher_set_stdin_file_path(launcher, file);
  g_subprocess_launcher_set_child_setup(launcher, lead_group, NULL, NULL);
  if (own)
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
