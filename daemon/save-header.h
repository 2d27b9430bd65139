/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The front of a file that libvirt saved a domain to. Pure: bytes in, bytes out.
 *
 * libvirt 9.0, src/qemu/qemu_saveimage.h: 16 bytes of magic, 19 little-endian 32-bit words
 * (version, length of the data, was running, compression, where in the data a cookie begins or 0,
 * 14 unused), then the data: the domain's XML, NUL, the cookie, NUL, padding. QEMU's migration
 * stream follows. None of it is promised to stay, so everything that is not exactly so is refused:
 * a memory image is never worth a guess.
 */

#include <glib.h>

/* Of the part before the data. libvirt writes it once more when the file is complete. */
#define MF_SAVE_FRONT 92u
/* More than this of a save file is never looked at for its front. */
#define MF_SAVE_DATA_MAX (4u << 20)

typedef struct {
  guint32 words[19]; /* as they were, in the host's byte order */
  char *xml;
  char *cookie; /* NULL: there is none */
  gsize length; /* where QEMU's stream begins */
} MfSaveHeader;

void mf_save_header_free(MfSaveHeader *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfSaveHeader, mf_save_header_free)

/*
 * mf_save_header_length() - how many bytes of a file mf_save_header_parse() needs, from its first
 * MF_SAVE_FRONT ones. 0 and DAMAGED: not a whole save file of the kind described above.
 */
gsize mf_save_header_length(const guint8 *front, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/*
 * mf_save_header_parse() - @data: a file's beginning, with at least 8 bytes of QEMU's stream, which
 * are checked too. DAMAGED: anything unexpected. (transfer full)
 */
MfSaveHeader *mf_save_header_parse(const guint8 *data, gsize length,
                                   GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same front with another domain's XML, for the same stream. (transfer full) */
GBytes *mf_save_header_build(const MfSaveHeader *self, const char *xml);
