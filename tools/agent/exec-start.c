/* SPDX-License-Identifier: Apache-2.0 */

/* From an exec document to a running process: see exec.h. */

#include "tools/agent/exec.h"

#include "tools/agent/script.h"
#include "tools/agent/spawn.h"
#include "tools/agent/tree.h"
#include "tools/agent/user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define CODE_CANNOT  126

/* Everything a start needs and nobody needs after it. */
typedef struct {
  char **argv;
  MfEnvironment environment;
  MfUser user;
  char *script_path;
  int child[3]; /* the process's ends */
} Start;

static void
start_clear(Start *start)
{
  mf_document_strv_free(start->argv);
  mf_environment_clear(&start->environment);
  mf_user_clear(&start->user);
  free(start->script_path);
  for (int i = 0; i < 3; i++)
    mf_util_close(&start->child[i]);
}

static char **
strv_of(const char *first, const char *second)
{
  char **strv = mf_util_alloc(3 * sizeof *strv);
  strv[0] = mf_util_strdup(first);
  strv[1] = second != NULL ? mf_util_strdup(second) : NULL;
  return strv;
}

static void
set_environment(Start *start, const MfEnvironment *base, MfDocument *document, bool tty)
{
  MfEnvironment *env = &start->environment;
  mf_environment_set_value(env, "PATH", DEFAULT_PATH);
  mf_environment_set_value(env, "HOME", start->user.home);
  mf_environment_set_value(env, "USER", start->user.name);
  mf_environment_set_value(env, "LOGNAME", start->user.name);
  mf_environment_set_value(env, "SHELL", start->user.shell);
  if (tty)
    mf_environment_set_value(env, "TERM", "xterm");
  mf_environment_set_all(env, base->strv);
  char **own = mf_document_strv(document, "env");
  mf_environment_set_all(env, own);
  mf_document_strv_free(own);
}

static bool
is_in_path(const char *program, const char *path)
{
  if (strchr(program, '/') != NULL)
    return access(program, X_OK) == 0;
  while (path != NULL && *path != '\0') {
    size_t length = strcspn(path, ":");
    MF_AUTO_FREE char *candidate = mf_util_printf("%.*s/%s", (int)length, path, program);
    struct stat status;
    if (length > 0 && stat(candidate, &status) == 0 && S_ISREG(status.st_mode) &&
        access(candidate, X_OK) == 0)
      return true;
    path += length + (path[length] == ':');
  }
  return false;
}

/* Return: the first of @candidates in PATH, owned by it; NULL if there is none of them. */
static const char *
find_shell(char *const *candidates, const MfEnvironment *environment)
{
  for (size_t i = 0; candidates[i] != NULL; i++)
    if (is_in_path(candidates[i], mf_environment_get(environment, "PATH")))
      return candidates[i];
  return NULL;
}

/* The command line of a script; one for a shell becomes its standard input. Return: NULL, or an
 * error (free). */
static char *
set_script(Start *start, MfExec *exec, MfDocument *document)
{
  size_t length;
  const char *text = mf_document_bytes(document, "script", &length);
  if (text == NULL)
    return mf_util_strdup("there is nothing to run: the exec has neither \"argv\" nor \"script\"");
  char *error = NULL;
  if (mf_script_write(exec->id, text, length, start->user.uid, start->user.gid,
                      &exec->script_folder, &start->script_path, &error) != 0)
    return error;
  char **shells = mf_document_strv(document, "shell");
  if (shells == NULL) {
    bool own_interpreter = length >= 2 && memcmp(text, "#!", 2) == 0;
    start->argv = own_interpreter ? strv_of(start->script_path, NULL)
                                  : strv_of("/bin/sh", start->script_path);
    return NULL;
  }
  const char *shell = find_shell(shells, &start->environment);
  if (shell == NULL) {
    error = mf_util_printf("none of the shells asked for (%s%s) is in this machine's PATH",
                           shells[0] != NULL ? shells[0] : "none",
                           shells[0] != NULL && shells[1] != NULL ? ", …" : "");
  } else {
    start->argv = strv_of(shell, NULL);
    start->child[0] = open(start->script_path, O_RDONLY | O_CLOEXEC);
  }
  mf_document_strv_free(shells);
  return error;
}

static bool
open_terminal(Start *start, MfExec *exec, MfDocument *document)
{
  int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (master < 0)
    return false;
  exec->out[0].fd = master;
  char name[64];
  if (grantpt(master) != 0 || unlockpt(master) != 0 || ptsname_r(master, name, sizeof name) != 0)
    return false;
  mf_exec_io_set_window_size(exec, (int)mf_document_int(document, "rows", 24),
                             (int)mf_document_int(document, "cols", 80));
  int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0)
    return false;
  if (geteuid() == 0)
    (void)!fchown(slave, start->user.uid, (gid_t)-1);
  mf_util_close(&start->child[0]);
  start->child[0] = slave;
  start->child[1] = fcntl(slave, F_DUPFD_CLOEXEC, 3);
  start->child[2] = fcntl(slave, F_DUPFD_CLOEXEC, 3);
  exec->in_fd = fcntl(master, F_DUPFD_CLOEXEC, 3);
  return start->child[1] >= 0 && start->child[2] >= 0 && exec->in_fd >= 0;
}

/* Only our end does not block: the two ends of a pipe are different open files. A writer is to find
 * room for as much as we can take: with less it would wait for us again and again. */
static bool
open_pipe(int *ours, int *theirs, bool we_write)
{
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return false;
  *ours = ends[we_write ? 1 : 0];
  *theirs = ends[we_write ? 0 : 1];
  fcntl(*ours, F_SETPIPE_SZ, (int)MF_FRAME_WINDOW);
  return fcntl(*ours, F_SETFL, O_NONBLOCK) == 0;
}

static bool
open_streams(Start *start, MfExec *exec, MfDocument *document)
{
  if (exec->tty)
    return open_terminal(start, exec, document);
  if (start->child[0] < 0 && mf_document_bool(document, "stdin")) {
    if (!open_pipe(&exec->in_fd, &start->child[0], true))
      return false;
  } else if (start->child[0] < 0) {
    start->child[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
  }
  return start->child[0] >= 0 && open_pipe(&exec->out[0].fd, &start->child[1], false) &&
         open_pipe(&exec->out[1].fd, &start->child[2], false);
}

/* Return: NULL, or why not (free). */
static char *
start_exec(MfExecTable *self, Start *start, MfExec *exec, MfDocument *document)
{
  char *error = NULL;
  if (!mf_user_find(mf_document_string(document, "user"), &start->user, &error))
    return error;
  set_environment(start, self->environment, document, exec->tty);
  start->argv = mf_document_strv(document, "argv");
  if (start->argv == NULL || start->argv[0] == NULL) {
    mf_document_strv_free(start->argv);
    start->argv = NULL;
    error = set_script(start, exec, document);
  }
  if (error != NULL)
    return error;
  if (!open_streams(start, exec, document))
    return mf_util_printf("its standard streams could not be opened in this machine: %s",
                          strerror(errno));
  exec->group = self->groups ? mf_tree_group_make(exec->id) : NULL;
  MfSpawn spawn = {
      .argv = start->argv,
      .env = start->environment.strv,
      .cwd = mf_document_string(document, "cwd"),
      .user = &start->user,
      .group = exec->group,
      .tty = exec->tty,
      .in = start->child[0],
      .out = start->child[1],
      .err = start->child[2],
  };
  exec->monitor = mf_spawn_start(&spawn, &exec->report_fd);
  if (exec->monitor > 0)
    return NULL;
  exec->monitor = 0;
  return mf_util_printf("this machine cannot start another process: %s", strerror(errno));
}

void
mf_exec_start(MfExecTable *self, uint32_t id, MfDocument *document)
{
  MfExec *exec = mf_util_alloc(sizeof *exec);
  exec->id = id;
  exec->tty = mf_document_bool(document, "tty");
  exec->report_fd = exec->in_fd = exec->out[0].fd = exec->out[1].fd = -1;
  exec->report_place = exec->in_place = exec->out[0].place = exec->out[1].place = -1;
  exec->next = self->first;
  self->first = exec;

  Start start = {.child = {-1, -1, -1}};
  char *error = start_exec(self, &start, exec, document);
  start_clear(&start);
  if (error != NULL)
    mf_exec_refuse(exec, CODE_CANNOT, error);
}
