/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One run of the tiny guest (accel-guest.S) in QEMU: how far did it come? Blocks; for a worker. */

#include <gio/gio.h>

typedef struct {
  gboolean whole; /* the guest went all the way, and printed so */
  gboolean hung;  /* it was stopped at the deadline */
  guint printed;  /* characters that the guest printed */
  guint milliseconds;
  char *complaint; /* QEMU's first words on its stderr, one line; NULL: none */
} MfAccelRun;

void mf_accel_run_clear(MfAccelRun *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(MfAccelRun, mf_accel_run_clear)

/*
 * mf_accel_run() - @accel: kvm | tcg, @cpu: as QEMU calls it, @patience_ms: until it counts as
 * hung. FALSE: QEMU could not be run at all (UNAVAILABLE), or CANCELLED.
 */
gboolean mf_accel_run(const char *emulator, const char *accel, const char *cpu, guint patience_ms,
                      GCancellable *c, MfAccelRun *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
