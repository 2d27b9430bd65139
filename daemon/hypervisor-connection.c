/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link to libvirtd: three connections opened together by a worker, watched, and replaced
 * together with back-off when one closes. A link outlives its use by the callbacks that libvirt
 * still holds for it, so it is counted, and knows its hypervisor only while it is the one in use.
 */
#include "daemon/hypervisor-private.h"

#define BACKOFF_FIRST_MS   500
#define BACKOFF_MAX_MS     10000
#define KEEPALIVE_INTERVAL 5
#define KEEPALIVE_COUNT    3

struct MfLink {
  gatomicrefcount refs;
  MfHypervisor *owner; /* main context only; NULL once dropped */
  char *uri;
  virConnectPtr connections[MF_CONNECTION_LAST_];
  int event_ids[2];
  gboolean closed; /* main context: a connection closed before the link was taken into use */
  char *versions;  /* answers of the worker */
  char *label;
  char *problem;
};

static gboolean on_reconnect(gpointer user_data);
static void on_connection_closed(virConnectPtr connection, int reason, void *user_data);

MfLink *
mf_link_ref(MfLink *link)
{
  g_atomic_ref_count_inc(&link->refs);
  return link;
}

void
mf_link_unref(MfLink *link)
{
  if (!g_atomic_ref_count_dec(&link->refs))
    return;
  g_free(link->uri);
  g_free(link->versions);
  g_free(link->label);
  g_free(link->problem);
  g_free(link);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfLink, mf_link_unref)

virConnectPtr
mf_link_get_connection(MfLink *link, MfConnectionKind kind)
{
  return link->connections[kind];
}

MfHypervisor *
mf_link_get_owner(MfLink *link)
{
  return link->owner != NULL && link->owner->link == link ? link->owner : NULL;
}

static void
unref_link(void *link)
{
  mf_link_unref(link);
}

/* Worker. Connections stay open as long as a call or a registered callback refers to them: so
 * callbacks first. */
static gpointer
close_connections(gpointer user_data)
{
  g_autoptr(MfLink) link = user_data;

  for (guint i = 0; i < MF_CONNECTION_LAST_; i++) {
    virConnectPtr connection = g_steal_pointer(&link->connections[i]);
    if (connection == NULL)
      continue;
    for (guint e = 0; i == MF_CONNECTION_EVENTS && e < G_N_ELEMENTS(link->event_ids); e++)
      if (link->event_ids[e] >= 0)
        virConnectDomainEventDeregisterAny(connection, link->event_ids[e]);
    virConnectUnregisterCloseCallback(connection, on_connection_closed);
    virConnectClose(connection);
  }
  return NULL;
}

/* Takes over the caller's reference. On a thread of its own: closing talks to a libvirtd that may
 * not answer. */
static void
drop_link(MfLink *link)
{
  link->owner = NULL;
  g_thread_unref(g_thread_new("libvirt-close", close_connections, link));
}

static void
schedule_reconnect(MfHypervisor *self)
{
  if (self->closed)
    return;
  self->backoff_ms =
      self->backoff_ms == 0 ? BACKOFF_FIRST_MS : MIN(self->backoff_ms * 2, BACKOFF_MAX_MS);
  self->reconnect_source = g_timeout_add(self->backoff_ms, on_reconnect, self);
}

typedef struct {
  MfLink *link;
  int reason;
} Closed;

static gboolean
on_closed_told(gpointer user_data)
{
  Closed *closed = user_data;
  g_autoptr(MfLink) link = closed->link;
  int reason = closed->reason;

  g_free(closed);
  link->closed = TRUE;
  MfHypervisor *self = mf_link_get_owner(link);
  if (self == NULL)
    return G_SOURCE_REMOVE;
  const char *why = reason == VIR_CONNECT_CLOSE_REASON_KEEPALIVE ? "it stopped answering"
                                                                 : "it closed the connection";
  g_autofree char *problem =
      g_strdup_printf("libvirtd at %s is gone (%s): mayfly reconnects by itself; if that lasts, "
                      "look at systemctl status libvirtd",
                      link->uri, why);
  drop_link(link);
  mf_hypervisor_set_down(self, problem);
  self->backoff_ms = 0;
  schedule_reconnect(self);
  return G_SOURCE_REMOVE;
}

/* On the main context from libvirt's event loop, or on the worker whose call found out. */
static void
on_connection_closed(virConnectPtr connection, int reason, void *user_data)
{
  Closed *closed = g_new0(Closed, 1);
  closed->link = mf_link_ref(user_data);
  closed->reason = reason;
  g_idle_add_full(G_PRIORITY_DEFAULT, on_closed_told, closed, NULL);
}

/* Worker. */
static gboolean
open_connections(MfLink *link)
{
  g_autoptr(GError) error = NULL;

  for (guint i = 0; i < MF_CONNECTION_LAST_; i++) {
    link->connections[i] = virConnectOpen(link->uri);
    if (link->connections[i] == NULL) {
      link->problem = mf_hypervisor_open_problem(link->uri);
      return FALSE;
    }
    /* A driver without a network in between (test:///) knows neither of these. */
    virConnectSetKeepAlive(link->connections[i], KEEPALIVE_INTERVAL, KEEPALIVE_COUNT);
    if (virConnectRegisterCloseCallback(link->connections[i], on_connection_closed,
                                        mf_link_ref(link), unref_link) < 0)
      mf_link_unref(link);
  }
  if (!mf_hypervisor_events_register(link->connections[MF_CONNECTION_EVENTS], link, link->event_ids,
                                     &error)) {
    link->problem = g_strdup(error->message);
    return FALSE;
  }
  link->versions = mf_hypervisor_host_versions(link->connections[MF_CONNECTION_CONTROL]);
  char *capabilities = virConnectGetCapabilities(link->connections[MF_CONNECTION_CONTROL]);
  link->label = mf_hypervisor_host_label(capabilities);
  free(capabilities);
  return TRUE;
}

static void
on_opened(GObject *source, GAsyncResult *result, gpointer user_data)
{
  MfHypervisor *self = MF_HYPERVISOR(source);
  MfLink *link = user_data;
  gboolean opened = g_task_propagate_boolean(G_TASK(result), NULL);

  self->opening = NULL;
  if (opened && !link->closed && !self->closed) {
    self->backoff_ms = 0;
    mf_hypervisor_set_up(self, link, link->versions, link->label);
    return;
  }
  g_autofree char *problem =
      g_strdup(link->problem != NULL ? link->problem : "libvirtd closed the connection");
  drop_link(link);
  mf_hypervisor_set_down(self, problem);
  schedule_reconnect(self);
}

static void
open_on_worker(GTask *task, gpointer source, gpointer task_data, GCancellable *cancellable)
{
  g_task_return_boolean(task, open_connections(task_data));
}

void
mf_hypervisor_connect(MfHypervisor *self)
{
  MfLink *link = g_new0(MfLink, 1);
  g_atomic_ref_count_init(&link->refs);
  link->owner = self;
  link->uri = g_strdup(self->config->uri);
  for (guint i = 0; i < G_N_ELEMENTS(link->event_ids); i++)
    link->event_ids[i] = -1;
  self->opening = link;
  g_autoptr(GTask) task = g_task_new(self, NULL, on_opened, link);
  g_task_set_task_data(task, mf_link_ref(link), unref_link);
  g_task_run_in_thread(task, open_on_worker);
}

static gboolean
on_reconnect(gpointer user_data)
{
  MfHypervisor *self = user_data;

  self->reconnect_source = 0;
  mf_hypervisor_connect(self);
  return G_SOURCE_REMOVE;
}

/* What is being opened is dropped by on_opened(), which holds a reference to us until then. */
void
mf_hypervisor_disconnect(MfHypervisor *self)
{
  g_clear_handle_id(&self->reconnect_source, g_source_remove);
  if (self->link != NULL)
    drop_link(g_steal_pointer(&self->link));
}
