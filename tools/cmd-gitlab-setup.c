/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly gitlab setup: what to write into config.toml on this host, and whether gitlab-runner can
 * work with it. */
#include <gio/gio.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/error.h"
#include "daemon/paths.h"
#include "tools/client.h"
#include "tools/commands.h"
#include "tools/document.h"
#include "tools/gitlab-toml.h"

#define SERVICE    "gitlab-runner.service"
#define USER       "gitlab-runner"
#define MAX_GROUPS 256

typedef struct {
  const char *user;
} Options;

const MfOption mf_cmd_gitlab_setup_options[] = {
    {"user", 'u', MF_OPTION_TEXT, "USER",
     "who gitlab-runner runs as (default: as its service says, or " USER ")",
     G_STRUCT_OFFSET(Options, user)},
    {0},
};
const gsize mf_cmd_gitlab_setup_options_size = sizeof(Options);

/* As whom systemd would start it; NULL: there is no such service. (transfer full) */
static char *
find_service_user(void)
{
  g_autofree char *text = NULL;
  g_autoptr(GSubprocess) child =
      g_subprocess_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_SILENCE, NULL,
                       "systemctl", "show", "-p", "LoadState", "-p", "User", SERVICE, NULL);
  if (child == NULL || !g_subprocess_communicate_utf8(child, NULL, NULL, &text, NULL, NULL) ||
      text == NULL)
    return NULL;
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  if (!g_strv_contains((const char *const *)lines, "LoadState=loaded"))
    return NULL;
  for (char **line = lines; *line != NULL; line++)
    if (g_str_has_prefix(*line, "User=") && (*line)[strlen("User=")] != '\0')
      return g_strdup(*line + strlen("User="));
  return g_strdup("root");
}

/* Checks: each says one line on stderr. Returns: whether it is right. */

static gboolean
verdict(gboolean good, char *text)
{
  g_autofree char *owned = text;
  fprintf(stderr, "%s %s\n", good ? "ok     " : "PROBLEM", owned);
  return good;
}

static gboolean
is_in_group(const struct passwd *user, gid_t wanted)
{
  gid_t groups[MAX_GROUPS];
  int count = MAX_GROUPS;
  if (getgrouplist(user->pw_name, user->pw_gid, groups, &count) < 0)
    count = MAX_GROUPS;
  for (int i = 0; i < count; i++)
    if (groups[i] == wanted)
      return TRUE;
  return FALSE;
}

static gboolean
check_user(const char *name, const char *socket)
{
  struct stat info;
  const struct passwd *user = getpwnam(name);
  if (user == NULL)
    return verdict(FALSE, g_strdup_printf("there is no user %s: install gitlab-runner "
                                          "(https://docs.gitlab.com/runner/install), or name the "
                                          "user that it runs as by --user",
                                          name));
  if (stat(socket, &info) != 0)
    return verdict(
        FALSE, g_strdup_printf("there is no socket %s: systemctl start mayflyd.socket", socket));
  if (user->pw_uid == 0 || user->pw_uid == info.st_uid || (info.st_mode & S_IWOTH) != 0 ||
      ((info.st_mode & S_IWGRP) != 0 && is_in_group(user, info.st_gid)))
    return verdict(TRUE, g_strdup_printf("user %s may use %s", name, socket));
  const struct group *group = getgrgid(info.st_gid);
  return verdict(FALSE,
                 g_strdup_printf("user %s may not use %s: sudo usermod -aG %s %s, then "
                                 "systemctl restart gitlab-runner",
                                 name, socket, group != NULL ? group->gr_name : "mayfly", name));
}

/* Only artifacts and cache need it. */
static void
check_runner(MfJson *info)
{
  MfJson *runner = mf_document_member(info, "gitlab_runner");
  const char *path = mf_document_text(runner, "path"),
             *version = mf_document_text(runner, "version"),
             *problem = mf_document_text(runner, "problem");
  if (runner != NULL && problem == NULL)
    verdict(TRUE, g_strdup_printf("machines get %s, version %s, for artifacts and cache",
                                  path != NULL ? path : "gitlab-runner",
                                  version != NULL ? version : "unknown"));
  else
    fprintf(stderr,
            "note    machines get no gitlab-runner, so artifacts and cache are skipped: %s\n",
            problem != NULL ? problem
                            : "install it on this host, or set gitlab-runner under [images] in "
                              "mayfly.conf");
}

static gboolean
check_image(MfClient *client, const char *template, const char *image)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *path = mf_client_path("images", image, NULL);
  g_autoptr(MfJson) found = mf_client_call(client, "GET", path, NULL, &error);
  if (found != NULL)
    return verdict(
        TRUE, g_strdup_printf("jobs without image: get template %s, image %s", template, image));
  return verdict(FALSE, g_strdup_printf("jobs without image: cannot run: %s", error->message));
}

/* (transfer full); NULL: it is not there, which was said. */
static MfJson *
check_template(MfClient *client, const char *name, gboolean *ret_good)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *path = mf_client_path("templates", name, NULL);
  MfJson *template = mf_client_call(client, "GET", path, NULL, &error);
  const char *image = mf_document_text(template, "image");
  if (image != NULL)
    *ret_good = check_image(client, name, image);
  else
    *ret_good = verdict(FALSE, g_strdup_printf("jobs without image: cannot run: %s",
                                               error != NULL ? error->message : "it has no image"));
  return template;
}

static gboolean
check_rules(MfClient *client, const MfGitlabConfig *config)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJson) answer = mf_client_call(client, "GET", "/v1/templates", NULL, &error);
  if (answer == NULL)
    return verdict(FALSE, g_strdup(error->message));
  g_autoptr(MfJson) templates = mf_gitlab_config_templates(answer);
  MfJson *wrong = mf_document_member(answer, "errors");
  for (gsize i = 0; i < mf_document_count(wrong); i++)
    verdict(FALSE, g_strdup(mf_document_text(mf_document_item(wrong, i), "error")));
  g_auto(GStrv) problems = mf_gitlab_config_find_problems(config, templates);
  for (char **problem = problems; *problem != NULL; problem++)
    verdict(FALSE, g_strdup(*problem));
  return mf_document_count(wrong) == 0 && problems[0] == NULL;
}

/* The newest of this program where that was replaced. (transfer full) */
static char *
own_path(void)
{
  g_autofree char *path = g_file_read_link("/proc/self/exe", NULL);
  g_autofree char *found = path == NULL ? g_find_program_in_path("mayfly") : NULL;
  return g_strdup(path != NULL ? path : found != NULL ? found : "/usr/bin/mayfly");
}

int
mf_cmd_gitlab_setup(const MfCommon *common, gconstpointer data, char **argv, GError **error)
{
  const Options *options = data;
  g_autofree char *config_path = mf_path_gitlab_config();
  g_autoptr(MfGitlabConfig) config = mf_gitlab_config_load(config_path, error);
  if (config == NULL)
    return MF_EXIT_FAILURE;
  g_autoptr(MfClient) client = mf_client_new(common->socket);
  g_autoptr(MfJson) info = mf_client_call(client, "GET", "/v1/info", NULL, error);
  if (info == NULL)
    return MF_EXIT_FAILURE;
  g_autofree char *usual = mf_path_socket();
  g_autofree char *found = options->user == NULL ? find_service_user() : NULL;
  const char *user = options->user != NULL ? options->user : found != NULL ? found : USER;
  gboolean user_good = check_user(user, common->socket != NULL ? common->socket : usual);
  gboolean template_good;
  g_autoptr(MfJson) template = check_template(client, config->template, &template_good);
  gboolean rules_good = check_rules(client, config);
  check_runner(info);
  g_autofree char *program = own_path();
  g_autofree char *name = g_strconcat("mayfly on ", g_get_host_name(), NULL);
  /* The runner's folder is another than ours. */
  g_autofree char *socket =
      common->socket != NULL ? g_canonicalize_filename(common->socket, NULL) : NULL;
  g_autofree char *toml =
      mf_gitlab_toml_format(config, program, socket, name, mf_gitlab_toml_capacity(info, template));
  if (isatty(STDOUT_FILENO))
    fputs("\nFor gitlab-runner's config.toml (/etc/gitlab-runner/config.toml), see "
          "mayfly-gitlab(1):\n\n",
          stderr);
  fputs(toml, stdout);
  return user_good && template_good && rules_good ? MF_EXIT_OK : MF_EXIT_PROBLEM;
}
