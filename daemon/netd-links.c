/* SPDX-License-Identifier: Apache-2.0 */
/* Links: read from iproute2's JSON; every rule of what a tap has to be is in tap_problem(). */
#include "daemon/netd-links.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/auto.h"
#include "daemon/error.h"

typedef struct {
  char *kind;   /* "tun", "bridge", … */
  char *type;   /* of a tun: "tap" or "tun" */
  char *user;   /* of a tun */
  char *master; /* the bridge it is on */
  gboolean persistent, vnet_hdr, multi_queue;
  gboolean up, carrier;
  gboolean isolated;
} Link;

struct MfNetdLinks {
  GHashTable *links; /* name → Link */
  char **addresses;
  GHashTable *address_of; /* "INTERFACE ADDRESS/PREFIX", a set */
};

static void
link_free(gpointer data)
{
  Link *link = data;
  g_free(link->kind);
  g_free(link->type);
  g_free(link->user);
  g_free(link->master);
  g_free(link);
}

void
mf_netd_links_free(MfNetdLinks *self)
{
  if (self == NULL)
    return;
  g_clear_pointer(&self->links, g_hash_table_unref);
  g_clear_pointer(&self->address_of, g_hash_table_unref);
  g_strfreev(self->addresses);
  g_free(self);
}

/* --- reading --- */

static MfJson *
member(MfJson *object, const char *key)
{
  MfJson *value = NULL;
  if (!json_object_is_type(object, json_type_object) ||
      !json_object_object_get_ex(object, key, &value))
    return NULL;
  return value;
}

static char *
text_member(MfJson *object, const char *key)
{
  MfJson *value = member(object, key);
  return json_object_is_type(value, json_type_string) ? g_strdup(json_object_get_string(value))
                                                      : NULL;
}

static gboolean
bool_member(MfJson *object, const char *key)
{
  MfJson *value = member(object, key);
  return json_object_is_type(value, json_type_boolean) && json_object_get_boolean(value);
}

static gboolean
has_flag(MfJson *object, const char *flag)
{
  MfJson *flags = member(object, "flags");
  for (size_t i = 0;
       json_object_is_type(flags, json_type_array) && i < json_object_array_length(flags); i++)
    if (g_strcmp0(json_object_get_string(json_object_array_get_idx(flags, i)), flag) == 0)
      return TRUE;
  return FALSE;
}

static void
read_link(MfNetdLinks *self, MfJson *object)
{
  g_autofree char *name = text_member(object, "ifname");
  if (name == NULL)
    return; /* "ip" prints an empty object for what it was told not to show */
  Link *link = g_new0(Link, 1);
  MfJson *info = member(object, "linkinfo");
  MfJson *data = member(info, "info_data");
  link->kind = text_member(info, "info_kind");
  link->type = text_member(data, "type");
  link->user = text_member(data, "user");
  link->persistent = bool_member(data, "persist");
  link->vnet_hdr = bool_member(data, "vnet_hdr");
  link->multi_queue = bool_member(data, "multi_queue");
  link->master = text_member(object, "master");
  link->up = has_flag(object, "UP");
  link->carrier = has_flag(object, "LOWER_UP");
  link->isolated = bool_member(member(info, "info_slave_data"), "isolated");
  g_hash_table_replace(self->links, g_steal_pointer(&name), link);
}

static int
compare_text(const void *a, const void *b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void
read_addresses(MfNetdLinks *self, MfJson *object, GHashTable *seen)
{
  g_autofree char *name = text_member(object, "ifname");
  MfJson *list = member(object, "addr_info");
  for (size_t i = 0;
       json_object_is_type(list, json_type_array) && i < json_object_array_length(list); i++) {
    MfJson *entry = json_object_array_get_idx(list, i);
    g_autofree char *local = text_member(entry, "local");
    struct in_addr in;
    if (local == NULL || inet_pton(AF_INET, local, &in) != 1)
      continue;
    g_hash_table_add(
        self->address_of,
        g_strdup_printf("%s %s/%d", name, local, json_object_get_int(member(entry, "prefixlen"))));
    if ((ntohl(in.s_addr) >> 24) != 127)
      g_hash_table_add(seen, g_steal_pointer(&local));
  }
}

static gboolean
for_each(const char *text, const char *what, MfNetdLinks *self,
         void (*read)(MfNetdLinks *, MfJson *, GHashTable *), GHashTable *seen, GError **error)
{
  g_autoptr(MfJson) list = json_tokener_parse(text);
  if (!json_object_is_type(list, json_type_array)) {
    g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED,
                "\"ip -j %s show\" did not print a JSON list; mayfly needs iproute2 4.14 or newer",
                what);
    return FALSE;
  }
  for (size_t i = 0; i < json_object_array_length(list); i++)
    read(self, json_object_array_get_idx(list, i), seen);
  return TRUE;
}

static void
read_link_entry(MfNetdLinks *self, MfJson *object, GHashTable *seen)
{
  read_link(self, object);
}

MfNetdLinks *
mf_netd_links_parse(const char *links, const char *addresses, GError **error)
{
  g_autoptr(MfNetdLinks) self = g_new0(MfNetdLinks, 1);
  self->links = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, link_free);
  self->address_of = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  if (!for_each(links, "link", self, read_link_entry, seen, error) ||
      !for_each(addresses, "addr", self, read_addresses, seen, error))
    return NULL;
  guint n;
  g_autofree gpointer *sorted = g_hash_table_get_keys_as_array(seen, &n);
  qsort(sorted, n, sizeof *sorted, compare_text);
  g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
  for (guint i = 0; i < n; i++)
    g_strv_builder_add(builder, sorted[i]);
  self->addresses = g_strv_builder_end(builder);
  return g_steal_pointer(&self);
}

/* --- judging --- */

const char *const *
mf_netd_links_addresses(const MfNetdLinks *self)
{
  return (const char *const *)self->addresses;
}

char *
mf_netd_links_bridge_problem(const MfNetdLinks *self, const char *bridge, MfPortTable *ports)
{
  const Link *link = g_hash_table_lookup(self->links, bridge);
  if (link == NULL)
    return g_strdup_printf("the bridge %s is missing", bridge);
  if (g_strcmp0(link->kind, "bridge") != 0)
    return g_strdup_printf(
        "the interface %s is not a bridge; rename it, or \"network\" in mayfly.conf", bridge);
  if (!link->up)
    return g_strdup_printf("the bridge %s is down", bridge);
  g_autofree char *address = g_strdup_printf("%s %s/%u", bridge, mf_port_table_gateway(ports),
                                             mf_port_table_prefix(ports));
  if (!g_hash_table_contains(self->address_of, address))
    return g_strdup_printf("the bridge %s does not have the address %s/%u", bridge,
                           mf_port_table_gateway(ports), mf_port_table_prefix(ports));
  return NULL;
}

/* Without an owner anybody on the host could open an idle port. vnet_hdr: libvirt asks for it, and
 * cannot change it later. */
static const char *
tap_make_problem(const Link *link)
{
  if (g_strcmp0(link->kind, "tun") != 0 || g_strcmp0(link->type, "tap") != 0)
    return "is not a tap";
  if (!link->persistent)
    return "is a tap that vanishes with its user";
  if (g_strcmp0(link->user, "root") != 0 && g_strcmp0(link->user, "0") != 0)
    return "is a tap that others than root may open";
  if (!link->vnet_hdr || link->multi_queue)
    return "is a tap with other features than libvirt asks for";
  return NULL;
}

static const char *
tap_problem(const Link *link, const char *bridge)
{
  if (link == NULL)
    return "is missing";
  const char *problem = tap_make_problem(link);
  if (problem != NULL)
    return problem;
  if (g_strcmp0(link->master, bridge) != 0)
    return "is not on the bridge";
  if (!link->isolated)
    return "is not isolated from the other ports";
  if (!link->up)
    return "is down";
  return NULL;
}

void
mf_netd_tap_clear(MfNetdTap *tap)
{
  g_clear_pointer(&tap->problem, g_free);
}

MfNetdTap
mf_netd_links_tap(const MfNetdLinks *self, const char *bridge, const MfPort *port)
{
  const Link *link = g_hash_table_lookup(self->links, port->tap);
  gboolean bridgeless =
      g_hash_table_lookup(self->links, bridge) == NULL && link != NULL && link->master == NULL;
  const char *problem = tap_problem(link, bridge);
  if (bridgeless)
    problem = tap_make_problem(link);
  MfNetdTap tap = {
      .problem = problem != NULL ? g_strdup_printf("the tap %s %s", port->tap, problem) : NULL,
      .isolated =
          bridgeless || (link != NULL && g_strcmp0(link->master, bridge) == 0 && link->isolated),
      .used = link != NULL && link->carrier,
  };
  return tap;
}

/* --- planning --- */

/* Isolated before up: no frame passes between two ports, not even while they are made. */
static void
plan_port(GString *plan, const Link *link, const Link *bridge_link, const char *bridge,
          const char *tap)
{
  gboolean make = link == NULL;
  if (link != NULL && tap_make_problem(link) != NULL) {
    /* A stranger's interface of this name is theirs to remove; ours are rebuilt when nobody uses
     * them. */
    if (g_strcmp0(link->kind, "tun") != 0 || link->carrier)
      return;
    g_string_append_printf(plan, "link del dev %s\n", tap);
    make = TRUE;
  }
  if (make)
    g_string_append_printf(plan,
                           "tuntap add dev %s mode tap user root vnet_hdr\n"
                           "link set dev %s addrgenmode none\n",
                           tap, tap);
  gboolean have_bridge = bridge_link != NULL && g_strcmp0(bridge_link->kind, "bridge") == 0;
  if (have_bridge && (make || g_strcmp0(link->master, bridge) != 0))
    g_string_append_printf(plan, "link set dev %s master %s\n", tap, bridge);
  if (have_bridge && (make || g_strcmp0(link->master, bridge) != 0 || !link->isolated))
    g_string_append_printf(plan, "link set dev %s type bridge_slave isolated on\n", tap);
  if (make || !link->up)
    g_string_append_printf(plan, "link set dev %s up\n", tap);
}

static gboolean
is_tap_name(const char *name)
{
  return g_str_has_prefix(name, "mf") && name[2] != '\0' &&
         name[2 + strspn(name + 2, "0123456789")] == '\0';
}

/* By name alone it could be somebody else's: ours is a persistent tap of root, isolated on our
 * bridge or on none. */
static gboolean
is_ours(const char *name, const Link *link, const char *bridge)
{
  return is_tap_name(name) && tap_make_problem(link) == NULL &&
         (link->master == NULL || (g_str_equal(link->master, bridge) && link->isolated));
}

static char *
plan_or_null(GString *plan)
{
  return plan->len > 0 ? g_strdup(plan->str) : NULL;
}

char *
mf_netd_links_plan(const MfNetdLinks *self, const char *bridge, MfPortTable *ports)
{
  g_autoptr(GString) plan = g_string_new(NULL);
  const Link *bridge_link = g_hash_table_lookup(self->links, bridge);
  for (guint i = 0; i < mf_port_table_size(ports); i++) {
    const char *tap = mf_port_table_get(ports, i)->tap;
    plan_port(plan, g_hash_table_lookup(self->links, tap), bridge_link, bridge, tap);
  }
  GHashTableIter iter;
  gpointer name, data;
  g_hash_table_iter_init(&iter, self->links);
  while (g_hash_table_iter_next(&iter, &name, &data)) {
    const Link *link = data;
    if (is_ours(name, link, bridge) && !link->carrier &&
        g_ascii_strtoull((const char *)name + 2, NULL, 10) >= mf_port_table_size(ports))
      g_string_append_printf(plan, "link del dev %s\n", (const char *)name);
  }
  return plan_or_null(plan);
}

char *
mf_netd_links_plan_removal(const MfNetdLinks *self, const char *bridge)
{
  g_autoptr(GString) plan = g_string_new(NULL);
  GHashTableIter iter;
  gpointer name, link;
  g_hash_table_iter_init(&iter, self->links);
  while (g_hash_table_iter_next(&iter, &name, &link))
    if (is_ours(name, link, bridge))
      g_string_append_printf(plan, "link del dev %s\n", (const char *)name);
  return plan_or_null(plan);
}
