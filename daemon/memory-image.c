/* SPDX-License-Identifier: Apache-2.0 */
/* Memory images on disk: see memory-image.h. */
#include "daemon/memory-image.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/auto.h"
#include "daemon/error.h"
#include "daemon/fifo.h"
#include "daemon/json.h"
#include "daemon/tree.h"

#define MEMORY   "memory"
#define DISK     "disk.qcow2"
#define DOCUMENT "memory.json"
#define FIFO     MEMORY ".fifo" /* of hypervisor-save.c */
#define HIDDEN   ".making-XXXXXX"
#define JSON_MAX 65536

static gboolean
remove_folder(const char *folder)
{
  g_autofree char *fifo = g_build_filename(folder, FIFO, NULL);
  mf_fifo_remove(fifo);
  return mf_tree_remove(folder);
}

MfMemoryImage *
mf_memory_image_ref(MfMemoryImage *self)
{
  g_atomic_ref_count_inc(&self->refs);
  return self;
}

void
mf_memory_image_unref(MfMemoryImage *self)
{
  if (self == NULL || !g_atomic_ref_count_dec(&self->refs))
    return;
  g_free(self->folder);
  g_free(self->memory);
  g_free(self->disk);
  g_free(self->stamp);
  mf_save_header_free(self->header);
  g_free(self);
}

static char *
folder_of(const char *forks, const char *template, const char *stamp)
{
  return g_strdup_printf("%s/%s-%.12s", forks, template, stamp);
}

/* Of what it takes up on the host; 0: it is not there. */
static guint64
size_of(const char *path)
{
  struct stat st;
  return stat(path, &st) == 0 ? (guint64)st.st_blocks * 512 : 0;
}

/* As it is read; 0: it is not there, or no file. */
static guint64
length_of(const char *path)
{
  struct stat st;
  return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? (guint64)st.st_size : 0;
}

static MfSaveHeader *
read_header(const char *path, GError **error)
{
  guint8 front[MF_SAVE_FRONT];
  g_auto(MfFd) fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || pread(fd, front, sizeof front, 0) != (ssize_t)sizeof front) {
    g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED, "%s cannot be read: %s", path,
                fd < 0 ? g_strerror(errno) : "it is too short");
    return NULL;
  }
  gsize length = mf_save_header_length(front, error);
  if (length == 0)
    return NULL;
  g_autofree guint8 *data = g_malloc(length);
  ssize_t got = pread(fd, data, length, 0);
  return mf_save_header_parse(data, got > 0 ? (gsize)got : 0, error);
}

static gboolean
read_document(MfMemoryImage *self, GError **error)
{
  g_autofree char *path = g_build_filename(self->folder, DOCUMENT, NULL);
  g_autofree char *text = NULL;
  gsize length = 0;
  guint64 made = 0, memory = 0, disk = 0;
  g_autoptr(GError) local = NULL;
  g_autoptr(MfJson) json = NULL;
  if (!g_file_get_contents(path, &text, &length, &local)) {
    g_set_error_literal(error, MF_ERROR, MF_ERROR_DAMAGED, local->message);
    return FALSE;
  }
  json = length <= JSON_MAX ? mf_json_parse(text, length, path, &local) : NULL;
  if (json == NULL || !mf_json_read_string(json, "", "stamp", &self->stamp, &local) ||
      !mf_json_read_uint(json, "", "made", 0, G_MAXINT64, &made, &local) ||
      !mf_json_read_uint(json, "", "memory_length", 1, G_MAXINT64, &memory, &local) ||
      !mf_json_read_uint(json, "", "disk_length", 1, G_MAXINT64, &disk, &local)) {
    g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED, "%s is damaged", path);
    return FALSE;
  }
  if (memory != length_of(self->memory) || disk != length_of(self->disk)) {
    g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED, "%s does not hold what was saved to it",
                self->folder);
    return FALSE;
  }
  self->made = (gint64)made;
  return TRUE;
}

MfMemoryImage *
mf_memory_image_find(const char *forks, const char *template, const char *stamp, GError **error)
{
  g_autoptr(MfMemoryImage) self = g_new0(MfMemoryImage, 1);
  g_atomic_ref_count_init(&self->refs);
  self->folder = folder_of(forks, template, stamp);
  self->memory = g_build_filename(self->folder, MEMORY, NULL);
  self->disk = g_build_filename(self->folder, DISK, NULL);
  if (!g_file_test(self->folder, G_FILE_TEST_IS_DIR)) {
    g_set_error(error, MF_ERROR, MF_ERROR_NOT_FOUND, "template %s has no memory image", template);
    return NULL;
  }
  if (!read_document(self, error))
    return NULL;
  if (g_strcmp0(self->stamp, stamp) != 0) {
    g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED, "%s is damaged", self->folder);
    return NULL;
  }
  self->header = read_header(self->memory, error);
  if (self->header == NULL)
    return NULL;
  self->size = size_of(self->memory) + size_of(self->disk);
  return g_steal_pointer(&self);
}

static void
set_failed(const char *what, GError **error)
{
  int err = errno;
  g_set_error(error, MF_ERROR, err == ENOSPC || err == EDQUOT ? MF_ERROR_NO_SPACE : MF_ERROR_FAILED,
              "cannot keep a memory image in %s: %s", what, g_strerror(err));
}

char *
mf_memory_image_begin(const char *forks, const char *overlays, GError **error)
{
  g_autofree char *work = g_build_filename(forks, HIDDEN, NULL);
  struct stat here, there;
  /* QEMU's user reaches a disk by its name, and lists nothing. */
  if (g_mkdir_with_parents(forks, 0711) != 0 || g_mkdtemp_full(work, 0711) == NULL) {
    set_failed(forks, error);
    return NULL;
  }
  if (stat(work, &here) == 0 && stat(overlays, &there) == 0 && here.st_dev != there.st_dev) {
    g_set_error(error, MF_ERROR, MF_ERROR_FAILED,
                "%s and %s are on different file systems: a saved machine's disk cannot be moved "
                "from one to the other",
                forks, overlays);
    rmdir(work);
    return NULL;
  }
  return g_steal_pointer(&work);
}

static gboolean
write_document(const char *work, const char *disk, const char *template, const char *stamp,
               GError **error)
{
  g_autofree char *path = g_build_filename(work, DOCUMENT, NULL);
  g_autofree char *memory = g_build_filename(work, MEMORY, NULL);
  g_autoptr(MfJson) json = json_object_new_object();
  mf_json_add_string(json, "template", template);
  mf_json_add_string(json, "stamp", stamp);
  mf_json_add_uint(json, "made", (guint64)(g_get_real_time() / G_USEC_PER_SEC));
  mf_json_add_uint(json, "memory_length", length_of(memory));
  mf_json_add_uint(json, "disk_length", length_of(disk));
  const char *text = json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN);
  return g_file_set_contents_full(
      path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0644, error);
}

static gboolean
sync_path(const char *path)
{
  g_auto(MfFd) fd = open(path, O_RDONLY | O_CLOEXEC);
  return fd >= 0 && fsync(fd) == 0;
}

gboolean
mf_memory_image_publish(const char *work, const char *forks, const char *template,
                        const char *stamp, GError **error)
{
  g_autofree char *folder = folder_of(forks, template, stamp);
  g_autofree char *disk = g_build_filename(work, DISK, NULL);
  /* Nothing is written to it any more: that would not be what the memory knows. */
  gboolean good = write_document(work, disk, template, stamp, error);
  if (good && (g_chmod(disk, 0440) != 0 || !sync_path(work))) {
    set_failed(work, error);
    good = FALSE;
  }
  if (good && (!remove_folder(folder) || g_rename(work, folder) != 0 || !sync_path(forks))) {
    set_failed(folder, error);
    good = FALSE;
  }
  if (!good)
    remove_folder(work);
  return good;
}

void
mf_memory_image_forget(const char *work)
{
  if (!remove_folder(work))
    g_warning("%s cannot be removed: %s, ignoring", work, g_strerror(errno));
}

void
mf_memory_image_remove(MfMemoryImage *self)
{
  mf_memory_image_forget(self->folder);
}

void
mf_memory_image_sweep_unfinished(const char *forks)
{
  g_autoptr(GDir) dir = g_dir_open(forks, 0, NULL);
  for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;) {
    g_autofree char *path = g_build_filename(forks, name, NULL);
    if (name[0] == '.')
      mf_memory_image_forget(path);
  }
}

void
mf_memory_image_sweep(const char *forks, GHashTable *keep)
{
  g_autoptr(GDir) dir = g_dir_open(forks, 0, NULL);
  for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;) {
    g_autofree char *path = g_build_filename(forks, name, NULL);
    if (!g_hash_table_contains(keep, path))
      mf_memory_image_forget(path);
  }
}
