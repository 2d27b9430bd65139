/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the parts of the API share: connections, requests, answers, streams. Only api*.c and their
 * tests include this.
 *
 *   listener → connection (peer, deadline) → intake (its head) → libsoup → request (one route) →
 * answer, wait or stream
 *
 * libsoup owns the message; it must not be touched after its "finished". So everything of ours
 * hangs on the request, which is told first (request->gone), and what runs on (a worker) holds the
 * request and looks.
 */

#include <libsoup/soup.h>

#include "daemon/api.h"
#include "daemon/error.h"

typedef struct MfApiConnection MfApiConnection;
typedef struct MfApiIntake MfApiIntake;
typedef struct MfApiMetrics MfApiMetrics;
typedef struct MfApiRequest MfApiRequest;
typedef struct MfApiStream MfApiStream;

typedef struct {
  uid_t uid;
  gboolean admin; /* root, or a member of the admin group */
} MfApiPeer;

/* For tests: says who a new connection is instead of the kernel. */
typedef MfApiPeer (*MfApiPeerHook)(gpointer data);

struct MfApi {
  MfScheduler *scheduler;
  const MfConfig *config;
  SoupServer *server;
  GSocket *listener;
  GSource *accept_source;
  GHashTable *connections; /* set of MfApiConnection */
  GHashTable *requests;    /* set of MfApiRequest that exist */
  GHashTable *refused;     /* connections that are told why they are refused; api-limits.c */
  GHashTable *admins;      /* uid → Verdict, for a short while; api-peer.c */
  MfApiMetrics *metrics;
  GCancellable *stop; /* cancelled when the API ends */
  MfApiPeerHook peer_hook;
  gpointer peer_hook_data;
  gboolean verifying; /* one image at a time */
};

/* Connections: api-server.c. Each has one request. */
struct MfApiConnection {
  MfApi *api;
  GSocketConnection *stream;
  MfApiPeer peer;
  MfApiIntake *intake; /* until libsoup has it */
  GSource *deadline;   /* for a whole request to have come */
  guint64 body;        /* bytes of its body up to now */
  gboolean too_large;  /* its body is thrown away as it comes */
};

/* Hand a connected socket over, as the listener does. */
void mf_api_admit(MfApi *self, GSocket *socket);
/* Gives it to libsoup, which owns it from here on, by a stream that begins with a whole head. */
void mf_api_connection_serve(MfApiConnection *self, GIOStream *transport);
/* Closes it, while libsoup does not have it. */
void mf_api_connection_free(MfApiConnection *self);
/* Breaks the connection off, without another word: what was promised cannot be kept. */
void mf_api_connection_abort(MfApiConnection *self);

/* The head of its request: api-intake.c; bytes read too early: api-transport.c. */
void mf_api_intake_start(MfApiConnection *connection);
void mf_api_intake_free(MfApiIntake *self);
GIOStream *mf_api_transport_new(GSocketConnection *socket, GBytes *first);

/* Limits: api-limits.c. */
/* Is there room? If not, the client is told, and @socket is to be forgotten. */
gboolean mf_api_limits_admit(MfApi *self, GSocket *socket, uid_t uid);
void mf_api_limits_start_deadline(MfApiConnection *self);
void mf_api_limits_stop_deadline(MfApiConnection *self);
void mf_api_limits_watch_message(MfApiConnection *self, SoupServerMessage *message);
/* Says @text, a whole answer, and lets the client read it: nothing else will come of this
 * connection. */
void mf_api_limits_refuse(MfApi *self, GSocket *socket, const char *text);
void mf_api_limits_refused_free(gpointer data);

/* Peers: api-peer.c. Finish: FALSE if the kernel does not say who it is. */
void mf_api_peer_identify_async(MfApi *self, GSocket *socket, GAsyncReadyCallback callback,
                                gpointer data);
gboolean mf_api_peer_identify_finish(MfApi *self, GAsyncResult *result, MfApiPeer *ret,
                                     GError **error);
/* The one rule: a job is seen by its owner and by admins. */
gboolean mf_api_peer_may_see(const MfApiPeer *peer, MfJob *job);
/* The job the request's first argument names, if its peer may see it; NOT_FOUND otherwise, in the
 * same words as if there were none. */
MfJob *mf_api_find_job(MfApiRequest *request, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Routes: api.c. */
typedef void (*MfApiHandler)(MfApiRequest *request);
typedef struct {
  const char *method;
  const char *pattern; /* {…} stands for one segment */
  MfApiHandler handler;
  const char *query; /* names of its query parameters, separated by spaces */
  gboolean admin_only;
} MfApiRoute;
const MfApiRoute *mf_api_routes(gsize *ret_n);
/* The request's whole body is there: find its route and go. */
void mf_api_dispatch(MfApiConnection *connection, SoupServerMessage *message);

/* Requests: api-request.c. Reference counted; alive until the message is finished, and as long as
 * somebody works on them. */
struct MfApiRequest {
  gatomicrefcount refs;
  MfApi *api;                  /* NULL when the API has ended */
  MfApiConnection *connection; /* not to be touched once gone */
  SoupServerMessage *message;  /* not to be touched once gone */
  MfApiPeer peer;
  char *args[2];
  GHashTable *query;
  gboolean gone;     /* the message is through */
  gboolean answered; /* the answer is settled */
  gboolean streams;  /* it is a stream */
  gboolean paused;   /* libsoup waits for us to answer */
  GSource *hangup;
  GCancellable *cancellable; /* cancelled when gone */
  gpointer work;             /* a wait or a stream, ended by work_end when gone */
  GDestroyNotify work_end;
};
MfApiRequest *mf_api_request_new(MfApiConnection *connection, SoupServerMessage *message);
MfApiRequest *mf_api_request_ref(MfApiRequest *self);
void mf_api_request_unref(MfApiRequest *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfApiRequest, mf_api_request_unref)
/*
 * The answer comes later: @work is ended by @end, once, when the answer is given, the client has
 * hung up, or the API ends, whichever is first. Before any of the answers below.
 */
void mf_api_request_hold(MfApiRequest *self, gpointer work, GDestroyNotify end);

/* The API ends: so do all requests. */
void mf_api_requests_end(MfApi *self);

/* Query parameters; absent ones leave *ret. INVALID names the parameter. */
const char *mf_api_query(MfApiRequest *self, const char *name);
gboolean mf_api_query_uint(MfApiRequest *self, const char *name, guint64 max, guint64 *ret,
                           GError **error) G_GNUC_WARN_UNUSED_RESULT;
gboolean mf_api_query_flag(MfApiRequest *self, const char *name, gboolean *ret,
                           GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* One of @names, separated by spaces; *ret its index from 0. */
gboolean mf_api_query_choice(MfApiRequest *self, const char *name, const char *names, gint *ret,
                             GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The body as a JSON object. (transfer full) */
MfJson *mf_api_request_json(MfApiRequest *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;
GBytes *mf_api_request_body(MfApiRequest *self);

/* Answers; a request that is gone takes none. @json, @error: taken. */
void mf_api_reply_json(MfApiRequest *self, guint status, MfJson *json);
void mf_api_reply_text(MfApiRequest *self, const char *content_type, char *text);
void mf_api_reply_error(MfApiRequest *self, GError *error);
char *mf_api_json_text(MfJson *json); /* as UTF-8 (transfer full) */
char *mf_api_json_line(MfJson *json); /* one line of UTF-8 (transfer full) */
void mf_api_reply_location(MfApiRequest *self, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Problem documents: api-problem.c. */
char *mf_api_problem_text(MfErrorCode code, guint status, const char *detail);
/* The body alone, where the status is set. */
void mf_api_problem_body(SoupServerMessage *message, MfErrorCode code, guint status,
                         const char *detail);
void mf_api_problem_set(SoupServerMessage *message, MfErrorCode code, guint status,
                        const char *detail);
/* A whole HTTP answer with a problem, after which the connection is closed, for where libsoup is
 * not there to write it. */
char *mf_api_problem_response(MfErrorCode code, guint status, const char *detail);

/*
 * Streams: api-stream.c. @next gives what is to be sent next: NULL with *ended or without (nothing
 * for now), or NULL with @error: then the connection breaks off. It is asked for more only when all
 * it gave before has been sent.
 */
typedef GBytes *(*MfApiNext)(gpointer source, gboolean *ended, GError **error);
MfApiStream *mf_api_stream_start(MfApiRequest *request, const char *content_type, MfApiNext next,
                                 gpointer source, GDestroyNotify free_source);
/* There may be more now. */
void mf_api_stream_wake(MfApiStream *self);
typedef struct {
  MfOutputForm form;
  guint64 offset;
  gboolean follow;
  gboolean pace; /* the guest's process waits for this reader */
} MfApiOutput;
/* @exec: NULL for the console. */
void mf_api_stream_job_output(MfApiRequest *request, MfJob *job, MfExec *exec,
                              const MfApiOutput *output);

/* Metrics: api-metrics.c. */
MfApiMetrics *mf_api_metrics_new(MfScheduler *scheduler);
void mf_api_metrics_free(MfApiMetrics *self);
void mf_api_metrics_count_request(MfApiMetrics *self, guint status);

/* The job's or, if there is one, the exec's document, at once or after what ?wait= asks for;
 * @choices: what it may be. */
void mf_api_jobs_answer(MfApiRequest *request, MfJob *job, MfExec *exec, const char *choices);
/* (transfer full) */
MfJson *mf_api_stats_to_json(const MfDomainStats *stats);

/* Handlers, by file. */
void mf_api_jobs_list(MfApiRequest *request);
void mf_api_jobs_create(MfApiRequest *request);
void mf_api_jobs_get(MfApiRequest *request);
void mf_api_jobs_cancel(MfApiRequest *request);
void mf_api_jobs_end(MfApiRequest *request);
void mf_api_jobs_lease(MfApiRequest *request);
void mf_api_jobs_stats(MfApiRequest *request);
void mf_api_jobs_console(MfApiRequest *request);
void mf_api_machines_list(MfApiRequest *request);
void mf_api_execs_create(MfApiRequest *request);
void mf_api_execs_get(MfApiRequest *request);
void mf_api_execs_output(MfApiRequest *request);
void mf_api_execs_stdin(MfApiRequest *request);
void mf_api_execs_signal(MfApiRequest *request);
void mf_api_execs_resize(MfApiRequest *request);
void mf_api_events_all(MfApiRequest *request);
void mf_api_events_job(MfApiRequest *request);
void mf_api_metrics_get(MfApiRequest *request);
void mf_api_info_get(MfApiRequest *request);
void mf_api_info_openapi(MfApiRequest *request);
void mf_api_info_drain(MfApiRequest *request);
void mf_api_pools_list(MfApiRequest *request);
void mf_api_templates_list(MfApiRequest *request);
void mf_api_templates_get(MfApiRequest *request);
void mf_api_images_list(MfApiRequest *request);
void mf_api_images_get(MfApiRequest *request);
void mf_api_images_verify(MfApiRequest *request);
void mf_api_images_remove(MfApiRequest *request);
