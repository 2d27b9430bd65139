/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "daemon/json.h"
#include "tools/gitlab-toml.h"

static void
check_capacity(const char *info_text, const char *template_text, guint64 wanted)
{
  g_autoptr(MfJson) info = mf_json_parse(info_text, strlen(info_text), "info", NULL);
  g_autoptr(MfJson) template =
      template_text != NULL ? mf_json_parse(template_text, strlen(template_text), "t", NULL) : NULL;
  g_assert_cmpuint(mf_gitlab_toml_capacity(info, template), ==, wanted);
}

static void
test_capacity(void)
{
  static const char info[] = "{\"limits\":{\"machines\":8,\"memory\":17179869184,\"cpus\":32}}";
  check_capacity(info, "{\"memory\":1073741824,\"cpus\":1}", 8);
  check_capacity(info, "{\"memory\":4294967296,\"cpus\":1}", 4);
  check_capacity(info, "{\"memory\":1073741824,\"cpus\":16}", 2);
  check_capacity(info, "{\"memory\":34359738368,\"cpus\":1}", 1);
  check_capacity(info, NULL, 8);
  check_capacity("{}", "{}", 1);
}

static void
says(const char *text, const char *line)
{
  if (strstr(text, line) == NULL)
    g_error("it does not say “%s”:\n%s", line, text);
}

/* Another socket than the usual one stands where each stage finds it. */
static void
test_socket(void)
{
  g_autoptr(MfGitlabConfig) config = mf_gitlab_config_load("/nowhere", NULL);
  g_autofree char *text =
      mf_gitlab_toml_format(config, "/usr/bin/mayfly", "/srv/\"a\"/sock", "mayfly on host", 6);
  static const char *const stages[] = {"config", "prepare", "run", "cleanup"};
  for (guint i = 0; i < G_N_ELEMENTS(stages); i++) {
    g_autofree char *line = g_strdup_printf("    %s_args = [\"gitlab\", \"%s\", \"--socket\", "
                                            "\"/srv/\\\"a\\\"/sock\"]\n",
                                            stages[i], stages[i]);
    says(text, line);
  }
}

static void
test_format(void)
{
  g_autoptr(MfGitlabConfig) config = mf_gitlab_config_load("/nowhere", NULL);
  g_autofree char *text =
      mf_gitlab_toml_format(config, "/opt/a \"b\"\\\n/mayfly", NULL, "mayfly on host", 6);
  static const char *const lines[] = {
      "concurrent = 6 ",
      "[[runners]]\n",
      "  name = \"mayfly on host\"\n",
      "  executor = \"custom\"\n",
      "  limit = 6 ",
      "  builds_dir = \"/builds\"\n",
      "  cache_dir = \"/cache\"\n",
      "  [runners.custom]\n",
      "    config_exec = \"/opt/a \\\"b\\\"\\\\\\u000a/mayfly\"\n",
      "    config_args = [\"gitlab\", \"config\"]\n",
      "    prepare_args = [\"gitlab\", \"prepare\"]\n",
      "    run_args = [\"gitlab\", \"run\"]\n",
      "    cleanup_args = [\"gitlab\", \"cleanup\"]\n",
      "    graceful_kill_timeout = 30\n",
      "    force_kill_timeout = 10\n",
  };
  for (guint i = 0; i < G_N_ELEMENTS(lines); i++)
    says(text, lines[i]);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/gitlab-toml/capacity", test_capacity);
  g_test_add_func("/gitlab-toml/format", test_format);
  g_test_add_func("/gitlab-toml/socket", test_socket);
  return g_test_run();
}
