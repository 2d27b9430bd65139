/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Every subcommand's function and options, for the table in commands.c. */

#include "tools/command.h"

/* Ends with a row without a name. */
extern const MfCommand mf_commands[];

#define MF_COMMAND_OPTIONS(verb)                                                                   \
  extern const MfOption mf_cmd_##verb##_options[];                                                 \
  extern const gsize mf_cmd_##verb##_options_size

MF_COMMAND_OPTIONS(cancel);
MF_COMMAND_OPTIONS(drain);
MF_COMMAND_OPTIONS(exec);
MF_COMMAND_OPTIONS(gitlab_setup);
MF_COMMAND_OPTIONS(image_build);
MF_COMMAND_OPTIONS(image_import);
MF_COMMAND_OPTIONS(list);
MF_COMMAND_OPTIONS(logs);
MF_COMMAND_OPTIONS(run);
MF_COMMAND_OPTIONS(top);

#define MF_COMMAND(verb)                                                                           \
  int mf_cmd_##verb(const MfCommon *common, gconstpointer options, char **argv, GError **error)

MF_COMMAND(cancel);
MF_COMMAND(complete);
MF_COMMAND(doctor);
MF_COMMAND(drain);
MF_COMMAND(events);
MF_COMMAND(exec);
MF_COMMAND(gitlab_cleanup);
MF_COMMAND(gitlab_config);
MF_COMMAND(gitlab_prepare);
MF_COMMAND(gitlab_run);
MF_COMMAND(gitlab_setup);
MF_COMMAND(help);
MF_COMMAND(image_build);
MF_COMMAND(image_import);
MF_COMMAND(image_inspect);
MF_COMMAND(image_list);
MF_COMMAND(image_remove);
MF_COMMAND(image_verify);
MF_COMMAND(inspect);
MF_COMMAND(list);
MF_COMMAND(logs);
MF_COMMAND(run);
MF_COMMAND(pool_list);
MF_COMMAND(template_inspect);
MF_COMMAND(template_list);
MF_COMMAND(top);
MF_COMMAND(version);
MF_COMMAND(wait);
