/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The runner's calls to the coordinator. Each thread has its own client; calls block. */

#include <glib.h>
#include <libsoup/soup.h>

#include "tests/gitlab/runner-config.h"

typedef struct {
  const RunnerConfig *config;
  GMainContext *context;
  SoupSession *session;
} Api;

typedef struct {
  guint status;     /* 0: no answer */
  char *job_status; /* "running", "canceling", "canceled", or NULL */
  guint interval;   /* milliseconds between parts of the trace; 0: not said */
  gsize range;      /* how much of the trace the coordinator has */
  gboolean has_range;
  GBytes *body;
} ApiAnswer;

void api_init(Api *self, const RunnerConfig *config);
void api_clear(Api *self);
void api_answer_clear(ApiAnswer *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ApiAnswer, api_answer_clear)

/* A job's payload as text (transfer full), or NULL: there is none. */
char *api_request_job(Api *self);
/* @exit_code: below 0: none. @size: of the whole trace. */
ApiAnswer api_update(Api *self, const char *id, const char *token, const char *state,
                     const char *reason, int exit_code, gsize size);
ApiAnswer api_append(Api *self, const char *id, const char *token, const char *data, gsize offset,
                     gsize length);
