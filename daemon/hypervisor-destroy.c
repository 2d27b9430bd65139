/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a domain, also of one that libvirt cannot end any more. */
#include "daemon/hypervisor-private.h"

#include <string.h>

/* libvirt waits 30 s for a domain's job lock; a start or a save may hold it longer. */
#define TRIES    6
#define PAUSE_US (500 * 1000)

/* Its own domain found again each time: between two tries it may have ended by itself. */
static gboolean
destroy_once(virConnectPtr connection, const char *id, gboolean *ret_again, GError **error)
{
  g_autoptr(GError) local = NULL;
  g_autoptr(virDomain) domain = mf_hypervisor_find_domain(connection, id, &local);

  *ret_again = FALSE;
  if (g_error_matches(local, MF_ERROR, MF_ERROR_NOT_FOUND))
    return TRUE;
  if (domain != NULL && virDomainDestroyFlags(domain, VIR_DOMAIN_DESTROY_DEFAULT) == 0)
    return TRUE;
  if (domain != NULL) {
    int number = mf_hypervisor_take_error(&local, "machine %s cannot be destroyed", id);
    /* Gone while we asked. */
    if (number == VIR_ERR_NO_DOMAIN || number == VIR_ERR_OPERATION_INVALID)
      return TRUE;
    *ret_again = g_error_matches(local, MF_ERROR, MF_ERROR_BUSY);
  }
  g_propagate_error(error, g_steal_pointer(&local));
  return FALSE;
}

/* QEMU's sockets are in folders named after the machine, and open as long as it lives, even if
 * their files were removed. */
static gboolean
has_sockets(const char *id)
{
  g_autofree char *all = NULL;
  return !g_file_get_contents("/proc/net/unix", &all, NULL, NULL) || strstr(all, id) != NULL;
}

/* One that libvirt is starting for good. FALSE: QEMU may live. */
static gboolean
is_dead_start(virConnectPtr connection, const char *id)
{
  g_autoptr(virDomain) domain = mf_hypervisor_find_domain(connection, id, NULL);
  int state = VIR_DOMAIN_NOSTATE, reason = 0;
  return domain != NULL && virDomainGetState(domain, &state, &reason, 0) == 0 &&
         state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_STARTING_UP && !has_sockets(id);
}

/*
 * The job lock is held by a start that is not done; or QEMU does not die of SIGKILL because its
 * disk does not answer; or a libvirtd that was killed in the middle of a start, and came again, has
 * taken that start for one that goes on: it will not let go of the domain, of which nothing is
 * left.
 */
static gboolean
destroy_work(virConnectPtr connection, gpointer data, GCancellable *cancellable, GError **error)
{
  const char *id = data;

  for (guint try = 1;; try++) {
    g_autoptr(GError) local = NULL;
    gboolean again = FALSE;
    if (destroy_once(connection, id, &again, &local))
      return TRUE;
    if (again && is_dead_start(connection, id)) {
      g_warning("%s; its QEMU is gone, but libvirtd keeps its name until it is ended, "
                "/run/libvirt/qemu/" MF_DOMAIN_PREFIX "%s.xml removed, and libvirtd started again",
                local->message, id);
      return TRUE;
    }
    if (!again || try >= TRIES || g_cancellable_is_cancelled(cancellable)) {
      g_propagate_error(error, g_steal_pointer(&local));
      return FALSE;
    }
    g_usleep(PAUSE_US);
  }
}

void
mf_hypervisor_destroy_async(MfHypervisor *self, const char *id, GCancellable *c,
                            GAsyncReadyCallback cb, gpointer data)
{
  mf_hypervisor_call_async(self, MF_CONNECTION_DESTROY, destroy_work, g_strdup(id), g_free, c, cb,
                           data);
}

gboolean
mf_hypervisor_destroy_finish(MfHypervisor *self, GAsyncResult *r, GError **error)
{
  return mf_hypervisor_call_finish(self, r, destroy_work, error) != NULL;
}
