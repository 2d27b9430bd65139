/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving a domain through a FIFO. libvirtd, as root, would make a file that only root or QEMU's
 * user may read; a FIFO it takes as it is, so the file is ours from the start. libvirt writes the
 * front as that of an unfinished file, then QEMU's stream, and when all is there opens the path
 * again and writes the finished front: in a FIFO that comes last, and goes where it belongs here.
 */
#include "daemon/hypervisor-private.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/auto.h"
#include "daemon/fifo.h"
#include "daemon/save-header.h"

#define PIPE_SIZE  (1 << 20)
#define BUFFER     (1u << 20)
#define NOBODY_US  2000
#define HANGING_US (5 * G_USEC_PER_SEC)

typedef struct {
  char *id, *path, *fifo;
  int in, out;
  gint done;  /* atomic: libvirt has answered, so no more writer comes */
  int failed; /* errno */
  guint64 length;
} Save;

static void
save_free(gpointer data)
{
  Save *self = data;
  g_free(self->id);
  g_free(self->path);
  g_free(self->fifo);
  g_free(self);
}

/* What cannot be kept is read all the same: libvirtd would wait for ever for a reader that is gone.
 */
static void
keep(Save *self, const guint8 *data, gsize length)
{
  while (length > 0 && self->failed == 0) {
    ssize_t n = write(self->out, data, length);
    if (n < 0 && errno != EINTR)
      self->failed = errno;
    if (n > 0) {
      data += n;
      length -= (gsize)n;
      self->length += (guint64)n;
    }
  }
}

/* Reads until the last writer is gone and none will come. A writer that is still there some time
 * after libvirt's answer hangs. */
static gpointer
drain(gpointer data)
{
  Save *self = data;
  g_autofree guint8 *buffer = g_malloc(BUFFER);
  gint64 end = 0;
  for (;;) {
    gboolean last = g_atomic_int_get(&self->done) != 0;
    ssize_t got = read(self->in, buffer, BUFFER);
    if (last && end == 0)
      end = g_get_monotonic_time() + HANGING_US;
    if (got > 0)
      keep(self, buffer, (gsize)got);
    else if ((last && got == 0) || (end > 0 && g_get_monotonic_time() > end))
      return NULL;
    else
      g_usleep(NOBODY_US);
  }
}

static gboolean
set_failed(const Save *self, int err, GError **error)
{
  g_set_error(error, MF_ERROR, err == ENOSPC || err == EDQUOT ? MF_ERROR_NO_SPACE : MF_ERROR_FAILED,
              "the memory of machine %s cannot be kept in %s: %s", self->id, self->path,
              g_strerror(err));
  return FALSE;
}

/* The finished front from the end to the beginning. */
static gboolean
complete(Save *self, GError **error)
{
  guint8 front[MF_SAVE_FRONT];
  guint64 length = self->length - MIN(self->length, sizeof front);
  if (length < sizeof front ||
      pread(self->out, front, sizeof front, (off_t)length) != (ssize_t)sizeof front) {
    g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED, "libvirt saved nothing of machine %s", self->id);
    return FALSE;
  }
  if (mf_save_header_length(front, error) == 0)
    return FALSE;
  if (pwrite(self->out, front, sizeof front, 0) != (ssize_t)sizeof front ||
      ftruncate(self->out, (off_t)length) != 0 || fdatasync(self->out) != 0)
    return set_failed(self, errno, error);
  return TRUE;
}

static gboolean
save_through(virDomainPtr domain, Save *self, GError **error)
{
  /* Before there is a writer, so that libvirtd's open does not wait; its own blocks on nothing. */
  g_auto(MfFd) in = open(self->fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  g_auto(MfFd) out = open(self->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (in < 0 || out < 0)
    return set_failed(self, errno, error);
  (void)fcntl(in, F_SETPIPE_SZ, PIPE_SIZE);
  self->in = mf_fd_steal(&in);
  self->out = out;
  GThread *reader = g_thread_new("mayfly-save", drain, self);
  int saved = virDomainSaveFlags(domain, self->fifo, NULL, VIR_DOMAIN_SAVE_PAUSED);
  g_autoptr(GError) why = NULL;
  if (saved < 0)
    mf_hypervisor_take_error(&why, "machine %s cannot be saved", self->id);
  g_atomic_int_set(&self->done, 1);
  g_thread_join(reader);
  mf_fd_clear(&self->in);
  if (self->failed != 0)
    return set_failed(self, self->failed, error);
  if (saved < 0) {
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
  }
  return complete(self, error);
}

static gboolean
save_work(virConnectPtr connection, gpointer data, GCancellable *cancellable, GError **error)
{
  Save *self = data;
  g_autoptr(virDomain) domain = mf_hypervisor_find_domain(connection, self->id, error);
  if (domain == NULL)
    return FALSE;
  if (!mf_fifo_make(self->fifo))
    return set_failed(self, errno, error);
  gboolean good = save_through(domain, self, error);
  mf_fifo_done(self->fifo);
  if (!good)
    g_unlink(self->path);
  return good;
}

void
mf_hypervisor_save_async(MfHypervisor *self, const char *id, const char *path, GCancellable *c,
                         GAsyncReadyCallback cb, gpointer data)
{
  Save *save = g_new0(Save, 1);
  save->id = g_strdup(id);
  save->path = g_strdup(path);
  save->fifo = g_strconcat(path, ".fifo", NULL);
  save->in = save->out = -1;
  /* Not among what jobs wait for: it takes seconds. */
  mf_hypervisor_call_async(self, MF_CONNECTION_EVENTS, save_work, save, save_free, c, cb, data);
}

gboolean
mf_hypervisor_save_finish(MfHypervisor *self, GAsyncResult *r, GError **error)
{
  return mf_hypervisor_call_finish(self, r, save_work, error) != NULL;
}
