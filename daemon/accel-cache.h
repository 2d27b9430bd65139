/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What was found out about KVM, and what that depends on, as a JSON document. Pure. */

#include <glib.h>

#include "daemon/accel.h"

typedef struct {
  char *kernel;   /* its release */
  char *boot;     /* boot id: firmware settings and modules may change with a boot */
  char *emulator; /* path */
  char *version;  /* what it says of itself */
} MfAccelKey;

void mf_accel_key_clear(MfAccelKey *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(MfAccelKey, mf_accel_key_clear)

/* (transfer full) */
char *mf_accel_cache_write(const MfAccelKey *key, const MfAccel *accel);
/* NULL if @text is none of ours, is damaged, or was found out for another @key: then ask again.
 * (transfer full) */
MfAccel *mf_accel_cache_read(const char *text, gsize length, const MfAccelKey *key);

MfAccel *mf_accel_new(gboolean kvm, const char *format, ...) G_GNUC_PRINTF(2, 3);
