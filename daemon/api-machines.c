/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/machines: every machine there is, and what it uses now. */
#include "daemon/api-private.h"

#include "daemon/json.h"

/* As with jobs; those that wait are nobody's, so admins alone see them. */
static gboolean
may_see(const MfApiPeer *peer, MfJson *machine)
{
  MfJson *owner = json_object_object_get(machine, "owner");
  return peer->admin || (owner != NULL && json_object_get_uint64(owner) == peer->uid);
}

/* @stats: (nullable) */
static MfJson *
machines_to_json(MfApiRequest *request, const MfHostStats *stats)
{
  MfJson *json = mf_scheduler_machines(request->api->scheduler);
  MfJson *all = json_object_object_get(json, "machines");
  MfJson *seen = json_object_new_array();
  gint64 time = stats != NULL ? stats->time : g_get_real_time();
  for (gsize i = 0; i < json_object_array_length(all); i++) {
    MfJson *machine = json_object_array_get_idx(all, i);
    const char *id = json_object_get_string(json_object_object_get(machine, "id"));
    const MfDomainStats *own = stats != NULL ? g_hash_table_lookup(stats->machines, id) : NULL;
    if (!may_see(&request->peer, machine))
      continue;
    mf_json_add(machine, "stats", own != NULL ? mf_api_stats_to_json(own) : NULL);
    json_object_array_add(seen, json_object_get(machine));
  }
  mf_json_add(json, "time", json_object_new_double((double)time / G_USEC_PER_SEC));
  json_object_object_add(json, "machines", seen);
  return json;
}

/* The machines as they are now, not as they were when libvirt was asked. */
static void
on_stats(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfApiRequest) request = data;
  g_autoptr(GError) error = NULL;
  g_autoptr(MfHostStats) stats =
      mf_hypervisor_all_stats_finish(MF_HYPERVISOR(source), result, &error);
  if (stats == NULL)
    g_debug("machines without statistics: %s", error->message);
  if (request->api != NULL)
    mf_api_reply_json(request, 200, machines_to_json(request, stats));
}

void
mf_api_machines_list(MfApiRequest *request)
{
  mf_api_request_hold(request, NULL, NULL);
  mf_hypervisor_all_stats_async(mf_scheduler_get_hypervisor(request->api->scheduler),
                                request->cancellable, on_stats, mf_api_request_ref(request));
}
