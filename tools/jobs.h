/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Small questions about jobs that several commands ask. They block. */

#include "tools/client.h"

/* "/v1/jobs/ID" and what follows, see mf_client_path(). The job's document. (transfer full) */
MfJson *mf_jobs_get(MfClient *client, const char *id, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Until the job is finished, however long it takes and through restarts of mayflyd up to a minute.
 * (transfer full) */
MfJson *mf_jobs_wait_finished(MfClient *client, const char *id,
                              GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Asks for its end. (transfer full) */
MfJson *mf_jobs_cancel(MfClient *client, const char *id, const char *reason,
                       GError **error) G_GNUC_WARN_UNUSED_RESULT;
