/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/console.h"
#include "daemon/frame.h"
#include "daemon/output-log.h"

static char *directory;

static char *
fresh_path(void)
{
  static int n;
  return g_strdup_printf("%s/log-%d", directory, n++);
}

static char *
read_all(MfOutputLog *log, MfOutputForm form, guint64 offset, gsize *ret_length)
{
  g_autoptr(MfOutputReader) reader = mf_output_reader_new(log, form, offset);
  g_autoptr(GString) all = g_string_new(NULL);
  char buffer[7];
  for (;;) {
    g_autoptr(GError) error = NULL;
    gssize n = mf_output_reader_read(reader, buffer, sizeof buffer, &error);
    g_assert_no_error(error);
    if (n == 0)
      break;
    g_string_append_len(all, buffer, n);
  }
  if (ret_length)
    *ret_length = all->len;
  return g_string_free(g_steal_pointer(&all), FALSE);
}

static void
append(MfOutputLog *log, guint stream, const char *text)
{
  g_autoptr(GError) error = NULL;
  g_assert_true(mf_output_log_append(log, stream, text, strlen(text), &error));
  g_assert_no_error(error);
}

static MfOutputLog *
open_log(const char *path, guint64 limit)
{
  g_autoptr(GError) error = NULL;
  MfOutputLog *log = mf_output_log_open(path, limit, &error);
  g_assert_no_error(error);
  return log;
}

static void
test_forms_and_offsets(void)
{
  g_autofree char *path = fresh_path();
  g_autoptr(MfOutputLog) log = open_log(path, 1000);
  append(log, MF_STREAM_STDOUT, "out one\n");
  append(log, MF_STREAM_STDERR, "err\n");
  append(log, MF_STREAM_STDOUT, "out two\n");
  struct {
    MfOutputForm form;
    const char *want;
  } cases[] = {{MF_OUTPUT_MERGED, "out one\nerr\nout two\n"},
               {MF_OUTPUT_STDOUT, "out one\nout two\n"},
               {MF_OUTPUT_STDERR, "err\n"}};
  for (guint c = 0; c < G_N_ELEMENTS(cases); c++)
    for (gsize offset = 0; offset <= strlen(cases[c].want); offset++) {
      g_autofree char *got = read_all(log, cases[c].form, offset, NULL);
      g_assert_cmpstr(got, ==, cases[c].want + offset);
    }
  gsize length, file_length;
  g_autofree char *mux = read_all(log, MF_OUTPUT_MUX, 0, &length);
  g_autofree char *file = NULL;
  g_assert_true(g_file_get_contents(path, &file, &file_length, NULL));
  g_assert_cmpmem(mux, length, file, file_length);
  g_autofree char *rest = read_all(log, MF_OUTPUT_MUX, 5, &length);
  g_assert_cmpmem(rest, length, file + 5, file_length - 5);
}

static void
test_reopen_cuts_torn_record(void)
{
  g_autofree char *path = fresh_path();
  MfOutputLog *log = open_log(path, 1000);
  append(log, MF_STREAM_STDOUT, "whole");
  mf_output_log_unref(log);
  int fd = open(path, O_WRONLY | O_APPEND);
  g_assert_cmpint(write(fd, "\1\0\0\0\0\0\0\11torn", 12), ==, 12);
  close(fd);
  g_autoptr(MfOutputLog) again = open_log(path, 1000);
  g_assert_cmpuint(mf_output_log_taken(again, MF_STREAM_STDOUT), ==, 5);
  append(again, MF_STREAM_STDOUT, " and more");
  g_autofree char *got = read_all(again, MF_OUTPUT_STDOUT, 0, NULL);
  g_assert_cmpstr(got, ==, "whole and more");
}

static void
test_limit_is_counted_and_survives(void)
{
  g_autofree char *path = fresh_path();
  MfOutputLog *log = open_log(path, 10);
  append(log, MF_STREAM_STDOUT, "12345678");
  append(log, MF_STREAM_STDOUT, "9abcdef");
  append(log, MF_STREAM_STDERR, "lost");
  g_assert_cmpuint(mf_output_log_taken(log, MF_STREAM_STDOUT), ==, 15);
  g_assert_cmpuint(mf_output_log_taken(log, MF_STREAM_STDERR), ==, 4);
  mf_output_log_unref(log);
  g_autoptr(MfOutputLog) again = open_log(path, 10);
  g_assert_cmpuint(mf_output_log_taken(again, MF_STREAM_STDOUT), ==, 15);
  g_assert_cmpuint(mf_output_log_taken(again, MF_STREAM_STDERR), ==, 4);
  append(again, MF_STREAM_STDERR, "more");
  g_assert_cmpuint(mf_output_log_taken(again, MF_STREAM_STDERR), ==, 8);
  g_autofree char *out = read_all(again, MF_OUTPUT_STDOUT, 0, NULL);
  g_assert_cmpstr(out, ==, "123456789a");
  g_autofree char *err = read_all(again, MF_OUTPUT_STDERR, 0, NULL);
  g_assert_nonnull(strstr(err, "output-limit"));
  g_assert_null(strstr(err, "lost"));
}

static void
count(gpointer log, gpointer data)
{
  ++*(int *)data;
}

static void
test_watch_and_close(void)
{
  g_autofree char *path = fresh_path();
  g_autoptr(MfOutputLog) log = open_log(path, 1000);
  int told = 0;
  guint id = mf_output_log_watch(log, count, &told);
  append(log, MF_STREAM_STDOUT, "x");
  g_assert_cmpint(told, ==, 1);
  mf_output_log_close(log);
  mf_output_log_close(log);
  g_assert_cmpint(told, ==, 2);
  g_assert_true(mf_output_log_is_closed(log));
  mf_output_log_unwatch(log, id);
  append(log, MF_STREAM_STDOUT, "y");
  g_assert_cmpint(told, ==, 2);
  g_autoptr(MfOutputLog) old = mf_output_log_new_closed(path, 1, 0);
  g_autofree char *kept = read_all(old, MF_OUTPUT_STDOUT, 0, NULL);
  g_assert_cmpstr(kept, ==, "x");
}

static void
test_pacing(void)
{
  g_autofree char *path = fresh_path();
  g_autoptr(MfOutputLog) log = open_log(path, G_MAXUINT64);
  g_autofree char *big = g_malloc0(1 << 20);
  MfOutputReader *reader = mf_output_reader_new(log, MF_OUTPUT_MUX, 0);
  mf_output_reader_set_pacing(reader);
  for (int i = 0; i < 4; i++) {
    g_assert_false(mf_output_log_is_congested(log));
    g_assert_true(mf_output_log_append(log, MF_STREAM_STDOUT, big, 1 << 20, NULL));
  }
  g_assert_true(mf_output_log_is_congested(log));
  int told = 0;
  mf_output_log_watch(log, count, &told);
  gssize n = mf_output_reader_read(reader, big, 1 << 20, NULL);
  g_assert_cmpint(n, ==, 1 << 20);
  g_assert_false(mf_output_log_is_congested(log));
  n = mf_output_reader_read(reader, big, 1 << 20, NULL);
  g_assert_cmpint(n, ==, 1 << 20);
  g_assert_cmpint(told, ==, 1);
  for (int i = 0; i < 3; i++)
    g_assert_true(mf_output_log_append(log, MF_STREAM_STDOUT, big, 1 << 20, NULL));
  g_assert_true(mf_output_log_is_congested(log));
  mf_output_reader_free(reader);
  g_assert_false(mf_output_log_is_congested(log));
}

/* What a console said last, when it said more than is kept. */
static void
test_tail_over_limit(void)
{
  g_autofree char *path = fresh_path();
  g_autoptr(MfOutputLog) log = mf_output_log_open(path, 12, NULL);
  append(log, MF_STREAM_STDOUT, "first\nlast\n");
  g_autofree char *flood = g_strnfill(100000, 'x');
  append(log, MF_STREAM_STDOUT, flood);
  g_auto(GStrv) tail = mf_console_tail(log, 40);
  g_assert_cmpuint(g_strv_length(tail), >, 1);
  g_assert_cmpstr(tail[1], ==, "last");
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  directory = g_dir_make_tmp("mayfly-log-XXXXXX", NULL);
  g_test_add_func("/output-log/forms", test_forms_and_offsets);
  g_test_add_func("/output-log/torn", test_reopen_cuts_torn_record);
  g_test_add_func("/output-log/limit", test_limit_is_counted_and_survives);
  g_test_add_func("/output-log/tail-over-limit", test_tail_over_limit);
  g_test_add_func("/output-log/watch", test_watch_and_close);
  g_test_add_func("/output-log/pacing", test_pacing);
  int rc = g_test_run();
  g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
  for (const char *name; (name = g_dir_read_name(dir));) {
    g_autofree char *path = g_build_filename(directory, name, NULL);
    g_unlink(path);
  }
  g_rmdir(directory);
  g_free(directory);
  return rc;
}
