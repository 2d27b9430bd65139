/* SPDX-License-Identifier: Apache-2.0 */
/* A FIFO that is removed lets go whoever waits for its other end, as libvirtd would for ever. */
#include "daemon/fifo.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <unistd.h>

static char *folder, *path;

static gpointer
open_it(gpointer flags)
{
  int fd = open(path, GPOINTER_TO_INT(flags) | O_CLOEXEC);
  if (fd >= 0)
    close(fd);
  return GINT_TO_POINTER(fd >= 0);
}

static void
test_remove(gconstpointer flags)
{
  g_assert_true(mf_fifo_make(path));
  GThread *waits = g_thread_new("waits", open_it, (gpointer)flags);
  g_usleep(50000);
  mf_fifo_done(path);
  /* Hangs where the test fails. */
  g_thread_join(waits);
  g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
  mf_fifo_remove(path);
}

static void
test_again(void)
{
  g_assert_true(mf_fifo_make(path));
  /* Of one that was killed: there is one already. */
  g_assert_true(mf_fifo_make(path));
  mf_fifo_done(path);
  mf_fifo_done(path);
  mf_fifo_wait(60);
  /* Another file of that name is only removed. */
  g_assert_true(g_file_set_contents(path, "x", 1, NULL));
  mf_fifo_remove(path);
  g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
}

static gpointer
finish(gpointer data)
{
  g_usleep(100000);
  mf_fifo_done(path);
  return NULL;
}

static void
test_wait(void)
{
  g_assert_true(mf_fifo_make(path));
  GThread *ends = g_thread_new("ends", finish, NULL);
  mf_fifo_wait(60);
  g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
  g_thread_join(ends);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  folder = g_dir_make_tmp("mayfly-test-XXXXXX", NULL);
  path = g_build_filename(folder, "fifo", NULL);
  g_test_add_data_func("/fifo/reader", GINT_TO_POINTER(O_RDONLY), test_remove);
  g_test_add_data_func("/fifo/writer", GINT_TO_POINTER(O_WRONLY), test_remove);
  g_test_add_func("/fifo/again", test_again);
  g_test_add_func("/fifo/wait", test_wait);
  int status = g_test_run();
  g_rmdir(folder);
  g_free(folder);
  g_free(path);
  return status;
}
