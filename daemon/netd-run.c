/* SPDX-License-Identifier: Apache-2.0 */
/* Child processes with a deadline. They take milliseconds, so the caller waits; but a child that
 * hangs must not hang the watch. */
#include "daemon/netd-run.h"

#include <gio/gio.h>
#include <string.h>

#include "daemon/error.h"

#define DEADLINE_SECONDS 10

typedef struct {
  GSubprocess *process;
  GAsyncResult *result;
  gboolean late;
} Run;

static void
on_done(GObject *source, GAsyncResult *result, gpointer data)
{
  Run *run = data;
  run->result = g_object_ref(result);
}

static gboolean
on_deadline(gpointer data)
{
  Run *run = data;
  run->late = TRUE;
  g_subprocess_force_exit(run->process);
  return G_SOURCE_REMOVE;
}

/* Its own context: nothing else of the program runs meanwhile. */
static void
communicate(Run *run, const char *input)
{
  g_autoptr(GMainContext) context = g_main_context_new();
  g_main_context_push_thread_default(context);
  g_autoptr(GSource) deadline = g_timeout_source_new_seconds(DEADLINE_SECONDS);
  g_source_set_callback(deadline, on_deadline, run, NULL);
  g_source_attach(deadline, context);
  g_subprocess_communicate_utf8_async(run->process, input, NULL, on_done, run);
  while (run->result == NULL)
    g_main_context_iteration(context, TRUE);
  g_source_destroy(deadline);
  g_main_context_pop_thread_default(context);
}

gboolean
mf_netd_run(const char *const *argv, const char *input, char **ret_output, GError **error)
{
  g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(
      G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_PIPE |
      (input != NULL ? G_SUBPROCESS_FLAGS_STDIN_PIPE : G_SUBPROCESS_FLAGS_NONE));
  g_subprocess_launcher_setenv(launcher, "PATH", "/usr/sbin:/usr/bin:/sbin:/bin", TRUE);
  g_subprocess_launcher_setenv(launcher, "LC_ALL", "C", TRUE);
  g_autoptr(GError) local = NULL;
  g_autoptr(GSubprocess) process = g_subprocess_launcher_spawnv(launcher, argv, &local);
  if (process == NULL) {
    g_set_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE, "%s cannot be run: %s; install it", argv[0],
                local->message);
    return FALSE;
  }

  Run run = {.process = process};
  communicate(&run, input);
  g_autoptr(GAsyncResult) result = run.result;
  g_autofree char *output = NULL;
  g_autofree char *complaint = NULL;
  gboolean read =
      g_subprocess_communicate_utf8_finish(process, result, &output, &complaint, &local);
  if (run.late) {
    g_set_error(error, MF_ERROR, MF_ERROR_TIMEOUT, "%s did not end within %d seconds", argv[0],
                DEADLINE_SECONDS);
    return FALSE;
  }
  if (!read || !g_subprocess_get_if_exited(process) || g_subprocess_get_exit_status(process) != 0) {
    if (complaint != NULL)
      complaint[strcspn(complaint, "\n")] = '\0';
    g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "%s failed: %s", argv[0],
                local != NULL                               ? local->message
                : complaint != NULL && complaint[0] != '\0' ? complaint
                                                            : "it gave no reason");
    return FALSE;
  }
  if (ret_output != NULL)
    *ret_output = g_steal_pointer(&output);
  return TRUE;
}
