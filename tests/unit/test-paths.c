/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/paths.h"

static void
test_installed(void)
{
  g_unsetenv("MAYFLY_LIBEXECDIR");
  g_unsetenv("MAYFLY_GITLAB_CONFIG");
  g_unsetenv("MAYFLY_SOCKET");
  g_setenv("MAYFLY_DATADIR", "", TRUE);
  g_autofree char *program = mf_path_libexec("mayfly-inject");
  g_assert_cmpstr(program, ==, MF_LIBEXECDIR "/mayfly-inject");
  g_autofree char *data = mf_path_data("templates/domain.xml");
  g_assert_cmpstr(data, ==, MF_DATADIR "/templates/domain.xml");
  g_autofree char *socket = mf_path_socket();
  g_assert_cmpstr(socket, ==, MF_RUNDIR "/mayfly.sock");
  g_autofree char *gitlab = mf_path_gitlab_config();
  g_assert_cmpstr(gitlab, ==, MF_SYSCONFDIR "/gitlab.conf");
}

static void
test_environment_wins(void)
{
  g_setenv("MAYFLY_LIBEXECDIR", "/b/libexec", TRUE);
  g_setenv("MAYFLY_DATADIR", "/b/data", TRUE);
  g_setenv("MAYFLY_CONFIG", "/b/mayfly.conf", TRUE);
  g_setenv("MAYFLY_GITLAB_CONFIG", "/b/gitlab.conf", TRUE);
  g_setenv("MAYFLY_SOCKET", "/b/sock", TRUE);
  g_autofree char *program = mf_path_libexec("mayfly-inject");
  g_assert_cmpstr(program, ==, "/b/libexec/mayfly-inject");
  g_autofree char *data = mf_path_data("filters");
  g_assert_cmpstr(data, ==, "/b/data/filters");
  g_autofree char *config = mf_path_config();
  g_assert_cmpstr(config, ==, "/b/mayfly.conf");
  g_autofree char *gitlab = mf_path_gitlab_config();
  g_assert_cmpstr(gitlab, ==, "/b/gitlab.conf");
  g_autofree char *socket = mf_path_socket();
  g_assert_cmpstr(socket, ==, "/b/sock");
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/paths/installed", test_installed);
  g_test_add_func("/paths/environment", test_environment_wins);
  return g_test_run();
}
