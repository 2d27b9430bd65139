/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing image versions and removing them: by one rename each. */
#include "daemon/image-store.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "daemon/auto.h"
#include "daemon/error.h"
#include "daemon/image-digest.h"
#include "daemon/tree.h"

#define STAGE_PREFIX ".new-"
#define GONE_PREFIX  ".gone-"

struct MfImageStage {
  char *images;
  char *directory; /* NULL once published */
  MfFd lock;       /* on the directory: held as long as the builder lives */
};

static gboolean
fail(GError **error, int err, const char *doing, const char *path)
{
  MfErrorCode code = err == ENOSPC || err == EDQUOT ? MF_ERROR_NO_SPACE : MF_ERROR_FAILED;
  const char *advice = code == MF_ERROR_NO_SPACE                       ? "; free some space there"
                       : err == EACCES || err == EPERM || err == EROFS ? "; do it as root"
                                                                       : "";
  g_set_error(error, MF_ERROR, code, "cannot %s %s: %s%s", doing, path, g_strerror(err), advice);
  return FALSE;
}

/* Whoever makes or sweeps stages holds it, so that none is seen between its creation and its lock.
 */
static int
lock_store(const char *images, GError **error)
{
  g_autofree char *path = g_build_filename(images, ".lock", NULL);
  g_auto(MfFd) fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0 || flock(fd, LOCK_EX) != 0) {
    fail(error, errno, "lock the images folder with", path);
    return -1;
  }
  return mf_fd_steal(&fd);
}

static void
sweep_stage(const char *path)
{
  g_auto(MfFd) fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0)
    return;
  if (!mf_tree_remove(path))
    g_message("cannot remove the unfinished image %s: %s, ignoring it", path, g_strerror(errno));
}

static void
sweep_locked(const char *images)
{
  g_autoptr(GDir) dir = g_dir_open(images, 0, NULL);
  if (dir == NULL)
    return;
  for (const char *name; (name = g_dir_read_name(dir)) != NULL;) {
    g_autofree char *path = g_build_filename(images, name, NULL);
    if (g_str_has_prefix(name, STAGE_PREFIX))
      sweep_stage(path);
    else if (g_str_has_prefix(name, GONE_PREFIX) && !mf_tree_remove(path))
      g_message("cannot remove the rest of an image in %s: %s, ignoring it", path,
                g_strerror(errno));
  }
}

void
mf_image_store_sweep(const char *images)
{
  g_autoptr(GError) error = NULL;
  g_auto(MfFd) lock = lock_store(images, &error);
  if (lock >= 0)
    sweep_locked(images);
  else
    g_message("%s, ignoring unfinished images", error->message);
}

MfImageStage *
mf_image_stage_new(const char *images, GError **error)
{
  g_autoptr(MfImageStage) self = g_new0(MfImageStage, 1);
  self->lock = -1;
  self->images = g_canonicalize_filename(images, NULL);
  g_auto(MfFd) store = lock_store(self->images, error);
  if (store < 0)
    return NULL;
  sweep_locked(self->images);

  g_autofree char *directory = g_build_filename(self->images, STAGE_PREFIX "XXXXXX", NULL);
  if (g_mkdtemp_full(directory, 0755) == NULL) {
    fail(error, errno, "make a folder in", self->images);
    return NULL;
  }
  self->directory = g_steal_pointer(&directory);
  self->lock = open(self->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (self->lock < 0 || flock(self->lock, LOCK_EX | LOCK_NB) != 0) {
    fail(error, errno, "lock", self->directory);
    return NULL;
  }
  return g_steal_pointer(&self);
}

const char *
mf_image_stage_directory(const MfImageStage *self)
{
  return self->directory;
}

/* What a killed builder started may write its last while we remove: then a folder is not empty when
 * its turn comes. */
static gboolean
remove_patiently(const char *path)
{
  for (int i = 0; i < 20; i++) {
    if (mf_tree_remove(path))
      return TRUE;
    if (errno != ENOTEMPTY && errno != EBUSY)
      return FALSE;
    g_usleep(50 * 1000);
  }
  return FALSE;
}

void
mf_image_stage_free(MfImageStage *self)
{
  if (self == NULL)
    return;
  if (self->directory != NULL && !remove_patiently(self->directory))
    g_message("cannot remove the unfinished image %s: %s, ignoring it", self->directory,
              g_strerror(errno));
  mf_fd_clear(&self->lock);
  g_free(self->directory);
  g_free(self->images);
  g_free(self);
}

/* Drop scratch files: an image folder holds what its image.json names and nothing else. */
static gboolean
drop_strangers(const char *directory, GError **error)
{
  g_autoptr(GDir) dir = g_dir_open(directory, 0, error);
  if (dir == NULL)
    return FALSE;
  for (const char *name; (name = g_dir_read_name(dir)) != NULL;) {
    gboolean ours = FALSE;
    for (guint i = 0; i < MF_IMAGE_FILE_LAST_; i++)
      ours = ours || strcmp(name, mf_image_file_name((MfImageFileKind)i)) == 0;
    g_autofree char *path = g_build_filename(directory, name, NULL);
    if (!ours && !mf_tree_remove(path))
      return fail(error, errno, "remove", path);
  }
  return TRUE;
}

/* From here on the file is the owner's, read-only, and on disk. */
static gboolean
settle(const char *path, mode_t mode, const struct stat *owner, GError **error)
{
  g_auto(MfFd) fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0)
    return fail(error, errno, "open", path);
  if (geteuid() == 0 && fchown(fd, owner->st_uid, owner->st_gid) != 0)
    return fail(error, errno, "change the owner of", path);
  if (fchmod(fd, mode) != 0)
    return fail(error, errno, "change the mode of", path);
  if (fsync(fd) != 0)
    return fail(error, errno, "write to disk", path);
  return TRUE;
}

typedef struct {
  MfImageProgress progress;
  gpointer user_data;
  guint64 done;
  guint64 total;
} Reading;

static void
on_read(guint64 bytes, gpointer user_data)
{
  Reading *r = user_data;
  r->done += bytes;
  if (r->progress != NULL && r->total > 0)
    r->progress(MIN((double)r->done / (double)r->total, 1.0), r->user_data);
}

static gboolean
fill_in_files(const char *directory, MfImageMeta *meta, const struct stat *owner,
              GCancellable *cancellable, Reading *reading, GError **error)
{
  for (guint i = 0; i < MF_IMAGE_FILE_LAST_; i++) {
    g_autofree char *path =
        g_build_filename(directory, mf_image_file_name((MfImageFileKind)i), NULL);
    struct stat st;
    if (lstat(path, &st) == 0)
      reading->total += (guint64)st.st_size;
  }
  for (guint i = 0; i < MF_IMAGE_FILE_LAST_; i++) {
    MfImageFile *file = &meta->files[i];
    g_autofree char *path =
        g_build_filename(directory, mf_image_file_name((MfImageFileKind)i), NULL);
    g_clear_pointer(&file->sha256, g_free);
    if (!g_file_test(path, G_FILE_TEST_EXISTS | G_FILE_TEST_IS_SYMLINK))
      continue;
    file->sha256 = mf_image_digest_file(path, cancellable, on_read, reading, &file->size, error);
    if (file->sha256 == NULL || !settle(path, 0444, owner, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
write_meta(const char *directory, const MfImageMeta *meta, const struct stat *owner, GError **error)
{
  g_autofree char *path = g_build_filename(directory, "image.json", NULL);
  g_autofree char *text = mf_image_meta_to_json(meta);
  return g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0444, error) &&
         settle(path, 0444, owner, error);
}

/* The version is there already: keep it if it is whole, else put ours in its place. @ret is set if
 * it was kept. */
static gboolean
meet_existing(MfImageStage *self, const char *target, const char *reference, MfImage **ret,
              GError **error)
{
  g_autoptr(GError) damage = NULL;
  g_autoptr(MfImage) existing = mf_image_find(self->images, reference, &damage);
  if (existing != NULL) {
    mf_tree_remove(self->directory);
    *ret = g_steal_pointer(&existing);
    return TRUE;
  }
  g_message("%s, replacing it", damage->message);
  if (!mf_image_store_discard(target, error))
    return FALSE;
  if (rename(self->directory, target) != 0)
    return fail(error, errno, "publish", target);
  return TRUE;
}

MfImage *
mf_image_stage_publish(MfImageStage *self, MfImageMeta *meta, GCancellable *cancellable,
                       MfImageProgress progress, gpointer user_data, GError **error)
{
  g_return_val_if_fail(self->directory != NULL, NULL);
  Reading reading = {progress, user_data, 0, 0};
  struct stat owner;

  if (meta->created == 0)
    meta->created = g_get_real_time() / G_USEC_PER_SEC;
  if (stat(self->images, &owner) != 0) {
    fail(error, errno, "look at", self->images);
    return NULL;
  }
  if (!drop_strangers(self->directory, error) ||
      !fill_in_files(self->directory, meta, &owner, cancellable, &reading, error) ||
      !mf_image_meta_check(meta, error) || !write_meta(self->directory, meta, &owner, error) ||
      !settle(self->directory, 0755, &owner, error) ||
      g_cancellable_set_error_if_cancelled(cancellable, error))
    return NULL;

  g_autofree char *digest = mf_image_meta_digest(meta);
  g_autofree char *reference = g_strdup_printf("%s@%s", meta->name, digest);
  g_autofree char *target = g_build_filename(self->images, reference, NULL);
  g_autoptr(MfImage) image = NULL;
  if (rename(self->directory, target) != 0) {
    if (errno != EEXIST && errno != ENOTEMPTY) {
      fail(error, errno, "publish", target);
      return NULL;
    }
    if (!meet_existing(self, target, reference, &image, error))
      return NULL;
  }
  g_clear_pointer(&self->directory, g_free);
  g_auto(MfFd) parent = open(self->images, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (parent < 0 || fsync(parent) != 0) {
    fail(error, errno, "write to disk", self->images);
    return NULL;
  }
  return image != NULL ? g_steal_pointer(&image) : mf_image_find(self->images, reference, error);
}

gboolean
mf_image_store_discard(const char *directory, GError **error)
{
  g_autofree char *parent = g_path_get_dirname(directory);
  g_autofree char *gone = g_build_filename(parent, GONE_PREFIX "XXXXXX", NULL);

  if (g_mkdtemp_full(gone, 0700) == NULL)
    return fail(error, errno, "make a folder in", parent);
  /* Replaces the empty folder that reserved the name. */
  if (rename(directory, gone) != 0) {
    int err = errno;
    g_rmdir(gone);
    return fail(error, err, "remove", directory);
  }
  if (!mf_tree_remove(gone))
    return fail(error, errno, "delete all of", gone);
  return TRUE;
}
