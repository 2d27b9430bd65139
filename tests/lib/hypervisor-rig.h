/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A private host (tests/lib/test-host) with a hypervisor in it that is used one call at a time. All
 * of it runs as the user that mayflyd runs as; root is taken back only to play the admin.
 */

#include <gio/gio.h>
#include <sys/types.h>

#include "daemon/config.h"
#include "daemon/hypervisor.h"

#define RIG_PATIENCE_S 90
#define STATE          "/var/lib/mayfly"
#define MACHINES       "/run/mayfly/machines"
#define DATA           "/run/sys-hypervisor"
#define MIB            (1024 * 1024)

typedef struct {
  char *job_id;
  MfDomainEvent event;
  char *detail;
} Event;

extern MfConfig *rig_config;
extern MfHypervisor *rig_hypervisor;

/* @source: the source tree. The overlays get a small disk of their own, and port mf0 a tap. */
void rig_set_up(const char *source);
void rig_tear_down(void);

void rig_as_root(const char *command);
gboolean rig_iterate_until(gboolean (*done)(gconstpointer), gconstpointer data, guint seconds);
void rig_on_ready(GObject *source, GAsyncResult *result, gpointer slot);
/* For rig_iterate_until(): something is in the slot of rig_on_ready(). */
gboolean rig_has_result(gconstpointer slot);
GAsyncResult *rig_wait_result(GAsyncResult **slot);
gboolean rig_is_up(gconstpointer unused);
gboolean rig_is_down(gconstpointer unused);
const Event *rig_find_event(const char *id, MfDomainEvent event);
void rig_assert_event(const char *id, MfDomainEvent event);
char *rig_create_overlay(const char *id, const char *golden, GError **error);
void rig_delete_overlay(const char *id);
gboolean rig_start(const char *xml, GError **error);
gboolean rig_resume(const char *id, GError **error);
gboolean rig_destroy(const char *id, GError **error);
char **rig_list_domains(void);
char **rig_list_overlays(void);
void rig_prepare(void);
char *rig_make_golden(const char *name, const guint8 sector[512]);
/* With images/ID.kernel as kernel and initrd, where that is. */
char *rig_machine_xml(const char *id, const char *golden, const char *overlay);
void rig_make_folder(const char *id);
void rig_start_machine(const char *id, const guint8 sector[512]);
void rig_resume_machine(const char *id);
void rig_remove_machine(const char *id);
void rig_assert_owner(const char *path, uid_t uid, mode_t mode);
void rig_fill_disk(guint64 left);
char rig_first_console_byte(const char *id);
void rig_start_own_libvirtd(void);
