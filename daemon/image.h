/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Images: golden disks, immutable, versioned by digest, never booted themselves.
 *
 * <images>/NAME@DIGEST/ holds disk.qcow2, maybe kernel and initrd, image.json, and the prepared layers that
 * mayfly made of it. The folder appears by one rename and is never changed but for prepared layers. The newest
 * version of a NAME is the one that a plain NAME means. Used by the daemon and by `mayfly image build|import`.
 */

#include <gio/gio.h>

typedef struct {
  gatomicrefcount refs;
  char *name;
  char *digest;         /* sha256 hex over the digests of the files and how they boot, 64 characters */
  char *directory;      /* absolute */
  char *disk;           /* absolute path, qcow2 */
  guint64 virtual_size; /* bytes */
  guint64 file_size;    /* bytes of disk, kernel and initrd */
  char *kernel;         /* absolute path or NULL: boots by its own boot loader */
  char *initrd;         /* likewise */
  char *cmdline;        /* kernel command line that the image needs, or NULL */
  gboolean agent_in_initrd; /* our initrd: it starts the agent before everything else */
  char *root_device;    /* as libguestfs names it: /dev/sda1 */
  char *root_fstype;    /* ext4, xfs, … */
  char *init;           /* systemd | sysv | openrc | busybox | unknown */
  char *os;             /* "Debian GNU/Linux 12 (bookworm)" */
  gint64 created;       /* seconds since 1970 */
} MfImage;

MfImage *mf_image_ref(MfImage *self);
void mf_image_unref(MfImage *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfImage, mf_image_unref)

/* "name@first 12 of the digest": how people see one version (transfer full). */
char *mf_image_reference(const MfImage *self);

/*
 * mf_image_list() - every image in @directory, by name, the newest version first; unfinished ones are not seen.
 * A damaged one is left out and logged, so that one bad folder stops nobody. (transfer full)
 */
GPtrArray *mf_image_list(const char *directory, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* mf_image_find() - by "name" (newest) or "name@prefix of the digest"; NOT_FOUND says how to get it; DAMAGED if files are missing. */
MfImage *mf_image_find(const char *directory, const char *reference, GError **error) G_GNUC_WARN_UNUSED_RESULT;

typedef void (*MfImageProgress)(double fraction, gpointer user_data);

/* mf_image_verify() - read every file and compare digests: DAMAGED names the file. Blocking; for a worker or the CLI. */
gboolean mf_image_verify(MfImage *self, GCancellable *cancellable, MfImageProgress progress, gpointer user_data,
                         GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* mf_image_remove() - the version's folder and all prepared layers in it. The caller knows that nobody uses it. Blocking. */
gboolean mf_image_remove(MfImage *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;
