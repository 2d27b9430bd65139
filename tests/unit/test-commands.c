/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "tools/commands.h"

static void
test_rows_are_whole(void)
{
  for (const MfCommand *command = mf_commands; command->name != NULL; command++) {
    g_assert_nonnull(command->run);
    g_assert_nonnull(command->arguments);
    g_assert_cmpuint(command->min, <=, command->max);
    g_assert_false(g_str_has_suffix(command->summary, "."));
    g_assert_true((command->options != NULL) == (command->options_size != NULL));
    for (const MfOption *option = command->options; option != NULL && option->name != NULL;
         option++) {
      g_assert_cmpuint(option->offset, <, *command->options_size);
      g_assert_true((option->kind == MF_OPTION_FLAG) == (option->value == NULL));
      for (const MfOption *common = mf_common_options; common->name != NULL; common++) {
        g_assert_cmpstr(option->name, !=, common->name);
        g_assert_true(option->letter == 0 || option->letter != common->letter);
      }
      for (const MfOption *other = command->options; other != option; other++) {
        g_assert_cmpstr(option->name, !=, other->name);
        g_assert_true(option->letter == 0 || option->letter != other->letter);
      }
    }
  }
}

static void
test_help_covers_all(void)
{
  g_autofree char *help = mf_command_help(mf_commands);
  for (const MfCommand *command = mf_commands; command->name != NULL; command++) {
    g_assert_true(command->hidden == (strstr(help, command->summary) == NULL));
    g_autofree char *own = mf_command_help_for(command);
    g_assert_nonnull(strstr(own, command->summary));
    g_assert_nonnull(strstr(own, "--socket"));
    g_assert_true(command->json == (strstr(own, "--output") != NULL));
    for (const MfOption *option = command->options; option != NULL && option->name != NULL;
         option++) {
      g_autofree char *word = g_strdup_printf("--%s", option->name);
      g_assert_nonnull(strstr(own, word));
      g_assert_nonnull(strstr(own, option->meaning));
    }
  }
}

/* Wherever it stands. */
static void
test_no_json(void)
{
  static const char *const lines[] = {"mayfly gitlab config -o json",
                                      "mayfly -o json gitlab config"};
  for (guint i = 0; i < G_N_ELEMENTS(lines); i++) {
    g_auto(GStrv) words = g_strsplit(lines[i], " ", -1);
    g_assert_cmpint(mf_command_main(mf_commands, words), ==, MF_EXIT_FAILURE);
  }
}

static void
test_find(void)
{
  for (const MfCommand *command = mf_commands; command->name != NULL; command++) {
    g_auto(GStrv) words = g_strsplit(command->name, " ", -1);
    guint count = 0;
    g_assert_true(mf_command_find(mf_commands, words, &count) == command);
    g_assert_cmpuint(count, ==, g_strv_length(words));
  }
  static const char *const none[] = {"no-such", NULL};
  guint count;
  g_assert_null(mf_command_find(mf_commands, (char *const *)none, &count));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/commands/rows", test_rows_are_whole);
  g_test_add_func("/commands/help", test_help_covers_all);
  g_test_add_func("/commands/no-json", test_no_json);
  g_test_add_func("/commands/find", test_find);
  return g_test_run();
}
