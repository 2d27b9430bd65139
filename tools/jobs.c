/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs: asking for one, waiting for its end, asking for its end. */
#include "tools/jobs.h"

#include "tools/document.h"

#define WAIT_SECONDS "60"
#define PATIENCE_US  (60 * G_USEC_PER_SEC)
#define RETRY_US     (G_USEC_PER_SEC / 2)

MfJson *
mf_jobs_get(MfClient *client, const char *id, GError **error)
{
  g_autofree char *path = mf_client_path("jobs", id, NULL);
  return mf_client_call(client, "GET", path, NULL, error);
}

MfJson *
mf_jobs_wait_finished(MfClient *client, const char *id, GError **error)
{
  g_autofree char *base = mf_client_path("jobs", id, NULL);
  g_autofree char *path = g_strconcat(base, "?wait=finished&timeout=" WAIT_SECONDS, NULL);
  gint64 lost_since = 0;
  gboolean ever_answered = FALSE;
  while (TRUE) {
    g_autoptr(GError) local = NULL;
    g_autoptr(MfJson) job = mf_client_call(client, "GET", path, NULL, &local);
    if (job != NULL) {
      if (g_strcmp0(mf_document_text(job, "state"), "finished") == 0)
        return g_steal_pointer(&job);
      lost_since = 0;
      ever_answered = TRUE;
      continue;
    }
    gint64 now = g_get_monotonic_time();
    lost_since = lost_since != 0 ? lost_since : now;
    if (!ever_answered || !mf_client_error_is_passing(local) || now - lost_since > PATIENCE_US) {
      g_propagate_error(error, g_steal_pointer(&local));
      return NULL;
    }
    g_usleep(RETRY_US);
  }
}

MfJson *
mf_jobs_cancel(MfClient *client, const char *id, const char *reason, GError **error)
{
  g_autofree char *base = mf_client_path("jobs", id, NULL);
  g_autofree char *escaped = g_uri_escape_string(reason, NULL, FALSE);
  g_autofree char *path = g_strdup_printf("%s?reason=%s", base, escaped);
  return mf_client_call(client, "DELETE", path, NULL, error);
}
