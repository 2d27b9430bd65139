/* SPDX-License-Identifier: Apache-2.0 */
/* Ports: their names and addresses follow from the index alone, so that netd and daemon agree
 * without talking. */
#include "daemon/port.h"

#include <arpa/inet.h>
#include <string.h>

#include "daemon/error.h"

/* .0 is the net, .1 the gateway; the rest below .16 stays free for what an admin wants to have
 * there. */
#define FIRST_ADDRESS 16u
#define PREFIX_MIN    8u
#define PREFIX_MAX    27u

struct MfPortTable {
  MfPort *ports;
  guint size;
  guint prefix;
  gint64 rest; /* microseconds */
  char gateway[INET_ADDRSTRLEN];
};

static void
address_format(guint32 address, char ret_text[static INET_ADDRSTRLEN])
{
  struct in_addr in = {.s_addr = htonl(address)};
  inet_ntop(AF_INET, &in, ret_text, INET_ADDRSTRLEN);
}

/* Machines must be told from the internet by their address: the filter and the guard drop these
 * ranges as a whole. */
static gboolean
is_private(guint32 address, guint prefix)
{
  static const struct {
    guint32 net;
    guint prefix;
  } ranges[] = {{0x0a000000u, 8}, {0x64400000u, 10}, {0xac100000u, 12}, {0xc0a80000u, 16}};
  for (guint i = 0; i < G_N_ELEMENTS(ranges); i++)
    if (prefix >= ranges[i].prefix && ((address ^ ranges[i].net) >> (32 - ranges[i].prefix)) == 0)
      return TRUE;
  return FALSE;
}

static gboolean
subnet_parse(const char *text, guint32 *ret_net, guint *ret_prefix, GError **error)
{
  g_auto(GStrv) parts = g_strsplit(text != NULL ? text : "", "/", 2);
  struct in_addr in = {0};
  guint64 prefix = 0;
  if (g_strv_length(parts) != 2 || inet_pton(AF_INET, parts[0], &in) != 1 ||
      !g_ascii_string_to_unsigned(parts[1], 10, PREFIX_MIN, PREFIX_MAX, &prefix, NULL)) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "network subnet \"%s\" is not of the form ADDRESS/PREFIX with a prefix from %u to "
                "%u; write for example "
                "10.177.0.0/24",
                text != NULL ? text : "", PREFIX_MIN, PREFIX_MAX);
    return FALSE;
  }
  guint32 net = ntohl(in.s_addr);
  if ((net << prefix) != 0) {
    g_set_error(
        error, MF_ERROR, MF_ERROR_INVALID,
        "network subnet \"%s\" has bits set after its prefix; write the network's first address",
        text);
    return FALSE;
  }
  if (!is_private(net, (guint)prefix)) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "network subnet \"%s\" is not private; choose one inside 10.0.0.0/8, "
                "100.64.0.0/10, 172.16.0.0/12 or "
                "192.168.0.0/16",
                text);
    return FALSE;
  }
  *ret_net = net;
  *ret_prefix = (guint)prefix;
  return TRUE;
}

static void
port_init(MfPort *self, guint index, guint32 net)
{
  self->index = index;
  g_snprintf(self->tap, sizeof self->tap, "mf%u", index);
  g_snprintf(self->mac, sizeof self->mac, "52:54:00:6d:%02x:%02x", (index >> 8) & 0xffu,
             index & 0xffu);
  address_format(net + FIRST_ADDRESS + index, self->ip);
}

MfPortTable *
mf_port_table_new(const MfConfig *config, GError **error)
{
  guint32 net;
  guint prefix;
  if (!subnet_parse(config->subnet, &net, &prefix, error))
    return NULL;
  /* The last address of the net is its broadcast; a MAC has two bytes for the index, and ff:ff is
   * the bridge's. */
  guint64 room = MIN((G_GUINT64_CONSTANT(1) << (32 - prefix)) - 1 - FIRST_ADDRESS, 65535);
  if (config->ports == 0 || config->ports > room) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "network subnet \"%s\" has room for 1 to %" G_GUINT64_FORMAT
                " ports, but %u are configured; lower \"ports\" or choose a larger subnet",
                config->subnet, room, config->ports);
    return NULL;
  }

  MfPortTable *self = g_new0(MfPortTable, 1);
  self->size = config->ports;
  self->prefix = prefix;
  self->rest = (gint64)MIN(config->port_rest, (guint64)G_MAXINT32) * G_USEC_PER_SEC;
  address_format(net + 1, self->gateway);
  self->ports = g_new0(MfPort, self->size);
  for (guint i = 0; i < self->size; i++)
    port_init(&self->ports[i], i, net);
  return self;
}

void
mf_port_table_free(MfPortTable *self)
{
  if (self == NULL)
    return;
  for (guint i = 0; i < self->size; i++) {
    g_free(self->ports[i].fault);
    g_free(self->ports[i].job);
  }
  g_free(self->ports);
  g_free(self);
}

guint
mf_port_table_size(const MfPortTable *self)
{
  return self->size;
}

MfPort *
mf_port_table_get(MfPortTable *self, guint index)
{
  g_return_val_if_fail(index < self->size, NULL);
  return &self->ports[index];
}

const char *
mf_port_table_gateway(const MfPortTable *self)
{
  return self->gateway;
}

guint
mf_port_table_prefix(const MfPortTable *self)
{
  return self->prefix;
}

static gboolean
port_is_free(const MfPortTable *self, const MfPort *port, gint64 now)
{
  return port->bound && port->fault == NULL && port->job == NULL &&
         (port->released == 0 || now - port->released >= self->rest);
}

guint
mf_port_table_available(const MfPortTable *self, gint64 now)
{
  guint n = 0;
  for (guint i = 0; i < self->size; i++)
    n += port_is_free(self, &self->ports[i], now) ? 1 : 0;
  return n;
}

MfPort *
mf_port_table_take(MfPortTable *self, const char *job, gint64 now)
{
  g_return_val_if_fail(job != NULL, NULL);
  MfPort *best = NULL;
  for (guint i = 0; i < self->size; i++) {
    MfPort *port = &self->ports[i];
    if (port_is_free(self, port, now) && (best == NULL || port->released < best->released))
      best = port;
  }
  if (best != NULL)
    best->job = g_strdup(job);
  return best;
}

gboolean
mf_port_table_claim(MfPortTable *self, const char *tap, const char *job)
{
  g_return_val_if_fail(job != NULL, FALSE);
  for (guint i = 0; i < self->size; i++) {
    MfPort *port = &self->ports[i];
    if (g_strcmp0(port->tap, tap) != 0)
      continue;
    if (port->job == NULL)
      port->job = g_strdup(job);
    return g_str_equal(port->job, job);
  }
  return FALSE;
}

void
mf_port_table_release(MfPortTable *self, MfPort *port, gint64 now)
{
  g_return_if_fail(port >= self->ports && port < self->ports + self->size);
  g_clear_pointer(&port->job, g_free);
  port->released = MAX(now, 1);
}

void
mf_port_set_fault(MfPort *self, const char *fault)
{
  char *copy = g_strdup(fault); /* @fault may be the one we have */
  g_free(self->fault);
  self->fault = copy;
}
