/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of the host's gitlab-runner, with scripts in its place. */
#include "daemon/runner.h"

#include <glib/gstdio.h>
#include <string.h>

#include "daemon/json.h"
#include "daemon/tree.h"

static char *folder;

static void
put(const char *path, const char *text, int mode)
{
  g_assert_true(
      g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, mode, NULL));
}

/* NULL within two seconds: it says nothing. */
static char *
wait_version(MfRunner *runner)
{
  for (guint i = 0; i < 200; i++) {
    g_autoptr(MfJson) json = mf_runner_to_json(runner);
    const char *version = json_object_get_string(json_object_object_get(json, "version"));
    if (version != NULL)
      return g_strdup(version);
    g_main_context_iteration(NULL, FALSE);
    g_usleep(10000);
  }
  return NULL;
}

static void
expect_problem(MfRunner *runner, const char *said)
{
  g_assert_null(mf_runner_path(runner));
  g_autoptr(MfJson) json = mf_runner_to_json(runner);
  const char *problem = json_object_get_string(json_object_object_get(json, "problem"));
  g_assert_nonnull(problem);
  g_assert_nonnull(strstr(problem, said));
  g_assert_null(json_object_object_get(json, "version"));
}

static void
test_version(void)
{
  g_autofree char *path = g_build_filename(folder, "gitlab-runner", NULL);
  MfRunner *runner = mf_runner_new(path);
  g_assert_null(mf_runner_path(runner));
  g_assert_null(mf_runner_to_json(runner));
  put(path, "#!/bin/sh\n[ $1 = --version ] && printf 'Version:      17.5.3\\nGit: x\\n'\n", 0755);
  g_assert_cmpstr(mf_runner_path(runner), ==, path);
  g_autofree char *version = wait_version(runner);
  g_assert_cmpstr(version, ==, "17.5.3");
  g_autoptr(MfJson) json = mf_runner_to_json(runner);
  g_assert_null(json_object_object_get(json, "problem"));
  /* Replaced while we run. */
  put(path, "#!/bin/sh\nprintf 'Version: 18.0.0~beta\\n'\n", 0755);
  g_autofree char *newer = wait_version(runner);
  g_assert_cmpstr(newer, ==, "18.0.0~beta");
  g_chmod(path, 0644);
  expect_problem(runner, "may not read and execute");
  g_unlink(path);
  g_assert_null(mf_runner_path(runner));
  mf_runner_free(runner);
}

/* One that ends its daemon's life before it has answered, and one that says rubbish. */
static void
test_no_answer(void)
{
  g_autofree char *path = g_build_filename(folder, "odd", NULL);
  put(path, "#!/bin/sh\nsleep 0.2\nprintf 'Version: \\033[2J\\n'\n", 0755);
  MfRunner *gone = mf_runner_new(path);
  mf_runner_free(gone);
  g_test_expect_message(NULL, G_LOG_LEVEL_WARNING, "*does not tell its version");
  MfRunner *runner = mf_runner_new(path);
  for (guint i = 0; i < 50; i++) {
    g_main_context_iteration(NULL, FALSE);
    g_usleep(10000);
  }
  g_test_assert_expected_messages();
  g_autoptr(MfJson) json = mf_runner_to_json(runner);
  g_assert_null(json_object_object_get(json, "version"));
  g_assert_cmpstr(json_object_get_string(json_object_object_get(json, "path")), ==, path);
  mf_runner_free(runner);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  folder = g_dir_make_tmp("mayfly-runner-XXXXXX", NULL);
  g_test_add_func("/runner/version", test_version);
  g_test_add_func("/runner/no-answer", test_no_answer);
  int status = g_test_run();
  mf_tree_remove(folder);
  return status;
}
