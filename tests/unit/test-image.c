/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/image.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/auto.h"
#include "daemon/error.h"
#include "daemon/image-digest.h"
#include "daemon/image-store.h"
#include "daemon/tree.h"

typedef struct {
  char *images;
} Fixture;

static void
set_up(Fixture *f, gconstpointer unused)
{
  f->images = g_dir_make_tmp("mayfly-images-XXXXXX", NULL);
  g_assert_nonnull(f->images);
}

static void
tear_down(Fixture *f, gconstpointer unused)
{
  g_assert_true(mf_tree_remove(f->images));
  g_free(f->images);
}

static void
put(const char *directory, const char *name, const char *content)
{
  g_autofree char *path = g_build_filename(directory, name, NULL);
  g_assert_true(g_file_set_contents(path, content, -1, NULL));
}

static gboolean
there(const char *directory, const char *name)
{
  g_autofree char *path = g_build_filename(directory, name, NULL);
  return g_file_test(path, G_FILE_TEST_EXISTS | G_FILE_TEST_IS_SYMLINK);
}

static MfImageMeta *
meta_new(const char *name, gint64 created)
{
  MfImageMeta *meta = mf_image_meta_new();
  meta->name = g_strdup(name);
  meta->created = created;
  meta->virtual_size = 1 << 20;
  meta->os = g_strdup("Test 1");
  meta->init = g_strdup("systemd");
  meta->root_device = g_strdup("/dev/sda1");
  meta->root_fstype = g_strdup("ext4");
  return meta;
}

static MfImage *
publish(Fixture *f, const char *name, gint64 created, const char *disk, const char *kernel)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfImageStage) stage = mf_image_stage_new(f->images, &error);
  g_assert_no_error(error);
  put(mf_image_stage_directory(stage), "disk.qcow2", disk);
  if (kernel != NULL)
    put(mf_image_stage_directory(stage), "kernel", kernel);
  put(mf_image_stage_directory(stage), "scratch", "x");
  g_autoptr(MfImageMeta) meta = meta_new(name, created);
  MfImage *image = mf_image_stage_publish(stage, meta, NULL, NULL, NULL, &error);
  g_assert_no_error(error);
  return image;
}

static void
test_publish_and_find(Fixture *f, gconstpointer unused)
{
  g_autoptr(MfImage) image = publish(f, "tiny", 0, "disk", "kernel!");
  g_autoptr(GError) error = NULL;
  struct stat st;

  g_assert_cmpstr(image->name, ==, "tiny");
  g_assert_cmpuint(image->file_size, ==, 4 + 7);
  g_assert_cmpint(image->created, >, 1600000000);
  g_assert_true(g_path_is_absolute(image->disk));
  g_assert_null(image->initrd);
  g_assert_null(image->cmdline);
  g_assert_false(there(image->directory, "scratch"));
  g_assert_cmpint(stat(image->disk, &st), ==, 0);
  g_assert_cmpint(st.st_mode & 07777, ==, 0444);
  g_assert_cmpint(stat(image->directory, &st), ==, 0);
  g_assert_cmpint(st.st_mode & 07777, ==, 0755);

  g_autofree char *reference = mf_image_reference(image);
  g_autoptr(MfImage) found = mf_image_find(f->images, reference, &error);
  g_assert_no_error(error);
  g_assert_cmpstr(found->digest, ==, image->digest);
  g_assert_true(mf_image_verify(found, NULL, NULL, NULL, &error));
  g_assert_no_error(error);
}

static void
test_newest_first(Fixture *f, gconstpointer unused)
{
  g_autoptr(MfImage) old = publish(f, "b", 100, "one", NULL);
  g_autoptr(MfImage) new = publish(f, "b", 200, "two", NULL);
  g_autoptr(MfImage) other = publish(f, "a", 50, "three", NULL);
  g_autoptr(GPtrArray) list = mf_image_list(f->images, NULL);
  g_assert_cmpuint(list->len, ==, 3);
  g_assert_cmpstr(((MfImage *)list->pdata[0])->digest, ==, other->digest);
  g_assert_cmpstr(((MfImage *)list->pdata[1])->digest, ==, new->digest);
  g_assert_cmpstr(((MfImage *)list->pdata[2])->digest, ==, old->digest);
  g_autoptr(MfImage) plain = mf_image_find(f->images, "b", NULL);
  g_assert_cmpstr(plain->digest, ==, new->digest);
}

static void
assert_find_error(const char *images, const char *reference, MfErrorCode code, const char *word)
{
  g_autoptr(GError) error = NULL;
  g_assert_null(mf_image_find(images, reference, &error));
  g_assert_error(error, MF_ERROR, (int)code);
  if (strstr(error->message, word) == NULL)
    g_error("\"%s\" does not say %s", error->message, word);
}

static void
test_find_errors(Fixture *f, gconstpointer unused)
{
  assert_find_error(f->images, "tiny", MF_ERROR_NOT_FOUND, "mayfly image build tiny");
  assert_find_error("/nonexistent/images", "tiny", MF_ERROR_NOT_FOUND, "mayfly image build tiny");
  assert_find_error(f->images, "../etc", MF_ERROR_INVALID, "mayfly image list");
  assert_find_error(f->images, "tiny@", MF_ERROR_INVALID, "mayfly image list");
  assert_find_error(f->images, "tiny@XY", MF_ERROR_INVALID, "mayfly image list");
  assert_find_error(f->images, "a\033[2Jb", MF_ERROR_INVALID, "^[");
  g_autoptr(MfImage) image = publish(f, "tiny", 0, "disk", NULL);
  assert_find_error(f->images, image->digest[0] == 'a' ? "tiny@b" : "tiny@a", MF_ERROR_NOT_FOUND,
                    "tiny@");

  /* Seventeen versions: two of them begin with the same digit. */
  g_autoptr(GHashTable) firsts = g_hash_table_new(g_direct_hash, g_direct_equal);
  g_autofree char *twice = NULL;
  for (int i = 0; i < 17; i++) {
    g_autofree char *content = g_strdup_printf("version %d", i);
    g_autoptr(MfImage) one = publish(f, "many", i + 1, content, NULL);
    if (!g_hash_table_add(firsts, GINT_TO_POINTER((int)one->digest[0]))) {
      g_free(twice);
      twice = g_strdup_printf("many@%c", one->digest[0]);
    }
  }
  assert_find_error(f->images, twice, MF_ERROR_INVALID, "more digits");
}

static void
test_damage(Fixture *f, gconstpointer unused)
{
  g_autoptr(MfImage) image = publish(f, "tiny", 0, "disk", "kernel");
  g_autoptr(GError) error = NULL;

  /* The same size, other content: only reading finds it. */
  g_assert_cmpint(g_unlink(image->kernel), ==, 0);
  put(image->directory, "kernel", "KERNEL");
  g_autoptr(MfImage) found = mf_image_find(f->images, "tiny", &error);
  g_assert_no_error(error);
  g_assert_false(mf_image_verify(found, NULL, NULL, NULL, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_DAMAGED);
  g_assert_nonnull(strstr(error->message, image->kernel));

  put(image->directory, "kernel", "longer than before");
  assert_find_error(f->images, "tiny", MF_ERROR_DAMAGED, "kernel");
  g_assert_cmpint(g_unlink(image->kernel), ==, 0);
  g_assert_cmpint(symlink("/etc/passwd", image->kernel), ==, 0);
  assert_find_error(f->images, "tiny", MF_ERROR_DAMAGED, "kernel");

  mf_image_unref(publish(f, "good", 0, "x", NULL));
  g_autoptr(GPtrArray) list = mf_image_list(f->images, NULL);
  g_assert_cmpuint(list->len, ==, 1);
  g_assert_cmpstr(((MfImage *)list->pdata[0])->name, ==, "good");

  g_autofree char *json = g_build_filename(image->directory, "image.json", NULL);
  g_assert_cmpint(g_unlink(json), ==, 0);
  assert_find_error(f->images, "tiny", MF_ERROR_DAMAGED, "image.json");
  /* Built again it takes the damaged one's place. */
  g_autoptr(MfImage) again = publish(f, "tiny", 0, "disk", "kernel");
  g_assert_cmpstr(again->digest, ==, image->digest);
  g_clear_error(&error);
  g_assert_true(mf_image_verify(again, NULL, NULL, NULL, &error));
}

/* A description that was exchanged for another image's does not pass for this version. */
static void
test_other_description(Fixture *f, gconstpointer unused)
{
  g_autoptr(MfImage) one = publish(f, "one", 0, "same size 1", NULL);
  g_autoptr(MfImage) two = publish(f, "two", 0, "same size 2", NULL);
  g_autofree char *from = g_build_filename(one->directory, "image.json", NULL);
  g_autofree char *to = g_build_filename(two->directory, "image.json", NULL);
  g_assert_cmpint(g_rename(from, to), ==, 0);
  assert_find_error(f->images, "two", MF_ERROR_DAMAGED, "another image");
}

static void
test_same_again(Fixture *f, gconstpointer unused)
{
  g_autoptr(MfImage) one = publish(f, "tiny", 100, "disk", NULL);
  g_autoptr(MfImage) two = publish(f, "tiny", 200, "disk", NULL);
  g_assert_cmpstr(one->directory, ==, two->directory);
  g_assert_cmpint(two->created, ==, 100);
  g_autoptr(GPtrArray) list = mf_image_list(f->images, NULL);
  g_assert_cmpuint(list->len, ==, 1);
}

static void
test_remove(Fixture *f, gconstpointer unused)
{
  g_autoptr(MfImage) image = publish(f, "tiny", 0, "disk", NULL);
  g_autoptr(GError) error = NULL;
  put(image->directory, "prepared-0123456789abcdef.qcow2", "layer");
  g_assert_true(mf_image_remove(image, &error));
  g_assert_no_error(error);
  g_assert_false(g_file_test(image->directory, G_FILE_TEST_EXISTS));
  g_assert_false(mf_image_remove(image, &error));
  g_assert_nonnull(error);
}

static void
test_sweep(Fixture *f, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfImageStage) alive = mf_image_stage_new(f->images, &error);
  g_assert_no_error(error);
  put(mf_image_stage_directory(alive), "disk.qcow2", "half");
  g_autofree char *dead = g_build_filename(f->images, ".new-dead00", NULL);
  g_autofree char *inside = g_build_filename(dead, "tree", "usr", NULL);
  g_assert_cmpint(g_mkdir_with_parents(inside, 0755), ==, 0);
  put(inside, "file", "x");
  g_autofree char *link = g_build_filename(dead, "link", NULL);
  g_assert_cmpint(symlink(mf_image_stage_directory(alive), link), ==, 0);
  g_autofree char *gone = g_build_filename(f->images, ".gone-abcdef", NULL);
  g_assert_cmpint(g_mkdir_with_parents(gone, 0755), ==, 0);

  mf_image_store_sweep(f->images);
  g_assert_false(g_file_test(dead, G_FILE_TEST_EXISTS));
  g_assert_false(g_file_test(gone, G_FILE_TEST_EXISTS));
  g_assert_true(there(mf_image_stage_directory(alive), "disk.qcow2"));
  g_autoptr(GPtrArray) list = mf_image_list(f->images, NULL);
  g_assert_cmpuint(list->len, ==, 0);

  g_autofree char *directory = g_strdup(mf_image_stage_directory(alive));
  g_clear_pointer(&alive, mf_image_stage_free);
  g_assert_false(g_file_test(directory, G_FILE_TEST_EXISTS));
}

static void
test_publish_refuses(Fixture *f, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfImageStage) stage = mf_image_stage_new(f->images, &error);
  g_autoptr(MfImageMeta) meta = meta_new("tiny", 0);
  g_assert_null(mf_image_stage_publish(stage, meta, NULL, NULL, NULL, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
  g_assert_nonnull(strstr(error->message, "disk.qcow2"));
  g_clear_error(&error);

  g_autofree char *disk = g_build_filename(mf_image_stage_directory(stage), "disk.qcow2", NULL);
  g_assert_cmpint(symlink("/etc/passwd", disk), ==, 0);
  g_assert_null(mf_image_stage_publish(stage, meta, NULL, NULL, NULL, &error));
  g_assert_nonnull(error);
  g_clear_error(&error);
  g_assert_null(mf_image_stage_new("/nonexistent", &error));
  g_assert_nonnull(error);
}

static void
count_progress(double fraction, gpointer user_data)
{
  double *last = user_data;
  g_assert_cmpfloat(fraction, >=, *last);
  g_assert_cmpfloat(fraction, <=, 1);
  *last = fraction;
}

static void
test_progress_and_cancel(Fixture *f, gconstpointer unused)
{
  g_autofree char *big = g_strnfill(3 * 1024 * 1024, 'x');
  g_autoptr(MfImage) image = publish(f, "big", 0, big, "k");
  g_autoptr(GCancellable) cancellable = g_cancellable_new();
  g_autoptr(GError) error = NULL;
  double last = 0;
  g_assert_true(mf_image_verify(image, cancellable, count_progress, &last, &error));
  g_assert_cmpfloat(last, ==, 1);
  g_cancellable_cancel(cancellable);
  g_assert_false(mf_image_verify(image, cancellable, NULL, NULL, &error));
  g_assert_cmpint((int)mf_error_code(error), ==, MF_ERROR_CANCELLED);
}

static void
test_digest_file(Fixture *f, gconstpointer unused)
{
  put(f->images, "abc", "abc");
  g_autofree char *path = g_build_filename(f->images, "abc", NULL);
  g_autoptr(GError) error = NULL;
  guint64 size;
  g_autofree char *digest = mf_image_digest_file(path, NULL, NULL, NULL, &size, &error);
  g_assert_cmpstr(digest, ==, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  g_assert_cmpuint(size, ==, 3);
  g_autofree char *fifo = g_build_filename(f->images, "fifo", NULL);
  g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
  g_assert_null(mf_image_digest_file(fifo, NULL, NULL, NULL, NULL, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
#define CASE(name, func) g_test_add("/image/" name, Fixture, NULL, set_up, func, tear_down)
  CASE("publish-and-find", test_publish_and_find);
  CASE("newest-first", test_newest_first);
  CASE("find-errors", test_find_errors);
  CASE("damage", test_damage);
  CASE("other-description", test_other_description);
  CASE("same-again", test_same_again);
  CASE("remove", test_remove);
  CASE("sweep", test_sweep);
  CASE("publish-refuses", test_publish_refuses);
  CASE("progress-and-cancel", test_progress_and_cancel);
  CASE("digest-file", test_digest_file);
  return g_test_run();
}
