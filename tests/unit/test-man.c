/* SPDX-License-Identifier: Apache-2.0 */
/* The manual pages say everything that the tables say. */
#include <string.h>

#include "daemon/config.h"
#include "daemon/template.h"
#include "tools/commands.h"
#include "tools/gitlab-config.h"

static char *
read_page(const char *name)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *path = g_build_filename(MF_MAN, name, NULL);
  char *text = NULL;
  g_assert_true(g_file_get_contents(path, &text, NULL, &error));
  return text;
}

static void
require(const char *page, const char *text)
{
  if (strstr(page, text) == NULL)
    g_error("the page does not say: %s", text);
}

static void
check_keys(const char *name, const MfKeyTable *table)
{
  g_autofree char *page = read_page(name);
  const char *section = page;
  for (guint i = 0; i < table->count; i++) {
    const MfKey *key = &table->keys[i];
    g_autofree char *group = g_strdup_printf(".Ss [%s]\n", key->group);
    if (i == 0 || strcmp(key->group, table->keys[i - 1].group) != 0) {
      section = strstr(page, group);
      g_assert_nonnull(section);
    }
    g_autofree char *allowed = mf_key_describe_allowed(key);
    g_autofree char *wanted =
        g_strdup_printf(".It Cm %s\n%s\nAllowed: %s.\n", key->name, key->meaning, allowed);
    require(section, wanted);
    if (key->built_in != NULL && key->built_in[0] != '\0') {
      g_autofree char *value = g_strdup_printf("Default: %s.\n", key->built_in);
      require(strstr(section, wanted), value);
    }
  }
}

static void
test_config_keys(void)
{
  check_keys("mayfly.conf.5", mf_config_table());
}

static void
test_template_keys(void)
{
  check_keys("mayfly-template.5", mf_template_table());
}

static void
test_gitlab_keys(void)
{
  check_keys("mayfly-gitlab.1", mf_gitlab_config_table());
}

static void
test_commands(void)
{
  g_autofree char *page = read_page("mayfly.1");
  for (const MfCommand *command = mf_commands; command->name != NULL; command++) {
    if (command->hidden)
      continue;
    g_autofree char *item = g_strdup_printf(".It Cm %s", command->name);
    require(page, item);
    for (const MfOption *option = command->options; option != NULL && option->name != NULL;
         option++) {
      g_autofree char *word = g_strdup_printf("-%s", option->name);
      require(page, word);
    }
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/man/config-keys", test_config_keys);
  g_test_add_func("/man/template-keys", test_template_keys);
  g_test_add_func("/man/gitlab-keys", test_gitlab_keys);
  g_test_add_func("/man/commands", test_commands);
  return g_test_run();
}
