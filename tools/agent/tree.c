/* SPDX-License-Identifier: Apache-2.0 */

/* Process trees: see tree.h. */

#include "tools/agent/tree.h"

#include "tools/agent/util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define KILL_PASSES                                                                                \
  32 /* while a pass still finds somebody, others may have been born behind it                     \
      */

typedef struct {
  pid_t pid, parent;
  bool zombie, inside;
} Process;

/* "pid (name) state ppid …": the name may hold anything, so its end is the last parenthesis. */
static bool
read_process(const char *pid, Process *ret_process)
{
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/%s/stat", pid);
  MF_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t length = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
  if (length <= 0)
    return false;
  text[length] = '\0';
  const char *name_end = strrchr(text, ')');
  char state;
  int parent;
  if (name_end == NULL || sscanf(name_end + 1, " %c %d", &state, &parent) != 2)
    return false;
  *ret_process =
      (Process){.pid = atoi(pid), .parent = parent, .zombie = state == 'Z' || state == 'X'};
  return true;
}

static Process *
read_processes(size_t *ret_count)
{
  DIR *proc = opendir("/proc");
  Process *processes = NULL;
  size_t count = 0, room = 0;
  for (struct dirent *entry; proc != NULL && (entry = readdir(proc)) != NULL;) {
    if (entry->d_name[0] < '0' || entry->d_name[0] > '9' || strlen(entry->d_name) > 10)
      continue;
    if (count == room) {
      room = room == 0 ? 256 : room * 2;
      processes = mf_util_realloc(processes, room * sizeof *processes);
    }
    if (read_process(entry->d_name, &processes[count]))
      count++;
  }
  if (proc != NULL)
    closedir(proc);
  *ret_count = count;
  return processes;
}

static bool
parent_is_inside(const Process *processes, size_t count, pid_t top, pid_t parent)
{
  if (parent == top)
    return true;
  for (size_t i = 0; i < count; i++)
    if (processes[i].pid == parent)
      return processes[i].inside;
  return false;
}

/* Return: how many that are not dead yet were signalled. */
static size_t
signal_once(pid_t top, int signal)
{
  size_t count, signalled = 0;
  MF_AUTO_FREE Process *processes = read_processes(&count);
  for (bool grew = true; grew;) {
    grew = false;
    for (size_t i = 0; i < count; i++) {
      if (processes[i].inside || !parent_is_inside(processes, count, top, processes[i].parent))
        continue;
      processes[i].inside = true;
      grew = true;
    }
  }
  for (size_t i = 0; i < count; i++)
    if (processes[i].inside && !processes[i].zombie && kill(processes[i].pid, signal) == 0)
      signalled++;
  return signalled;
}

void
mf_tree_signal(pid_t top, int signal, const char *group)
{
  if (signal != SIGKILL) {
    signal_once(top, signal);
    return;
  }
  if (group != NULL) {
    MF_AUTO_FREE char *path = mf_util_printf("%s/cgroup.kill", group);
    MF_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0)
      (void)!write(fd, "1", 1);
  }
  for (int pass = 0; pass < KILL_PASSES && signal_once(top, SIGKILL) > 0; pass++)
    usleep(1000);
}

static const char *
group_mount(void)
{
  static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
  struct statfs status;
  for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++)
    if (statfs(mounts[i], &status) == 0 && status.f_type == CGROUP2_SUPER_MAGIC)
      return mounts[i];
  return NULL;
}

/* Beside the agent, wherever the guest's init has put it. */
char *
mf_tree_group_make(uint32_t exec)
{
  const char *mount = group_mount();
  MF_AUTO_FREE char *groups = mf_util_read_file("/proc/self/cgroup", 65536, NULL);
  if (mount == NULL || groups == NULL)
    return NULL;
  char *own = strncmp(groups, "0::", 3) == 0 ? groups : strstr(groups, "\n0::");
  if (own == NULL)
    return NULL;
  own += own[0] == '\n' ? 4 : 3;
  own[strcspn(own, "\n")] = '\0';
  char *group =
      mf_util_printf("%s%s/mayfly-exec-%u", mount, strcmp(own, "/") == 0 ? "" : own, exec);
  if (mkdir(group, 0755) == 0 || errno == EEXIST)
    return group;
  free(group);
  return NULL;
}

void
mf_tree_group_enter(const char *group)
{
  MF_AUTO_FREE char *path = mf_util_printf("%s/cgroup.procs", group);
  MF_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd >= 0)
    (void)!write(fd, "0", 1);
}

void
mf_tree_group_remove(const char *group)
{
  rmdir(group);
}
