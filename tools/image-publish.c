/* SPDX-License-Identifier: Apache-2.0 */
/* The last steps of building and importing. */
#include "tools/image-publish.h"

#include <errno.h>
#include <string.h>

#include "daemon/config.h"
#include "daemon/error.h"
#include "daemon/paths.h"
#include "tools/disk-info.h"

enum { LOOK_MS = 100 };

char *
mf_image_folder(const char *given, GError **error)
{
  g_autofree char *folder = g_strdup(given);
  if (folder == NULL) {
    g_autofree char *path = mf_path_config();
    gboolean there = g_file_test(path, G_FILE_TEST_EXISTS);
    g_autoptr(MfConfig) config = mf_config_load(there ? path : NULL, error);
    if (config == NULL)
      return NULL;
    folder = g_build_filename(config->state_directory, "images", NULL);
  }
  if (g_mkdir_with_parents(folder, 0755) == 0)
    return g_steal_pointer(&folder);
  g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "cannot make the images folder %s: %s%s", folder,
              g_strerror(errno), errno == EACCES ? "; run this as root" : "");
  return NULL;
}

gboolean
mf_image_convert(const char *from, const char *format, const char *to, MfSteps *progress,
                 GCancellable *cancellable, GError **error)
{
  g_autofree char *absolute = g_canonicalize_filename(from, NULL);
  char *argv[] = {(char *)"qemu-img", (char *)"convert", (char *)"-p", (char *)"-f", (char *)format,
                  (char *)"-O",       (char *)"qcow2",   absolute,     (char *)to,   NULL};
  MfProcess process = {.argv = argv, .progress = progress, .what = "qemu-img convert"};
  return mf_process_run(&process, cancellable, NULL, error);
}

typedef struct {
  MfImageStage *stage;
  MfImageMeta *meta;
  MfSteps *progress;
  gint permille; /* written by the worker, read by the loop */
  GMainLoop *loop;
  MfImage *image;
  GError *error;
} Publish;

static void
on_progress(double fraction, gpointer data)
{
  Publish *publish = data;
  g_atomic_int_set(&publish->permille, (gint)(fraction * 1000));
}

static gboolean
on_look(gpointer data)
{
  Publish *publish = data;
  mf_steps_fraction(publish->progress, g_atomic_int_get(&publish->permille) / 1000.0);
  return G_SOURCE_CONTINUE;
}

static void
work(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  Publish *publish = data;
  publish->image = mf_image_stage_publish(publish->stage, publish->meta, cancellable, on_progress,
                                          publish, &publish->error);
  g_task_return_boolean(task, TRUE);
}

static void
on_published(GObject *source, GAsyncResult *result, gpointer data)
{
  g_main_loop_quit(((Publish *)data)->loop);
}

gboolean
mf_image_publish(MfImageStage *stage, MfImageMeta *meta, MfSteps *progress,
                 GCancellable *cancellable, GError **error)
{
  g_autofree char *disk = g_build_filename(mf_image_stage_directory(stage), "disk.qcow2", NULL);
  g_autoptr(MfDiskInfo) info = mf_disk_info_read(disk, "qcow2", error);
  if (info == NULL)
    return FALSE;
  meta->virtual_size = info->virtual_size;

  mf_steps_begin(progress, "computing digests and publishing");
  g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
  Publish publish = {stage, meta, progress, 0, loop, NULL, NULL};
  g_autoptr(GTask) task = g_task_new(NULL, cancellable, on_published, &publish);
  g_task_set_check_cancellable(task, FALSE);
  g_task_set_task_data(task, &publish, NULL);
  guint timer = g_timeout_add(LOOK_MS, on_look, &publish);
  g_task_run_in_thread(task, work);
  g_main_loop_run(loop);
  g_source_remove(timer);

  g_autoptr(MfImage) image = publish.image;
  mf_steps_end(progress, image != NULL);
  if (image == NULL) {
    g_propagate_error(error, publish.error);
    return FALSE;
  }
  g_autofree char *reference = mf_image_reference(image);
  puts(reference);
  return TRUE;
}
