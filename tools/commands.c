/* SPDX-License-Identifier: Apache-2.0 */
/* The table of subcommands, in the order in which help shows them. */
#include "tools/commands.h"

#define ANY G_MAXUINT
/* An array's size is not known here, and a table may not point to a variable's value. */
#define OPTIONS(verb)                                                                              \
  .options = mf_cmd_##verb##_options, .options_size = &mf_cmd_##verb##_options_size

/* clang-format off */
const MfCommand mf_commands[] = {
    {"run", .arguments = "[--] COMMAND [ARGUMENT]…", .max = ANY, .posix = TRUE, .completes = "file",
     .summary = "Run a command in a new machine, and throw the machine away",
     .details = "Its output, its standard error and its exit status are those of the command. Ctrl-C ends the job.\n"
                "Exit statuses of mayfly itself: 124 the time was up, 125 mayfly failed, 130 Ctrl-C.",
     OPTIONS(run), .run = mf_cmd_run},
    {"exec", .arguments = "JOB [--] COMMAND [ARGUMENT]…", .min = 1, .max = ANY, .posix = TRUE, .completes = "job",
     .summary = "Run another command in a job's machine",
     OPTIONS(exec), .run = mf_cmd_exec},
    {"list", .aliases = "ps ls", .arguments = "",
     .summary = "List jobs",
     OPTIONS(list), .run = mf_cmd_list},
    {"inspect", .arguments = "JOB", .min = 1, .max = 1, .completes = "job",
     .summary = "Show all about a job",
     .run = mf_cmd_inspect},
    {"logs", .arguments = "JOB", .min = 1, .max = 1, .completes = "job",
     .summary = "Print the output of a job's command",
     .details = "On a terminal, control bytes of the machine are spelled out; in a pipe nothing is changed.",
     OPTIONS(logs), .run = mf_cmd_logs},
    {"wait", .arguments = "JOB", .min = 1, .max = 1, .completes = "job",
     .summary = "Wait until a job has ended, and exit as mayfly run would",
     .run = mf_cmd_wait},
    {"cancel", .arguments = "JOB…", .min = 1, .max = ANY, .completes = "job",
     .summary = "End jobs, and wait until their machines are gone",
     OPTIONS(cancel), .run = mf_cmd_cancel},
    {"events", .arguments = "",
     .summary = "Print what happens to jobs, until Ctrl-C",
     .run = mf_cmd_events},
    {"template list", .arguments = "",
     .summary = "List what machines can be made from",
     .run = mf_cmd_template_list},
    {"template inspect", .arguments = "TEMPLATE", .min = 1, .max = 1, .completes = "template",
     .summary = "Show all about a template",
     .run = mf_cmd_template_inspect},
    {"image list", .arguments = "",
     .summary = "List images",
     .run = mf_cmd_image_list},
    {"image inspect", .arguments = "IMAGE", .min = 1, .max = 1, .completes = "image",
     .summary = "Show all about an image",
     .run = mf_cmd_image_inspect},
    {"image verify", .arguments = "IMAGE", .min = 1, .max = 1, .completes = "image",
     .summary = "Read an image and compare it with its digest",
     .run = mf_cmd_image_verify},
    {"image remove", .arguments = "IMAGE", .min = 1, .max = 1, .completes = "image",
     .summary = "Delete an image that nothing uses",
     .run = mf_cmd_image_remove},
    {"doctor", .arguments = "",
     .summary = "Check this host, and say what to do",
     .details = "Exits with 1 if something is wrong that makes jobs fail.",
     .run = mf_cmd_doctor},
    {"drain", .arguments = "",
     .summary = "Take no new jobs, before an update of the host",
     OPTIONS(drain), .run = mf_cmd_drain},
    {"version", .arguments = "", .summary = "Show the versions of this program and of mayflyd",
     .run = mf_cmd_version},
    {"help", .arguments = "[COMMAND]", .max = 2, .summary = "Show what there is, or more about one command",
     .completes = "command", .run = mf_cmd_help},
    {"complete", .arguments = "-- WORD…", .min = 1, .max = ANY, .hidden = TRUE,
     .summary = "Print what the last word could be, for shells",
     .run = mf_cmd_complete},
    {0},
};
/* clang-format on */
