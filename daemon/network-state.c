/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network state file. It decides whether a machine may run, so it is read strictly: what is
 * missing, of another type, or of another version is never taken for "all is well".
 */
#include "daemon/port.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/auto.h"
#include "daemon/error.h"

#define FILE_MAX    (4u << 20)
#define PROBLEM_MAX 1000u

typedef struct {
  char *problem; /* tap or isolation; NULL = good */
  gboolean chains;
} PortState;

struct MfNetworkState {
  gint64 updated;
  char *problem;
  char **host_addresses;
  GHashTable *ports; /* tap → PortState */
};

static void
port_state_free(gpointer data)
{
  PortState *self = data;
  g_free(self->problem);
  g_free(self);
}

void
mf_network_state_free(MfNetworkState *self)
{
  if (self == NULL)
    return;
  g_free(self->problem);
  g_strfreev(self->host_addresses);
  g_clear_pointer(&self->ports, g_hash_table_unref);
  g_free(self);
}

static gboolean
damaged(GError **error, const char *what)
{
  g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED, "%s is missing or malformed", what);
  return FALSE;
}

static gboolean
get_bool(MfJson *object, const char *key, gboolean *ret)
{
  MfJson *value;
  if (!json_object_object_get_ex(object, key, &value) ||
      !json_object_is_type(value, json_type_boolean))
    return FALSE;
  *ret = json_object_get_boolean(value);
  return TRUE;
}

/* "ok" and, when it is false, "problem", bounded: it ends up in log lines and error messages. */
static gboolean
get_verdict(MfJson *object, const char *unnamed, char **ret_problem)
{
  gboolean ok;
  if (!json_object_is_type(object, json_type_object) || !get_bool(object, "ok", &ok))
    return FALSE;
  if (ok) {
    *ret_problem = NULL;
    return TRUE;
  }
  MfJson *value;
  const char *text = unnamed;
  if (json_object_object_get_ex(object, "problem", &value) &&
      json_object_is_type(value, json_type_string))
    text = json_object_get_string(value);
  g_autofree char *valid = g_utf8_make_valid(text, (gssize)strnlen(text, PROBLEM_MAX));
  *ret_problem = g_steal_pointer(&valid);
  return TRUE;
}

static gboolean
read_header(MfNetworkState *self, MfJson *root, GError **error)
{
  MfJson *value;
  if (!json_object_object_get_ex(root, "version", &value) ||
      !json_object_is_type(value, json_type_int))
    return damaged(error, "\"version\"");
  if (json_object_get_int64(value) != 1) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "it has version %" G_GINT64_FORMAT
                " and this program reads version 1; restart mayfly-netd",
                (gint64)json_object_get_int64(value));
    return FALSE;
  }
  if (!json_object_object_get_ex(root, "updated", &value) ||
      !json_object_is_type(value, json_type_int))
    return damaged(error, "\"updated\"");
  self->updated = json_object_get_int64(value);

  g_autofree char *guard = NULL;
  if (!json_object_object_get_ex(root, "network", &value) ||
      !get_verdict(value, "the network is not as it should be", &self->problem))
    return damaged(error, "\"network\"");
  if (!json_object_object_get_ex(root, "guard", &value) ||
      !get_verdict(value, "the guard is not as it should be", &guard))
    return damaged(error, "\"guard\"");
  if (self->problem == NULL)
    self->problem = g_steal_pointer(&guard);
  return TRUE;
}

static gboolean
read_addresses(MfNetworkState *self, MfJson *root, GError **error)
{
  MfJson *list;
  if (!json_object_object_get_ex(root, "host_addresses", &list) ||
      !json_object_is_type(list, json_type_array))
    return damaged(error, "\"host_addresses\"");
  g_autoptr(GPtrArray) addresses = g_ptr_array_new_with_free_func(g_free);
  for (size_t i = 0; i < json_object_array_length(list); i++) {
    MfJson *value = json_object_array_get_idx(list, i);
    struct in_addr in;
    if (!json_object_is_type(value, json_type_string) ||
        inet_pton(AF_INET, json_object_get_string(value), &in) != 1)
      return damaged(error, "an entry of \"host_addresses\"");
    g_ptr_array_add(addresses, g_strdup(json_object_get_string(value)));
  }
  g_ptr_array_add(addresses, NULL);
  self->host_addresses = (char **)g_ptr_array_free(g_steal_pointer(&addresses), FALSE);
  return TRUE;
}

static gboolean
read_port(MfNetworkState *self, MfJson *value, GError **error)
{
  MfJson *tap;
  gboolean isolated, chains;
  char *problem = NULL;
  if (!json_object_is_type(value, json_type_object) ||
      !json_object_object_get_ex(value, "tap", &tap) ||
      !json_object_is_type(tap, json_type_string) || !get_bool(value, "isolated", &isolated) ||
      !get_bool(value, "chains", &chains) ||
      !get_verdict(value, "the port is not as it should be", &problem))
    return damaged(error, "an entry of \"ports\"");
  if (problem == NULL && !isolated)
    problem = g_strdup("the tap is not isolated from the other ports");
  PortState *port = g_new0(PortState, 1);
  port->problem = problem;
  port->chains = chains;
  g_hash_table_replace(self->ports, g_strdup(json_object_get_string(tap)), port);
  return TRUE;
}

static gboolean
read_ports(MfNetworkState *self, MfJson *root, GError **error)
{
  MfJson *list;
  if (!json_object_object_get_ex(root, "ports", &list) ||
      !json_object_is_type(list, json_type_array))
    return damaged(error, "\"ports\"");
  for (size_t i = 0; i < json_object_array_length(list); i++)
    if (!read_port(self, json_object_array_get_idx(list, i), error))
      return FALSE;
  return TRUE;
}

/* Never a FIFO or a device that would make the reader wait, nor a file that grows without end. */
static char *
read_file(const char *path, gsize *ret_length, GError **error)
{
  g_auto(MfFd) fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  struct stat st;
  if (fd < 0 && errno == ENOENT) {
    g_set_error(
        error, MF_ERROR, MF_ERROR_UNAVAILABLE,
        "network state %s is not there; start mayfly-netd, which makes and watches the network",
        path);
    return NULL;
  }
  if (fd < 0 || fstat(fd, &st) < 0) {
    g_set_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE, "network state %s cannot be read: %s", path,
                g_strerror(errno));
    return NULL;
  }
  if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
    g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED,
                "network state %s is not a file of at most %u bytes; restart mayfly-netd", path,
                FILE_MAX);
    return NULL;
  }
  g_autofree char *text = g_malloc(FILE_MAX + 1);
  gsize used = 0;
  while (used < FILE_MAX) {
    ssize_t n = read(fd, text + used, FILE_MAX - used);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0) {
      g_set_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE, "network state %s cannot be read: %s",
                  path, g_strerror(errno));
      return NULL;
    }
    if (n == 0)
      break;
    used += (gsize)n;
  }
  text[used] = '\0';
  *ret_length = used;
  return g_steal_pointer(&text);
}

MfNetworkState *
mf_network_state_load(const char *path, GError **error)
{
  gsize length;
  g_autofree char *text = read_file(path, &length, error);
  if (text == NULL)
    return NULL;
  struct json_tokener *tokener = json_tokener_new_ex(8);
  json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
  g_autoptr(MfJson) root = json_tokener_parse_ex(tokener, text, (int)length);
  enum json_tokener_error parse = json_tokener_get_error(tokener);
  json_tokener_free(tokener);
  if (parse != json_tokener_success || !json_object_is_type(root, json_type_object)) {
    g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED,
                "network state %s is not a JSON object; restart mayfly-netd", path);
    return NULL;
  }
  g_autoptr(MfNetworkState) self = g_new0(MfNetworkState, 1);
  self->ports = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, port_state_free);
  if (!read_header(self, root, error) || !read_addresses(self, root, error) ||
      !read_ports(self, root, error)) {
    g_prefix_error(error, "network state %s: ", path);
    return NULL;
  }
  return g_steal_pointer(&self);
}

gint64
mf_network_state_updated(const MfNetworkState *self)
{
  return self->updated;
}

const char *
mf_network_state_problem(const MfNetworkState *self)
{
  return self->problem;
}

const char *const *
mf_network_state_host_addresses(const MfNetworkState *self)
{
  return (const char *const *)self->host_addresses;
}

const char *
mf_network_state_port_problem(const MfNetworkState *self, const char *tap, gboolean with_chains)
{
  const PortState *port = g_hash_table_lookup(self->ports, tap);
  if (port == NULL)
    return "mayfly-netd does not know the port";
  if (port->problem != NULL)
    return port->problem;
  if (with_chains && !port->chains)
    return "the ebtables chains of its filter are not there or not whole";
  return NULL;
}
