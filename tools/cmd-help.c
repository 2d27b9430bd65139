/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly help: the table, or one row of it. */
#include <stdio.h>

#include "daemon/error.h"
#include "daemon/text.h"
#include "tools/commands.h"

int
mf_cmd_help(const MfCommon *common, gconstpointer options, char **argv, GError **error)
{
  guint words;
  const MfCommand *command = argv[0] != NULL ? mf_command_find(mf_commands, argv, &words) : NULL;
  g_autofree char *group =
      argv[0] != NULL && command == NULL ? mf_command_help_group(mf_commands, argv[0]) : NULL;
  if (argv[0] != NULL && command == NULL && group == NULL) {
    g_autofree char *shown = mf_text_quote(argv[0]);
    g_set_error(error, MF_ERROR, MF_ERROR_NOT_FOUND,
                "there is no command %s; mayfly help lists those there are", shown);
    return MF_EXIT_FAILURE;
  }
  g_autofree char *help =
      command != NULL ? mf_command_help_for(command) : mf_command_help(mf_commands);
  fputs(group != NULL ? group : help, stdout);
  return MF_EXIT_OK;
}
