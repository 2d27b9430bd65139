/* SPDX-License-Identifier: Apache-2.0 */
#include <glib/gstdio.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/job-spec.h"
#include "tools/document.h"
#include "tools/spec.h"

static char *folder;

static char *
write_file(const char *name, const char *data, gsize length, int mode)
{
  char *path = g_build_filename(folder, name, NULL);
  g_assert_true(g_file_set_contents(path, data, (gssize)length, NULL));
  g_assert_cmpint(g_chmod(path, mode), ==, 0);
  return path;
}

static GPtrArray *
list(const char *a, const char *b)
{
  GPtrArray *array = g_ptr_array_new();
  g_ptr_array_add(array, (gpointer)a);
  if (b != NULL)
    g_ptr_array_add(array, (gpointer)b);
  return array;
}

/* What is built is what the daemon takes. */
static void
test_command(void)
{
  g_autoptr(GError) error = NULL;
  char *argv[] = {"printf", "%s", "\xff\xc3", NULL};
  MfSpecExec spec = {.argv = argv, .cwd = "/src", .user = "ci", .interactive = TRUE};
  g_autoptr(MfJson) json = mf_spec_exec(&spec, TRUE, &error);
  g_assert_no_error(error);
  g_autoptr(MfExecSpec) taken = mf_exec_spec_from_json(json, &error);
  g_assert_no_error(error);
  g_assert_cmpstrv(taken->argv, argv);
  g_assert_cmpstr(taken->cwd, ==, "/src");
  g_assert_cmpstr(taken->user, ==, "ci");
  g_assert_true(taken->open_stdin);
  g_assert_false(taken->tty);
}

static void
test_script(void)
{
  static const struct {
    const char *data;
    gsize length;
  } scripts[] = {{"#!/bin/sh\necho gr\xc3\xbc\xc3\x9f\n", 21}, {"echo \xff\n", 7}};
  for (guint i = 0; i < G_N_ELEMENTS(scripts); i++) {
    g_autoptr(GError) error = NULL;
    g_autofree char *path = write_file("script", scripts[i].data, scripts[i].length, 0644);
    MfSpecExec spec = {.script = path};
    g_autoptr(MfJson) json = mf_spec_exec(&spec, FALSE, &error);
    g_assert_no_error(error);
    g_autoptr(MfExecSpec) taken = mf_exec_spec_from_json(json, &error);
    g_assert_no_error(error);
    gsize length;
    gconstpointer data = g_bytes_get_data(taken->script, &length);
    g_assert_cmpmem(data, length, scripts[i].data, scripts[i].length);
    g_remove(path);
  }
}

static void
test_env(void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *path =
      write_file("env", "# comment\n\nA=file\r\nB=1=2 \n  C=\"quoted\"\nMF_HERE\n", 48, 0600);
  g_setenv("MF_HERE", "here", TRUE);
  g_unsetenv("MF_NOT_HERE");
  g_autoptr(GPtrArray) files = list(path, NULL);
  g_autoptr(GPtrArray) env = list("A=option", "MF_NOT_HERE");
  MfSpecExec spec = {.env = env, .env_files = files};
  g_autoptr(MfJson) json = mf_spec_env(&spec, &error);
  g_assert_no_error(error);
  g_assert_cmpstr(mf_document_text(json, "A"), ==, "option");
  g_assert_cmpstr(mf_document_text(json, "B"), ==, "1=2 ");
  g_assert_cmpstr(mf_document_text(json, "C"), ==, "\"quoted\"");
  g_assert_cmpstr(mf_document_text(json, "MF_HERE"), ==, "here");
  g_assert_false(mf_document_has(json, "MF_NOT_HERE"));
  g_remove(path);

  static const char *const bad[] = {"=x", "export C=3", "1A=2", "A-B"};
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GPtrArray) one = list(bad[i], NULL);
    MfSpecExec wrong = {.env = one};
    g_assert_null(mf_spec_env(&wrong, &error));
    g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
    g_assert_true(g_str_has_prefix(error->message, "--env: "));
    g_clear_error(&error);
  }
}

static void
test_files(void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *path = write_file("a:b", "\0binary\xff", 8, 0755);
  g_autofree char *both = g_strconcat(path, ":/opt/a", NULL);
  g_autoptr(GPtrArray) files = list(both, NULL);
  g_autoptr(MfJson) json = mf_spec_files(files, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(mf_document_count(json), ==, 1);
  MfJson *file = mf_document_item(json, 0);
  g_assert_cmpstr(mf_document_text(file, "path"), ==, "/opt/a");
  g_assert_cmpstr(mf_document_text(file, "mode"), ==, "0755");
  gsize length;
  g_autofree guchar *data = g_base64_decode(mf_document_text(file, "content_base64"), &length);
  g_assert_cmpmem(data, length, "\0binary\xff", 8);
  g_remove(path);

  static const char *const bad[] = {"/etc/passwd", "/etc/passwd:relative", ":/etc/x",
                                    "/no/such:/etc/x"};
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GError) local = NULL;
    g_autoptr(GPtrArray) one = list(bad[i], NULL);
    g_assert_null(mf_spec_files(one, &local));
    g_assert_nonnull(local);
  }
}

static void
test_nothing_or_both(void)
{
  g_autoptr(GError) error = NULL;
  char *none[] = {NULL};
  char *some[] = {"true", NULL};
  MfSpecExec specs[] = {
      {.argv = none}, {.argv = some, .script = "x"}, {.script = "-", .interactive = TRUE}};
  for (guint i = 0; i < G_N_ELEMENTS(specs); i++) {
    g_assert_null(mf_spec_exec(&specs[i], FALSE, &error));
    g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
    g_clear_error(&error);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  folder = g_dir_make_tmp("mayfly-spec-XXXXXX", NULL);
  g_test_add_func("/spec/command", test_command);
  g_test_add_func("/spec/script", test_script);
  g_test_add_func("/spec/env", test_env);
  g_test_add_func("/spec/files", test_files);
  g_test_add_func("/spec/nothing-or-both", test_nothing_or_both);
  int status = g_test_run();
  g_rmdir(folder);
  g_free(folder);
  return status;
}
