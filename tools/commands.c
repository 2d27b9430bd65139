/* SPDX-License-Identifier: Apache-2.0 */
/* The table of subcommands, in the order in which help shows them. */
#include "tools/commands.h"

/* clang-format off */
const MfCommand mf_commands[] = {
    {"version", .arguments = "", .summary = "Show the versions of this program and of mayflyd",
     .run = mf_cmd_version},
    {"help", .arguments = "[COMMAND]", .max = 2, .summary = "Show what there is, or more about one command",
     .completes = "command", .run = mf_cmd_help},
    {0},
};
/* clang-format on */
