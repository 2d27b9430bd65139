/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Memory images: what machines of a template are forked from. <state>/forks/TEMPLATE-STAMP/ holds
 * "memory" (libvirt's save file: 0600, a guest's memory is nobody's business), disk.qcow2 (what the
 * saved machine wrote: the layer below every fork's overlay) and memory.json. The folder appears by
 * one rename and is never changed. It is removed while machines run on it without harm to them:
 * QEMU has its files open.
 */

#include "daemon/save-header.h"

typedef struct {
  gatomicrefcount refs;
  char *folder;
  char *memory, *disk; /* paths */
  char *stamp;         /* of everything that a fork would have to be the same as */
  MfSaveHeader *header;
  guint64 size; /* bytes that it takes up on the host */
  gint64 made;  /* unix seconds */
} MfMemoryImage;

MfMemoryImage *mf_memory_image_ref(MfMemoryImage *self);
void mf_memory_image_unref(MfMemoryImage *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfMemoryImage, mf_memory_image_unref)

/* @template's of @stamp below @forks. NOT_FOUND; DAMAGED: it is there, but not as it was made. */
MfMemoryImage *mf_memory_image_find(const char *forks, const char *template, const char *stamp,
                                    GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* mf_memory_image_begin() - a hidden folder to make one in. @overlays: folder that the machine's
 * disk will be moved from: it has to be on the same file system. (transfer full) */
char *mf_memory_image_begin(const char *forks, const char *overlays,
                            GError **error) G_GNUC_WARN_UNUSED_RESULT;
/*
 * mf_memory_image_publish() - @work, with "memory" and disk.qcow2 (both synced) in it, becomes @template's of
 * @stamp; one that was there is replaced. FALSE: @work is gone.
 */
gboolean mf_memory_image_publish(const char *work, const char *forks, const char *template,
                                 const char *stamp, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The folder of one that will not be finished. */
void mf_memory_image_forget(const char *work);
void mf_memory_image_remove(MfMemoryImage *self);
/* Of a daemon that was killed while it made one: before libvirtd is asked for any domain (fifo.h). */
void mf_memory_image_sweep_unfinished(const char *forks);
/* Everything below @forks that is not in @keep (paths, as keys) goes. */
void mf_memory_image_sweep(const char *forks, GHashTable *keep);
