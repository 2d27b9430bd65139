/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the parts of the hypervisor share: the object, its link to libvirtd, and how a blocking call
 * gets a worker. Only hypervisor-*.c include this.
 *
 * The link is three connections that live and die together: when one closes, all are replaced,
 * because events were lost in the gap and the owner has to compare with what there is anyway.
 * Everything here belongs to the main context but for a MfHypervisorWork, which runs on a worker
 * and may touch nothing but its arguments.
 */

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "daemon/error.h"
#include "daemon/hypervisor.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virConnect, virConnectClose)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virDomain, virDomainFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virNetwork, virNetworkFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virNWFilter, virNWFilterFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virNWFilterBinding, virNWFilterBindingFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStoragePool, virStoragePoolFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageVol, virStorageVolFree)

typedef enum {
  MF_CONNECTION_EVENTS,  /* events, and what may take long but hurries nobody: bindings, filters,
                            lists */
  MF_CONNECTION_CONTROL, /* what a job waits for */
  MF_CONNECTION_DESTROY, /* never behind anything else */
  MF_CONNECTION_LAST_
} MfConnectionKind;

/* libvirtd serves 5 requests of a connection at once, and a keepalive answer is one of them. */
#define MF_CONNECTION_MAX_CALLS 4

typedef struct MfLink MfLink;

struct _MfHypervisor {
  GObject parent;
  const MfConfig *config; /* outlives us */
  GThreadPool *workers;
  GQueue waiting[MF_CONNECTION_LAST_]; /* of calls */
  guint running[MF_CONNECTION_LAST_];
  MfLink *link; /* NULL while down */
  MfLink *opening;
  char *problem;    /* while down */
  gboolean settled; /* it has been up, or could not be reached, once */
  char *versions;
  char *label;
  gboolean told_down; /* "connection" FALSE was the last that was said */
  gboolean closed;
  guint backoff_ms;
  guint reconnect_source;
  /* hypervisor-stats.c: of all machines */
  GPtrArray *stats_waiters; /* GTask: who gets the answer of the newest call; NULL: nobody waits */
  guint stats_newest;       /* its number */
  guint stats_out;          /* calls that have not returned */
  guint stats_patience;     /* seconds, until that call is late */
  guint stats_late;         /* timer of that */
};

/* hypervisor.c */
void mf_hypervisor_set_up(MfHypervisor *self, MfLink *link, const char *versions,
                          const char *label);
void mf_hypervisor_set_down(MfHypervisor *self, const char *problem);
void mf_hypervisor_emit_event(MfHypervisor *self, const char *job_id, MfDomainEvent event,
                              const char *detail);

/* hypervisor-connection.c */
void mf_hypervisor_connect(MfHypervisor *self);
void mf_hypervisor_disconnect(MfHypervisor *self);
virConnectPtr mf_link_get_connection(MfLink *link, MfConnectionKind kind);
/* NULL once the link is no longer the one in use: what it still says is of no interest. Main
 * context. */
MfHypervisor *mf_link_get_owner(MfLink *link);

/*
 * hypervisor-call.c
 *
 * MfHypervisorWork - blocks a worker; leaves its answer in @data. FALSE sets @error, best by
 * mf_hypervisor_take_error().
 * @cancellable: look at it between two calls of a longer work; a call that has begun is never
 * abandoned.
 */
typedef gboolean (*MfHypervisorWork)(virConnectPtr connection, gpointer data,
                                     GCancellable *cancellable, GError **error);
/*
 * mf_hypervisor_call_async() - run @work as soon as one of the connection's turns is free.
 * @data: (transfer full) freed by @destroy on the main context, after @callback. UNAVAILABLE while
 * there is no connection.
 */
void mf_hypervisor_call_async(MfHypervisor *self, MfConnectionKind kind, MfHypervisorWork work,
                              gpointer data, GDestroyNotify destroy, GCancellable *cancellable,
                              GAsyncReadyCallback callback, gpointer user_data);
/* @work: the one that was given. Returns: (transfer none) @data, valid as long as @result; NULL is
 * an error. */
gpointer mf_hypervisor_call_finish(MfHypervisor *self, GAsyncResult *result, MfHypervisorWork work,
                                   GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Hands the calls that wait to workers, or fails them all if the link is down. */
void mf_hypervisor_call_dispatch(MfHypervisor *self, MfConnectionKind kind);
/* The pool's function: @item is one call. */
void mf_hypervisor_call_run(gpointer item, gpointer user_data);

/*
 * hypervisor-error.c
 *
 * mf_hypervisor_take_error() - the failure of the last libvirt call *of this thread* as "WHAT:
 * libvirt's words". Returns: its virErrorNumber, for those who decide by it.
 */
int mf_hypervisor_take_error(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* The decision in a virError; @os_error: its int1, an errno for VIR_ERR_SYSTEM_ERROR. Pure. */
MfErrorCode mf_hypervisor_error_code(int number, int domain, int os_error);
/* Why virConnectOpen() failed on this thread, as a sentence for users. (transfer full) */
char *mf_hypervisor_open_problem(const char *uri);

/* hypervisor-events.c: on the main context once registered. Worker. */
gboolean mf_hypervisor_events_register(virConnectPtr connection, MfLink *link, int ret_ids[2],
                                       GError **error) G_GNUC_WARN_UNUSED_RESULT;
MfLink *mf_link_ref(MfLink *link);
void mf_link_unref(MfLink *link);

/*
 * hypervisor-host.c: what libvirt says of itself and QEMU; whom it runs QEMU as, from its
 * capabilities XML ("+64055:+64055", NULL: it does not say); the number of that user's group, -1 if
 * there is no label. (transfer full)
 */
char *mf_hypervisor_host_versions(virConnectPtr connection);
char *mf_hypervisor_host_label(const char *capabilities);
gint64 mf_hypervisor_label_gid(const char *label);

/* hypervisor-domain.c: the job id in a domain's name, or NULL if it is none of ours. (transfer
 * none) */
const char *mf_hypervisor_domain_id(const char *name);
/* A job id becomes a file and a domain name: [a-z0-9-], at most 64. */
gboolean mf_hypervisor_is_id(const char *id);
/* Worker. The machine of job @id, NOT_FOUND if it is gone. (transfer full) */
virDomainPtr mf_hypervisor_find_domain(virConnectPtr connection, const char *id,
                                       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* hypervisor-stats.c: the record of one domain. @now: unix seconds. Pure. */
void mf_hypervisor_read_stats(virTypedParameterPtr params, int count, guint64 now,
                              MfDomainStats *ret);

/* hypervisor-storage.c: where overlay @id is or would be. Any thread. (transfer full) */
char *mf_hypervisor_overlay_path(MfHypervisor *self, const char *id);

/*
 * hypervisor-network.c: no-host-lan and its parts are in libvirt as the filter directory and the
 * configured holes have them. Worker; costs little when they are.
 */
gboolean mf_hypervisor_define_filters(virConnectPtr connection, const MfConfig *config,
                                      GError **error) G_GNUC_WARN_UNUSED_RESULT;
