/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly exec: another command in a job's machine. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/attach.h"
#include "tools/commands.h"
#include "tools/document.h"
#include "tools/outcome.h"
#include "tools/spec.h"

typedef struct {
  GPtrArray *env, *env_files;
  const char *script, *cwd, *user;
  gboolean interactive, tty;
} Options;

#define FIELD(name) G_STRUCT_OFFSET(Options, name)
/* clang-format off */
const MfOption mf_cmd_exec_options[] = {
    {"interactive", 'i', MF_OPTION_FLAG, NULL, "pass on standard input", FIELD(interactive)},
    {"tty", 't', MF_OPTION_FLAG, NULL, "give the command a terminal", FIELD(tty)},
    {"env", 'e', MF_OPTION_LIST, "NAME=VALUE", "set a variable; NAME alone passes on yours", FIELD(env)},
    {"env-file", 0, MF_OPTION_LIST, "FILE", "set the variables that FILE lists, one a line", FIELD(env_files)},
    {"script", 's', MF_OPTION_TEXT, "FILE", "run FILE there instead of a command; - reads it from standard input", FIELD(script)},
    {"workdir", 'w', MF_OPTION_TEXT, "PATH", "run it in this folder", FIELD(cwd)},
    {"user", 'u', MF_OPTION_TEXT, "USER", "run it as this user (default: root)", FIELD(user)},
    {0},
};
/* clang-format on */
const gsize mf_cmd_exec_options_size = sizeof(Options);

/* The job ended before the command did: then its end is what there is to tell. */
static void
tell_end(MfJson *job)
{
  if (g_strcmp0(mf_document_text(job, "state"), "finished") != 0)
    return;
  g_autofree char *why = mf_outcome_explain(job);
  if (why != NULL)
    fprintf(stderr, "mayfly: %s\n", why);
}

int
mf_cmd_exec(const MfCommon *common, gconstpointer data, char **argv, GError **error)
{
  const Options *options = data;
  char **command = argv + 1;
  if (*command != NULL && strcmp(*command, "--") == 0)
    command++;
  MfSpecExec spec = {.argv = command,
                     .script = options->script,
                     .cwd = options->cwd,
                     .user = options->user,
                     .env = options->env,
                     .env_files = options->env_files,
                     .interactive = options->interactive,
                     .tty = options->tty};
  g_autoptr(MfJson) body = mf_spec_exec(&spec, TRUE, error);
  if (body == NULL)
    return MF_EXIT_FAILURE;
  g_autoptr(MfClient) client = mf_client_new(common->socket);
  MfAttachOptions attach = {.job = argv[0],
                            .interactive = options->interactive,
                            .tty = options->tty,
                            .out = STDOUT_FILENO,
                            .err = STDERR_FILENO};
  g_autoptr(MfJson) job = NULL;
  int status = mf_attach_run(client, body, &attach, &job, error);
  if (job != NULL)
    tell_end(job);
  return status;
}
