/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A stand-in for the parts of GitLab that a runner talks to: jobs come from files, and what the
 * runner says about them goes into files, where a test can see it. One folder holds all of it:
 *
 *   url                  where it listens, once it does
 *   log                  one line a request: method, path, status
 *   queue/NAME.json      jobs that wait, handed out in the order of their names
 *   jobs/ID/job.json     a job that was handed out
 *   jobs/ID/trace        its log
 *   jobs/ID/updates      one line a PUT: state, failure reason or "-", exit code or "-"
 *   jobs/ID/done         the last of them, "success - -" or "failed REASON CODE"
 *   jobs/ID/control      "canceling" or "canceled", written by a test: what the runner is told
 *   jobs/ID/artifacts/   what was uploaded
 *   jobs/ID/ranges       one line a PATCH: the range it brought, the status it got
 *   cache/               objects that were PUT below /cache/, as into S3
 *   repos/               git repositories, served below /git/
 */

#include <glib.h>
#include <libsoup/soup.h>

#define COORDINATOR_API "/api/v4/"

typedef struct {
  char *folder;
  char *token;    /* that runners have to show */
  guint refuse;   /* so many of the next requests about a trace are answered with 500 */
  guint accept;   /* so many PUTs of a final state are answered with "ask again" */
  char *interval; /* X-GitLab-Trace-Update-Interval */
} Coordinator;

/* Artifacts: POST and GET of @job's, of which the caller knows that it exists and may. */
void coordinator_artifacts(Coordinator *self, SoupServerMessage *message, const char *job);
/* SoupServerCallbacks for /cache/ and /git/. */
void coordinator_cache(SoupServer *server, SoupServerMessage *message, const char *path,
                       GHashTable *query, gpointer self);
void coordinator_git(SoupServer *server, SoupServerMessage *message, const char *path,
                     GHashTable *query, gpointer self);
/* Appends a line to the file @name below the folder. */
void coordinator_note(Coordinator *self, const char *name, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
/* Answers with JSON; @json NULL: without a body. */
void coordinator_answer(SoupServerMessage *message, guint status, const char *json);
