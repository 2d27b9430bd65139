/* SPDX-License-Identifier: Apache-2.0 */
/* Images on disk: finding, checking and removing versions. How one gets there is image-store.c. */
#include "daemon/image.h"

#include <string.h>
#include <sys/stat.h>

#include "daemon/auto.h"
#include "daemon/error.h"
#include "daemon/image-digest.h"
#include "daemon/image-meta.h"
#include "daemon/image-store.h"
#include "daemon/text.h"

enum { DIGEST_LENGTH = 64, SHORT_DIGEST = 12, META_MAX = 64 * 1024 };

MfImage *
mf_image_ref(MfImage *self)
{
  g_atomic_ref_count_inc(&self->refs);
  return self;
}

void
mf_image_unref(MfImage *self)
{
  if (self == NULL || !g_atomic_ref_count_dec(&self->refs))
    return;
  g_free(self->name);
  g_free(self->digest);
  g_free(self->directory);
  g_free(self->disk);
  g_free(self->kernel);
  g_free(self->initrd);
  g_free(self->cmdline);
  g_free(self->root_device);
  g_free(self->root_fstype);
  g_free(self->init);
  g_free(self->os);
  g_free(self);
}

char *
mf_image_reference(const MfImage *self)
{
  return g_strdup_printf("%s@%.*s", self->name, SHORT_DIGEST, self->digest);
}

/* The name in NAME@DIGEST with a whole digest, or NULL: not the folder of an image (transfer full).
 */
static char *
folder_name(const char *folder)
{
  const char *at = strrchr(folder, '@');
  if (at == NULL || strlen(at + 1) != DIGEST_LENGTH ||
      strspn(at + 1, "0123456789abcdef") != DIGEST_LENGTH)
    return NULL;
  g_autofree char *name = g_strndup(folder, (gsize)(at - folder));
  return mf_image_name_valid(name) ? g_steal_pointer(&name) : NULL;
}

static MfImageMeta *
read_meta(const char *directory, GError **error)
{
  g_autofree char *path = g_build_filename(directory, "image.json", NULL);
  g_autofree char *text = NULL;
  gsize length;
  struct stat st;

  /* Asked before reading: the folder may hold a device or something huge by that name. */
  if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > META_MAX) {
    g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED, "its image.json is missing or no plain file");
    return NULL;
  }
  if (!g_file_get_contents(path, &text, &length, error))
    return NULL;
  return mf_image_meta_parse(text, length, error);
}

/* One stat a file: whole and in place as far as can be seen without reading it. */
static gboolean
check_files(const char *directory, const MfImageMeta *meta, GError **error)
{
  for (guint i = 0; i < MF_IMAGE_FILE_LAST_; i++) {
    if (meta->files[i].sha256 == NULL)
      continue;
    const char *name = mf_image_file_name((MfImageFileKind)i);
    g_autofree char *path = g_build_filename(directory, name, NULL);
    struct stat st;
    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode)) {
      g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED, "its %s is missing", name);
      return FALSE;
    }
    if ((guint64)st.st_size != meta->files[i].size) {
      g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED,
                  "its %s has %" G_GUINT64_FORMAT " bytes instead of %" G_GUINT64_FORMAT, name,
                  (guint64)st.st_size, meta->files[i].size);
      return FALSE;
    }
  }
  return TRUE;
}

static char *
file_path(const char *directory, const MfImageMeta *meta, MfImageFileKind kind)
{
  if (meta->files[kind].sha256 == NULL)
    return NULL;
  return g_build_filename(directory, mf_image_file_name(kind), NULL);
}

static MfImage *
image_new(const char *directory, const char *digest, MfImageMeta *meta)
{
  MfImage *self = g_new0(MfImage, 1);
  g_atomic_ref_count_init(&self->refs);
  self->name = g_steal_pointer(&meta->name);
  self->digest = g_strdup(digest);
  self->directory = g_strdup(directory);
  self->disk = file_path(directory, meta, MF_IMAGE_FILE_DISK);
  self->kernel = file_path(directory, meta, MF_IMAGE_FILE_KERNEL);
  self->initrd = file_path(directory, meta, MF_IMAGE_FILE_INITRD);
  self->virtual_size = meta->virtual_size;
  for (guint i = 0; i < MF_IMAGE_FILE_LAST_; i++)
    self->file_size += meta->files[i].size;
  self->cmdline = g_steal_pointer(&meta->cmdline);
  self->agent_in_initrd = meta->agent_in_initrd;
  self->root_device = g_steal_pointer(&meta->root_device);
  self->root_fstype = g_steal_pointer(&meta->root_fstype);
  self->init = g_steal_pointer(&meta->init);
  self->os = g_steal_pointer(&meta->os);
  self->created = meta->created;
  return self;
}

/* The image in @directory/@folder; DAMAGED says what is wrong with it. */
static MfImage *
load(const char *images, const char *folder, GError **error)
{
  g_autofree char *name = folder_name(folder);
  g_autofree char *absolute = g_canonicalize_filename(images, NULL);
  g_autofree char *directory = g_build_filename(absolute, folder, NULL);
  g_autoptr(GError) local = NULL;
  g_autoptr(MfImageMeta) meta = read_meta(directory, &local);
  const char *digest = strrchr(folder, '@') + 1;

  if (meta != NULL && check_files(directory, meta, &local)) {
    g_autofree char *expected = mf_image_meta_digest(meta);
    if (strcmp(meta->name, name) == 0 && strcmp(expected, digest) == 0)
      return image_new(directory, digest, meta);
    g_set_error(&local, MF_ERROR, MF_ERROR_DAMAGED, "its image.json describes another image");
  }
  g_set_error(
      error, MF_ERROR, MF_ERROR_DAMAGED,
      "image %s@%.*s in %s is damaged: %s; remove that folder and build or import the image again",
      name, SHORT_DIGEST, digest, absolute, local->message);
  return NULL;
}

static gint
compare(gconstpointer a, gconstpointer b)
{
  const MfImage *one = *(MfImage *const *)a, *other = *(MfImage *const *)b;
  int order = strcmp(one->name, other->name);
  if (order == 0)
    order = (one->created < other->created) - (one->created > other->created);
  return order != 0 ? order : strcmp(one->digest, other->digest);
}

/*
 * Every image of @directory, sorted; with @only_name those of that name whose digest starts with
 * @prefix.
 * @ret_damaged gets the first damaged one's error, the others are logged.
 */
static GPtrArray *
scan(const char *directory, const char *only_name, const char *prefix, GError **ret_damaged,
     GError **error)
{
  g_autoptr(GPtrArray) images = g_ptr_array_new_with_free_func((GDestroyNotify)mf_image_unref);
  g_autoptr(GError) local = NULL;
  g_autoptr(GDir) dir = g_dir_open(directory, 0, &local);

  if (dir == NULL && g_error_matches(local, G_FILE_ERROR, G_FILE_ERROR_NOENT))
    return g_steal_pointer(&images);
  if (dir == NULL) {
    g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "cannot read the images in %s: %s", directory,
                local->message);
    return NULL;
  }
  for (const char *folder; (folder = g_dir_read_name(dir)) != NULL;) {
    g_autofree char *name = folder_name(folder);
    g_autoptr(GError) damage = NULL;
    if (name == NULL || (only_name != NULL && strcmp(name, only_name) != 0) ||
        (prefix != NULL && !g_str_has_prefix(strrchr(folder, '@') + 1, prefix)))
      continue;
    MfImage *image = load(directory, folder, &damage);
    if (image != NULL)
      g_ptr_array_add(images, image);
    else if (ret_damaged != NULL && *ret_damaged == NULL)
      *ret_damaged = g_steal_pointer(&damage);
    else
      g_message("%s, ignoring it", damage->message);
  }
  g_ptr_array_sort(images, compare);
  return g_steal_pointer(&images);
}

GPtrArray *
mf_image_list(const char *directory, GError **error)
{
  return scan(directory, NULL, NULL, NULL, error);
}

static gboolean
parse_reference(const char *reference, char **ret_name, const char **ret_prefix, GError **error)
{
  const char *at = strchr(reference, '@');
  g_autofree char *name =
      at != NULL ? g_strndup(reference, (gsize)(at - reference)) : g_strdup(reference);
  const char *prefix = at != NULL ? at + 1 : "";

  if (!mf_image_name_valid(name) || (at != NULL && *prefix == '\0') ||
      strlen(prefix) > DIGEST_LENGTH || strspn(prefix, "0123456789abcdef") != strlen(prefix)) {
    g_autofree char *shown = mf_text_quote(reference);
    g_set_error(
        error, MF_ERROR, MF_ERROR_INVALID,
        "%s is no image reference: give NAME, or NAME@ and the first digits of its digest, as "
        "'mayfly image list' shows them",
        shown);
    return FALSE;
  }
  *ret_name = g_steal_pointer(&name);
  *ret_prefix = prefix;
  return TRUE;
}

MfImage *
mf_image_find(const char *directory, const char *reference, GError **error)
{
  g_autofree char *name = NULL;
  const char *prefix;
  if (!parse_reference(reference, &name, &prefix, error))
    return NULL;
  g_autoptr(GError) damaged = NULL;
  g_autoptr(GPtrArray) images = scan(directory, name, prefix, &damaged, error);
  if (images == NULL)
    return NULL;

  if (images->len > 1 && *prefix != '\0') {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "%s means more than one version of image %s: give more digits of the digest",
                reference, name);
    return NULL;
  }
  if (images->len > 0) {
    if (damaged != NULL)
      g_message("%s, ignoring it", damaged->message);
    return mf_image_ref(images->pdata[0]);
  }
  if (damaged != NULL) {
    g_propagate_error(error, g_steal_pointer(&damaged));
    return NULL;
  }
  g_set_error(error, MF_ERROR, MF_ERROR_NOT_FOUND,
              "there is no image %s in %s: make it with 'mayfly image build %s' or bring it with "
              "'mayfly image "
              "import FILE --name %s'",
              reference, directory, name, name);
  return NULL;
}

typedef struct {
  MfImageProgress progress;
  gpointer user_data;
  guint64 done;
  guint64 total;
} Verify;

static void
verify_read(guint64 bytes, gpointer user_data)
{
  Verify *v = user_data;
  v->done += bytes;
  if (v->progress != NULL && v->total > 0)
    v->progress(MIN((double)v->done / (double)v->total, 1.0), v->user_data);
}

gboolean
mf_image_verify(MfImage *self, GCancellable *cancellable, MfImageProgress progress,
                gpointer user_data, GError **error)
{
  Verify verify = {progress, user_data, 0, self->file_size};
  g_autofree char *reference = mf_image_reference(self);
  g_autoptr(GError) local = NULL;
  g_autoptr(MfImageMeta) meta = read_meta(self->directory, &local);

  if (meta == NULL) {
    g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED, "image %s is damaged: %s", reference,
                local->message);
    return FALSE;
  }
  for (guint i = 0; i < MF_IMAGE_FILE_LAST_; i++) {
    if (meta->files[i].sha256 == NULL)
      continue;
    const char *name = mf_image_file_name((MfImageFileKind)i);
    g_autofree char *path = g_build_filename(self->directory, name, NULL);
    g_autofree char *digest =
        mf_image_digest_file(path, cancellable, verify_read, &verify, NULL, &local);
    if (digest == NULL && g_cancellable_is_cancelled(cancellable)) {
      g_propagate_error(error, g_steal_pointer(&local));
      return FALSE;
    }
    if (digest == NULL || strcmp(digest, meta->files[i].sha256) != 0) {
      g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED,
                  "image %s is damaged: %s is not what was written there%s%s; remove the image and "
                  "build or import "
                  "it again",
                  reference, path, digest == NULL ? ": " : "",
                  digest == NULL ? local->message : "");
      return FALSE;
    }
  }
  g_autofree char *digest = mf_image_meta_digest(meta);
  if (strcmp(digest, self->digest) != 0) {
    g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED,
                "image %s is damaged: its image.json was changed; remove the image and build or "
                "import it again",
                reference);
    return FALSE;
  }
  return TRUE;
}

gboolean
mf_image_remove(MfImage *self, GError **error)
{
  return mf_image_store_discard(self->directory, error);
}
