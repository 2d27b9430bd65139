/* SPDX-License-Identifier: Apache-2.0 */

/* Script files: see script.h. */

#include "tools/agent/script.h"

#include "tools/agent/util.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* Some distributions mount /run noexec, and then the kernel does not follow the #! of a file there.
 */
static bool
can_execute(const char *folder)
{
  struct statvfs status;
  return statvfs(folder, &status) == 0 && (status.f_flag & (ST_NOEXEC | ST_RDONLY)) == 0;
}

static char *
make_folder(uint32_t exec)
{
  static const char *const parents[] = {"/run/mayfly-agent", "/tmp", "/var/tmp"};
  mkdir(parents[0], 0755);
  for (size_t i = 0; i < sizeof parents / sizeof *parents; i++) {
    if (!can_execute(parents[i]))
      continue;
    char *folder = mf_util_printf("%s/%sexec-%u.XXXXXX", parents[i], i == 0 ? "" : "mayfly-", exec);
    if (mkdtemp(folder) != NULL && chmod(folder, 0711) == 0)
      return folder;
    free(folder);
  }
  return NULL;
}

int
mf_script_write(uint32_t exec, const char *text, size_t length, uid_t uid, gid_t gid,
                char **ret_folder, char **ret_path, char **ret_error)
{
  char *folder = make_folder(exec);
  if (folder == NULL) {
    *ret_error = mf_util_printf("the script could not be stored: neither /run nor /tmp of this "
                                "machine is writable and executable (%s)",
                                strerror(errno));
    return -1;
  }
  char *path = mf_util_printf("%s/script", folder);
  MF_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0700);
  bool owned = fd >= 0 && (geteuid() != 0 || fchown(fd, uid, gid) == 0);
  if (owned && fchmod(fd, 0700) == 0 && mf_util_write_all(fd, text, length)) {
    *ret_folder = folder;
    *ret_path = path;
    return 0;
  }
  *ret_error = mf_util_printf("the script could not be written to %s: %s", path, strerror(errno));
  free(path);
  mf_script_remove(folder);
  free(folder);
  return -1;
}

void
mf_script_remove(const char *folder)
{
  mf_util_remove_tree(folder);
}
