/* SPDX-License-Identifier: Apache-2.0 */
/* State: written whole each time, so that a reader never sees half of a change. */
#include "daemon/netd-state.h"

#include "daemon/error.h"

static void
port_free(gpointer data)
{
  MfNetdPortState *port = data;
  g_free(port->tap);
  g_free(port->problem);
  g_free(port->chains_problem);
  g_free(port);
}

MfNetdState *
mf_netd_state_new(void)
{
  MfNetdState *self = g_new0(MfNetdState, 1);
  self->ports = g_ptr_array_new_with_free_func(port_free);
  return self;
}

void
mf_netd_state_free(MfNetdState *self)
{
  if (self == NULL)
    return;
  g_free(self->network_problem);
  g_free(self->guard_problem);
  g_strfreev(self->addresses);
  g_ptr_array_unref(self->ports);
  g_free(self);
}

MfNetdPortState *
mf_netd_state_add_port(MfNetdState *self, const char *tap)
{
  MfNetdPortState *port = g_new0(MfNetdPortState, 1);
  port->tap = g_strdup(tap);
  g_ptr_array_add(self->ports, port);
  return port;
}

static void
add_text(MfJson *object, const char *key, const char *text)
{
  if (text != NULL)
    json_object_object_add(object, key, json_object_new_string(text));
}

static MfJson *
verdict_to_json(const char *problem)
{
  MfJson *object = json_object_new_object();
  json_object_object_add(object, "ok", json_object_new_boolean(problem == NULL));
  add_text(object, "problem", problem);
  return object;
}

static MfJson *
port_to_json(const MfNetdPortState *port)
{
  MfJson *object = json_object_new_object();
  json_object_object_add(object, "tap", json_object_new_string(port->tap));
  json_object_object_add(object, "ok", json_object_new_boolean(port->problem == NULL));
  add_text(object, "problem", port->problem);
  json_object_object_add(object, "isolated", json_object_new_boolean(port->isolated));
  json_object_object_add(object, "chains", json_object_new_boolean(port->chains));
  add_text(object, "chains_problem", port->chains_problem);
  return object;
}

MfJson *
mf_netd_state_to_json(const MfNetdState *self, gint64 updated)
{
  MfJson *root = json_object_new_object();
  json_object_object_add(root, "version", json_object_new_int(1));
  json_object_object_add(root, "updated", json_object_new_int64(updated));
  json_object_object_add(root, "network", verdict_to_json(self->network_problem));
  MfJson *guard = verdict_to_json(self->guard_problem);
  json_object_object_add(guard, "restored", json_object_new_int64(self->guard_restored));
  json_object_object_add(root, "guard", guard);
  MfJson *addresses = json_object_new_array();
  for (guint i = 0; self->addresses != NULL && self->addresses[i] != NULL; i++)
    json_object_array_add(addresses, json_object_new_string(self->addresses[i]));
  json_object_object_add(root, "host_addresses", addresses);
  MfJson *ports = json_object_new_array();
  for (guint i = 0; i < self->ports->len; i++)
    json_object_array_add(ports, port_to_json(g_ptr_array_index(self->ports, i)));
  json_object_object_add(root, "ports", ports);
  return root;
}

gboolean
mf_netd_state_write(const MfNetdState *self, const char *path, gint64 updated, GError **error)
{
  g_autoptr(MfJson) json = mf_netd_state_to_json(self, updated);
  const char *text =
      json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
  /* Not synced to disk: it says what is now, and is worthless after a crash of the host. */
  g_autoptr(GError) local = NULL;
  if (g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0644, &local))
    return TRUE;
  g_set_error(error, MF_ERROR, mf_error_code(local), "network state cannot be written: %s",
              local->message);
  return FALSE;
}

char **
mf_netd_state_problems(const MfNetdState *self)
{
  g_autoptr(GStrvBuilder) lines = g_strv_builder_new();
  if (self->network_problem != NULL)
    g_strv_builder_add(lines, self->network_problem);
  if (self->guard_problem != NULL)
    g_strv_builder_add(lines, self->guard_problem);
  for (guint i = 0; i < self->ports->len; i++) {
    const MfNetdPortState *port = g_ptr_array_index(self->ports, i);
    if (port->problem != NULL)
      g_strv_builder_add(lines, port->problem);
    if (port->used && !port->chains) {
      g_autofree char *line =
          g_strdup_printf("port %s is in use and not filtered: %s", port->tap,
                          port->chains_problem != NULL ? port->chains_problem : "unknown");
      g_strv_builder_add(lines, line);
    }
  }
  return g_strv_builder_end(lines);
}
