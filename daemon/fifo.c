/* SPDX-License-Identifier: Apache-2.0 */
/* FIFOs: see fifo.h. */
#include "daemon/fifo.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>

#include "daemon/auto.h"

#define LOOK_US 10000

static gint in_use; /* atomic: they are the workers' */

gboolean
mf_fifo_make(const char *path)
{
  mf_fifo_remove(path);
  if (mkfifo(path, 0600) != 0)
    return FALSE;
  g_atomic_int_inc(&in_use);
  return TRUE;
}

void
mf_fifo_done(const char *path)
{
  mf_fifo_remove(path);
  g_atomic_int_add(&in_use, -1);
}

void
mf_fifo_wait(guint seconds)
{
  gint64 end = g_get_monotonic_time() + (gint64)seconds * G_USEC_PER_SEC;
  while (g_atomic_int_get(&in_use) > 0 && g_get_monotonic_time() < end)
    g_usleep(LOOK_US);
}

void
mf_fifo_remove(const char *path)
{
  struct stat st;
  if (lstat(path, &st) == 0 && S_ISFIFO(st.st_mode)) {
    /* Both ends at once: no open of ours waits, and each of theirs has had its partner. */
    g_auto(MfFd) fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    g_unlink(path);
  } else {
    g_unlink(path);
  }
}
