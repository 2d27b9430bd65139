/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a domain from saved memory: libvirt reads the file that it restores from front to back,
 * once, so a FIFO can give it a front of our own and then the saved stream, which no copy is made
 * of.
 */
#include "daemon/hypervisor-private.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/auto.h"
#include "daemon/fifo.h"

#define PIPE_SIZE (1 << 20)
#define WAIT_US   1000
#define FULL_MS   100

typedef struct {
  char *fifo, *memory;
  GBytes *front;
  guint64 offset;
  gint done;  /* atomic: libvirt has answered, so no reader comes any more */
  int failed; /* errno of ours */
} Restore;

static void
restore_free(gpointer data)
{
  Restore *self = data;
  g_free(self->fifo);
  g_free(self->memory);
  g_bytes_unref(self->front);
  g_free(self);
}

/* An open or a write that waits could not be called off if libvirt refuses before it reads, or
 * ends. FALSE: it has answered. */
static gboolean
pause_feeding(Restore *self)
{
  if (g_atomic_int_get(&self->done) != 0)
    return FALSE;
  g_usleep(WAIT_US);
  return TRUE;
}

static int
open_fifo(Restore *self)
{
  int fd;
  do
    fd = open(self->fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  while (fd < 0 && errno == ENXIO && pause_feeding(self));
  return fd;
}

static gboolean
goes_on(Restore *self, int fd)
{
  struct pollfd writable = {.fd = fd, .events = POLLOUT};
  if (errno == EINTR)
    return TRUE;
  if (errno != EAGAIN)
    return FALSE;
  (void)poll(&writable, 1, FULL_MS);
  errno = EPIPE;
  return g_atomic_int_get(&self->done) == 0;
}

static gboolean
write_all(Restore *self, int fd, const guint8 *data, gsize length)
{
  while (length > 0) {
    ssize_t n = write(fd, data, length);
    if (n < 0 && !goes_on(self, fd))
      return FALSE;
    if (n > 0) {
      data += n;
      length -= (gsize)n;
    }
  }
  return TRUE;
}

static gboolean
send_rest(Restore *self, int from, int to)
{
  for (;;) {
    ssize_t n = splice(from, NULL, to, NULL, PIPE_SIZE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n == 0)
      return TRUE;
    if (n < 0 && !goes_on(self, to))
      return FALSE;
  }
}

static gpointer
feed(gpointer data)
{
  Restore *self = data;
  sigset_t broken;
  /* A reader that goes away is an error of ours, never a signal to the daemon. */
  sigemptyset(&broken);
  sigaddset(&broken, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &broken, NULL);
  gsize length;
  const guint8 *front = g_bytes_get_data(self->front, &length);
  g_auto(MfFd) from = open(self->memory, O_RDONLY | O_CLOEXEC);
  g_auto(MfFd) to = from >= 0 ? open_fifo(self) : -1;
  if (to >= 0)
    (void)fcntl(to, F_SETPIPE_SZ, PIPE_SIZE);
  if (to < 0 || lseek(from, (off_t)self->offset, SEEK_SET) < 0 ||
      !write_all(self, to, front, length) || !send_rest(self, from, to))
    self->failed = errno;
  return NULL;
}

static gboolean
restore_work(virConnectPtr connection, gpointer data, GCancellable *cancellable, GError **error)
{
  Restore *self = data;
  if (!mf_fifo_make(self->fifo)) {
    g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "cannot make %s: %s", self->fifo,
                g_strerror(errno));
    return FALSE;
  }
  GThread *writer = g_thread_new("mayfly-restore", feed, self);
  int restored = virDomainRestoreFlags(connection, self->fifo, NULL, VIR_DOMAIN_SAVE_PAUSED);
  if (restored < 0)
    mf_hypervisor_take_error(error, "libvirt could not start the machine from saved memory");
  g_atomic_int_set(&self->done, 1);
  g_thread_join(writer);
  mf_fifo_done(self->fifo);
  if (restored < 0 && self->failed != 0 && self->failed != EPIPE && self->failed != ENXIO)
    g_prefix_error(error, "%s: %s: ", self->memory, g_strerror(self->failed));
  return restored == 0;
}

void
mf_hypervisor_restore_async(MfHypervisor *self, const char *fifo, GBytes *front, const char *memory,
                            guint64 offset, GCancellable *c, GAsyncReadyCallback cb, gpointer data)
{
  Restore *restore = g_new0(Restore, 1);
  restore->fifo = g_strdup(fifo);
  restore->front = g_bytes_ref(front);
  restore->memory = g_strdup(memory);
  restore->offset = offset;
  mf_hypervisor_call_async(self, MF_CONNECTION_CONTROL, restore_work, restore, restore_free, c, cb,
                           data);
}

gboolean
mf_hypervisor_restore_finish(MfHypervisor *self, GAsyncResult *r, GError **error)
{
  return mf_hypervisor_call_finish(self, r, restore_work, error) != NULL;
}
