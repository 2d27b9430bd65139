/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What qemu-img says of a disk, and whether it can become an image. The disk may be anybody's. */

#include <gio/gio.h>

typedef struct {
  char *format; /* "qcow2" or "raw" */
  guint64 virtual_size;
} MfDiskInfo;

void mf_disk_info_free(MfDiskInfo *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfDiskInfo, mf_disk_info_free)

/*
 * mf_disk_info_parse() - from "qemu-img info --output=json". INVALID for any format but qcow2 and raw, and for a disk that is not
 * whole in its one file: with a backing file, an external data file, encrypted, or marked corrupt. Pure.
 */
MfDiskInfo *mf_disk_info_parse(const char *json, gsize length, const char *path,
                               GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* mf_disk_info_read() - ask qemu-img. @format: NULL: let it find out. Blocking, short. */
MfDiskInfo *mf_disk_info_read(const char *path, const char *format,
                              GError **error) G_GNUC_WARN_UNUSED_RESULT;
