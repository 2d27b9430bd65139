/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "daemon/error.h"
#include "daemon/json.h"
#include "tools/gitlab-config.h"

static MfGitlabConfig *
parse(const char *text, GError **error)
{
  return mf_gitlab_config_from_data("gitlab.conf", text, strlen(text), error);
}

/* The file that is installed is what the driver does without one, and says so key for key. */
static void
test_shipped_file(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfGitlabConfig) defaults = mf_gitlab_config_load("/nowhere/gitlab.conf", &error);
  g_assert_no_error(error);
  g_autofree char *wanted = mf_gitlab_config_dump(defaults, TRUE);
  g_autofree char *shipped = NULL;
  g_assert_true(g_file_get_contents(MF_BUILD_TEMPLATES "/gitlab.conf", &shipped, NULL, &error));
  g_assert_cmpstr(shipped, ==, wanted);
  g_autoptr(GRegex) key = g_regex_new("^#([a-z])", G_REGEX_MULTILINE, 0, NULL);
  g_autofree char *uncommented = g_regex_replace(key, shipped, -1, 0, "\\1", 0, NULL);
  g_autoptr(MfGitlabConfig) parsed = parse(uncommented, &error);
  g_assert_no_error(error);
  g_autofree char *effective = mf_gitlab_config_dump(parsed, FALSE);
  g_autofree char *default_dump = mf_gitlab_config_dump(defaults, FALSE);
  g_assert_cmpstr(effective, ==, default_dump);
}

static void
test_defaults(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfGitlabConfig) config = parse("", &error);
  g_assert_no_error(error);
  g_assert_cmpstr(config->template, ==, "default");
  g_assert_cmpstr(config->builds_dir, ==, "/builds");
  g_assert_cmpstr(config->cache_dir, ==, "/cache");
  g_assert_cmpuint(config->margin, ==, 300);
  g_assert_cmpuint(config->lease, ==, 600);
  g_assert_cmpuint(config->keep_limit, ==, 3600);
  g_assert_true(config->retryable);
  g_assert_cmpuint(config->term_grace, ==, 10);
}

static const char *const mistakes[] = {
    "[images]\ntemplate=Debian\n",    "[images]\ntemplate=\n",
    "[images]\nimages==debian-12\n",  "[images]\nimages=a=B\n",
    "[images]\nimages=a= b\n",        "[machines]\nbuilds-dir=builds\n",
    "[machines]\nbuilds-dir=/\n",     "[machines]\nbuilds-dir=/a b\n",
    "[machines]\nbuilds-dir=/a//b\n", "[machines]\ncache-dir=/cache/\n",
    "[machines]\nlease=10s\n",        "[machines]\nterm-grace=0\n",
    "[machines]\ncpus=3\n",           "[gitlab]\n",
};

static void
test_mistakes(void)
{
  for (guint i = 0; i < G_N_ELEMENTS(mistakes); i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(MfGitlabConfig) config = parse(mistakes[i], &error);
    if (config != NULL)
      g_error("taken: %s", mistakes[i]);
    g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, "gitlab.conf:"));
  }
}

/* One of them with a mistake, which is no reason to take another for it. */
static MfJson *
templates(void)
{
  g_autoptr(MfJson) answer = json_tokener_parse(
      "{\"templates\":[{\"name\":\"default\"},{\"name\":\"tiny\"}],"
      "\"errors\":[{\"name\":\"debian-12\",\"file\":\"debian-12.conf\",\"error\":\"no\"}]}");
  return mf_gitlab_config_templates(answer);
}

static void
check_images(const char *rules, const char *const (*pairs)[2], guint count)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJson) all = templates();
  g_autofree char *text = g_strdup_printf("[images]\nimages=%s\n", rules);
  g_autoptr(MfGitlabConfig) config = parse(text, &error);
  g_assert_no_error(error);
  for (guint i = 0; i < count; i++) {
    g_autoptr(GError) refusal = NULL;
    g_autofree char *found =
        mf_gitlab_config_find_template(config, pairs[i][0], "\"it\"", all, &refusal);
    g_assert_cmpstr(found, ==, pairs[i][1]);
    g_assert_true((found == NULL) == (refusal != NULL));
  }
}

static void
test_images(void)
{
  static const char *const usual[][2] = {
      {NULL, "default"},          {"tiny", "tiny"},    {"debian-12", "debian-12"},
      {"debian:12", NULL},        {"TINY", NULL},      {"../tiny", NULL},
      {"tiny;reboot", NULL},      {"*", NULL},         {"", NULL},
      {"'><image name='x", NULL}, {"default\n", NULL}, {"\xff", NULL},
  };
  check_images("*", usual, G_N_ELEMENTS(usual));
  static const char *const mapped[][2] = {
      {"debian:12", "debian-12"}, {"debian:11", "default"}, {"registry.example.com/a/b", "tiny"},
      {"tiny", "tiny"},           {"default", NULL},        {"a=b", "tiny"},
  };
  check_images("debian:12=debian-12 debian:*=default registry.*/*=tiny t* a=b=tiny", mapped,
               G_N_ELEMENTS(mapped));
  static const char *const none[][2] = {{"tiny", NULL}, {NULL, "default"}};
  check_images("", none, G_N_ELEMENTS(none));
}

static void
test_refusal(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJson) all = templates();
  g_autoptr(MfGitlabConfig) config = parse("[images]\nimages=debian:*=debian-12 *\n", &error);
  g_assert_no_error(error);
  g_assert_null(mf_gitlab_config_find_template(config, "alpine", "\"$IMAGE\"", all, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_FORBIDDEN);
  g_assert_nonnull(strstr(error->message, "\"$IMAGE\" is not allowed"));
  g_assert_nonnull(strstr(error->message, "one of debian:*, default, tiny, debian-12,"));
}

static void
test_problems(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJson) all = templates();
  g_autoptr(MfGitlabConfig) config =
      parse("[images]\nimages=debian:*=debian-12 ruby:*=ruby alpine:* t* *\n", &error);
  g_assert_no_error(error);
  g_auto(GStrv) problems = mf_gitlab_config_find_problems(config, all);
  g_autofree char *text = g_strjoinv("\n", problems);
  g_assert_cmpstr(text, ==,
                  "rule ruby:*=ruby (images= in gitlab.conf): there is no template ruby\n"
                  "rule alpine:* (images= in gitlab.conf): no template's name is like it: write "
                  "alpine:*=TEMPLATE");
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/gitlab-config/shipped-file", test_shipped_file);
  g_test_add_func("/gitlab-config/defaults", test_defaults);
  g_test_add_func("/gitlab-config/mistakes", test_mistakes);
  g_test_add_func("/gitlab-config/images", test_images);
  g_test_add_func("/gitlab-config/refusal", test_refusal);
  g_test_add_func("/gitlab-config/problems", test_problems);
  return g_test_run();
}
