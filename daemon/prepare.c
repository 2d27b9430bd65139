/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The prepared layer of an image: an overlay with the agent, and what starts it unless the image's
 * initrd does, made once per image version and agent.
 *
 * It is made under a hidden name and published by rename, so whoever finds it finds it whole.
 * Callers that want the same one share a run: it goes on as long as one of them is interested. Main
 * loop only.
 */
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/auto.h"
#include "daemon/error.h"
#include "daemon/image-digest.h"
#include "daemon/inject.h"
#include "daemon/paths.h"
#include "daemon/runner.h"
#include "daemon/text.h"

#define AGENT_PATH "/usr/local/lib/mayfly/mayfly-agent"
#define PREFIX      "prepared-"
#define UNFINISHED  ".prepared-"

typedef struct {
  char *path; /* of the layer: the key in runs */
  char *work; /* the same under its hidden name */
  MfImage *image;
  char *agent;
  char *runner; /* NULL: there is none */
  char *program, *accel, *cache_dir;
  guint64 timeout;
  GCancellable *cancellable;
  GPtrArray *waiters; /* Waiter, owned */
} Prepare;

typedef struct {
  Prepare *prepare;
  GTask *task;
  GSource *cancelled; /* NULL if it cannot be */
} Waiter;

/* One entry a layer that is being made. */
static GHashTable *runs;

static void
prepare_free(Prepare *self)
{
  if (self->work != NULL)
    g_unlink(self->work);
  g_free(self->path);
  g_free(self->work);
  mf_image_unref(self->image);
  g_free(self->agent);
  g_free(self->runner);
  g_free(self->program);
  g_free(self->accel);
  g_free(self->cache_dir);
  g_object_unref(self->cancellable);
  g_ptr_array_unref(self->waiters);
  g_free(self);
}

static void
waiter_free(gpointer data)
{
  Waiter *waiter = data;
  if (waiter->cancelled != NULL) {
    g_source_destroy(waiter->cancelled);
    g_source_unref(waiter->cancelled);
  }
  g_object_unref(waiter->task);
  g_free(waiter);
}

static void begin(Prepare *self);

/* @error: taken; NULL means the layer is there. */
static void
complete(Prepare *self, GError *error)
{
  /* It was given up by all who wanted it, and then somebody else came. */
  if (error != NULL && g_cancellable_is_cancelled(self->cancellable) && self->waiters->len > 0) {
    g_clear_error(&error);
    g_object_unref(self->cancellable);
    self->cancellable = g_cancellable_new();
    begin(self);
    return;
  }
  g_hash_table_remove(runs, self->path);
  for (guint i = 0; i < self->waiters->len; i++) {
    Waiter *waiter = self->waiters->pdata[i];
    if (error != NULL)
      g_task_return_error(waiter->task, g_error_copy(error));
    else
      g_task_return_pointer(waiter->task, g_strdup(self->path), g_free);
  }
  g_clear_error(&error);
  prepare_free(self);
}

static gboolean
on_waiter_cancelled(GCancellable *cancellable, gpointer data)
{
  Waiter *waiter = data;
  Prepare *self = waiter->prepare;
  g_task_return_new_error(waiter->task, MF_ERROR, MF_ERROR_CANCELLED,
                          "preparing image %s was cancelled", self->image->name);
  g_ptr_array_remove(self->waiters, waiter);
  if (self->waiters->len == 0)
    g_cancellable_cancel(self->cancellable);
  return G_SOURCE_REMOVE;
}

static void
add_waiter(Prepare *self, GTask *task)
{
  Waiter *waiter = g_new0(Waiter, 1);
  GCancellable *cancellable = g_task_get_cancellable(task);
  waiter->prepare = self;
  waiter->task = task;
  if (cancellable != NULL) {
    waiter->cancelled = g_cancellable_source_new(cancellable);
    g_source_set_callback(waiter->cancelled, G_SOURCE_FUNC(on_waiter_cancelled), waiter, NULL);
    g_source_attach(waiter->cancelled, NULL);
  }
  g_ptr_array_add(self->waiters, waiter);
}

static GError *
error_from_errno(int err, const char *doing, const char *path)
{
  return g_error_new(MF_ERROR, err == ENOSPC || err == EDQUOT ? MF_ERROR_NO_SPACE : MF_ERROR_FAILED,
                     "cannot %s %s: %s", doing, path, g_strerror(err));
}

static void
publish(Prepare *self)
{
  g_autofree char *folder = g_path_get_dirname(self->path);
  g_auto(MfFd) file = open(self->work, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  g_auto(MfFd) directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  GError *error = NULL;
  /* QEMU was told to flush nothing. */
  if (file < 0 || fsync(file) != 0 || fchmod(file, 0444) != 0)
    error = error_from_errno(errno, "write to disk", self->work);
  else if (g_rename(self->work, self->path) != 0)
    error = error_from_errno(errno, "publish", self->path);
  else if (directory < 0 || fsync(directory) != 0)
    error = error_from_errno(errno, "write to disk", folder);
  complete(self, error);
}

static void
on_injected(GObject *source, GAsyncResult *result, gpointer data)
{
  Prepare *self = data;
  GError *error = NULL;
  if (mf_inject_run_finish(result, &error)) {
    publish(self);
    return;
  }
  g_prefix_error(&error, "image %s cannot be prepared: ", self->image->name);
  complete(self, error);
}

static gboolean
add_data(MfInjectPlan *plan, const char *name, const char *path, guint mode, GError **error)
{
  g_autofree char *relative = g_build_filename("agent", name, NULL);
  g_autofree char *source = mf_path_data(relative);
  g_autofree char *text = NULL;
  gsize length;
  g_autoptr(GError) local = NULL;
  if (!g_file_get_contents(source, &text, &length, &local)) {
    g_set_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE,
                "cannot read %s: %s; is mayfly installed completely?", source, local->message);
    return FALSE;
  }
  mf_inject_plan_file(plan, path, mode, 0, 0, text, length);
  return TRUE;
}

/*
 * What starts the agent. A busybox init knows no services beyond its own rcS, which is not ours to
 * edit: such an image starts the agent from its initrd. Where the init is unknown the ways of
 * systemd and of System V are both laid.
 */
static gboolean
add_start_up(MfInjectPlan *plan, const char *init, GError **error)
{
  gboolean unknown = strcmp(init, "unknown") == 0;
  if (strcmp(init, "systemd") == 0 || unknown) {
    if (!add_data(plan, "mayfly-agent.service", "/etc/systemd/system/mayfly-agent.service", 0644,
                  error))
      return FALSE;
    mf_inject_plan_symlink(plan, "/etc/systemd/system/sysinit.target.wants/mayfly-agent.service",
                           "../mayfly-agent.service");
  }
  if (strcmp(init, "openrc") == 0) {
    if (!add_data(plan, "mayfly-agent.openrc", "/etc/init.d/mayfly-agent", 0755, error))
      return FALSE;
    mf_inject_plan_symlink(plan, "/etc/runlevels/sysinit/mayfly-agent", "/etc/init.d/mayfly-agent");
  }
  if (strcmp(init, "sysv") == 0 || unknown) {
    if (!add_data(plan, "mayfly-agent.init", "/etc/init.d/mayfly-agent", 0755, error))
      return FALSE;
    for (char level = '2'; level <= '5'; level++) {
      g_autofree char *path = g_strdup_printf("/etc/rc%c.d/S01mayfly-agent", level);
      mf_inject_plan_symlink(plan, path, "../init.d/mayfly-agent");
    }
  }
  return TRUE;
}

static MfInjectPlan *
make_plan(Prepare *self, GError **error)
{
  g_autoptr(MfInjectPlan) plan = mf_inject_plan_new(self->work, self->image);
  g_autofree char *agent = NULL;
  gsize length;
  g_autoptr(GError) local = NULL;
  if (!g_file_get_contents(self->agent, &agent, &length, &local)) {
    g_set_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE,
                "cannot read the agent: %s; is mayfly installed completely?", local->message);
    return NULL;
  }
  mf_inject_plan_file(plan, AGENT_PATH, 0755, 0, 0, agent, length);
  /* Behind the agent of our initrd another one would find the port taken, and end. */
  if (!self->image->agent_in_initrd && !add_start_up(plan, self->image->init, error))
    return NULL;
  if (self->runner != NULL)
    mf_inject_plan_program(plan, MF_RUNNER_GUEST_PATH, 0755, self->runner);
  return g_steal_pointer(&plan);
}

static void
on_overlay(GObject *source, GAsyncResult *result, gpointer data)
{
  Prepare *self = data;
  g_autofree char *errors = NULL;
  GError *error = NULL;
  if (!g_subprocess_communicate_utf8_finish(G_SUBPROCESS(source), result, NULL, &errors, &error)) {
    complete(self, error);
    return;
  }
  if (!g_subprocess_get_successful(G_SUBPROCESS(source))) {
    /* It names the file, which is long, and only then what is wrong. */
    g_autofree char *words = mf_text_line(g_strchomp(errors));
    complete(self, g_error_new(MF_ERROR, MF_ERROR_FAILED,
                               "a layer on the image %s cannot be made: %s", self->image->name,
                               *words != '\0' ? words : "qemu-img does not say why"));
    return;
  }
  g_autoptr(MfInjectPlan) plan = make_plan(self, &error);
  if (plan == NULL) {
    complete(self, error);
    return;
  }
  MfInjectOptions options = {
      .program = self->program,
      .accel = self->accel,
      .timeout = self->timeout,
      .cache_dir = self->cache_dir,
  };
  mf_inject_run_async(plan, &options, self->cancellable, on_injected, self);
}

/* No run of ours is at work on this image, and there is one daemon: what lies there is of a dead
 * one. */
static void
drop_unfinished(const char *folder)
{
  g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
  for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;) {
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_autofree char *published = g_build_filename(folder, name + 1, NULL);
    if (g_str_has_prefix(name, UNFINISHED) && !g_hash_table_contains(runs, published))
      g_unlink(path);
  }
}

static Prepare *
prepare_new(MfImage *image, const char *agent, const char *runner, const char *path,
            const MfInjectOptions *options)
{
  Prepare *self = g_new0(Prepare, 1);
  g_autofree char *name = g_path_get_basename(path);
  self->path = g_strdup(path);
  self->work = g_strconcat(image->directory, "/.", name, NULL);
  self->image = mf_image_ref(image);
  self->agent = g_strdup(agent);
  self->runner = g_strdup(runner);
  self->program = g_strdup(options->program);
  self->accel = g_strdup(options->accel);
  self->cache_dir = g_strdup(options->cache_dir);
  self->timeout = options->timeout;
  self->cancellable = g_cancellable_new();
  self->waiters = g_ptr_array_new_with_free_func(waiter_free);
  return self;
}

static void
begin(Prepare *self)
{
  GError *error = NULL;
  drop_unfinished(self->image->directory);
  g_hash_table_insert(runs, self->path, self);
  /* Named relative to the layer: the images folder may be moved as a whole. */
  g_autoptr(GSubprocess) child = g_subprocess_new(
      G_SUBPROCESS_FLAGS_STDOUT_SILENCE | G_SUBPROCESS_FLAGS_STDERR_PIPE, &error, "qemu-img",
      "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "disk.qcow2", self->work, NULL);
  if (child == NULL) {
    complete(self,
             g_error_new(MF_ERROR, MF_ERROR_UNAVAILABLE,
                         "cannot start qemu-img: %s; apt-get install qemu-utils", error->message));
    g_clear_error(&error);
    return;
  }
  /* Short, and not to be left behind at work on a file that the next run wants: so it is not
   * cancelled. */
  g_subprocess_communicate_utf8_async(child, NULL, NULL, on_overlay, self);
}

/* Which layer this agent and this runner make. (transfer full) */
static char *
layer_path(MfImage *image, const char *agent, const char *runner, GError **error)
{
  g_autofree char *digest = mf_image_digest_file(agent, NULL, NULL, NULL, NULL, error);
  if (digest == NULL) {
    g_prefix_error(error, "image %s cannot be prepared, is mayfly installed completely? ",
                   image->name);
    return NULL;
  }
  if (runner != NULL) {
    g_autofree char *stamp = mf_runner_stamp(runner);
    g_autofree char *both = g_strconcat(digest, " ", stamp, NULL);
    g_free(digest);
    digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, both, -1);
  }
  return g_strdup_printf("%s/" PREFIX "%.16s.qcow2", image->directory, digest);
}

void
mf_image_prepare_async(MfImage *image, const char *agent, const char *runner,
                       const MfInjectOptions *options, GCancellable *cancellable,
                       GAsyncReadyCallback callback, gpointer user_data)
{
  g_autoptr(GTask) task = g_task_new(NULL, cancellable, callback, user_data);
  GError *error = NULL;
  g_task_set_check_cancellable(task, FALSE);
  if (runs == NULL)
    runs = g_hash_table_new(g_str_hash, g_str_equal);

  g_autofree char *path = layer_path(image, agent, runner, &error);
  if (path == NULL) {
    g_task_return_error(task, error);
    return;
  }
  Prepare *run = g_hash_table_lookup(runs, path);
  if (run == NULL && g_file_test(path, G_FILE_TEST_IS_REGULAR)) {
    g_task_return_pointer(task, g_steal_pointer(&path), g_free);
    return;
  }
  gboolean first = run == NULL;
  if (first)
    run = prepare_new(image, agent, runner, path, options);
  add_waiter(run, g_steal_pointer(&task));
  if (first)
    begin(run);
}

char *
mf_image_prepare_finish(GAsyncResult *result, GError **error)
{
  return g_task_propagate_pointer(G_TASK(result), error);
}

void
mf_image_prepare_sweep(MfImage *image, const char *agent, const char *runner)
{
  g_autofree char *current = layer_path(image, agent, runner, NULL);
  g_autoptr(GDir) dir = current != NULL ? g_dir_open(image->directory, 0, NULL) : NULL;
  for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;) {
    g_autofree char *path = g_build_filename(image->directory, name, NULL);
    if (!g_str_has_prefix(name, PREFIX) || strcmp(path, current) == 0)
      continue;
    g_message("image %s: removing a prepared layer that no new machine would use", image->name);
    g_unlink(path);
  }
}
