/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Subcommands of mayfly: one row of the table in main.c and one file cmd-<verb>.c each. What a
 * command takes, its help and its completion all come from its row.
 */

#include "tools/options.h"

/* Exit statuses that are ours; every other is that of the command in the machine. */
#define MF_EXIT_OK      0
#define MF_EXIT_PROBLEM 1   /* doctor found something, verify failed: the answer is "no" */
#define MF_EXIT_TIMEOUT 124 /* the job's time was up */
#define MF_EXIT_FAILURE                                                                            \
  125 /* mayfly itself failed, or the command line is wrong: one sentence on stderr says why */
#define MF_EXIT_INTERRUPT 130
#define MF_EXIT_PIPE      141 /* whoever read our output has left: as a death of SIGPIPE */

/* Options that commands have in common. */
typedef struct {
  const char *output; /* NULL, "text" or "json" */
  const char *socket; /* NULL: as mf_path_socket() says */
  gboolean help;
} MfCommon;

/*
 * A command's function. @argv: its words without options, within its bounds, NULL-terminated;
 * @options: its struct, filled. Returns: the exit status. On an error: set, and MF_EXIT_FAILURE is
 * taken.
 */
typedef int (*MfCommandRun)(const MfCommon *common, gconstpointer options, char **argv,
                            GError **error);

typedef struct {
  const char *name;      /* "run", "image list" */
  const char *aliases;   /* "ps ls", or NULL */
  const char *arguments; /* for help: "JOB COMMAND…" */
  guint min, max;        /* of arguments; max G_MAXUINT: any number */
  gboolean hidden;       /* not for people: left out of the list */
  gboolean posix;        /* options end at the first argument */
  gboolean json;         /* --output says how its answer is printed */
  const char *summary;   /* one line */
  const char *details;   /* lines for its --help, or NULL */
  const char
      *completes; /* what arguments are: "job", "template", "image", "file", "command", or NULL */
  const MfOption *options;
  const gsize *options_size; /* of the struct they fill */
  MfCommandRun run;
} MfCommand;

/* --output comes first: not every command has it. */
extern const MfOption mf_common_options[];
const MfOption *mf_command_common_options(const MfCommand *command);

gboolean mf_command_wants_json(const MfCommon *common);

/* Parses @argv (with the program's name) against @commands, which ends with a row without a name,
 * and runs. Returns: the exit status. */
int mf_command_main(const MfCommand *commands, char **argv);

/* Help for all commands, or for one. (transfer full) */
char *mf_command_help(const MfCommand *commands);
char *mf_command_help_for(const MfCommand *command);
/* Help for those that begin with the word @group; NULL: there are none. (transfer full) */
char *mf_command_help_group(const MfCommand *commands, const char *group);

/* The row that the words at @argv begin with, and how many they are; NULL: none. */
const MfCommand *mf_command_find(const MfCommand *commands, char *const *argv, guint *ret_words);
