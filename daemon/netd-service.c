/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service: a pass when the kernel tells of a change, and every few seconds anyway; libvirt
 * asked on a thread, one question at a time. Everything else is on the main context. When it ends,
 * everything stays: machines run on.
 */
#include <gio/gio.h>
#include <glib-unix.h>
#include <systemd/sd-daemon.h>

#include "daemon/hypervisor-network-define.h"
#include "daemon/netd-libvirtd.h"
#include "daemon/netd-watch.h"
#include "daemon/netd.h"

/* mayflyd takes a state that is older than four of these for no state. */
#define PASS_EVERY_SECONDS    5
#define NETWORK_EVERY_SECONDS 60
#define NETWORK_RETRY_SECONDS 2
/* A change comes with others: libvirt writes a port's rules in fifty steps. */
#define SETTLE_MS 100
/* At most this part of the time goes into looking. */
#define REST_FACTOR 4
/* Where the kernel will not tell. */
#define LOOK_AGAIN_MS 600

typedef struct {
  MfNetd *netd;
  GMainLoop *loop;
  MfNetdWatch *watch;
  char *written; /* the last state but for its time */
  gint64 written_at, looked_until, look_took, asked_at;
  guint pending; /* source of the next pass, if one is due */
  guint again;   /* the same, if nothing else comes first */
  gboolean asking, answered, ready;
} Service;

static void schedule_pass(gpointer data);

/* --- asking libvirt --- */

/* The thread has what it needs by itself: the service may end before libvirt answers. */
typedef struct {
  MfConfig *config;
  MfPortTable *ports;
  char *done;
} Ask;

static void
ask_free(gpointer data)
{
  Ask *ask = data;
  mf_config_free(ask->config);
  mf_port_table_free(ask->ports);
  g_free(ask->done);
  g_free(ask);
}

static void
ask_on_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  Ask *ask = data;
  GError *error = NULL;
  if (mf_hypervisor_network_ensure(ask->config, ask->ports, mf_netd_libvirtd_make_chains,
                                   &ask->done, &error))
    g_task_return_boolean(task, TRUE);
  else
    g_task_return_error(task, error);
}

static void
on_answer(GObject *source, GAsyncResult *result, gpointer data)
{
  Service *self = data;
  const Ask *ask = g_task_get_task_data(G_TASK(result));
  g_autoptr(GError) error = NULL;
  gboolean good = g_task_propagate_boolean(G_TASK(result), &error);
  self->asking = FALSE;
  mf_netd_set_network_busy(self->netd, FALSE);
  self->answered = TRUE;
  if (good && ask->done != NULL)
    g_message("network %s: %s", ask->config->network, ask->done);
  mf_netd_set_network_error(self->netd, error);
  schedule_pass(self);
}

static void
ask_libvirt(Service *self)
{
  gint64 now = g_get_monotonic_time();
  gint64 pause =
      (mf_netd_needs_network(self->netd) ? NETWORK_RETRY_SECONDS : NETWORK_EVERY_SECONDS) *
      G_USEC_PER_SEC;
  if (self->asking || (self->asked_at != 0 && now - self->asked_at < pause))
    return;
  Ask *ask = g_new0(Ask, 1);
  ask->config = mf_config_ref(mf_netd_config(self->netd));
  ask->ports = mf_port_table_new(ask->config, NULL);
  self->asking = TRUE;
  mf_netd_set_network_busy(self->netd, TRUE);
  self->asked_at = now;
  g_autoptr(GTask) task = g_task_new(NULL, NULL, on_answer, self);
  g_task_set_task_data(task, ask, ask_free);
  g_task_run_in_thread(task, ask_on_thread);
}

/* --- telling --- */

static void
write_state(Service *self, const MfNetdState *state)
{
  g_autoptr(MfJson) json = mf_netd_state_to_json(state, 0);
  const char *text = json_object_to_json_string(json);
  gint64 now = g_get_monotonic_time();
  gboolean same = g_strcmp0(text, self->written) == 0;
  if (same && now - self->written_at < (PASS_EVERY_SECONDS - 1) * G_USEC_PER_SEC)
    return;
  g_autoptr(GError) error = NULL;
  const char *path = mf_netd_config(self->netd)->network_state;
  if (!mf_netd_state_write(state, path, g_get_real_time() / G_USEC_PER_SEC, &error)) {
    g_message("%s", error->message);
    return;
  }
  if (!same) {
    g_free(self->written);
    self->written = g_strdup(text);
  }
  self->written_at = now;
}

/* Ready is a host with its guard in place and its network made, or known not to be makeable yet. */
static void
tell_manager(Service *self, const MfNetdState *state)
{
  g_auto(GStrv) problems = mf_netd_state_problems(state);
  sd_notifyf(0, "STATUS=%s", problems[0] != NULL ? problems[0] : "All is as it should be.");
  if (self->ready || (!self->answered && state->network_problem != NULL))
    return;
  self->ready = TRUE;
  sd_notify(0, "READY=1");
  g_message("watching network %s with %u ports", mf_netd_config(self->netd)->network,
            mf_port_table_size(mf_netd_ports(self->netd)));
}

/* --- the loop --- */

static gboolean
on_again(gpointer data)
{
  Service *self = data;
  self->again = 0;
  schedule_pass(self);
  return G_SOURCE_REMOVE;
}

static gboolean
on_pass(gpointer data)
{
  Service *self = data;
  self->pending = 0;
  gint64 begin = g_get_monotonic_time();
  g_autoptr(MfNetdState) state = mf_netd_pass(self->netd, TRUE);
  self->looked_until = g_get_monotonic_time();
  self->look_took = self->looked_until - begin;
  write_state(self, state);
  tell_manager(self, state);
  ask_libvirt(self);
  if (mf_netd_needs_look(self->netd) && self->again == 0)
    self->again = g_timeout_add(LOOK_AGAIN_MS, on_again, self);
  return G_SOURCE_REMOVE;
}

static void
schedule_pass(gpointer data)
{
  Service *self = data;
  if (self->pending != 0)
    return;
  g_clear_handle_id(&self->again, g_source_remove);
  gint64 rest_ms =
      (self->looked_until + REST_FACTOR * self->look_took - g_get_monotonic_time()) / 1000;
  self->pending = g_timeout_add((guint)CLAMP(rest_ms, SETTLE_MS, 1000), on_pass, self);
}

static gboolean
on_period(gpointer data)
{
  schedule_pass(data);
  return G_SOURCE_CONTINUE;
}

static gboolean
on_watchdog(gpointer data)
{
  sd_notify(0, "WATCHDOG=1");
  return G_SOURCE_CONTINUE;
}

static gboolean
on_end(gpointer data)
{
  Service *self = data;
  sd_notify(0, "STOPPING=1");
  g_main_loop_quit(self->loop);
  return G_SOURCE_CONTINUE;
}

int
mf_netd_serve(MfNetd *netd)
{
  Service self = {.netd = netd};
  g_autoptr(GError) error = NULL;
  /* Listening before looking: what changes in between is not missed. */
  self.watch = mf_netd_watch_new(schedule_pass, &self, &error);
  if (self.watch == NULL) {
    g_printerr("mayfly-netd: %s\n", error->message);
    return 1;
  }
  self.loop = g_main_loop_new(NULL, FALSE);
  guint sources[] = {g_unix_signal_add(SIGTERM, on_end, &self),
                     g_unix_signal_add(SIGINT, on_end, &self),
                     g_timeout_add_seconds(PASS_EVERY_SECONDS, on_period, &self), 0};
  guint64 watchdog = 0;
  if (sd_watchdog_enabled(0, &watchdog) > 0)
    sources[3] = g_timeout_add((guint)(watchdog / 2000), on_watchdog, NULL);
  on_pass(&self);
  g_main_loop_run(self.loop);

  for (guint i = 0; i < G_N_ELEMENTS(sources); i++)
    g_clear_handle_id(&sources[i], g_source_remove);
  g_clear_handle_id(&self.pending, g_source_remove);
  g_clear_handle_id(&self.again, g_source_remove);
  g_clear_pointer(&self.watch, mf_netd_watch_free);
  g_clear_pointer(&self.loop, g_main_loop_unref);
  g_free(self.written);
  return 0;
}
