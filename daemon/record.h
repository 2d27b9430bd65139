/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A job's folder on disk, <state>/jobs/ID (0700): record.json, replaced atomically and synced;
 * secrets.json (variables, scripts, files: 0600, wiped at the job's end) and secrets-N.json (those
 * of a later exec, wiped at its end); console.log; exec-N.log.
 * What is recorded comes before what it records.
 */

#include <glib.h>

#include "daemon/auto.h"

/* mf_record_create() - the folder, with both documents. @secrets may be NULL. On failure nothing is
 * left. */
gboolean mf_record_create(const char *folder, MfJson *record, MfJson *secrets,
                          GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* mf_record_write() - replace record.json; the old one stays if that fails. */
gboolean mf_record_write(const char *folder, MfJson *record,
                         GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* secrets-@number.json, which is written once; wiping one that is not there is success. */
gboolean mf_record_write_exec(const char *folder, guint number, MfJson *secrets,
                              GError **error) G_GNUC_WARN_UNUSED_RESULT;
MfJson *mf_record_read_exec(const char *folder, guint number,
                            GError **error) G_GNUC_WARN_UNUSED_RESULT;
gboolean mf_record_wipe_exec(const char *folder, guint number,
                             GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* DAMAGED if it does not parse, NOT_FOUND if it is not there. (transfer full) */
MfJson *mf_record_read(const char *folder, const char *name,
                       GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Overwrites and removes all of them; none there is success. */
gboolean mf_record_wipe_secrets(const char *folder, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Removes the folder and the files in it. */
gboolean mf_record_remove(const char *folder, GError **error) G_GNUC_WARN_UNUSED_RESULT;
