/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The hypervisor: everything that is asked of libvirt. hypervisor-*.c alone include <libvirt/…>. Every call is asynchronous: it
 * blocks a worker, at most 4 at a time per connection, never the main loop, and answers on the main context. There are
 * three connections (events, control, destroy), re-opened with back-off when libvirtd goes; a call made meanwhile fails with UNAVAILABLE.
 * Domains are named "mayfly-<machine id>", are transient, and carry metadata in our namespace; nothing else is ever touched.
 */

#include <gio/gio.h>

#include "daemon/config.h"
#include "daemon/port.h"

#define MF_DOMAIN_PREFIX "mayfly-"
#define MF_METADATA_NS "https://mayfly.dev/ns/domain/1"

#define MF_TYPE_HYPERVISOR (mf_hypervisor_get_type())
G_DECLARE_FINAL_TYPE(MfHypervisor, mf_hypervisor, MF, HYPERVISOR, GObject)

typedef enum {
  MF_DOMAIN_EVENT_STARTED,
  MF_DOMAIN_EVENT_SHUTDOWN,  /* the guest powered itself off */
  MF_DOMAIN_EVENT_DESTROYED, /* by us or from outside */
  MF_DOMAIN_EVENT_CRASHED,   /* QEMU died or the guest panicked and was stopped */
  MF_DOMAIN_EVENT_PANICKED,  /* pvpanic told */
  MF_DOMAIN_EVENT_IO_ERROR,  /* paused on a disk error; detail: QEMU's reason, "enospc" mostly */
} MfDomainEvent;
const char *mf_domain_event_to_string(MfDomainEvent event);

/*
 * Signals, on the main context:
 *  "domain-event" (const char *job_id, MfDomainEvent event, const char *detail)
 *  "connection"   (gboolean up)   also after the first connect, or its failure
 */
/* @config outlives it. Opens nothing yet; connects in the background once the main loop runs. gvir_event_register() is done here. */
MfHypervisor *mf_hypervisor_new(const MfConfig *config);
gboolean mf_hypervisor_is_up(MfHypervisor *self);
/* What to tell a user while it is down: one sentence. NULL while up. */
const char *mf_hypervisor_problem(MfHypervisor *self);
/* Down only because the daemon has just started: libvirtd has neither answered nor refused yet. */
gboolean mf_hypervisor_is_connecting(MfHypervisor *self);
/* libvirt and QEMU versions as JSON-able text, valid while up. (nullable) */
const char *mf_hypervisor_versions(MfHypervisor *self);
/* Whom QEMU runs as, a DAC label like "+64055:+64055", valid while up. (nullable) */
const char *mf_hypervisor_label(MfHypervisor *self);
/* Closes; for the end of the process. */
void mf_hypervisor_close(MfHypervisor *self);

/* Once after each connect: storage pool "mayfly-overlays" over <state>/overlays defined and active, filters defined and current. */
void mf_hypervisor_prepare_async(MfHypervisor *self, GCancellable *c, GAsyncReadyCallback cb, gpointer data);
gboolean mf_hypervisor_prepare_finish(MfHypervisor *self, GAsyncResult *r, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * overlay-<id>.qcow2 in the pool, compat 1.1, backing file @backing (qcow2), owned by us, 0660 with QEMU's group, so that nothing has
 * to change its owner when a machine starts. Finish: its path (transfer full).
 */
void mf_hypervisor_create_overlay_async(MfHypervisor *self, const char *id, const char *backing, guint64 capacity, GCancellable *c,
                                        GAsyncReadyCallback cb, gpointer data);
char *mf_hypervisor_create_overlay_finish(MfHypervisor *self, GAsyncResult *r, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Removing what is not there is success. */
void mf_hypervisor_delete_overlay_async(MfHypervisor *self, const char *id, GCancellable *c, GAsyncReadyCallback cb, gpointer data);
gboolean mf_hypervisor_delete_overlay_finish(MfHypervisor *self, GAsyncResult *r, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Starts paused, transient. On failure nothing runs, unless the connection was lost: destroy it all the same. */
void mf_hypervisor_start_async(MfHypervisor *self, const char *xml, GCancellable *c, GAsyncReadyCallback cb, gpointer data);
gboolean mf_hypervisor_start_finish(MfHypervisor *self, GAsyncResult *r, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void mf_hypervisor_resume_async(MfHypervisor *self, const char *id, GCancellable *c, GAsyncReadyCallback cb, gpointer data);
gboolean mf_hypervisor_resume_finish(MfHypervisor *self, GAsyncResult *r, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/*
 * hypervisor-save.c: into the file @path, ours and 0600, in libvirt's format (save-header.h). The domain ends with it. Needs a folder
 * for a FIFO beside @path. On failure there is no file, and the domain may still run.
 */
void mf_hypervisor_save_async(MfHypervisor *self, const char *id, const char *path, GCancellable *c, GAsyncReadyCallback cb,
                              gpointer data);
gboolean mf_hypervisor_save_finish(MfHypervisor *self, GAsyncResult *r, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/*
 * hypervisor-restore.c: starts paused from @front and what @memory has from byte @offset on, through the FIFO @fifo, which is made and
 * removed. On failure nothing runs, unless the connection was lost: destroy it all the same.
 */
void mf_hypervisor_restore_async(MfHypervisor *self, const char *fifo, GBytes *front, const char *memory, guint64 offset,
                                 GCancellable *c, GAsyncReadyCallback cb, gpointer data);
gboolean mf_hypervisor_restore_finish(MfHypervisor *self, GAsyncResult *r, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Plugs @xml into the running or paused machine. */
void mf_hypervisor_attach_async(MfHypervisor *self, const char *id, const char *xml, GCancellable *c, GAsyncReadyCallback cb,
                                gpointer data);
gboolean mf_hypervisor_attach_finish(MfHypervisor *self, GAsyncResult *r, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What the balloon is to leave the guest; it is done when the statistics say so. */
void mf_hypervisor_set_memory_async(MfHypervisor *self, const char *id, guint64 bytes, GCancellable *c, GAsyncReadyCallback cb,
                                    gpointer data);
gboolean mf_hypervisor_set_memory_finish(MfHypervisor *self, GAsyncResult *r, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* ACPI power button; the end comes as a domain-event. */
void mf_hypervisor_shutdown_async(MfHypervisor *self, const char *id, GCancellable *c, GAsyncReadyCallback cb, gpointer data);
gboolean mf_hypervisor_shutdown_finish(MfHypervisor *self, GAsyncResult *r, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/*
 * hypervisor-destroy.c, own connection. Retries a held job lock. A domain that is not there is success; only after success is the
 * QEMU process gone. A libvirtd that was killed in the middle of a start may keep the domain all the same: it is listed for good.
 */
void mf_hypervisor_destroy_async(MfHypervisor *self, const char *id, GCancellable *c, GAsyncReadyCallback cb, gpointer data);
gboolean mf_hypervisor_destroy_finish(MfHypervisor *self, GAsyncResult *r, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* For the reaper: what of ours there is. Finish: job ids (transfer full). */
void mf_hypervisor_list_domains_async(MfHypervisor *self, GCancellable *c, GAsyncReadyCallback cb, gpointer data);
char **mf_hypervisor_list_domains_finish(MfHypervisor *self, GAsyncResult *r, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Overlays in the pool's directory by id. */
void mf_hypervisor_list_overlays_async(MfHypervisor *self, GCancellable *c, GAsyncReadyCallback cb, gpointer data);
char **mf_hypervisor_list_overlays_finish(MfHypervisor *self, GAsyncResult *r, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A counter that libvirt does not tell for now; 0 would look as if it had gone back. */
#define MF_STATS_UNKNOWN G_MAXUINT64
typedef struct {
  guint64 balloon_maximum, balloon_current, balloon_usable; /* bytes; 0 = the guest has not said */
  guint64 resident;                                          /* bytes of the QEMU process; 0 = not told for now */
  guint64 disk_allocated;                                    /* bytes of the overlay on the host */
  /* Counters. Those of the network belong to the port: they do not begin with the machine. */
  guint64 cpu_time_ns;
  guint64 disk_read_bytes, disk_written_bytes;
  guint64 net_rx_bytes, net_tx_bytes;
} MfDomainStats;
/* Never on a machine that is starting or ending: it would wait for libvirt's job lock. Finish: (transfer full) g_free. */
void mf_hypervisor_stats_async(MfHypervisor *self, const char *id, GCancellable *c, GAsyncReadyCallback cb, gpointer data);
MfDomainStats *mf_hypervisor_stats_finish(MfHypervisor *self, GAsyncResult *r, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Counted on the main context. */
typedef struct {
  gint64 time;          /* unix microseconds of the sample */
  GHashTable *machines; /* id → MfDomainStats: every running domain with our name prefix, whoever made it */
} MfHostStats;
void mf_host_stats_unref(MfHostStats *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfHostStats, mf_host_stats_unref)
/*
 * All machines in one call of libvirt, whatever they are doing: it waits for no job lock, and of a machine whose lock is held it tells
 * what it knows without asking QEMU. Whoever asks while the call is out gets its answer too: the time in it says when that was.
 * Finish: (transfer full).
 */
void mf_hypervisor_all_stats_async(MfHypervisor *self, GCancellable *c, GAsyncReadyCallback cb, gpointer data);
MfHostStats *mf_hypervisor_all_stats_finish(MfHypervisor *self, GAsyncResult *r, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * hypervisor-network.c: the binding of filter no-host-lan on @port->tap. bind: makes it if it is not there, or was made with other values
 * (MAC, IP, gateway, host addresses, holes); @force: makes it anew in any case. unbind: not there is success.
 * @host_addresses: never empty (a filter variable without a value cannot be instantiated).
 */
void mf_hypervisor_bind_port_async(MfHypervisor *self, const MfPort *port, const char *gateway, const char *const *host_addresses,
                                   gboolean force, GCancellable *c, GAsyncReadyCallback cb, gpointer data);
gboolean mf_hypervisor_bind_port_finish(MfHypervisor *self, GAsyncResult *r, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* taps of ours that have a binding (transfer full) */
void mf_hypervisor_list_bindings_async(MfHypervisor *self, GCancellable *c, GAsyncReadyCallback cb, gpointer data);
char **mf_hypervisor_list_bindings_finish(MfHypervisor *self, GAsyncResult *r, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* NULL error and TRUE: the libvirt network is active. */
void mf_hypervisor_network_active_async(MfHypervisor *self, GCancellable *c, GAsyncReadyCallback cb, gpointer data);
gboolean mf_hypervisor_network_active_finish(MfHypervisor *self, GAsyncResult *r, GError **error) G_GNUC_WARN_UNUSED_RESULT;
