/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A mayflyd played for the GitLab driver: its machines are processes of this host, so that scripts
 * really run. It lives on the test's main loop, and mayfly runs as a child beside it, with the
 * environment that gitlab-runner would give it.
 */

#include <libsoup/soup.h>

#include "daemon/auto.h"
#include "tests/unit/gitlab-exec.h"

typedef struct Host Host;

typedef struct {
  char *id, *name, *key;
  MfJson *spec; /* as it was posted, or NULL */
  const char *state, *result, *reason;
  guint position;
  gboolean kept;
  char *cancelled; /* the query of DELETE */
  char *end;       /* the body of POST …/end */
  GPtrArray *execs;
} HostJob;

struct Host {
  char *folder, *socket;
  SoupServer *server;
  GPtrArray *jobs;
  GPtrArray *watchers, *followers; /* SoupServerMessage */
  guint tick;
  /* What a test sets */
  const char *drop;           /* "POST /v1/jobs": its answer gets lost, once */
  guint busy;                 /* times that POST /v1/jobs is refused for now */
  const char *refuse;         /* code of a problem for POST /v1/jobs */
  const char *runner;         /* version of the gitlab-runner that machines get */
  const char *runner_problem; /* why they get none */
  gboolean own_runner;        /* the one in the machine's path is not where they get it */
  guint64 longest;            /* max_timeout of its templates */
  gboolean never_ready, fail_boot;
  gboolean no_image; /* of its templates */
};

Host *host_new(void);
void host_free(Host *self);
void host_restart(Host *self);

HostJob *host_add_job(Host *self, const char *name, const char *state);
HostJob *host_job(Host *self, guint index);
void host_job_change(Host *self, HostJob *job, const char *state, const char *result);

/* mayfly as gitlab-runner starts it. */
typedef struct {
  GSubprocess *process;
  char *out, *err;
  gsize out_length;
  gboolean ended;
  int status; /* -1: by a signal */
} Driver;

/* @response: the text of JOB_RESPONSE_FILE; @env: NAME, VALUE, …; @argv: behind "mayfly gitlab". */
Driver *driver_start(Host *host, const char *response, const char *const *env,
                     const char *const *argv);
/* Returns: its status. */
int driver_wait(Driver *self);
void driver_free(Driver *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Driver, driver_free)
