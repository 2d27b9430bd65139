/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stand-in for gitlab-runner with the custom executor: reads config.toml, takes jobs from a
 * coordinator and calls the driver as the contract says. SIGQUIT: takes no more jobs and ends after
 * the last; SIGTERM, SIGINT: aborts them.
 */
#include <glib.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/gitlab/runner-api.h"
#include "tests/gitlab/runner-job.h"

typedef struct {
  RunnerConfig *config;
  Api api;
  GMainLoop *loop;
  GMutex lock;     /* of the jobs */
  GPtrArray *jobs; /* one place a slot; NULL: free */
  guint running;
  guint left; /* jobs that may still be taken */
  gboolean draining;
} Runner;

typedef struct {
  Runner *runner;
  Job *job;
} Work;

static gboolean
maybe_end(gpointer data)
{
  Runner *self = data;
  g_mutex_lock(&self->lock);
  if (self->running == 0 && (self->draining || self->left == 0))
    g_main_loop_quit(self->loop);
  g_mutex_unlock(&self->lock);
  return G_SOURCE_REMOVE;
}

static gpointer
run_job(gpointer data)
{
  Work *work = data;
  Runner *self = work->runner;
  job_run(work->job);
  g_mutex_lock(&self->lock);
  self->jobs->pdata[work->job->slot] = NULL;
  self->running--;
  g_mutex_unlock(&self->lock);
  job_unref(work->job);
  g_free(work);
  g_idle_add(maybe_end, self);
  return NULL;
}

/* A free place, or -1. */
static int
free_slot(Runner *self)
{
  for (guint i = 0; i < self->jobs->len; i++)
    if (self->jobs->pdata[i] == NULL)
      return (int)i;
  return -1;
}

/* Takes a job if there is one and a place for it. Returns: whether it did. */
static gboolean
take_job(Runner *self)
{
  g_mutex_lock(&self->lock);
  int slot = self->draining || self->left == 0 ? -1 : free_slot(self);
  g_mutex_unlock(&self->lock);
  g_autofree char *payload = slot >= 0 ? api_request_job(&self->api) : NULL;
  Job *job = payload != NULL ? job_new(self->config, payload, (guint)slot) : NULL;
  if (job == NULL)
    return FALSE;
  Work *work = g_new0(Work, 1);
  work->runner = self;
  work->job = job;
  g_mutex_lock(&self->lock);
  self->jobs->pdata[slot] = job;
  self->running++;
  self->left--;
  g_mutex_unlock(&self->lock);
  g_thread_unref(g_thread_new("job", run_job, work));
  return TRUE;
}

static gboolean
check(gpointer self)
{
  while (take_job(self))
    continue;
  return G_SOURCE_CONTINUE;
}

static void
drain(Runner *self)
{
  self->draining = TRUE;
  maybe_end(self);
}

static void
interrupt(Runner *self)
{
  g_mutex_lock(&self->lock);
  for (guint i = 0; i < self->jobs->len; i++)
    if (self->jobs->pdata[i] != NULL)
      job_interrupt(self->jobs->pdata[i]);
  g_mutex_unlock(&self->lock);
  drain(self);
}

/* GLib has no source for SIGQUIT. */
static volatile sig_atomic_t caught;

static void catch (int number)
{
  caught = number;
}

static gboolean
look_for_signal(gpointer self)
{
  int number = caught;
  caught = 0;
  if (number == SIGQUIT)
    drain(self);
  else if (number != 0)
    interrupt(self);
  return G_SOURCE_CONTINUE;
}

static void
catch_signals(Runner *self)
{
  static const int numbers[] = {SIGQUIT, SIGTERM, SIGINT};
  const struct sigaction action = {.sa_handler = catch, .sa_flags = SA_RESTART};
  for (guint i = 0; i < G_N_ELEMENTS(numbers); i++)
    sigaction(numbers[i], &action, NULL);
  g_timeout_add(20, look_for_signal, self);
}

static gboolean
parse(int argc, char **argv, Runner *self, GError **error)
{
  g_autofree char *path = NULL;
  int prepare = 0, stage = 0, update = 0, touch = 0, finish = 0, after = 0, jobs = 0, check_ms = 0;
  const GOptionEntry entries[] = {
      {"config", 0, 0, G_OPTION_ARG_FILENAME, &path, "config.toml", "FILE"},
      {"jobs", 0, 0, G_OPTION_ARG_INT, &jobs, "end after so many", "N"},
      {"check", 0, 0, G_OPTION_ARG_INT, &check_ms, "between requests for jobs", "MS"},
      {"prepare-interval", 0, 0, G_OPTION_ARG_INT, &prepare, "between tries of prepare", "MS"},
      {"stage-interval", 0, 0, G_OPTION_ARG_INT, &stage, "between tries of a stage", "MS"},
      {"update-interval", 0, 0, G_OPTION_ARG_INT, &update, "between parts of the trace", "MS"},
      {"touch-interval", 0, 0, G_OPTION_ARG_INT, &touch, "a silent job asks how it is", "MS"},
      {"build-finish", 0, 0, G_OPTION_ARG_INT, &finish, "an aborted job is waited for", "MS"},
      {"after-script", 0, 0, G_OPTION_ARG_INT, &after, "what after_script may take", "MS"},
      {0}};
  g_autoptr(GOptionContext) options = g_option_context_new("- a stand-in for gitlab-runner");
  g_option_context_add_main_entries(options, entries, NULL);
  if (!g_option_context_parse(options, &argc, &argv, error))
    return FALSE;
  self->config = runner_config_load(path != NULL ? path : "config.toml", error);
  if (self->config == NULL)
    return FALSE;
  const struct {
    int given;
    guint *place;
  } times[] = {{prepare, &self->config->prepare_interval}, {stage, &self->config->stage_interval},
               {update, &self->config->update_interval},   {touch, &self->config->touch_interval},
               {finish, &self->config->build_finish},      {after, &self->config->after_script}};
  for (guint i = 0; i < G_N_ELEMENTS(times); i++)
    if (times[i].given > 0)
      *times[i].place = (guint)times[i].given;
  self->left = jobs > 0 ? (guint)jobs : G_MAXUINT;
  g_timeout_add(check_ms > 0 ? (guint)check_ms : self->config->check_interval * 1000, check, self);
  return TRUE;
}

int
main(int argc, char **argv)
{
  /* What an aborted job left behind may look at it to the end. */
  static Runner self = {.left = G_MAXUINT};
  g_autoptr(GError) error = NULL;
  if (!parse(argc, argv, &self, &error)) {
    fprintf(stderr, "runner: %s\n", error->message);
    return 2;
  }
  guint slots = self.config->concurrent;
  if (self.config->limit > 0)
    slots = MIN(slots, self.config->limit);
  self.jobs = g_ptr_array_new();
  g_ptr_array_set_size(self.jobs, (int)slots);
  g_mutex_init(&self.lock);
  self.loop = g_main_loop_new(NULL, FALSE);
  api_init(&self.api, self.config);
  catch_signals(&self);
  g_idle_add(G_SOURCE_FUNC(check), &self);
  g_main_loop_run(self.loop);
  return 0;
}
