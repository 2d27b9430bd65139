/* SPDX-License-Identifier: Apache-2.0 */
/* Memory images on disk: found whole or not at all, replaced at once, and what is stale goes. */
#include "daemon/memory-image.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/error.h"
#include "daemon/tree.h"

#define STAMP "0123456789abcdef0123456789abcdef"

typedef struct {
  char *top, *forks;
} Place;

static void
set_up(Place *place, gconstpointer data)
{
  place->top = g_dir_make_tmp("mayfly-test-XXXXXX", NULL);
  place->forks = g_build_filename(place->top, "forks", NULL);
}

static void
tear_down(Place *place, gconstpointer data)
{
  g_assert_true(mf_tree_remove(place->top));
  g_free(place->top);
  g_free(place->forks);
}

static void
write_file(const char *folder, const char *name, const void *data, gssize length)
{
  g_autofree char *path = g_build_filename(folder, name, NULL);
  g_assert_true(g_file_set_contents(path, data, length, NULL));
}

/* A save file with @xml, and a disk. */
static void
write_machine(const char *work, const char *xml)
{
  MfSaveHeader header = {.words = {2}};
  g_autoptr(GBytes) front = mf_save_header_build(&header, xml);
  g_autoptr(GString) memory = g_string_new(NULL);
  gsize length;
  const char *data = g_bytes_get_data(front, &length);
  g_string_append_len(memory, data, (gssize)length);
  g_string_append_len(memory, "QEVM\0\0\0\3rest", 12);
  write_file(work, "memory", memory->str, (gssize)memory->len);
  write_file(work, "disk.qcow2", "a disk", -1);
}

static void
publish(Place *place, const char *template, const char *xml)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *work = mf_memory_image_begin(place->forks, place->top, &error);
  g_assert_no_error(error);
  write_machine(work, xml);
  g_assert_true(mf_memory_image_publish(work, place->forks, template, STAMP, &error));
  g_assert_no_error(error);
  g_assert_false(g_file_test(work, G_FILE_TEST_EXISTS));
}

static void
test_publish(Place *place, gconstpointer data)
{
  g_autoptr(GError) error = NULL;
  struct stat st;
  g_assert_null(mf_memory_image_find(place->forks, "tiny", STAMP, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_NOT_FOUND);
  g_clear_error(&error);
  publish(place, "tiny", "<domain/>");
  publish(place, "tiny", "<domain>newer</domain>");
  g_autoptr(MfMemoryImage) image = mf_memory_image_find(place->forks, "tiny", STAMP, &error);
  g_assert_no_error(error);
  g_assert_cmpstr(image->header->xml, ==, "<domain>newer</domain>");
  g_assert_cmpuint(image->size, >, 0);
  g_assert_cmpint(ABS(image->made - g_get_real_time() / G_USEC_PER_SEC), <, 60);
  g_assert_cmpint(g_stat(image->disk, &st), ==, 0);
  g_assert_cmpuint(st.st_mode & 0222, ==, 0);
  /* Another stamp, even one whose beginning is the same, is another machine. */
  g_assert_null(mf_memory_image_find(place->forks, "tiny", "0123456789abXX", &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_DAMAGED);
  g_clear_error(&error);
  g_assert_null(mf_memory_image_find(place->forks, "other", STAMP, NULL));
  mf_memory_image_remove(image);
  g_assert_null(mf_memory_image_find(place->forks, "tiny", STAMP, NULL));
}

static void
test_damaged(Place *place, gconstpointer data)
{
  static const char *const files[] = {"memory", "memory.json", "disk.qcow2"};
  for (guint i = 0; i < 2 * G_N_ELEMENTS(files); i++) {
    g_autoptr(GError) error = NULL;
    publish(place, "tiny", "<domain/>");
    g_autoptr(MfMemoryImage) image = mf_memory_image_find(place->forks, "tiny", STAMP, &error);
    g_assert_no_error(error);
    g_autofree char *path = g_build_filename(image->folder, files[i / 2], NULL);
    if (i % 2 == 0)
      g_assert_cmpint(g_unlink(path), ==, 0);
    else
      write_file(image->folder, files[i / 2], "{", 1);
    g_autoptr(MfMemoryImage) again = mf_memory_image_find(place->forks, "tiny", STAMP, &error);
    g_assert_null(again);
    g_assert_error(error, MF_ERROR, MF_ERROR_DAMAGED);
  }
}

static void
test_unfinished(Place *place, gconstpointer data)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *work = mf_memory_image_begin(place->forks, place->top, &error);
  g_assert_no_error(error);
  /* Without a disk it cannot be published. */
  g_assert_false(mf_memory_image_publish(work, place->forks, "tiny", STAMP, &error));
  g_assert_nonnull(error);
  g_assert_false(g_file_test(work, G_FILE_TEST_EXISTS));
}

static void
test_file_systems(Place *place, gconstpointer data)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GDir) dir = NULL;
  g_assert_null(mf_memory_image_begin(place->forks, "/proc", &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_FAILED);
  g_assert_nonnull(strstr(error->message, "different file systems"));
  dir = g_dir_open(place->forks, 0, NULL);
  g_assert_null(g_dir_read_name(dir));
}

static void
test_sweep(Place *place, gconstpointer data)
{
  g_autoptr(GHashTable) keep = g_hash_table_new(g_str_hash, g_str_equal);
  g_autoptr(GError) error = NULL;
  publish(place, "tiny", "<domain/>");
  publish(place, "stale", "<domain/>");
  g_autoptr(MfMemoryImage) image = mf_memory_image_find(place->forks, "tiny", STAMP, &error);
  g_assert_no_error(error);
  g_autofree char *left = mf_memory_image_begin(place->forks, place->top, &error);
  g_autofree char *work = mf_memory_image_begin(place->forks, place->top, &error);
  g_assert_no_error(error);
  g_hash_table_add(keep, image->folder);
  g_hash_table_add(keep, work);
  mf_memory_image_sweep(place->forks, keep);
  g_assert_true(g_file_test(image->memory, G_FILE_TEST_EXISTS));
  g_assert_true(g_file_test(work, G_FILE_TEST_EXISTS));
  g_assert_false(g_file_test(left, G_FILE_TEST_EXISTS));
  g_assert_null(mf_memory_image_find(place->forks, "stale", STAMP, NULL));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add("/memory-image/publish", Place, NULL, set_up, test_publish, tear_down);
  g_test_add("/memory-image/damaged", Place, NULL, set_up, test_damaged, tear_down);
  g_test_add("/memory-image/unfinished", Place, NULL, set_up, test_unfinished, tear_down);
  g_test_add("/memory-image/file-systems", Place, NULL, set_up, test_file_systems, tear_down);
  g_test_add("/memory-image/sweep", Place, NULL, set_up, test_sweep, tear_down);
  return g_test_run();
}
