/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How an image version gets into the images folder, and out of it: whole or not at all.
 *
 * A builder works in a stage, <images>/.new-XXXXXX, on whose folder it holds a lock; publishing
 * syncs everything and renames it to NAME@DIGEST. A stage whose lock nobody holds belongs to a dead
 * builder and is swept by the next one. Blocking; one thread.
 */

#include <gio/gio.h>

#include "daemon/image-meta.h"
#include "daemon/image.h"

typedef struct MfImageStage MfImageStage;

/* mf_image_stage_new() - a new, empty stage in @images, which must exist; sweeps dead ones before.
 */
MfImageStage *mf_image_stage_new(const char *images, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The stage's folder, absolute: put disk.qcow2 and perhaps kernel and initrd there. Anything else
 * in it is dropped. */
const char *mf_image_stage_directory(const MfImageStage *self);

/*
 * mf_image_stage_publish() - make it the version that its content says. @meta->files and, if it is
 * 0, @meta->created are filled in. The files become 0444 and belong to the owner of @images. A
 * version that is already there is left as it is and returned. After success the stage is used up;
 * on failure nothing was published and it is still there. (transfer full)
 */
MfImage *mf_image_stage_publish(MfImageStage *self, MfImageMeta *meta, GCancellable *cancellable,
                                MfImageProgress progress, gpointer user_data,
                                GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Removes what was not published. */
void mf_image_stage_free(MfImageStage *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfImageStage, mf_image_stage_free)

/* mf_image_store_sweep() - remove what dead builders and interrupted removals left. What cannot be
 * removed is logged. */
void mf_image_store_sweep(const char *images);

/* mf_image_store_discard() - @directory, a version's folder, vanishes at once by a rename; then its
 * files are deleted. */
gboolean mf_image_store_discard(const char *directory, GError **error) G_GNUC_WARN_UNUSED_RESULT;
