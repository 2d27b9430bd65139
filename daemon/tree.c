/* SPDX-License-Identifier: Apache-2.0 */
/* Removing whole trees of files. */
#include "daemon/tree.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
  return remove(path) != 0 && errno != ENOENT ? -1 : 0;
}

gboolean
mf_tree_remove(const char *path)
{
  return nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0 || errno == ENOENT;
}
