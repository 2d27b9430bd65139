/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Writing files into a disk that is not running: a plan, handed to the child process mayfly-inject, which alone links
 * libguestfs. A hang, an abort or an out-of-memory there is the error of one job. Secrets travel on its standard input.
 */

#include <gio/gio.h>

#include "daemon/image.h"

typedef struct MfInjectPlan MfInjectPlan;

/* @disk: qcow2 that nobody has open; @image: says where its root filesystem is. */
MfInjectPlan *mf_inject_plan_new(const char *disk, const MfImage *image);
/* Parent folders are made (0755). Content is copied. Replaces what was there. */
void mf_inject_plan_file(MfInjectPlan *self, const char *path, guint mode, guint uid, guint gid, const void *data, gsize length);
/*
 * A large program of the host, @source, which is no secret: mayfly-inject copies it by itself. It is a convenience: a disk
 * that has no room for it goes without.
 */
void mf_inject_plan_program(MfInjectPlan *self, const char *path, guint mode, const char *source);
void mf_inject_plan_symlink(MfInjectPlan *self, const char *path, const char *target);
void mf_inject_plan_remove(MfInjectPlan *self, const char *path);
void mf_inject_plan_free(MfInjectPlan *self); /* wipes the content */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfInjectPlan, mf_inject_plan_free)

typedef struct {
  const char *program;  /* mayfly-inject's path */
  const char *accel;    /* "kvm" or "tcg": libguestfs believes the device node, so it is told */
  guint64 timeout;      /* seconds; then the child's whole process group is killed and the error is TIMEOUT */
  const char *cache_dir; /* where its appliance is kept, writable; NULL: <state>/cache, or $MAYFLY_CACHEDIR */
  const char *user;     /* whom mayfly-inject runs as when we are root; NULL: as we are */
} MfInjectOptions;

/* mf_inject_run_async() - carry @plan out. The plan is copied; on failure the disk may be half written: throw it away. */
void mf_inject_run_async(const MfInjectPlan *plan, const MfInjectOptions *options, GCancellable *cancellable,
                         GAsyncReadyCallback callback, gpointer user_data);
gboolean mf_inject_run_finish(GAsyncResult *result, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What is on a disk that somebody else made. */
typedef struct {
  char *root_device;
  char *root_fstype;
  char *os;
  char *init; /* as in MfImage */
  gboolean boot_kernel; /* a kernel that its own boot loader could start */
} MfInjectSystem;

void mf_inject_system_free(MfInjectSystem *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfInjectSystem, mf_inject_system_free)

/* mf_inject_inspect_async() - look, without writing, at @disk (qcow2). INVALID if there is no Linux on it. */
void mf_inject_inspect_async(const char *disk, const MfInjectOptions *options, GCancellable *cancellable,
                             GAsyncReadyCallback callback, gpointer user_data);
MfInjectSystem *mf_inject_inspect_finish(GAsyncResult *result, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * mf_image_prepare_async() - the prepared layer: an overlay on the image that holds the agent, its start-up unit (unless the
 * image's initrd starts it) and the host's gitlab-runner, made once per version of the three,
 * <image folder>/prepared-<16 hex digits>.qcow2, published by rename, 0444.
 * Concurrent calls for one image share one run. Finish gives its path (transfer full).
 * @agent: path of the static mayfly-agent. @runner: path of gitlab-runner, or NULL.
 */
void mf_image_prepare_async(MfImage *image, const char *agent, const char *runner, const MfInjectOptions *options, GCancellable *cancellable,
                            GAsyncReadyCallback callback, gpointer user_data);
char *mf_image_prepare_finish(GAsyncResult *result, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Removes @image's layers of other agents and runners. No machine may be at work on any. */
void mf_image_prepare_sweep(MfImage *image, const char *agent, const char *runner);
