/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly gitlab prepare: a machine for a GitLab job, and in the job's log what it waits for. What
 * the job itself did wrong fails it at once; everything else may be tried again by the runner.
 */
#include <stdio.h>

#include "daemon/error.h"
#include "daemon/json.h"
#include "daemon/paths.h"
#include "daemon/runner.h"
#include "daemon/units.h"
#include "tools/commands.h"
#include "tools/document.h"
#include "tools/gitlab-config.h"
#include "tools/gitlab-report.h"
#include "tools/gitlab-session.h"
#include "tools/outcome.h"
#include "tools/watch.h"

#define LOOK_MS          2000 /* for a sign of life */
#define FIRST_PAUSE_MS   500
#define LONGEST_PAUSE_MS 5000

typedef struct {
  MfGitlabSession *session;
  MfGitlabConfig *config;
  MfGitlabWishes *wishes;
  char *template;
  guint64 longest; /* seconds that a machine of it may live; 0: it sets no limit */
  MfJson *info;    /* of the host */
  gboolean blamed; /* the error is of the job's own making */
} Prepare;

static void
say(char *lines)
{
  g_autofree char *owned = lines;
  if (owned == NULL)
    return;
  puts(owned);
  /* The log is read while we wait. */
  fflush(stdout);
}

static void
warn(char *text)
{
  g_autofree char *owned = text;
  say(mf_gitlab_report_warning(owned));
}

/* What the job asks for */

/* Where an image carries Docker, they would be started in its machine, between the machine being
 * ready and the first script; none does. */
static gboolean
check_services(const Prepare *self, GError **error)
{
  if (self->wishes->services[0] == NULL)
    return TRUE;
  g_autofree char *names = g_strjoinv(", ", self->wishes->services);
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
              "services: %s cannot be started, because the machines of this host carry no Docker. "
              "A job has a whole machine and is root in it: install what it needs in its script "
              "(apt-get install postgresql) or use an image: that has it, and remove services:",
              names);
  return FALSE;
}

static guint64
longest_of(MfJson *templates, const char *name)
{
  for (gsize i = 0; i < mf_document_count(templates); i++) {
    MfJson *template = mf_document_item(templates, i);
    if (g_strcmp0(mf_document_text(template, "name"), name) == 0)
      return mf_document_uint(template, "max_timeout");
  }
  return 0;
}

static gboolean
choose_template(Prepare *self, GError **error)
{
  g_autoptr(MfJson) answer =
      mf_gitlab_session_call(self->session, "GET", "/v1/templates", NULL, error);
  if (answer == NULL)
    return FALSE;
  g_autoptr(MfJson) templates = mf_gitlab_config_templates(answer);
  self->template = mf_gitlab_config_find_template(self->config, self->wishes->image,
                                                  self->wishes->image_shown, templates, error);
  self->blamed = self->template == NULL;
  self->longest = longest_of(templates, self->template);
  return self->template != NULL;
}

static gboolean
understand(Prepare *self, GError **error)
{
  g_autofree char *path = mf_path_gitlab_config();
  self->config = mf_gitlab_config_load(path, error);
  if (self->config == NULL)
    return FALSE;
  self->blamed = TRUE;
  self->wishes = mf_gitlab_job_get_wishes(self->session->job, error);
  if (self->wishes == NULL || !check_services(self, error))
    return FALSE;
  self->blamed = FALSE;
  self->info = mf_gitlab_session_call(self->session, "GET", "/v1/info", NULL, error);
  return self->info != NULL && choose_template(self, error);
}

/* The machine */

/* A try before this one may have got further than its runner knows. */
static gboolean
clear_earlier(Prepare *self, GError **error)
{
  g_autoptr(GPtrArray) jobs = mf_gitlab_session_list(self->session, FALSE, error);
  if (jobs == NULL)
    return FALSE;
  for (guint i = 0; i < jobs->len; i++) {
    const char *id = mf_document_text(g_ptr_array_index(jobs, i), "id");
    say(g_strdup_printf("Ending machine %s of an earlier try", id));
    if (!mf_gitlab_session_cancel(self->session, id, "its GitLab job is prepared anew", error) ||
        !mf_gitlab_session_wait_gone(self->session, id, error))
      return FALSE;
  }
  return TRUE;
}

static guint64
keep_time(const Prepare *self)
{
  guint64 asked = self->wishes->keep;
  guint64 most = self->config->keep_limit;
  MfJson *limits = mf_document_member(self->info, "limits");
  if (mf_document_has(limits, "keep"))
    most = MIN(most, mf_document_uint(limits, "keep"));
  g_autofree char *shown = mf_duration_format(most);
  if (asked > most)
    warn(most > 0
             ? g_strdup_printf(
                   "MAYFLY_KEEP_ON_FAILURE is more than this host allows, so %s is taken", shown)
             : g_strdup("this host keeps no machines, so MAYFLY_KEEP_ON_FAILURE has no effect"));
  return MIN(asked, most);
}

/* The job's own, and a margin, so that it is GitLab that ends a job whose time is up. The limit of
 * host or template may cut the margin, but not the job's time: that is refused. */
static guint64
machine_time(const Prepare *self)
{
  guint64 timeout = self->wishes->timeout;
  guint64 most = mf_document_uint(mf_document_member(self->info, "limits"), "timeout");
  if (self->longest > 0)
    most = most > 0 ? MIN(most, self->longest) : self->longest;
  guint64 wanted = timeout > 0 ? timeout + self->config->margin : 0;
  return most > 0 && timeout <= most ? MIN(wanted, most) : wanted;
}

static void
add_number(MfJson *object, const char *key, guint64 number)
{
  if (number > 0)
    mf_json_add_uint(object, key, number);
}

static MfJson *
specify(const Prepare *self)
{
  MfJson *spec = json_object_new_object();
  g_autofree char *key = g_uuid_string_random();
  mf_json_add_string(spec, "key", key);
  mf_json_add_string(spec, "name", self->session->job->name);
  mf_json_add_string(spec, "template", self->template);
  mf_json_add_bool(spec, "hold", TRUE);
  mf_json_add_bool(spec, "retryable", self->config->retryable && self->wishes->retryable);
  mf_json_add_uint(spec, "lease", self->config->lease);
  add_number(spec, "timeout", machine_time(self));
  add_number(spec, "cpus", self->wishes->cpus);
  add_number(spec, "memory", self->wishes->memory);
  add_number(spec, "disk", self->wishes->disk);
  add_number(spec, "keep_on_failure", keep_time(self));
  return spec;
}

/* A host that is drained, or whose queue is full, takes the job later. GitLab does not take it
 * back, so this goes on until the runner ends it. (transfer full) */
static MfJson *
post_when_open(Prepare *self, MfJson *spec, GError **error)
{
  guint pause = FIRST_PAUSE_MS;
  while (!self->session->stopped) {
    g_autoptr(GError) local = NULL;
    MfJson *job = mf_gitlab_session_call(self->session, "POST", "/v1/jobs", spec, &local);
    if (job != NULL)
      return job;
    if (!g_error_matches(local, MF_ERROR, MF_ERROR_BUSY)) {
      g_propagate_error(error, g_steal_pointer(&local));
      return NULL;
    }
    if (pause == FIRST_PAUSE_MS)
      say(mf_gitlab_report_refused(local->message));
    mf_gitlab_session_pause(self->session, pause);
    pause = MIN(2 * pause, LONGEST_PAUSE_MS);
  }
  mf_gitlab_session_set_stopped_error(self->session, error);
  return NULL;
}

/* (transfer full) */
static MfJson *
post(Prepare *self, GError **error)
{
  g_autoptr(GError) local = NULL;
  g_autoptr(MfJson) spec = specify(self);
  MfJson *job = post_when_open(self, spec, &local);
  if (job != NULL)
    return job;
  self->blamed = g_error_matches(local, MF_ERROR, MF_ERROR_LIMIT);
  if (self->blamed)
    g_prefix_error(&local, "this job asks for more than it can get here (MAYFLY_CPUS, "
                           "MAYFLY_MEMORY, MAYFLY_DISK, timeout): ");
  g_propagate_error(error, g_steal_pointer(&local));
  return NULL;
}

/* Waiting for it */

typedef struct {
  MfGitlabReport report;
  MfJson *job; /* the newest document */
  GCancellable *cancellable;
  GError *error;
  gboolean ready, over;
} Wait;

static gboolean
on_job(MfJson *job, gpointer data)
{
  Wait *self = data;
  const char *state = mf_document_text(job, "state");
  g_clear_pointer(&self->job, json_object_put);
  self->job = json_object_get(job);
  self->ready = g_strcmp0(state, "ready") == 0 || g_strcmp0(state, "running") == 0;
  say(mf_gitlab_report_progress(&self->report, job, g_get_monotonic_time()));
  return !self->ready && g_strcmp0(state, "finished") != 0;
}

static void
on_watch_over(GObject *source, GAsyncResult *result, gpointer data)
{
  Wait *self = data;
  self->over = TRUE;
  (void)!mf_watch_run_finish(MF_WATCH(source), result, &self->error);
}

static gboolean
on_look(gpointer data)
{
  Wait *self = data;
  if (self->job != NULL && !self->over)
    say(mf_gitlab_report_progress(&self->report, self->job, g_get_monotonic_time()));
  return G_SOURCE_CONTINUE;
}

static void
watch(Prepare *self, Wait *wait, const char *id)
{
  g_autofree char *path = mf_client_path("jobs", id, "events", NULL);
  g_autoptr(MfWatch) watch = mf_watch_new(self->session->client, path, on_job, wait);
  guint timer = g_timeout_add(LOOK_MS, on_look, wait);
  wait->cancellable = g_cancellable_new();
  mf_watch_run_async(watch, wait->cancellable, on_watch_over, wait);
  while (!wait->over) {
    g_main_context_iteration(NULL, TRUE);
    if (self->session->stopped)
      g_cancellable_cancel(wait->cancellable);
  }
  g_source_remove(timer);
  g_clear_object(&wait->cancellable);
}

static void
set_wait_error(const Prepare *self, Wait *wait, const char *id, GError **error)
{
  if (self->session->stopped) {
    mf_gitlab_session_set_stopped_error(self->session, error);
  } else if (wait->error != NULL) {
    g_propagate_prefixed_error(error, g_steal_pointer(&wait->error),
                               "machine %s is lost from sight: ", id);
  } else {
    g_autofree char *why = mf_outcome_explain(wait->job);
    g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "there is no machine for this job: %s",
                why != NULL ? why : "somebody ended it");
  }
}

/* The ready machine's document (transfer full). */
static MfJson *
wait_ready(Prepare *self, const char *id, GError **error)
{
  Wait wait = {0};
  watch(self, &wait, id);
  g_autoptr(MfJson) job = g_steal_pointer(&wait.job);
  wait.job = job;
  gboolean ready = wait.ready && !self->session->stopped;
  if (!ready)
    set_wait_error(self, &wait, id, error);
  g_clear_error(&wait.error);
  return ready ? g_steal_pointer(&job) : NULL;
}

typedef enum { RUNNER_NONE, RUNNER_OF_HOST, RUNNER_OF_IMAGE } Runner;

/* Says on standard output where this host's is, on standard error where another one is. A missing
 * one must not fail a command, or the job's record would have its status. */
static const char look[] = "path=$(command -v gitlab-runner) || exit 0\n"
                           "[ \"$path\" = " MF_RUNNER_GUEST_PATH " ] || exec >&2\n"
                           "echo \"$path\"\n";

/* Asked in the machine itself: its image may bring one, or have no room for this host's. */
static gboolean
look_for_runner(Prepare *self, const char *id, Runner *ret_found, GError **error)
{
  g_autofree char *posts = mf_client_path("jobs", id, "execs", NULL);
  g_autofree char *key = g_uuid_string_random();
  g_autoptr(MfJson) spec = json_object_new_object();
  mf_json_add_string(spec, "key", key);
  mf_json_add_string(spec, "script", look);
  g_autoptr(MfJson) exec = mf_gitlab_session_call(self->session, "POST", posts, spec, error);
  if (exec == NULL)
    return FALSE;
  g_autofree char *path = g_strdup_printf("%s/%" G_GUINT64_FORMAT MF_GITLAB_WAIT_FINISHED, posts,
                                          mf_document_uint(exec, "number"));
  while (g_strcmp0(mf_document_text(exec, "state"), "finished") != 0) {
    if (self->session->stopped) {
      mf_gitlab_session_set_stopped_error(self->session, error);
      return FALSE;
    }
    json_object_put(exec);
    exec = mf_gitlab_session_call(self->session, "GET", path, NULL, error);
    if (exec == NULL)
      return FALSE;
  }
  *ret_found = mf_document_uint(exec, "stdout_bytes") > 0   ? RUNNER_OF_HOST
               : mf_document_uint(exec, "stderr_bytes") > 0 ? RUNNER_OF_IMAGE
                                                            : RUNNER_NONE;
  return TRUE;
}

/* Why the machine has none. (transfer full) */
static char *
why_no_runner(MfJson *runner)
{
  const char *problem = mf_document_text(runner, "problem");
  if (problem != NULL)
    return g_strdup_printf("%s (gitlab-runner in mayfly.conf)", problem);
  return g_strdup(runner != NULL ? "its image has no room for this host's"
                                 : "this host has none to give it (gitlab-runner in mayfly.conf)");
}

/* GitLab itself says next to nothing when artifacts and caches cannot be moved. */
static gboolean
tell_runner(Prepare *self, const char *id, GError **error)
{
  MfJson *runner = mf_document_member(self->info, "gitlab_runner");
  const char *version = mf_document_text(runner, "version");
  gboolean given = runner != NULL && !mf_document_has(runner, "problem");
  Runner found = RUNNER_NONE;
  if (!self->wishes->needs_runner)
    return TRUE;
  if (!look_for_runner(self, id, &found, error))
    return FALSE;
  if (found == RUNNER_OF_HOST && given) {
    say(g_strdup_printf("gitlab-runner %s of this host is in the machine",
                        version != NULL ? version : "(of unknown version)"));
  } else if (found != RUNNER_NONE) {
    say(g_strdup("gitlab-runner in the machine is that of its image"));
  } else {
    g_autofree char *why = why_no_runner(runner);
    warn(g_strdup_printf("the machine has no gitlab-runner, because %s: artifacts and cache will "
                         "be skipped",
                         why));
  }
  return TRUE;
}

/* The runner wants it no more. Whatever got posted goes; what cannot be reached now has its lease.
 */
static void
give_up(Prepare *self)
{
  g_autoptr(GPtrArray) jobs = mf_gitlab_session_list(self->session, FALSE, NULL);
  for (guint i = 0; jobs != NULL && i < jobs->len; i++)
    (void)!mf_gitlab_session_cancel(self->session,
                                    mf_document_text(g_ptr_array_index(jobs, i), "id"),
                                    "its GitLab job ended before it was prepared", NULL);
}

static gboolean
prepare(Prepare *self, GError **error)
{
  if (!understand(self, error) || !clear_earlier(self, error))
    return FALSE;
  g_autoptr(MfJson) posted = post(self, error);
  if (posted == NULL)
    return FALSE;
  g_autoptr(MfJson) job = wait_ready(self, mf_document_text(posted, "id"), error);
  if (job == NULL)
    return FALSE;
  say(mf_gitlab_report_summary(job));
  return tell_runner(self, mf_document_text(job, "id"), error);
}

int
mf_cmd_gitlab_prepare(const MfCommon *common, gconstpointer options, char **argv, GError **error)
{
  g_auto(MfGitlabSession) session = {0};
  g_autoptr(GError) local = NULL;
  if (!mf_gitlab_session_open(&session, common->socket, &local))
    return mf_gitlab_contract_fail(session.contract.system_failure, local);
  mf_gitlab_session_heed_stop(&session);
  Prepare self = {.session = &session};
  (void)!prepare(&self, &local);
  /* A machine that is ready by now goes too: whoever sent the signal does not wait for it. */
  if (session.stopped) {
    give_up(&self);
    self.blamed = FALSE;
    g_clear_error(&local);
    mf_gitlab_session_set_stopped_error(&session, &local);
  }
  int status = self.blamed ? session.contract.build_failure : session.contract.system_failure;
  if (local != NULL)
    mf_gitlab_contract_fail(status, local);
  g_clear_pointer(&self.config, mf_gitlab_config_free);
  g_clear_pointer(&self.wishes, mf_gitlab_wishes_free);
  g_clear_pointer(&self.info, json_object_put);
  g_free(self.template);
  return local == NULL ? MF_EXIT_OK : status;
}
