/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * image.json: what is known of an image version beside its files. Pure: text in, text out, no I/O.
 * It may come from somebody else's image folder, so everything in it is checked before it names a
 * file or reaches a kernel command line.
 */

#include <glib.h>

typedef enum {
  MF_IMAGE_FILE_DISK,
  MF_IMAGE_FILE_KERNEL,
  MF_IMAGE_FILE_INITRD,
  MF_IMAGE_FILE_LAST_
} MfImageFileKind;

/* "disk.qcow2", "kernel", "initrd": the only names of files that belong to an image. */
const char *mf_image_file_name(MfImageFileKind kind);

typedef struct {
  char *sha256; /* 64 lower-case hex digits; NULL: the image has no such file */
  guint64 size;
} MfImageFile;

typedef struct {
  char *name;
  gint64 created;       /* seconds since 1970 */
  guint64 virtual_size; /* bytes */
  char *os;
  char *init;
  char *root_device;
  char *root_fstype;
  char *cmdline; /* NULL if it needs none */
  gboolean agent_in_initrd;
  MfImageFile files[MF_IMAGE_FILE_LAST_];
} MfImageMeta;

MfImageMeta *mf_image_meta_new(void);
void mf_image_meta_free(MfImageMeta *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfImageMeta, mf_image_meta_free)

/* Letters, digits, '.', '_', '-'; starts with a letter or digit; at most 63. So it is a file name,
 * and never holds '@'. */
gboolean mf_image_name_valid(const char *name);

/* The values that an init may have: systemd | sysv | openrc | busybox | unknown. */
gboolean mf_image_init_valid(const char *init);

/* What somebody's disk says it is, made fit for the field os. (transfer full) */
char *mf_image_os_text(const char *text);

/* mf_image_meta_check() - is every field fit for use? INVALID names the field and what is allowed.
 */
gboolean mf_image_meta_check(const MfImageMeta *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * mf_image_meta_parse() - @text is hostile; an unknown, missing or repeated-with-another-type key,
 * or a value that mf_image_meta_check() refuses, is INVALID. (transfer full)
 */
MfImageMeta *mf_image_meta_parse(const char *text, gsize length,
                                 GError **error) G_GNUC_WARN_UNUSED_RESULT;
char *mf_image_meta_to_json(const MfImageMeta *self);

/*
 * mf_image_meta_digest() - the version: sha256 over the digests of the files and over what decides
 * how they boot (command line, root device, init), so that a version with another command line is
 * another version. (transfer full)
 */
char *mf_image_meta_digest(const MfImageMeta *self);
