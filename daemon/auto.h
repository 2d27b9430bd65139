/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Automatic clean-up for types that bring none: json-c objects and file descriptors. */

#include <errno.h>
#include <glib.h>
#include <json-c/json.h>
#include <unistd.h>

typedef struct json_object MfJson;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfJson, json_object_put)

typedef int MfFd;

/* errno is kept: an error path must be able to report what failed, not how closing went. */
static inline void
mf_fd_clear(MfFd *fd)
{
  int saved = errno;
  if (*fd >= 0)
    close(*fd);
  *fd = -1;
  errno = saved;
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(MfFd, mf_fd_clear)

static inline int
mf_fd_steal(MfFd *fd)
{
  int stolen = *fd;
  *fd = -1;
  return stolen;
}
