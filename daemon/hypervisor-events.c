/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From libvirt's events to ours. They come for every domain of the host; those whose name is not
 * one of ours are passed over (a domain that is gone has no metadata left to ask for). Events
 * during a lost connection are lost: whoever needs them compares with the list of domains after
 * "connection".
 */
#include "daemon/hypervisor-private.h"

/* A stop tells its cause only here: a transient domain leaves no state behind. */
static void
emit_stopped(MfHypervisor *self, const char *id, int detail)
{
  switch (detail) {
  case VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN:
    mf_hypervisor_emit_event(self, id, MF_DOMAIN_EVENT_SHUTDOWN, "the machine powered itself off");
    return;
  case VIR_DOMAIN_EVENT_STOPPED_CRASHED:
    mf_hypervisor_emit_event(self, id, MF_DOMAIN_EVENT_CRASHED, "stopped after a crash");
    return;
  case VIR_DOMAIN_EVENT_STOPPED_FAILED:
    mf_hypervisor_emit_event(self, id, MF_DOMAIN_EVENT_CRASHED, "QEMU ended unexpectedly");
    return;
  case VIR_DOMAIN_EVENT_STOPPED_SAVED:
    mf_hypervisor_emit_event(self, id, MF_DOMAIN_EVENT_DESTROYED, "saved to a file");
    return;
  default:
    mf_hypervisor_emit_event(self, id, MF_DOMAIN_EVENT_DESTROYED, "destroyed");
    return;
  }
}

static int
on_lifecycle(virConnectPtr connection, virDomainPtr domain, int event, int detail, void *user_data)
{
  const char *id = mf_hypervisor_domain_id(virDomainGetName(domain));
  MfHypervisor *self = mf_link_get_owner(user_data);

  if (id == NULL || self == NULL)
    return 0;
  g_autoptr(MfHypervisor) keep = g_object_ref(self);
  if (event == VIR_DOMAIN_EVENT_STARTED)
    mf_hypervisor_emit_event(self, id, MF_DOMAIN_EVENT_STARTED, "started");
  else if (event == VIR_DOMAIN_EVENT_CRASHED)
    mf_hypervisor_emit_event(self, id, MF_DOMAIN_EVENT_PANICKED, "the guest's kernel panicked");
  else if (event == VIR_DOMAIN_EVENT_STOPPED)
    emit_stopped(self, id, detail);
  return 0;
}

static void
on_io_error(virConnectPtr connection, virDomainPtr domain, const char *path, const char *alias,
            int action, const char *reason, void *user_data)
{
  const char *id = mf_hypervisor_domain_id(virDomainGetName(domain));
  MfHypervisor *self = mf_link_get_owner(user_data);

  if (id == NULL || self == NULL || action != VIR_DOMAIN_EVENT_IO_ERROR_PAUSE)
    return;
  g_autoptr(MfHypervisor) keep = g_object_ref(self);
  mf_hypervisor_emit_event(self, id, MF_DOMAIN_EVENT_IO_ERROR,
                           reason != NULL && *reason != '\0' ? reason : "i/o error");
}

static void
unref_link(void *link)
{
  mf_link_unref(link);
}

gboolean
mf_hypervisor_events_register(virConnectPtr connection, MfLink *link, int ret_ids[2],
                              GError **error)
{
  static const struct {
    int id;
    virConnectDomainEventGenericCallback callback;
  } wanted[] = {
      {VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle)},
      {VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, VIR_DOMAIN_EVENT_CALLBACK(on_io_error)},
  };
  for (guint i = 0; i < G_N_ELEMENTS(wanted); i++) {
    ret_ids[i] = virConnectDomainEventRegisterAny(
        connection, NULL, wanted[i].id, wanted[i].callback, mf_link_ref(link), unref_link);
    if (ret_ids[i] < 0) {
      mf_link_unref(link);
      mf_hypervisor_take_error(error, "libvirt does not tell about its machines");
      return FALSE;
    }
  }
  return TRUE;
}
