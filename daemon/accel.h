/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * accel = auto: does KVM really run a guest here? A device node proves nothing, so a tiny guest of our own (a boot sector
 * that writes one byte to a port) is run under it once; the verdict is kept in <state>/accel.json with what it depends on (kernel release, QEMU
 * version, boot id) and asked again when one of those changed.
 */

#include <gio/gio.h>

#include "daemon/config.h"

typedef struct {
  gboolean kvm;
  char *reason; /* one sentence: why not KVM, or "KVM ran a guest in 120 ms" */
} MfAccel;

void mf_accel_free(MfAccel *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfAccel, mf_accel_free)

/* Finish: UNAVAILABLE if accel = kvm and KVM does not run a guest. Takes up to 10 s the first time. */
void mf_accel_probe_async(const MfConfig *config, GCancellable *c, GAsyncReadyCallback cb, gpointer data);
MfAccel *mf_accel_probe_finish(GAsyncResult *r, GError **error) G_GNUC_WARN_UNUSED_RESULT;
