/* SPDX-License-Identifier: Apache-2.0 */

/* Loading drivers in the order that tools/mayfly-mkinitrd wrote down: see init.h. */

#include "tools/agent/init.h"

#include "tools/agent/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#define LIST    "/modules.list"
#define MODULES "/lib/modules/"

/* A driver that this kernel has built in, or for a device that is not there, is no reason to stop:
   what is missing in the end is named by the step that needs it. */
static void
load(const char *name)
{
  MF_AUTO_FREE char *path = mf_util_printf(MODULES "%s", name);
  MF_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST && errno != ENODEV))
    fprintf(stderr, "mayfly: driver %s was not loaded: %s, ignoring\n", name, strerror(errno));
}

void
mf_init_modules_load(const char *until)
{
  static char *list, *next;
  if (list == NULL)
    list = next = mf_util_read_file(LIST, 1 << 20, NULL);
  while (next != NULL && *next != '\0') {
    char *name = next;
    size_t length = strcspn(name, "\n");
    next = name + length + (name[length] == '\n');
    name[length] = '\0';
    if (length == 0)
      continue;
    load(name);
    if (until != NULL && strcmp(name, until) == 0)
      return;
  }
}
