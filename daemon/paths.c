/* SPDX-License-Identifier: Apache-2.0 */
/* Paths: compiled in by the build, replaceable by the environment. */
#include "daemon/paths.h"

/* An empty variable counts as none, as in systemd: it is how one is taken back. */
static const char *
from_environment(const char *variable, const char *built_in)
{
  const char *value = g_getenv(variable);
  return value != NULL && value[0] != '\0' ? value : built_in;
}

char *
mf_path_libexec(const char *name)
{
  return g_build_filename(from_environment("MAYFLY_LIBEXECDIR", MF_LIBEXECDIR), name, NULL);
}

char *
mf_path_data(const char *name)
{
  return g_build_filename(from_environment("MAYFLY_DATADIR", MF_DATADIR), name, NULL);
}

char *
mf_path_config(void)
{
  return g_strdup(from_environment("MAYFLY_CONFIG", MF_SYSCONFDIR "/mayfly.conf"));
}

char *
mf_path_gitlab_config(void)
{
  return g_strdup(from_environment("MAYFLY_GITLAB_CONFIG", MF_SYSCONFDIR "/gitlab.conf"));
}

char *
mf_path_socket(void)
{
  return g_strdup(from_environment("MAYFLY_SOCKET", MF_RUNDIR "/mayfly.sock"));
}
