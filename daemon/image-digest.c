/* SPDX-License-Identifier: Apache-2.0 */
/* The sha256 of one file. */
#include "daemon/image-digest.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "daemon/auto.h"
#include "daemon/error.h"

enum { CHUNK = 1024 * 1024 };

static char *
fail(const char *path, int err, GError **error)
{
  g_set_error(error, MF_ERROR, err == ENOENT ? MF_ERROR_NOT_FOUND : MF_ERROR_FAILED,
              "cannot read %s: %s", path, g_strerror(err));
  return NULL;
}

char *
mf_image_digest_file(const char *path, GCancellable *cancellable, MfImageDigestProgress progress,
                     gpointer user_data, guint64 *ret_size, GError **error)
{
  g_auto(MfFd) fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0)
    return fail(path, errno, error);
  if (!S_ISREG(st.st_mode)) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "%s is not a regular file", path);
    return NULL;
  }
  posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);

  g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
  g_autofree guchar *buffer = g_malloc(CHUNK);
  guint64 size = 0;
  for (;;) {
    if (g_cancellable_set_error_if_cancelled(cancellable, error))
      return NULL;
    ssize_t n = read(fd, buffer, CHUNK);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return fail(path, errno, error);
    if (n == 0)
      break;
    g_checksum_update(checksum, buffer, n);
    size += (guint64)n;
    if (progress != NULL)
      progress((guint64)n, user_data);
  }
  if (ret_size != NULL)
    *ret_size = size;
  return g_strdup(g_checksum_get_string(checksum));
}
