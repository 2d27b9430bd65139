/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly run: a command in a machine of its own, as if it ran here. */
#include <stdio.h>
#include <unistd.h>

#include "daemon/error.h"
#include "tools/attach.h"
#include "tools/commands.h"
#include "tools/document.h"
#include "tools/outcome.h"
#include "tools/spec.h"

/* Without us, by kill -9 or a lost terminal, the job lives this long: time for mayflyd to be
 * restarted. */
#define LEASE_SECONDS 15

typedef struct {
  const char *template;
  const char *name;
  guint cpus;
  guint64 memory, disk, timeout, keep;
  GPtrArray *env, *env_files, *files;
  const char *script, *cwd, *user;
  gboolean detach, interactive, tty, retryable;
} Options;

#define FIELD(name) G_STRUCT_OFFSET(Options, name)
/* clang-format off */
const MfOption mf_cmd_run_options[] = {
    {"template", 'T', MF_OPTION_TEXT, "TEMPLATE", "what the machine is made from (default: default)", FIELD(template)},
    {"cpus", 'c', MF_OPTION_NUMBER, "N", "virtual CPUs", FIELD(cpus)},
    {"memory", 'm', MF_OPTION_SIZE, "SIZE", "memory, such as 512M or 2GiB", FIELD(memory)},
    {"disk", 0, MF_OPTION_SIZE, "SIZE", "size of the disk", FIELD(disk)},
    {"timeout", 0, MF_OPTION_TIME, "TIME", "end the job after this, such as 90s or 1h30m", FIELD(timeout)},
    {"env", 'e', MF_OPTION_LIST, "NAME=VALUE", "set a variable; NAME alone passes on yours", FIELD(env)},
    {"env-file", 0, MF_OPTION_LIST, "FILE", "set the variables that FILE lists, one a line", FIELD(env_files)},
    {"file", 'f', MF_OPTION_LIST, "FILE:PATH", "put FILE at PATH in the machine", FIELD(files)},
    {"script", 's', MF_OPTION_TEXT, "FILE", "run FILE there instead of a command; - reads it from standard input", FIELD(script)},
    {"workdir", 'w', MF_OPTION_TEXT, "PATH", "run it in this folder", FIELD(cwd)},
    {"user", 'u', MF_OPTION_TEXT, "USER", "run it as this user (default: root)", FIELD(user)},
    {"name", 0, MF_OPTION_TEXT, "TEXT", "a label that lists show", FIELD(name)},
    {"interactive", 'i', MF_OPTION_FLAG, NULL, "pass on standard input", FIELD(interactive)},
    {"tty", 't', MF_OPTION_FLAG, NULL, "give the command a terminal", FIELD(tty)},
    {"detach", 'd', MF_OPTION_FLAG, NULL, "print the job's id and leave it to itself", FIELD(detach)},
    {"keep-on-failure", 0, MF_OPTION_TIME, "TIME", "keep the machine this long if the command fails", FIELD(keep)},
    {"retryable", 0, MF_OPTION_FLAG, NULL, "you try it again if it is ended when the host runs out of memory", FIELD(retryable)},
    {0},
};
/* clang-format on */
const gsize mf_cmd_run_options_size = sizeof(Options);

static void
add_text(MfJson *object, const char *key, const char *text)
{
  if (text != NULL)
    json_object_object_add(object, key, json_object_new_string(text));
}

static void
add_number(MfJson *object, const char *key, guint64 number)
{
  if (number > 0)
    json_object_object_add(object, key, json_object_new_uint64(number));
}

static MfJson *
build(const Options *options, char **argv, GError **error)
{
  MfSpecExec exec_spec = {.argv = argv,
                          .script = options->script,
                          .cwd = options->cwd,
                          .user = options->user,
                          .env = options->env,
                          .env_files = options->env_files,
                          .interactive = options->interactive,
                          .tty = options->tty};
  MfJson *exec = mf_spec_exec(&exec_spec, FALSE, error);
  if (exec == NULL)
    return NULL;
  g_autoptr(MfJson) job = json_object_new_object();
  json_object_object_add(job, "exec", exec);
  MfJson *env = mf_spec_env(&exec_spec, error);
  if (env == NULL)
    return NULL;
  json_object_object_add(job, "env", env);
  MfJson *files = mf_spec_files(options->files, error);
  if (files == NULL)
    return NULL;
  json_object_object_add(job, "files", files);
  add_text(job, "template", options->template);
  add_text(job, "name", options->name);
  add_number(job, "cpus", options->cpus);
  add_number(job, "memory", options->memory);
  add_number(job, "disk", options->disk);
  add_number(job, "timeout", options->timeout);
  add_number(job, "keep_on_failure", options->keep);
  if (options->retryable)
    json_object_object_add(job, "retryable", json_object_new_boolean(TRUE));
  add_number(job, "lease", options->detach ? 0 : LEASE_SECONDS);
  return g_steal_pointer(&job);
}

static int
detach(const MfCommon *common, MfClient *client, MfJson *body, GError **error)
{
  g_autoptr(MfJson) job = mf_client_call(client, "POST", "/v1/jobs", body, error);
  if (job == NULL)
    return MF_EXIT_FAILURE;
  if (mf_command_wants_json(common))
    mf_document_print(job);
  else
    puts(mf_document_text(job, "id"));
  return MF_EXIT_OK;
}

static void
tell_end(MfJson *job, int status)
{
  const char *id = mf_document_text(job, "id");
  gboolean finished = g_strcmp0(mf_document_text(job, "state"), "finished") == 0;
  if (!finished && mf_document_has(job, "kept_until")) {
    g_autofree char *until = mf_document_format_time(mf_document_number(job, "kept_until"));
    fprintf(stderr,
            "mayfly: it failed with %d; its machine is kept until %s:\n"
            "  mayfly exec -it %s -- sh    to look inside\n"
            "  mayfly cancel %s            when done\n",
            status, until, id, id);
    return;
  }
  /* Whoever pressed Ctrl-C knows. */
  g_autofree char *why = status != MF_EXIT_INTERRUPT ? mf_outcome_explain(job) : NULL;
  if (why != NULL)
    fprintf(stderr, "mayfly: %s\n", why);
}

static gboolean
check_together(const Options *options, GError **error)
{
  if (!options->detach || (!options->interactive && !options->tty))
    return TRUE;
  g_set_error_literal(error, MF_ERROR, MF_ERROR_INVALID,
                      "--detach leaves the job alone, so it goes with neither -i nor -t");
  return FALSE;
}

int
mf_cmd_run(const MfCommon *common, gconstpointer data, char **argv, GError **error)
{
  const Options *options = data;
  if (!check_together(options, error))
    return MF_EXIT_FAILURE;
  g_autoptr(MfJson) body = build(options, argv, error);
  if (body == NULL)
    return MF_EXIT_FAILURE;
  g_autoptr(MfClient) client = mf_client_new(common->socket);
  if (options->detach)
    return detach(common, client, body, error);
  gboolean json = mf_command_wants_json(common);
  MfAttachOptions attach = {.interactive = options->interactive,
                            .tty = options->tty,
                            .out = json ? STDERR_FILENO : STDOUT_FILENO,
                            .err = STDERR_FILENO};
  g_autoptr(MfJson) job = NULL;
  int status = mf_attach_run(client, body, &attach, &job, error);
  if (job != NULL && (error == NULL || *error == NULL))
    tell_end(job, status);
  if (job != NULL && json)
    mf_document_print(job);
  return status;
}
