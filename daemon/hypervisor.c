/* SPDX-License-Identifier: Apache-2.0 */
/* The hypervisor object: whether libvirt can be used, what to say while it cannot, and its signals.
 */
#include "daemon/hypervisor-private.h"

#include <libvirt-glib/libvirt-glib.h>

#include "daemon/fifo.h"

/* For memory that is on its way to or from libvirtd. */
#define CLOSE_SECONDS 20

G_DEFINE_FINAL_TYPE(MfHypervisor, mf_hypervisor, G_TYPE_OBJECT)

enum { SIGNAL_DOMAIN_EVENT, SIGNAL_CONNECTION, SIGNAL_LAST_ };
static guint signals[SIGNAL_LAST_];

static const char *const event_names[] = {
    [MF_DOMAIN_EVENT_STARTED] = "started",     [MF_DOMAIN_EVENT_SHUTDOWN] = "shutdown",
    [MF_DOMAIN_EVENT_DESTROYED] = "destroyed", [MF_DOMAIN_EVENT_CRASHED] = "crashed",
    [MF_DOMAIN_EVENT_PANICKED] = "panicked",   [MF_DOMAIN_EVENT_IO_ERROR] = "io-error",
};

const char *
mf_domain_event_to_string(MfDomainEvent event)
{
  g_return_val_if_fail((guint)event < G_N_ELEMENTS(event_names), "unknown");
  return event_names[event];
}

/* libvirt prints every error to stderr by default; each of ours is reported once, by whoever asked.
 */
static void
ignore_error(void *user_data, virErrorPtr error)
{
}

static void
mf_hypervisor_dispose(GObject *object)
{
  mf_hypervisor_close(MF_HYPERVISOR(object));
  G_OBJECT_CLASS(mf_hypervisor_parent_class)->dispose(object);
}

static void
mf_hypervisor_finalize(GObject *object)
{
  MfHypervisor *self = MF_HYPERVISOR(object);

  /* Every call holds a reference to us, so none is left. */
  g_thread_pool_free(self->workers, FALSE, FALSE);
  g_free(self->problem);
  g_free(self->versions);
  g_free(self->label);
  G_OBJECT_CLASS(mf_hypervisor_parent_class)->finalize(object);
}

static void
mf_hypervisor_class_init(MfHypervisorClass *class)
{
  GObjectClass *object_class = G_OBJECT_CLASS(class);

  object_class->dispose = mf_hypervisor_dispose;
  object_class->finalize = mf_hypervisor_finalize;
  signals[SIGNAL_DOMAIN_EVENT] =
      g_signal_new("domain-event", MF_TYPE_HYPERVISOR, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                   G_TYPE_NONE, 3, G_TYPE_STRING, G_TYPE_INT, G_TYPE_STRING);
  signals[SIGNAL_CONNECTION] = g_signal_new("connection", MF_TYPE_HYPERVISOR, G_SIGNAL_RUN_LAST, 0,
                                            NULL, NULL, NULL, G_TYPE_NONE, 1, G_TYPE_BOOLEAN);
}

static void
mf_hypervisor_init(MfHypervisor *self)
{
  self->problem = g_strdup("mayflyd is still connecting to libvirtd");
  self->workers = g_thread_pool_new(mf_hypervisor_call_run, NULL,
                                    MF_CONNECTION_LAST_ * MF_CONNECTION_MAX_CALLS, FALSE, NULL);
  for (guint i = 0; i < MF_CONNECTION_LAST_; i++)
    g_queue_init(&self->waiting[i]);
}

MfHypervisor *
mf_hypervisor_new(const MfConfig *config)
{
  static gsize once;

  if (g_once_init_enter(&once)) {
    virInitialize();
    virSetErrorFunc(NULL, ignore_error);
    gvir_event_register();
    g_once_init_leave(&once, 1);
  }
  MfHypervisor *self = g_object_new(MF_TYPE_HYPERVISOR, NULL);
  self->config = config;
  mf_hypervisor_connect(self);
  return self;
}

gboolean
mf_hypervisor_is_up(MfHypervisor *self)
{
  return self->link != NULL;
}

gboolean
mf_hypervisor_is_connecting(MfHypervisor *self)
{
  return self->link == NULL && !self->settled;
}

const char *
mf_hypervisor_problem(MfHypervisor *self)
{
  return self->link != NULL ? NULL : self->problem;
}

const char *
mf_hypervisor_versions(MfHypervisor *self)
{
  return self->link != NULL ? self->versions : NULL;
}

const char *
mf_hypervisor_label(MfHypervisor *self)
{
  return self->link != NULL ? self->label : NULL;
}

void
mf_hypervisor_set_up(MfHypervisor *self, MfLink *link, const char *versions, const char *label)
{
  self->link = link;
  g_free(self->versions);
  self->versions = g_strdup(versions);
  g_free(self->label);
  self->label = g_strdup(label);
  self->told_down = FALSE;
  g_signal_emit(self, signals[SIGNAL_CONNECTION], 0, TRUE);
}

void
mf_hypervisor_set_down(MfHypervisor *self, const char *problem)
{
  g_autoptr(MfHypervisor) keep = g_object_ref(self);

  self->link = NULL;
  self->settled = TRUE;
  g_free(self->problem);
  self->problem = g_strdup(problem);
  for (guint i = 0; i < MF_CONNECTION_LAST_; i++)
    mf_hypervisor_call_dispatch(self, (MfConnectionKind)i);
  if (self->told_down || self->closed)
    return;
  self->told_down = TRUE;
  g_signal_emit(self, signals[SIGNAL_CONNECTION], 0, FALSE);
}

void
mf_hypervisor_emit_event(MfHypervisor *self, const char *job_id, MfDomainEvent event,
                         const char *detail)
{
  g_signal_emit(self, signals[SIGNAL_DOMAIN_EVENT], 0, job_id, (int)event, detail);
}

void
mf_hypervisor_close(MfHypervisor *self)
{
  if (self->closed)
    return;
  self->closed = TRUE;
  mf_fifo_wait(CLOSE_SECONDS);
  mf_hypervisor_disconnect(self);
  mf_hypervisor_set_down(self, "mayflyd is ending");
}
