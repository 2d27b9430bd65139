/* SPDX-License-Identifier: Apache-2.0 */
/* Who is on the other end, and what they may see. */
#include "daemon/api-private.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/text.h"

/* A verdict on a uid is kept this long: long enough for a busy client, short enough for usermod. */
#define VERDICT_LIFE (30 * G_USEC_PER_SEC)

typedef struct {
  gint64 until;
  gboolean admin;
} Verdict;

/*
 * Is @uid a member of @group by the databases? SO_PEERCRED tells the primary group only, and the
 * process's own supplementary groups may be older than the database. Blocks where users live in a
 * directory service: for a worker.
 */
static gboolean
is_member(uid_t uid, const char *group)
{
  struct passwd user, *found_user = NULL;
  struct group entry, *found = NULL;
  g_autofree char *user_buffer = g_malloc(64 << 10);
  g_autofree char *group_buffer = g_malloc(1 << 20);
  if (getpwuid_r(uid, &user, user_buffer, 64 << 10, &found_user) != 0 || found_user == NULL)
    return FALSE;
  if (getgrnam_r(group, &entry, group_buffer, 1 << 20, &found) != 0 || found == NULL)
    return FALSE;
  int n = 4096;
  g_autofree gid_t *groups = g_new(gid_t, n);
  if (getgrouplist(user.pw_name, user.pw_gid, groups, &n) < 0)
    return FALSE;
  for (int i = 0; i < n; i++)
    if (groups[i] == entry.gr_gid)
      return TRUE;
  return FALSE;
}

typedef struct {
  uid_t uid;
  char *group;
} Question;

static void
question_free(gpointer data)
{
  Question *self = data;
  g_free(self->group);
  g_free(self);
}

static void
ask(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  const Question *question = data;
  g_task_return_boolean(task, is_member(question->uid, question->group));
}

static gboolean
known(MfApi *self, uid_t uid, gboolean *ret_admin)
{
  const Verdict *verdict = g_hash_table_lookup(self->admins, GUINT_TO_POINTER(uid));
  if (uid == 0 || *self->config->admin_group == '\0') {
    *ret_admin = uid == 0;
    return TRUE;
  }
  if (verdict == NULL || verdict->until < g_get_monotonic_time())
    return FALSE;
  *ret_admin = verdict->admin;
  return TRUE;
}

void
mf_api_peer_identify_async(MfApi *self, GSocket *socket, GAsyncReadyCallback callback,
                           gpointer data)
{
  g_autoptr(GTask) task = g_task_new(NULL, self->stop, callback, data);
  g_task_set_source_tag(task, mf_api_peer_identify_async);
  Question *question = g_new0(Question, 1);
  g_task_set_task_data(task, question, question_free);
  if (self->peer_hook != NULL) {
    g_task_return_boolean(task, FALSE);
    return;
  }
  g_autoptr(GError) error = NULL;
  g_autoptr(GCredentials) credentials = g_socket_get_credentials(socket, &error);
  question->uid =
      credentials != NULL ? g_credentials_get_unix_user(credentials, &error) : (uid_t)-1;
  if (question->uid == (uid_t)-1) {
    g_task_return_new_error(task, MF_ERROR, MF_ERROR_FORBIDDEN,
                            "The kernel does not say who is on this connection: %s.",
                            error != NULL ? error->message : "unknown user");
    return;
  }
  gboolean admin = FALSE;
  if (known(self, question->uid, &admin)) {
    g_task_return_boolean(task, admin);
    return;
  }
  question->group = g_strdup(self->config->admin_group);
  g_task_run_in_thread(task, ask);
}

gboolean
mf_api_peer_identify_finish(MfApi *self, GAsyncResult *result, MfApiPeer *ret, GError **error)
{
  GTask *task = G_TASK(result);
  const Question *question = g_task_get_task_data(task);
  GError *problem = NULL;
  gboolean admin = g_task_propagate_boolean(task, &problem);
  if (problem != NULL) {
    g_propagate_error(error, problem);
    return FALSE;
  }
  if (self->peer_hook != NULL) {
    *ret = self->peer_hook(self->peer_hook_data);
    return TRUE;
  }
  *ret = (MfApiPeer){.uid = question->uid, .admin = admin};
  if (question->group != NULL) {
    Verdict *verdict = g_new(Verdict, 1);
    *verdict = (Verdict){g_get_monotonic_time() + VERDICT_LIFE, admin};
    g_hash_table_replace(self->admins, GUINT_TO_POINTER(question->uid), verdict);
  }
  return TRUE;
}

gboolean
mf_api_peer_may_see(const MfApiPeer *peer, MfJob *job)
{
  return peer->admin || mf_job_get_owner(job) == peer->uid;
}

/* Among the peer's own jobs: that an id or its beginning is somebody else's must not show. */
static MfJob *
find_own(MfApiRequest *request, const char *id, guint *ret_matches)
{
  g_autoptr(GPtrArray) jobs = mf_scheduler_list(request->api->scheduler);
  MfJob *match = NULL;
  for (guint i = 0; i < jobs->len && *id != '\0'; i++) {
    MfJob *job = jobs->pdata[i];
    if (!mf_api_peer_may_see(&request->peer, job) || !g_str_has_prefix(mf_job_get_id(job), id))
      continue;
    match = job;
    if (strcmp(mf_job_get_id(job), id) == 0) {
      *ret_matches = 1;
      return job;
    }
    ++*ret_matches;
  }
  return match;
}

MfJob *
mf_api_find_job(MfApiRequest *request, GError **error)
{
  const char *id = request->args[0];
  if (request->peer.admin)
    return mf_scheduler_find(request->api->scheduler, id, error);
  guint matches = 0;
  MfJob *job = find_own(request, id, &matches);
  if (matches == 1)
    return job;
  g_autofree char *shown = mf_text_quote(id);
  if (matches == 0)
    g_set_error(error, MF_ERROR, MF_ERROR_NOT_FOUND,
                "You have no job %s: \"mayfly list\" shows those you have.", shown);
  else
    g_set_error(error, MF_ERROR, MF_ERROR_CONFLICT,
                "%u of your jobs begin with %s: give more of the id.", matches, shown);
  return NULL;
}
