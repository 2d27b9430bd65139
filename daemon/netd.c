/* SPDX-License-Identifier: Apache-2.0 */
/* Netd: one pass over everything, in the order in which it protects: guard, then links, then the
 * rest. */
#include "daemon/netd.h"

#include "daemon/error.h"
#include "daemon/filter-set.h"
#include "daemon/netd-chains.h"
#include "daemon/netd-guard.h"
#include "daemon/netd-libvirtd.h"
#include "daemon/netd-links.h"
#include "daemon/netd-run.h"

/* libvirt needs one to three seconds to write a port's rules anew, and works on one port after
 * another. */
#define CHANGING_MAX (30 * G_USEC_PER_SEC)
#define RELOAD_EVERY (5 * G_USEC_PER_SEC)
/* A reload of libvirtd takes its NAT rules away and puts them back: what is missing only so long is
 * no problem. */
#define RULES_GRACE G_USEC_PER_SEC

/* What is remembered of a port between two passes. */
typedef struct {
  gboolean chains;
  gint64 changing_since; /* 0 = not changing */
  guint64 handle;        /* see MfChainsVerdict */
  guint host_addresses;
} PortMemory;

struct MfNetd {
  const MfConfig *config;
  MfPortTable *ports;
  MfFilterSet *filters;
  MfNetdGuard *guard;
  PortMemory *memory;
  gboolean guard_loaded; /* in the last pass, so that what others did meanwhile may be unseen */
  gboolean guard_known;  /* it was right at least once, so that a wrong one means that somebody
                            touched it */
  guint guard_restored;
  GError *network_error; /* from libvirt */
  gboolean network_busy;
  gboolean needs_network;
  gint64 rules_missing_since; /* libvirtd's part; 0 = all there */
  gint64 reloaded_at;
};

MfNetd *
mf_netd_new(const MfConfig *config, GError **error)
{
  g_autoptr(MfNetd) self = g_new0(MfNetd, 1);
  self->config = config;
  self->ports = mf_port_table_new(config, error);
  if (self->ports == NULL)
    return NULL;
  self->filters = mf_filter_set_load(config, error);
  if (self->filters == NULL)
    return NULL;
  self->guard = mf_netd_guard_new(config, self->ports, error);
  if (self->guard == NULL)
    return NULL;
  self->memory = g_new0(PortMemory, mf_port_table_size(self->ports));
  return g_steal_pointer(&self);
}

void
mf_netd_free(MfNetd *self)
{
  if (self == NULL)
    return;
  g_clear_pointer(&self->ports, mf_port_table_free);
  g_clear_pointer(&self->filters, mf_filter_set_free);
  g_clear_pointer(&self->guard, mf_netd_guard_free);
  g_clear_error(&self->network_error);
  g_free(self->memory);
  g_free(self);
}

const MfConfig *
mf_netd_config(const MfNetd *self)
{
  return self->config;
}

MfPortTable *
mf_netd_ports(const MfNetd *self)
{
  return self->ports;
}

void
mf_netd_set_network_error(MfNetd *self, const GError *error)
{
  if (error != NULL &&
      (self->network_error == NULL || !g_str_equal(self->network_error->message, error->message)))
    g_message("network: %s", error->message);
  GError *copy = error != NULL ? g_error_copy(error) : NULL;
  g_clear_error(&self->network_error);
  self->network_error = copy;
}

void
mf_netd_set_network_busy(MfNetd *self, gboolean busy)
{
  self->network_busy = busy;
}

gboolean
mf_netd_needs_network(const MfNetd *self)
{
  return self->needs_network;
}

gboolean
mf_netd_needs_look(const MfNetd *self)
{
  return self->rules_missing_since != 0 || self->needs_network || self->guard_loaded;
}

/* --- guard --- */

static void
pass_guard(MfNetd *self, MfNetdState *state, gboolean restore)
{
  g_autofree char *problem = mf_netd_guard_problem(self->guard);
  self->guard_loaded = problem != NULL && restore;
  if (self->guard_loaded) {
    g_autoptr(GError) error = NULL;
    gboolean loaded = mf_netd_guard_load(self->guard, &error);
    if (self->guard_known) {
      g_message("%s; %s", problem, loaded ? "loaded it again" : error->message);
      self->guard_restored += loaded ? 1 : 0;
    }
    g_free(problem);
    problem = loaded ? NULL : g_strdup(error->message);
  }
  self->guard_known = self->guard_known || problem == NULL;
  state->guard_problem = g_steal_pointer(&problem);
  state->guard_restored = self->guard_restored;
}

/* --- links --- */

static MfNetdLinks *
read_links(GError **error)
{
  static const char *const link_show[] = {"ip", "-j", "-d", "link", "show", NULL};
  static const char *const addr_show[] = {"ip", "-j", "-4", "addr", "show", NULL};
  g_autofree char *links = NULL;
  g_autofree char *addresses = NULL;
  if (!mf_netd_run(link_show, NULL, &links, error) ||
      !mf_netd_run(addr_show, NULL, &addresses, error))
    return NULL;
  return mf_netd_links_parse(links, addresses, error);
}

/* -force: one command that fails must not keep the others from being run. What counts is how it is
 * afterwards. */
static void
run_plan(const char *plan)
{
  static const char *const batch[] = {"ip", "-force", "-batch", "-", NULL};
  g_autoptr(GError) error = NULL;
  if (!mf_netd_run(batch, plan, NULL, &error))
    g_message("taps: %s", error->message);
}

static MfNetdLinks *
pass_links(MfNetd *self, gboolean restore, GError **error)
{
  const char *bridge = self->config->network;
  g_autoptr(MfNetdLinks) links = read_links(error);
  g_autofree char *plan =
      links != NULL && restore ? mf_netd_links_plan(links, bridge, self->ports) : NULL;
  if (plan == NULL)
    return g_steal_pointer(&links);
  run_plan(plan);
  g_strdelimit(plan, "\n", ';');
  g_message("taps: did %.300s", plan);
  return read_links(error);
}

/* --- the network --- */

static void
reload_libvirtd(MfNetd *self, const char *problem)
{
  gint64 now = g_get_monotonic_time();
  if (self->reloaded_at != 0 && now - self->reloaded_at < RELOAD_EVERY)
    return;
  self->reloaded_at = now;
  g_autoptr(GError) error = NULL;
  gboolean done = mf_netd_libvirtd_reload(&error);
  g_message("network: %s; %s", problem, done ? "told libvirtd to reload" : error->message);
}

/* libvirtd's part of the network: NULL while it may just be at work on it. (transfer full) */
static char *
pass_libvirtd(MfNetd *self, gboolean restore)
{
  g_autofree char *problem = mf_netd_libvirtd_problem(self->config->network, self->ports);
  gint64 now = g_get_monotonic_time();
  if (problem == NULL) {
    self->rules_missing_since = 0;
    return NULL;
  }
  if (self->rules_missing_since == 0 || self->network_busy)
    self->rules_missing_since = now;
  if (restore && now - self->rules_missing_since < RULES_GRACE)
    return NULL;
  if (restore)
    reload_libvirtd(self, problem);
  return g_steal_pointer(&problem);
}

/* libvirtd being away alone harms nothing: bridge, rules and dnsmasq stay without it. */
static void
pass_network(MfNetd *self, MfNetdState *state, const MfNetdLinks *links, gboolean restore)
{
  char *problem = mf_netd_links_bridge_problem(links, self->config->network, self->ports);
  if (problem == NULL)
    problem = pass_libvirtd(self, restore);
  self->needs_network = problem != NULL;
  gboolean away = g_error_matches(self->network_error, MF_ERROR, MF_ERROR_UNAVAILABLE);
  if (self->network_error != NULL && (problem != NULL || !away)) {
    g_free(problem);
    problem = g_strdup(self->network_error->message);
  }
  state->network_problem = problem;
}

/* --- ports --- */

static MfNetdChains *
read_chains(GError **error)
{
  static const char *const list[] = {"nft", "-a", "list", "table", "bridge", "nat", NULL};
  g_autofree char *listing = NULL;
  g_autoptr(GError) local = NULL;
  if (!mf_netd_run(list, NULL, &listing, &local) && mf_error_code(local) != MF_ERROR_FAILED) {
    g_propagate_error(error, g_steal_pointer(&local));
    return NULL;
  }
  return mf_netd_chains_parse(listing, error);
}

/* While libvirt writes the rules anew the former verdict holds, but not for ever: it may have died
 * half-way. */
static gboolean
changing(PortMemory *memory, gint64 now)
{
  if (memory->changing_since == 0)
    memory->changing_since = now;
  return memory->chains && now - memory->changing_since < CHANGING_MAX;
}

static void
pass_chains(const MfNetd *self, const MfNetdChains *chains, const MfPort *port,
            MfNetdPortState *state)
{
  PortMemory *memory = &self->memory[port->index];
  MfChainsVerdict verdict =
      mf_netd_chains_judge(chains, self->filters, port, mf_port_table_gateway(self->ports));
  if (verdict.state == MF_CHAINS_WHOLE && verdict.handle == memory->handle &&
      verdict.host_addresses < memory->host_addresses) {
    verdict.state = MF_CHAINS_BROKEN;
    verdict.problem = g_strdup("a rule for one of the host's addresses was removed");
  } else if (verdict.state == MF_CHAINS_WHOLE) {
    memory->handle = verdict.handle;
    memory->host_addresses = verdict.host_addresses;
  }
  gboolean good = verdict.state == MF_CHAINS_WHOLE ||
                  (verdict.state == MF_CHAINS_CHANGING && changing(memory, g_get_monotonic_time()));
  if (verdict.state != MF_CHAINS_CHANGING)
    memory->changing_since = 0;
  if (memory->chains && !good)
    g_message("port %s: %s", port->tap, verdict.problem);
  memory->chains = good;
  state->chains = good;
  state->chains_problem = good ? NULL : g_strdup(verdict.problem);
  mf_chains_verdict_clear(&verdict);
}

static void
pass_ports(MfNetd *self, MfNetdState *state, const MfNetdLinks *links)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfNetdChains) chains = read_chains(&error);
  for (guint i = 0; i < mf_port_table_size(self->ports); i++) {
    const MfPort *port = mf_port_table_get(self->ports, i);
    MfNetdPortState *entry = mf_netd_state_add_port(state, port->tap);
    MfNetdTap tap = mf_netd_links_tap(links, self->config->network, port);
    entry->problem = g_steal_pointer(&tap.problem);
    entry->isolated = tap.isolated;
    entry->used = tap.used;
    if (chains != NULL)
      pass_chains(self, chains, port, entry);
    else
      entry->chains_problem = g_strdup(error->message);
  }
}

MfNetdState *
mf_netd_pass(MfNetd *self, gboolean restore)
{
  MfNetdState *state = mf_netd_state_new();
  pass_guard(self, state, restore);
  g_autoptr(GError) error = NULL;
  g_autoptr(MfNetdLinks) links = pass_links(self, restore, &error);
  if (links == NULL) {
    state->network_problem = g_strdup(error->message);
    return state;
  }
  state->addresses = g_strdupv((char **)mf_netd_links_addresses(links));
  pass_network(self, state, links, restore);
  pass_ports(self, state, links);
  return state;
}

gboolean
mf_netd_remove(MfNetd *self, GError **error)
{
  g_autoptr(MfNetdLinks) links = read_links(error);
  if (links == NULL)
    return FALSE;
  g_autofree char *plan = mf_netd_links_plan_removal(links, self->config->network);
  if (plan != NULL)
    run_plan(plan);
  g_autoptr(MfNetdLinks) after = read_links(error);
  if (after == NULL)
    return FALSE;
  g_autofree char *left = mf_netd_links_plan_removal(after, self->config->network);
  if (left != NULL) {
    g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "taps cannot be removed: %s",
                g_strdelimit(left, "\n", ';'));
    return FALSE;
  }
  return mf_netd_guard_remove(self->guard, error);
}
