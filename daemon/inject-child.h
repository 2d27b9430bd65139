/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Inside mayfly-inject: one process, one disk, one libguestfs handle, then exit. Only these files
 * know libguestfs.
 */

#include <guestfs.h>

#include "daemon/auto.h"
#include "daemon/inject-plan.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(guestfs_h, guestfs_close)
typedef char *MfGuestfsStrv;
void mf_inject_strv_free(MfGuestfsStrv *strv);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfGuestfsStrv, mf_inject_strv_free)
typedef struct guestfs_statvfs MfGuestfsStatvfs;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfGuestfsStatvfs, guestfs_free_statvfs)

/* One line of JSON on standard output, at once. @object: taken. */
void mf_inject_report(MfJson *object);
/* {"event":"phase"} - what begins now, and how long this process has run. */
void mf_inject_report_phase(const char *phase);

/* libguestfs's last error as one visible line after @doing: "cannot mount /dev/sda (ext4): …".
 * Returns FALSE. */
gboolean mf_inject_fail(guestfs_h *g, GError **error, const char *format, ...) G_GNUC_PRINTF(3, 4);

/*
 * mf_inject_open() - a running appliance with the plan's disk. @light: the small appliance of
 * inject-appliance.c will do (an ordinary filesystem on a plain disk or partition); without it, or
 * if that does not start, libguestfs's own.
 */
guestfs_h *mf_inject_open(const MfInjectPlan *plan, gboolean light, gboolean readonly,
                          GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Can the small appliance mount this? */
gboolean mf_inject_appliance_fits(const char *device, const char *fstype);

/*
 * mf_inject_appliance() - folder of the small appliance in the plan's cache_dir, made first if it
 * is not there or was made from another kernel or libguestfs. (transfer full)
 */
char *mf_inject_appliance(const MfInjectPlan *plan, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Write what the plan says. TRUE only after everything is in the disk and the appliance has ended
 * in order. */
gboolean mf_inject_apply(const MfInjectPlan *plan, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Report {"event":"system", root_device, root_fstype, os, distro, init, boot_kernel}. */
gboolean mf_inject_inspect(const MfInjectPlan *plan, GError **error) G_GNUC_WARN_UNUSED_RESULT;
