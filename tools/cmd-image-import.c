/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly image import: somebody's disk becomes an image that boots with its own boot loader. */
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/error.h"
#include "daemon/inject.h"
#include "daemon/paths.h"
#include "daemon/text.h"
#include "tools/cmd-image.h"
#include "tools/commands.h"
#include "tools/disk-info.h"
#include "tools/image-publish.h"

enum { INSPECT_SECONDS = 300 };

const MfOption mf_cmd_image_import_options[] = {
    {"name", 0, MF_OPTION_TEXT, "NAME",
     "the image's name (default: the file's, without its suffix)",
     G_STRUCT_OFFSET(MfImageImportOptions, name)},
    {"images", 0, MF_OPTION_TEXT, "DIR", "the images folder (default: the configured one)",
     G_STRUCT_OFFSET(MfImageImportOptions, images)},
    {"root-device", 0, MF_OPTION_TEXT, "DEVICE",
     "where its root filesystem is, like /dev/sda1 (default: looked for)",
     G_STRUCT_OFFSET(MfImageImportOptions, root_device)},
    {"root-fstype", 0, MF_OPTION_TEXT, "TYPE", "and what it is, like ext4",
     G_STRUCT_OFFSET(MfImageImportOptions, root_fstype)},
    {"accel", 0, MF_OPTION_TEXT, "kvm|tcg", "what to look into the disk with (default: tcg)",
     G_STRUCT_OFFSET(MfImageImportOptions, accel)},
    {0},
};
const gsize mf_cmd_image_import_options_size = sizeof(MfImageImportOptions);

/* "My Disk (1).qcow2" gives My-Disk--1 (transfer full). */
static char *
name_from_file(const char *path)
{
  g_autofree char *base = g_path_get_basename(path);
  char *dot = strrchr(base, '.');
  if (dot != NULL && dot != base)
    *dot = '\0';
  for (char *p = base; *p != '\0'; p++)
    if (!g_ascii_isalnum(*p) && strchr("._-", *p) == NULL)
      *p = '-';
  const char *start = base;
  while (*start != '\0' && !g_ascii_isalnum(*start))
    start++;
  char *name = g_strndup(start, 63);
  while (*name != '\0' && !g_ascii_isalnum(name[strlen(name) - 1]))
    name[strlen(name) - 1] = '\0';
  return name;
}

typedef struct {
  GMainLoop *loop;
  MfInjectSystem *system;
  GError *error;
} Inspect;

static void
on_inspected(GObject *source, GAsyncResult *result, gpointer data)
{
  Inspect *inspect = data;
  inspect->system = mf_inject_inspect_finish(result, &inspect->error);
  g_main_loop_quit(inspect->loop);
}

/* Whom the images belong to, which is whom mayflyd runs as; NULL: root, or nobody we know.
 * (transfer full) */
static char *
owner_of(const char *path)
{
  struct stat st;
  const struct passwd *entry = stat(path, &st) == 0 && st.st_uid != 0 ? getpwuid(st.st_uid) : NULL;
  return entry != NULL ? g_strdup(entry->pw_name) : NULL;
}

/* What is on the disk, by mayfly-inject: no byte of it is looked at in this process, nor by
 * root. */
static MfInjectSystem *
inspect_disk(const MfImageImportOptions *options, const char *disk, MfSteps *progress,
             GCancellable *cancellable, GError **error)
{
  mf_steps_begin(progress, "looking for the system on the disk");
  g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
  g_autofree char *program = mf_path_libexec("mayfly-inject");
  g_autofree char *stage = g_path_get_dirname(disk);
  g_autofree char *images = g_path_get_dirname(stage);
  g_autofree char *user = owner_of(images);
  Inspect inspect = {loop, NULL, NULL};
  MfInjectOptions inject = {
      .program = program,
      .accel = options->accel != NULL ? options->accel : "tcg",
      .timeout = INSPECT_SECONDS,
      .user = user,
  };
  mf_inject_inspect_async(disk, &inject, cancellable, on_inspected, &inspect);
  g_main_loop_run(loop);
  mf_steps_end(progress, inspect.system != NULL);
  if (inspect.system == NULL)
    g_propagate_error(error, inspect.error);
  return inspect.system;
}

static gboolean
describe(const MfImageImportOptions *options, const char *disk, MfImageMeta *meta,
         MfSteps *progress, GCancellable *cancellable, GError **error)
{
  if (options->root_device != NULL) {
    meta->root_device = g_strdup(options->root_device);
    meta->root_fstype = g_strdup(options->root_fstype);
    meta->os = g_strdup("Linux");
    meta->init = g_strdup("unknown");
    return TRUE;
  }
  g_autoptr(MfInjectSystem) system = inspect_disk(options, disk, progress, cancellable, error);
  if (system == NULL)
    return FALSE;
  meta->root_device = g_strdup(system->root_device);
  meta->root_fstype = g_strdup(system->root_fstype);
  meta->init = g_strdup(system->init);
  meta->os = mf_image_os_text(system->os);
  if (!system->boot_kernel)
    g_printerr("warning: no kernel was found on the disk: it will not boot unless its boot loader "
               "brings one\n");
  return TRUE;
}

static gboolean
import_disk(const MfImageImportOptions *options, const char *file, const char *name,
            MfImageStage *stage, MfSteps *progress, GCancellable *cancellable, GError **error)
{
  g_autoptr(MfImageMeta) meta = mf_image_meta_new();
  g_autofree char *disk = g_build_filename(mf_image_stage_directory(stage), "disk.qcow2", NULL);
  g_autoptr(MfDiskInfo) info = mf_disk_info_read(file, NULL, error);
  if (info == NULL)
    return FALSE;
  meta->name = g_strdup(name);
  mf_steps_begin(progress, "copying the disk");
  if (!mf_image_convert(file, info->format, disk, progress, cancellable, error))
    return FALSE;
  mf_steps_end(progress, TRUE);
  return describe(options, disk, meta, progress, cancellable, error) &&
         mf_image_publish(stage, meta, progress, cancellable, error);
}

static gboolean
check_words(const MfImageImportOptions *options, const char *file, const char *name, GError **error)
{
  g_autofree char *shown = mf_text_quote(file);
  if (!mf_image_name_valid(name))
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "give the image a name with --name: letters, digits, '.', '_' and '-', at most 63");
  else if ((options->root_device == NULL) != (options->root_fstype == NULL))
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "--root-device and --root-fstype belong together");
  else if (!g_file_test(file, G_FILE_TEST_EXISTS))
    g_set_error(error, MF_ERROR, MF_ERROR_NOT_FOUND, "there is no file %s", shown);
  else if (g_file_test(file, G_FILE_TEST_IS_DIR))
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "%s is a folder: give a disk in qcow2 or raw format", shown);
  else
    return TRUE;
  return FALSE;
}

int
mf_cmd_image_import(const MfCommon *common, gconstpointer options, char **argv, GError **error)
{
  const MfImageImportOptions *self = options;
  g_autofree char *name = self->name != NULL ? g_strdup(self->name) : name_from_file(argv[0]);
  if (!check_words(self, argv[0], name, error))
    return MF_EXIT_FAILURE;
  g_autofree char *images = mf_image_folder(self->images, error);
  g_autoptr(MfImageStage) stage = images != NULL ? mf_image_stage_new(images, error) : NULL;
  if (stage == NULL)
    return MF_EXIT_FAILURE;

  g_autoptr(GCancellable) cancellable = g_cancellable_new();
  g_autoptr(MfInterrupt) interrupt = mf_interrupt_new(cancellable);
  g_autoptr(MfSteps) progress = mf_steps_new(stderr, isatty(STDERR_FILENO));
  g_autoptr(GError) local = NULL;
  if (import_disk(self, argv[0], name, stage, progress, cancellable, &local))
    return MF_EXIT_OK;
  mf_steps_end(progress, FALSE);
  if (mf_interrupt_happened(interrupt))
    return MF_EXIT_INTERRUPT;
  g_propagate_error(error, g_steal_pointer(&local));
  return MF_EXIT_FAILURE;
}
