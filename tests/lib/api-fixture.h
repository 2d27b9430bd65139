/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The API over a fake scheduler on a socket in a folder of its own, and a client that says exactly
 * what a test wants. The server runs on the test's own main context; whole conversations run in a
 * thread meanwhile.
 */

#include "daemon/api-private.h"
#include "tests/lib/fake-scheduler.h"

typedef struct {
  char *directory;
  char *socket_path;
  MfScheduler *scheduler;
  MfApi *api;
  MfApiPeer peer; /* who every new connection is */
} ApiFixture;

void api_fixture_set_up(ApiFixture *f, gconstpointer unused);
void api_fixture_tear_down(ApiFixture *f, gconstpointer unused);
void api_fixture_set_peer(ApiFixture *f, uid_t uid, gboolean admin);

typedef struct {
  guint status; /* 0: no answer */
  char *head;
  GByteArray *body; /* its chunks joined */
  gboolean whole;   /* it came to its proper end */
} HttpAnswer;
void http_answer_free(HttpAnswer *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HttpAnswer, http_answer_free)
const char *http_answer_text(HttpAnswer *self);
MfJson *http_answer_json(HttpAnswer *self);

/* Say these bytes, take what comes until the connection ends. */
HttpAnswer *api_talk_raw(ApiFixture *f, const void *data, gsize length);
/* One request on a connection of its own; @body may be NULL. */
HttpAnswer *api_talk(ApiFixture *f, const char *method, const char *path, const char *body);
/* The same, and its status is @status. */
HttpAnswer *api_expect(ApiFixture *f, const char *method, const char *path, const char *body,
                       guint status);
/* A problem with this status; the detail must hold @part. */
void api_refused(ApiFixture *f, const char *method, const char *path, const char *body,
                 guint status, const char *part);

/* An open connection that did not block. */
GSocket *api_open(ApiFixture *f);
void api_say(GSocket *socket, const char *text);
GSocket *api_open_get(ApiFixture *f, const char *path);
/* Runs the server until @text has come in what was read up to now, collected in @got. */
void api_read_until(GSocket *socket, GString *got, const char *text);
/* Runs the server until the peer has closed; what comes is appended. */
void api_read_to_end(GSocket *socket, GString *got);
/* Runs the server until nothing is left to do at once. */
void api_settle(void);
/* Runs the server until *value is @wanted; a test's time is bounded by its runner. */
void api_wait_for(const guint *value, guint wanted);
