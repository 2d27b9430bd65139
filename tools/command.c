/* SPDX-License-Identifier: Apache-2.0 */
/* Commands: finding the row, checking what it takes, running it, and help made of the table. */
#include "tools/command.h"

#include <stdio.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/text.h"

const MfOption mf_common_options[] = {
    {"output", 'o', MF_OPTION_TEXT, "json|text", "how to print the answer",
     G_STRUCT_OFFSET(MfCommon, output)},
    {"socket", 0, MF_OPTION_TEXT, "PATH", "mayflyd's socket, if it is not the usual one",
     G_STRUCT_OFFSET(MfCommon, socket)},
    {"help", 'h', MF_OPTION_FLAG, NULL, "show this", G_STRUCT_OFFSET(MfCommon, help)},
    {0},
};

const MfOption *
mf_command_common_options(const MfCommand *command)
{
  return command->json ? mf_common_options : mf_common_options + 1;
}

gboolean
mf_command_wants_json(const MfCommon *common)
{
  return g_strcmp0(common->output, "json") == 0;
}

/* How many words of @argv are those of @name; 0: not all of them. */
static guint
count_matching(const char *name, char *const *argv)
{
  g_auto(GStrv) words = g_strsplit(name, " ", -1);
  guint count = 0;
  for (; words[count] != NULL; count++)
    if (g_strcmp0(words[count], argv[count]) != 0)
      return 0;
  return count;
}

const MfCommand *
mf_command_find(const MfCommand *commands, char *const *argv, guint *ret_words)
{
  for (const MfCommand *command = commands; command->name != NULL; command++) {
    guint words = count_matching(command->name, argv);
    g_auto(GStrv) aliases = g_strsplit(command->aliases != NULL ? command->aliases : "", " ", -1);
    if (words == 0 && argv[0] != NULL && g_strv_contains((const char *const *)aliases, argv[0]))
      words = 1;
    if (words > 0) {
      *ret_words = words;
      return command;
    }
  }
  return NULL;
}

char *
mf_command_help_for(const MfCommand *command)
{
  g_autoptr(GString) out = g_string_new(NULL);
  g_string_append_printf(out, "Usage: mayfly %s%s%s%s\n\n%s.\n", command->name,
                         command->options != NULL ? " [OPTIONS]" : "",
                         command->arguments[0] != '\0' ? " " : "", command->arguments,
                         command->summary);
  if (command->aliases != NULL)
    g_string_append_printf(out, "Also called: %s.\n", command->aliases);
  if (command->details != NULL)
    g_string_append_printf(out, "\n%s\n", command->details);
  if (command->options != NULL) {
    g_string_append(out, "\nOptions:\n");
    mf_options_describe(command->options, out);
  }
  g_string_append(out, "\nCommon options:\n");
  mf_options_describe(mf_command_common_options(command), out);
  return g_strdup(out->str);
}

char *
mf_command_help(const MfCommand *commands)
{
  g_autoptr(GString) out = g_string_new(
      "Usage: mayfly COMMAND [OPTIONS] [ARGUMENTS]\n\n"
      "Runs each job in a virtual machine of its own and throws the machine away.\n\nCommands:\n");
  for (const MfCommand *command = commands; command->name != NULL; command++)
    if (!command->hidden)
      g_string_append_printf(out, "  %-18s%s\n", command->name, command->summary);
  g_string_append(out, "\nmayfly COMMAND --help tells more about one.\n"
                       "Try: mayfly run -- echo hello\n");
  return g_strdup(out->str);
}

char *
mf_command_help_group(const MfCommand *commands, const char *group)
{
  g_autoptr(GString) list = g_string_new(NULL);
  g_autofree char *prefix = g_strconcat(group, " ", NULL);
  for (const MfCommand *command = commands; command->name != NULL; command++)
    if (g_str_has_prefix(command->name, prefix))
      g_string_append_printf(list, "  %-18s%s\n", command->name, command->summary);
  if (list->len == 0)
    return NULL;
  return g_strdup_printf("Usage: mayfly %s COMMAND [OPTIONS] [ARGUMENTS]\n\nCommands:\n%s\n"
                         "mayfly %s COMMAND --help tells more about one.\n",
                         group, list->str, group);
}

static int
complain(const char *message, const char *hint)
{
  fprintf(stderr, "mayfly: %s%s%s\n", message, hint != NULL ? "; " : "", hint != NULL ? hint : "");
  return MF_EXIT_FAILURE;
}

static gboolean
check_arguments(const MfCommand *command, char *const *argv, GError **error)
{
  guint count = g_strv_length((char **)argv);
  if (count >= command->min && count <= command->max)
    return TRUE;
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "%s: use it as mayfly %s%s%s",
              count < command->min ? "something is missing" : "too many arguments", command->name,
              command->arguments[0] != '\0' ? " " : "", command->arguments);
  return FALSE;
}

/* An empty one, of a variable that is not set, would make a path of the API that means another
 * thing. Behind the job of exec are the command's words. */
static gboolean
check_names(const MfCommand *command, char *const *argv, GError **error)
{
  static const struct {
    const char *completes, *meaning;
  } kinds[] = {{"job", "a job"}, {"template", "a template"}, {"image", "an image"}};
  for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
    if (g_strcmp0(command->completes, kinds[i].completes) != 0)
      continue;
    for (guint k = 0; argv[k] != NULL && (k == 0 || !command->posix); k++)
      if (*argv[k] == '\0') {
        g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                    "the name of %s is empty: use it as mayfly %s %s", kinds[i].meaning,
                    command->name, command->arguments);
        return FALSE;
      }
  }
  return TRUE;
}

static gboolean
check_output(const MfCommand *command, const MfCommon *common, GError **error)
{
  if (common->output == NULL || command->json)
    return TRUE;
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
              "mayfly %s prints nothing that could be JSON: leave --output out", command->name);
  return FALSE;
}

static int
run(const MfCommand *command, MfCommon *common, gpointer options, char **argv)
{
  g_autoptr(GError) error = NULL;
  MfOptionSet sets[] = {{mf_common_options, common}, {command->options, options}, {0}};
  if (!mf_options_parse(argv, sets, command->posix, &error))
    return complain(error->message, NULL);
  if (common->help) {
    g_autofree char *help = mf_command_help_for(command);
    fputs(help, stdout);
    return MF_EXIT_OK;
  }
  if (!check_output(command, common, &error) || !check_arguments(command, argv, &error) ||
      !check_names(command, argv, &error))
    return complain(error->message, "--help tells more");
  int status = command->run(common, options, argv, &error);
  if (error == NULL)
    return status;
  fprintf(stderr, "mayfly: %s\n", error->message);
  return MF_EXIT_FAILURE;
}

static int
unknown(const MfCommand *commands, char *const *argv)
{
  g_autofree char *help = mf_command_help_group(commands, argv[0]);
  if (help != NULL && (g_strcmp0(argv[1], "--help") == 0 || g_strcmp0(argv[1], "-h") == 0)) {
    fputs(help, stdout);
    return MF_EXIT_OK;
  }
  g_autofree char *shown = mf_text_quote(argv[0]);
  g_autoptr(GString) group = g_string_new(NULL);
  for (const MfCommand *command = commands; command->name != NULL; command++)
    if (g_str_has_prefix(command->name, argv[0]) && command->name[strlen(argv[0])] == ' ')
      g_string_append_printf(group, "%s%s", group->len > 0 ? ", " : "",
                             command->name + strlen(argv[0]) + 1);
  g_autofree char *message = group->len > 0
                                 ? g_strdup_printf("%s needs one of: %s", argv[0], group->str)
                                 : g_strdup_printf("there is no command %s", shown);
  return complain(message, group->len > 0 ? NULL : "mayfly help lists those there are");
}

int
mf_command_main(const MfCommand *commands, char **argv)
{
  MfCommon common = {0};
  g_autoptr(GError) error = NULL;
  g_autofree char **words = g_new0(char *, g_strv_length(argv) + 1);
  memcpy(words, argv + 1, g_strv_length(argv + 1) * sizeof *words);
  /* Options before the command's name are common ones; the rest waits for the command's own table.
   */
  MfOptionSet sets[] = {{mf_common_options, &common}, {0}};
  if (!mf_options_parse(words, sets, TRUE, &error))
    return complain(error->message, NULL);
  if (words[0] == NULL || common.help) {
    g_autofree char *help = mf_command_help(commands);
    fputs(help, words[0] == NULL && !common.help ? stderr : stdout);
    return common.help ? MF_EXIT_OK : MF_EXIT_FAILURE;
  }
  guint count = 0;
  const MfCommand *command = mf_command_find(commands, words, &count);
  if (command == NULL)
    return unknown(commands, words);
  g_autofree gpointer options = g_malloc0(command->options != NULL ? *command->options_size : 1);
  int status = run(command, &common, options, words + count);
  if (command->options != NULL)
    mf_options_clear(command->options, options);
  return status;
}
