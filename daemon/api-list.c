/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of jobs. A finished job's document is read from its record, so that a list of ten
 * thousand takes most of a second: it is made piece by piece, with everybody else served in
 * between.
 */
#include "daemon/api-private.h"

/* Under ten milliseconds. */
#define AT_ONCE 64u

typedef struct {
  MfApiRequest *request; /* not counted: this is its work */
  GPtrArray *jobs;       /* counted: one may be forgotten before its turn */
  guint next;
  GString *text;   /* as text at once: the documents of many jobs are many times as large */
  GSource *source; /* NULL while all of it is said at once */
} List;

static void
list_free(gpointer data)
{
  List *self = data;
  if (self->source != NULL) {
    g_source_destroy(self->source);
    g_source_unref(self->source);
  }
  g_ptr_array_unref(self->jobs);
  if (self->text != NULL)
    g_string_free(self->text, TRUE);
  g_free(self);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(List, list_free)

/* TRUE: that was the last. */
static gboolean
list_more(List *self)
{
  guint end = MIN(self->next + AT_ONCE, self->jobs->len);
  for (; self->next < end; self->next++) {
    g_autoptr(MfJson) document = mf_job_to_json(self->jobs->pdata[self->next]);
    g_autofree char *one = mf_api_json_text(document);
    g_string_append_printf(self->text, "%s%s", self->next > 0 ? "," : "", one);
  }
  return self->next == self->jobs->len;
}

/* It may be freed by this: the answer ends the request's work. */
static void
list_answer(List *self)
{
  g_autoptr(GString) text = g_steal_pointer(&self->text);
  g_string_append(text, "]}\n");
  mf_api_reply_text(self->request, "application/json",
                    g_string_free(g_steal_pointer(&text), FALSE));
}

static gboolean
on_turn(gpointer data)
{
  if (!list_more(data))
    return G_SOURCE_CONTINUE;
  list_answer(data);
  return G_SOURCE_REMOVE;
}

static List *
list_new(MfApiRequest *request, gboolean all)
{
  const char *name = mf_api_query(request, "name");
  g_autoptr(GPtrArray) jobs = mf_scheduler_list(request->api->scheduler);
  List *self = g_new0(List, 1);
  self->request = request;
  self->jobs = g_ptr_array_new_with_free_func(g_object_unref);
  self->text = g_string_new("{\"jobs\":[");
  for (guint i = 0; i < jobs->len; i++) {
    MfJob *job = jobs->pdata[i];
    if ((all || mf_job_get_state(job) != MF_JOB_FINISHED) &&
        (name == NULL || g_strcmp0(mf_job_get_name(job), name) == 0) &&
        mf_api_peer_may_see(&request->peer, job))
      g_ptr_array_add(self->jobs, g_object_ref(job));
  }
  return self;
}

void
mf_api_jobs_list(MfApiRequest *request)
{
  GError *error = NULL;
  gint all = 0;
  if (!mf_api_query_choice(request, "state", "active all", &all, &error)) {
    mf_api_reply_error(request, error);
    return;
  }
  g_autoptr(List) list = list_new(request, all != 0);
  if (list_more(list)) {
    list_answer(list);
    return;
  }
  /* Of the same priority as everybody else: they take turns. */
  list->source = g_idle_source_new();
  g_source_set_priority(list->source, G_PRIORITY_DEFAULT);
  g_source_set_callback(list->source, on_turn, list, NULL);
  g_source_attach(list->source, g_main_context_get_thread_default());
  mf_api_request_hold(request, g_steal_pointer(&list), list_free);
}
