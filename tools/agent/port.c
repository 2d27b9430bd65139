/* SPDX-License-Identifier: Apache-2.0 */

/* Finding the virtio-serial port by its name: see port.h. */

#include "tools/agent/port.h"

#include "daemon/frame.h"
#include "tools/agent/util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define PORTS      "/sys/class/virtio-ports"
#define OPEN_FLAGS (O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)

static bool
has_our_name(const char *port)
{
  MF_AUTO_FREE char *path = mf_util_printf(PORTS "/%s/name", port);
  MF_AUTO_FREE char *name = mf_util_read_file(path, 4096, NULL);
  if (name == NULL)
    return false;
  name[strcspn(name, "\n")] = '\0';
  return strcmp(name, MF_FRAME_PORT_NAME) == 0;
}

/* Where there is no devtmpfs nobody may have made the node; with it, it is there before the name
 * is. */
static int
open_node(const char *port)
{
  MF_AUTO_FREE char *path = mf_util_printf("/dev/%s", port);
  int fd = open(path, OPEN_FLAGS);
  if (fd >= 0 || errno != ENOENT)
    return fd;
  MF_AUTO_FREE char *number_path = mf_util_printf(PORTS "/%s/dev", port);
  MF_AUTO_FREE char *number = mf_util_read_file(number_path, 4096, NULL);
  unsigned major, minor;
  if (number == NULL || sscanf(number, "%u:%u", &major, &minor) != 2 ||
      mknod(path, S_IFCHR | 0600, makedev(major, minor)) != 0)
    return -1;
  return open(path, OPEN_FLAGS);
}

int
mf_port_open(void)
{
  int fd = open("/dev/virtio-ports/" MF_FRAME_PORT_NAME, OPEN_FLAGS);
  if (fd >= 0 || errno == EBUSY)
    return fd;
  DIR *ports = opendir(PORTS);
  if (ports == NULL)
    return -1;
  int error = ENOENT;
  for (struct dirent *entry; fd < 0 && (entry = readdir(ports)) != NULL;) {
    if (entry->d_name[0] == '.' || !has_our_name(entry->d_name))
      continue;
    fd = open_node(entry->d_name);
    error = errno;
  }
  closedir(ports);
  errno = error;
  return fd;
}

bool
mf_port_is_alive(int fd)
{
  struct stat status;
  if (fstat(fd, &status) != 0)
    return false;
  MF_AUTO_FREE char *path =
      mf_util_printf("/sys/dev/char/%u:%u", major(status.st_rdev), minor(status.st_rdev));
  return access(path, F_OK) == 0 || access("/sys/dev/char", F_OK) != 0;
}
