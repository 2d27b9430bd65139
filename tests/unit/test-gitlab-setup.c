/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly gitlab setup: what it finds out about this host, with a systemctl and a mayflyd in their
 * place. */
#include <glib/gstdio.h>
#include <string.h>

#include "tests/unit/gitlab-host.h"

static void
says(const char *text, const char *part)
{
  if (strstr(text, part) == NULL)
    g_error("“%s” does not say “%s”", text, part);
}

static Driver *
setup(Host *host, const char *option, const char *value, int status)
{
  const char *const argv[] = {"setup", option, value, NULL};
  const char *const env[] = {"PATH", host->folder, NULL};
  Driver *driver = driver_start(host, "", env, argv);
  if (driver_wait(driver) != status && status >= 0)
    g_error("setup gave %d: %s%s", driver->status, driver->out, driver->err);
  return driver;
}

/* NULL: there is none. */
static void
put_systemctl(Host *host, const char *text)
{
  g_autofree char *path = g_build_filename(host->folder, "systemctl", NULL);
  g_autofree char *script = g_strdup_printf("#!/bin/sh\n%s\n", text);
  g_unlink(path);
  g_assert_true(text == NULL ||
                g_file_set_contents_full(path, script, -1, G_FILE_SET_CONTENTS_NONE, 0755, NULL));
}

/* Whether that user may use the socket is this machine's affair. */
static void
test_user(void)
{
  static const struct {
    const char *systemctl, *said;
  } cases[] = {
      {NULL, "user gitlab-runner"},
      {"echo 'System has not been booted with systemd' >&2; exit 1", "user gitlab-runner"},
      {"printf 'LoadState=not-found\\nUser=\\n'", "user gitlab-runner"},
      {"printf 'LoadState=loaded\\nUser=\\n'", "user root may use"},
      {"printf 'User=nobody\\nLoadState=loaded\\n'", "user nobody "},
  };
  Host *host = host_new();
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    put_systemctl(host, cases[i].systemctl);
    g_autoptr(Driver) driver = setup(host, NULL, NULL, -1);
    says(driver->err, cases[i].said);
    says(driver->out, "[[runners]]");
  }
  g_autoptr(Driver) told = setup(host, "--user", "root", 0);
  says(told->err, "user root may use");
  host_free(host);
}

static void
test_socket(void)
{
  Host *host = host_new();
  g_autofree char *wanted =
      g_strdup_printf("run_args = [\"gitlab\", \"run\", \"--socket\", \"%s\"]", host->socket);
  g_autoptr(Driver) usual = setup(host, "--user", "root", 0);
  says(usual->out, "run_args = [\"gitlab\", \"run\"]");
  g_autoptr(Driver) told = setup(host, "--socket", host->socket, -1);
  says(told->out, wanted);
  host_free(host);
}

/* What keeps jobs from running, and what does not. */
static void
test_problems(void)
{
  Host *host = host_new();
  host->runner_problem = "user mayfly may not read it";
  g_autoptr(Driver) fine = setup(host, "--user", "root", 0);
  says(fine->err, "note    machines get no gitlab-runner, so artifacts and cache are skipped: user "
                  "mayfly may not read it\n");
  g_assert_null(strstr(fine->err, "PROBLEM"));
  host->no_image = TRUE;
  g_autoptr(Driver) imageless = setup(host, "--user", "root", 1);
  says(imageless->err, "PROBLEM jobs without image: cannot run: there is no such thing\n");
  host->no_image = FALSE;
  g_autofree char *file = g_build_filename(host->folder, "rules.conf", NULL);
  g_assert_true(g_file_set_contents(file, "[images]\nimages=debian:*=nosuch *\n", -1, NULL));
  const char *const env[] = {"MAYFLY_GITLAB_CONFIG", file, NULL};
  static const char *const argv[] = {"setup", "--user", "root", NULL};
  g_autoptr(Driver) rules = driver_start(host, "", env, argv);
  g_assert_cmpint(driver_wait(rules), ==, 1);
  says(rules->err,
       "PROBLEM rule debian:*=nosuch (images= in gitlab.conf): there is no template nosuch\n");
  host_free(host);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/gitlab-setup/user", test_user);
  g_test_add_func("/gitlab-setup/socket", test_socket);
  g_test_add_func("/gitlab-setup/problems", test_problems);
  return g_test_run();
}
