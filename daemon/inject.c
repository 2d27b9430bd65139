/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The caller's side of mayfly-inject: start it, hand over the plan, follow its events, and end it,
 * with everything it started, when it takes too long or nobody wants it any more.
 */
#include "daemon/inject.h"

#include <errno.h>
#include <glib-unix.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/error.h"
#include "daemon/inject-plan.h"
#include "daemon/json.h"
#include "daemon/text.h"
#include "daemon/tree.h"

enum { OUTPUT_MAX = 64 * 1024, READ_SIZE = 4096 };

typedef struct {
  GTask *task;
  GSubprocess *child;
  pid_t group;
  char *program;
  char *disk;
  char *tmp_dir;
  guint8 *plan; /* holds secrets: wiped as soon as the child has it */
  gsize plan_length;
  guint64 timeout;
  GString *output, *errors; /* the last OUTPUT_MAX bytes of each */
  guint deadline;
  gulong cancel_id;
  GCancellable *pipes;    /* given up when the child is gone and something else still holds them */
  MfErrorCode killed_for; /* TIMEOUT or CANCELLED; FAILED: it was not us */
  guint pending;
} Run;

static void
wipe_plan(Run *run)
{
  if (run->plan != NULL)
    explicit_bzero(run->plan, run->plan_length);
  g_clear_pointer(&run->plan, g_free);
}

static void
run_free(gpointer data)
{
  Run *run = data;
  wipe_plan(run);
  if (run->tmp_dir != NULL && !mf_tree_remove(run->tmp_dir))
    g_message("cannot remove %s: %s, ignoring it", run->tmp_dir, g_strerror(errno));
  g_clear_object(&run->child);
  g_clear_object(&run->pipes);
  g_string_free(run->output, TRUE);
  g_string_free(run->errors, TRUE);
  g_free(run->program);
  g_free(run->disk);
  g_free(run->tmp_dir);
  g_free(run);
}

/* The last thing it said on standard error, fit for one sentence (transfer full). */
static char *
last_words(const GString *errors)
{
  g_autofree char *text = g_strdup(errors->str);
  g_strchomp(text);
  const char *newline = strrchr(text, '\n');
  return *text != '\0' ? mf_text_quote(newline != NULL ? newline + 1 : text) : g_strdup("nothing");
}

/* The event of this kind among its output, or NULL. Lines that are no events are passed over: they
 * are only missing. */
static MfJson *
find_event(const GString *output, const char *kind)
{
  g_auto(GStrv) lines = g_strsplit(output->str, "\n", -1);
  for (char **line = lines; *line != NULL; line++) {
    g_autofree char *event = NULL;
    g_autoptr(MfJson) object = mf_json_parse(*line, strlen(*line), "event", NULL);
    if (object != NULL && mf_json_read_string(object, "", "event", &event, NULL) &&
        g_strcmp0(event, kind) == 0)
      return g_steal_pointer(&object);
  }
  return NULL;
}

static GError *
error_of(const Run *run)
{
  g_autofree char *code = NULL, *message = NULL, *words = last_words(run->errors);
  g_autoptr(MfJson) event = find_event(run->output, "error");

  if (run->killed_for == MF_ERROR_TIMEOUT)
    return g_error_new(MF_ERROR, MF_ERROR_TIMEOUT,
                       "writing into %s took more than %" G_GUINT64_FORMAT
                       " s, so mayfly-inject was ended; its last words: %s",
                       run->disk, run->timeout, words);
  if (run->killed_for == MF_ERROR_CANCELLED)
    return g_error_new(MF_ERROR, MF_ERROR_CANCELLED, "writing into %s was cancelled", run->disk);
  if (g_subprocess_get_if_signaled(run->child))
    return g_error_new(MF_ERROR, MF_ERROR_FAILED,
                       "mayfly-inject, while writing into %s, was ended by signal %d (%s): out of "
                       "memory, or a fault "
                       "of libguestfs; its last words: %s",
                       run->disk, g_subprocess_get_term_sig(run->child),
                       g_strsignal(g_subprocess_get_term_sig(run->child)), words);
  if (event != NULL && mf_json_read_string(event, "", "code", &code, NULL) &&
      mf_json_read_string(event, "", "message", &message, NULL) && code != NULL && message != NULL)
    return g_error_new_literal(MF_ERROR, (int)mf_error_code_from_string(code), message);
  return g_error_new(
      MF_ERROR, MF_ERROR_FAILED,
      "mayfly-inject, while writing into %s, ended with status %d without saying why; its last "
      "words: %s",
      run->disk, g_subprocess_get_exit_status(run->child), words);
}

static MfInjectSystem *
system_of(const Run *run)
{
  g_autoptr(MfJson) event = find_event(run->output, "system");
  g_autoptr(MfInjectSystem) system = g_new0(MfInjectSystem, 1);
  if (event == NULL || !mf_json_read_string(event, "", "root_device", &system->root_device, NULL) ||
      !mf_json_read_string(event, "", "root_fstype", &system->root_fstype, NULL) ||
      !mf_json_read_string(event, "", "os", &system->os, NULL) ||
      !mf_json_read_string(event, "", "init", &system->init, NULL) ||
      !mf_json_read_bool(event, "", "boot_kernel", &system->boot_kernel, NULL))
    return NULL;
  return g_steal_pointer(&system);
}

/* One of: writing the plan, reading either output, waiting for the end. After the last the result
 * is known. */
static void
part_done(Run *run)
{
  if (--run->pending > 0)
    return;
  g_autoptr(GTask) task = run->task;
  GCancellable *cancellable = g_task_get_cancellable(task);
  g_clear_handle_id(&run->deadline, g_source_remove);
  if (run->cancel_id != 0)
    g_cancellable_disconnect(cancellable, run->cancel_id);
  run->cancel_id = 0;

  /* Its last word counts, not its exit status alone. */
  g_autoptr(MfJson) done = find_event(run->output, "done");
  if (run->killed_for == MF_ERROR_FAILED && g_subprocess_get_successful(run->child) && done != NULL)
    g_task_return_pointer(task, system_of(run), (GDestroyNotify)mf_inject_system_free);
  else
    g_task_return_error(task, error_of(run));
}

/* Safe in any thread: a cancellation may come from another one. */
static void
end_group(Run *run, MfErrorCode reason)
{
  if (run->killed_for == MF_ERROR_FAILED)
    run->killed_for = reason;
  /* QEMU and libguestfs's watcher are in the group. Its number is ours as long as the leader is not
   * waited for. */
  if (run->group > 0 && g_subprocess_get_identifier(run->child) != NULL)
    kill(-run->group, SIGKILL);
  else
    g_cancellable_cancel(run->pipes);
}

static gboolean
on_deadline(gpointer data)
{
  Run *run = data;
  run->deadline = 0;
  end_group(run, MF_ERROR_TIMEOUT);
  return G_SOURCE_REMOVE;
}

static void
on_cancelled(GCancellable *cancellable, gpointer data)
{
  end_group(data, MF_ERROR_CANCELLED);
}

static void
on_ended(GObject *source, GAsyncResult *result, gpointer data)
{
  g_subprocess_wait_finish(G_SUBPROCESS(source), result, NULL);
  part_done(data);
}

static void
on_written(GObject *source, GAsyncResult *result, gpointer data)
{
  Run *run = data;
  /* A child that ended early says why itself. The stream stays open: its end would tell the child
   * that we died. */
  g_output_stream_write_all_finish(G_OUTPUT_STREAM(source), result, NULL, NULL);
  wipe_plan(run);
  part_done(run);
}

static void read_more(Run *run, GInputStream *stream);

static void
on_read(GObject *source, GAsyncResult *result, gpointer data)
{
  Run *run = data;
  GInputStream *stream = G_INPUT_STREAM(source);
  g_autoptr(GBytes) bytes = g_input_stream_read_bytes_finish(stream, result, NULL);
  gsize length = 0;
  const char *text = bytes != NULL ? g_bytes_get_data(bytes, &length) : NULL;
  if (length == 0) {
    part_done(run);
    return;
  }
  GString *kept = stream == g_subprocess_get_stdout_pipe(run->child) ? run->output : run->errors;
  for (gsize i = 0; i < length; i++)
    g_string_append_c(kept, text[i] != '\0' ? text[i] : '?');
  if (kept->len > OUTPUT_MAX)
    g_string_erase(kept, 0, (gssize)(kept->len - OUTPUT_MAX));
  read_more(run, stream);
}

static void
read_more(Run *run, GInputStream *stream)
{
  g_input_stream_read_bytes_async(stream, READ_SIZE, G_PRIORITY_DEFAULT, run->pipes, on_read, run);
}

/* Whom the child becomes; found out before the fork, where that is still allowed. */
typedef struct {
  uid_t uid;
  gid_t gid;
  gid_t groups[64];
  int n_groups;
} Identity;

/* NULL: stay who we are (transfer full). */
static gboolean
find_identity(const char *user, Identity **ret, GError **error)
{
  *ret = NULL;
  if (user == NULL || geteuid() != 0)
    return TRUE;
  const struct passwd *entry = getpwnam(user);
  if (entry == NULL) {
    g_set_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE,
                "there is no user %s to run mayfly-inject as", user);
    return FALSE;
  }
  Identity *self = g_new0(Identity, 1);
  self->uid = entry->pw_uid;
  self->gid = entry->pw_gid;
  self->n_groups = G_N_ELEMENTS(self->groups);
  if (getgrouplist(user, self->gid, self->groups, &self->n_groups) < 0)
    self->n_groups = G_N_ELEMENTS(self->groups);
  *ret = self;
  return TRUE;
}

/* Between fork and exec. A group of its own, so that one signal reaches all that it starts. */
static void
in_child(gpointer data)
{
  const Identity *identity = data;
  setpgid(0, 0);
  if (identity != NULL && (setgroups((size_t)identity->n_groups, identity->groups) != 0 ||
                           setgid(identity->gid) != 0 || setuid(identity->uid) != 0))
    _exit(126);
}

static char *
default_cache_dir(void)
{
  const char *named = g_getenv("MAYFLY_CACHEDIR");
  if (named != NULL && *named != '\0')
    return g_strdup(named);
  if (g_mkdir_with_parents(MF_STATEDIR "/cache", 0755) == 0 &&
      access(MF_STATEDIR "/cache", W_OK) == 0)
    return g_strdup(MF_STATEDIR "/cache");
  return g_build_filename(g_get_user_cache_dir(), "mayfly", NULL);
}

static gboolean
make_folders(Run *run, const MfInjectOptions *options, char **ret_cache, GError **error)
{
  g_autofree char *cache =
      options->cache_dir != NULL ? g_strdup(options->cache_dir) : default_cache_dir();
  g_autofree char *tmp = g_build_filename(cache, "run-XXXXXX", NULL);
  if (g_mkdir_with_parents(cache, 0755) != 0 || g_mkdtemp_full(tmp, 0700) == NULL) {
    g_set_error(error, MF_ERROR, errno == ENOSPC ? MF_ERROR_NO_SPACE : MF_ERROR_FAILED,
                "cannot make a folder for mayfly-inject in %s: %s", cache, g_strerror(errno));
    return FALSE;
  }
  run->tmp_dir = g_steal_pointer(&tmp);
  *ret_cache = g_steal_pointer(&cache);
  return TRUE;
}

/* Writing to a child that is already dead must be an error, not the end of this process. */
static void
ignore_sigpipe(void)
{
  struct sigaction action;
  if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL)
    signal(SIGPIPE, SIG_IGN);
}

static gboolean
start(Run *run, const MfInjectPlan *plan, const MfInjectOptions *options, GError **error)
{
  g_autofree char *cache = NULL;
  g_autofree Identity *identity = NULL;
  if (!mf_inject_plan_check(plan, error) || !find_identity(options->user, &identity, error) ||
      !make_folders(run, options, &cache, error))
    return FALSE;
  if (identity != NULL && (chown(cache, identity->uid, identity->gid) != 0 ||
                           chown(run->tmp_dir, identity->uid, identity->gid) != 0)) {
    g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "cannot hand %s to %s: %s", cache, options->user,
                g_strerror(errno));
    return FALSE;
  }
  g_autoptr(MfInjectPlan) complete = mf_inject_plan_copy(plan);
  complete->kvm = g_strcmp0(options->accel, "kvm") == 0;
  complete->cache_dir = g_steal_pointer(&cache);
  complete->tmp_dir = g_strdup(run->tmp_dir);
  complete->timeout = options->timeout;
  complete->tied = TRUE;
  run->plan = mf_inject_plan_serialize(complete, &run->plan_length);
  ignore_sigpipe();

  g_autoptr(GSubprocessLauncher) launcher =
      g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDIN_PIPE | G_SUBPROCESS_FLAGS_STDOUT_PIPE |
                                G_SUBPROCESS_FLAGS_STDERR_PIPE);
  g_subprocess_launcher_set_child_setup(launcher, in_child, identity, NULL);
  g_autoptr(GError) local = NULL;
  run->child = g_subprocess_launcher_spawn(launcher, &local, run->program, NULL);
  if (run->child == NULL) {
    g_set_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE,
                "cannot start %s: %s; is mayfly installed completely?", run->program,
                local->message);
    return FALSE;
  }
  /* None: it has ended already. */
  const char *pid = g_subprocess_get_identifier(run->child);
  run->group = pid != NULL ? (pid_t)g_ascii_strtoll(pid, NULL, 10) : 0;
  return TRUE;
}

static void
run_plan(const MfInjectPlan *plan, const MfInjectOptions *options, GCancellable *cancellable,
         GAsyncReadyCallback callback, gpointer user_data)
{
  GTask *task = g_task_new(NULL, cancellable, callback, user_data);
  GError *error = NULL;
  Run *run = g_new0(Run, 1);
  run->task = task;
  run->program = g_strdup(options->program);
  run->disk = g_strdup(plan->disk);
  run->timeout = options->timeout;
  run->pipes = g_cancellable_new();
  run->output = g_string_new(NULL);
  run->errors = g_string_new(NULL);
  run->killed_for = MF_ERROR_FAILED;
  g_task_set_task_data(task, run, run_free);
  /* A disk that was written to must be reported as such even if the caller gave up meanwhile. */
  g_task_set_check_cancellable(task, FALSE);

  if (g_cancellable_set_error_if_cancelled(cancellable, &error) ||
      !start(run, plan, options, &error)) {
    g_task_return_error(task, error);
    g_object_unref(task);
    return;
  }
  run->pending = 4;
  g_output_stream_write_all_async(g_subprocess_get_stdin_pipe(run->child), run->plan,
                                  run->plan_length, G_PRIORITY_DEFAULT, run->pipes, on_written,
                                  run);
  read_more(run, g_subprocess_get_stdout_pipe(run->child));
  read_more(run, g_subprocess_get_stderr_pipe(run->child));
  g_subprocess_wait_async(run->child, NULL, on_ended, run);
  if (options->timeout > 0)
    run->deadline =
        g_timeout_add_seconds((guint)MIN(options->timeout, G_MAXUINT), on_deadline, run);
  if (cancellable != NULL)
    run->cancel_id = g_cancellable_connect(cancellable, G_CALLBACK(on_cancelled), run, NULL);
}

void
mf_inject_run_async(const MfInjectPlan *plan, const MfInjectOptions *options,
                    GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  run_plan(plan, options, cancellable, callback, user_data);
}

gboolean
mf_inject_run_finish(GAsyncResult *result, GError **error)
{
  GError *local = NULL;
  mf_inject_system_free(g_task_propagate_pointer(G_TASK(result), &local));
  if (local == NULL)
    return TRUE;
  g_propagate_error(error, local);
  return FALSE;
}

void
mf_inject_inspect_async(const char *disk, const MfInjectOptions *options, GCancellable *cancellable,
                        GAsyncReadyCallback callback, gpointer user_data)
{
  g_autoptr(MfInjectPlan) plan = mf_inject_plan_new_inspect(disk);
  run_plan(plan, options, cancellable, callback, user_data);
}

MfInjectSystem *
mf_inject_inspect_finish(GAsyncResult *result, GError **error)
{
  GError *local = NULL;
  MfInjectSystem *system = g_task_propagate_pointer(G_TASK(result), &local);
  if (system == NULL && local == NULL)
    g_set_error(error, MF_ERROR, MF_ERROR_FAILED,
                "mayfly-inject said nothing of the system on the disk");
  else if (local != NULL)
    g_propagate_error(error, local);
  return system;
}

void
mf_inject_system_free(MfInjectSystem *self)
{
  if (self == NULL)
    return;
  g_free(self->root_device);
  g_free(self->root_fstype);
  g_free(self->os);
  g_free(self->init);
  g_free(self);
}
