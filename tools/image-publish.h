/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What 'image build' and 'image import' share: their options, and publishing with progress. */

#include "daemon/image-store.h"
#include "tools/command.h"
#include "tools/process.h"

/* The images folder: @given, else the configured one, else the built-in default; made if it is not there. (transfer full) */
char *mf_image_folder(const char *given, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* mf_image_convert() - @from in @format to a new qcow2 @to, with progress. */
gboolean mf_image_convert(const char *from, const char *format, const char *to, MfSteps *progress,
                          GCancellable *cancellable, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * mf_image_publish() - fill in @meta's virtual size from the stage's disk.qcow2 and publish, as a step of @progress; then print the
 * reference on standard output.
 */
gboolean mf_image_publish(MfImageStage *stage, MfImageMeta *meta, MfSteps *progress,
                          GCancellable *cancellable, GError **error) G_GNUC_WARN_UNUSED_RESULT;
