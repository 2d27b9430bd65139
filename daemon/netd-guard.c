/* SPDX-License-Identifier: Apache-2.0 */
/* Guard: filled in, loaded, compared. */
#include "daemon/netd-guard.h"

#include <glib/gstdio.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/filter-set.h"
#include "daemon/netd-run.h"

#define TABLE  "mayfly_guard"
#define WANTED "mayfly_guard_wanted"

struct MfNetdGuard {
  char *text;
  char *text_sum;
  char *loaded_file; /* "TEXT-SUM LISTING-SUM" of the last load */
};

static char *
format_ports(MfPortTable *ports)
{
  g_autoptr(GString) text = g_string_new(NULL);
  for (guint i = 0; i < mf_port_table_size(ports); i++)
    g_string_append_printf(text, "%s\"%s\"", i > 0 ? ", " : "", mf_port_table_get(ports, i)->tap);
  return g_string_free(g_steal_pointer(&text), FALSE);
}

/* The whole "elements" statement: nft does not take an empty list. */
static char *
format_holes(const MfConfig *config, GError **error)
{
  g_autoptr(GString) text = g_string_new(NULL);
  for (guint i = 0; config->holes != NULL && config->holes[i] != NULL; i++) {
    g_autofree char *address = NULL;
    guint port;
    if (!mf_hole_parse(config->holes[i], &address, &port, error))
      return NULL;
    g_string_append_printf(text, "%s%s . %u", i > 0 ? ", " : "elements = { ", address, port);
  }
  if (text->len > 0)
    g_string_append(text, " }");
  return g_string_free(g_steal_pointer(&text), FALSE);
}

/* The prefix of nft's own syntax must not be closed by a name; mf_config_load() checks it too. */
static gboolean
is_interface_name(const char *name)
{
  gsize length = strlen(name);
  return length > 0 && length < 16 &&
         strspn(name, G_CSET_A_2_Z G_CSET_a_2_z "0123456789_.-") == length;
}

char *
mf_netd_guard_format(const char *guard_template, const MfConfig *config, MfPortTable *ports,
                     GError **error)
{
  if (!is_interface_name(config->network)) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "network name \"%s\" cannot be the name of an interface", config->network);
    return NULL;
  }
  g_autofree char *holes = format_holes(config, error);
  if (holes == NULL)
    return NULL;
  g_autofree char *taps = format_ports(ports);
  const char *gateway = mf_port_table_gateway(ports);
  g_autofree char *subnet = g_strdup_printf("%s/%u", gateway, mf_port_table_prefix(ports));
  const struct {
    const char *name, *value;
  } values[] = {{"@BRIDGE@", config->network},
                {"@GATEWAY@", gateway},
                {"@SUBNET@", subnet},
                {"@PORTS@", taps},
                {"@HOLES@", holes}};
  g_autoptr(GString) text = g_string_new(guard_template);
  for (guint i = 0; i < G_N_ELEMENTS(values); i++)
    g_string_replace(text, values[i].name, values[i].value, 0);
  return g_string_free(g_steal_pointer(&text), FALSE);
}

MfNetdGuard *
mf_netd_guard_new(const MfConfig *config, MfPortTable *ports, GError **error)
{
  g_autofree char *path = g_build_filename(config->filter_directory, "guard.nft.in", NULL);
  g_autofree char *guard_template = NULL;
  g_autoptr(GError) local = NULL;
  if (!g_file_get_contents(path, &guard_template, NULL, &local)) {
    g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED,
                "the guard's template cannot be read: %s; reinstall mayfly", local->message);
    return NULL;
  }
  g_autofree char *text = mf_netd_guard_format(guard_template, config, ports, error);
  if (text == NULL)
    return NULL;
  MfNetdGuard *self = g_new0(MfNetdGuard, 1);
  self->text_sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
  self->text = g_steal_pointer(&text);
  g_autofree char *directory = g_path_get_dirname(config->network_state);
  self->loaded_file = g_build_filename(directory, "guard.loaded", NULL);
  return self;
}

void
mf_netd_guard_free(MfNetdGuard *self)
{
  if (self == NULL)
    return;
  g_free(self->text);
  g_free(self->text_sum);
  g_free(self->loaded_file);
  g_free(self);
}

static char *
replaced(const char *text, const char *find, const char *replacement)
{
  g_autoptr(GString) result = g_string_new(text);
  g_string_replace(result, find, replacement, 0);
  return g_string_free(g_steal_pointer(&result), FALSE);
}

/* The name of a guard: what we wanted, and what nft says of it, but for empty lines. */
static char *
fingerprint(const MfNetdGuard *self, const char *listing)
{
  g_autofree char *dense = replaced(listing, "\n\n", "\n");
  g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, dense, -1);
  return g_strdup_printf("%s %s\n", self->text_sum, sum);
}

/* (transfer full): NULL: no table. */
static char *
list_table(const char *table, GError **error)
{
  const char *const list[] = {"nft", "--stateless", "list", "table", "inet", table, NULL};
  char *listing = NULL;
  return mf_netd_run(list, NULL, &listing, error) ? listing : NULL;
}

char *
mf_netd_guard_problem(MfNetdGuard *self)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *listing = list_table(TABLE, &error);
  if (listing == NULL)
    return mf_error_code(error) == MF_ERROR_FAILED
               ? g_strdup("the guard (nft table inet " TABLE ") is missing")
               : g_strdup_printf("the guard cannot be checked: %s", error->message);
  g_autofree char *have = fingerprint(self, listing);
  g_autofree char *loaded = NULL;
  if (g_file_get_contents(self->loaded_file, &loaded, NULL, NULL) && g_str_equal(loaded, have))
    return NULL;
  return g_strdup("the guard (nft table inet " TABLE ") is not the one that mayfly-netd loads");
}

/* How nft lists what was loaded. Not of the guard itself, which somebody may have changed since: of
 * a second, dormant table, loaded with it for this alone. (transfer full) */
static char *
list_wanted(GError **error)
{
  static const char *const remove[] = {"nft", "delete", "table", "inet", WANTED, NULL};
  g_autofree char *listing = list_table(WANTED, error);
  if (listing == NULL || !mf_netd_run(remove, NULL, NULL, error))
    return NULL;
  g_autofree char *awake = replaced(listing, "\tflags dormant\n", "");
  return replaced(awake, WANTED, TABLE);
}

static char *
format_load(const MfNetdGuard *self)
{
  g_autofree char *wanted = replaced(self->text, TABLE, WANTED);
  g_autofree char *dormant =
      replaced(wanted, "table inet " WANTED " {\n", "table inet " WANTED " {\n\tflags dormant\n");
  return g_strconcat(self->text, "\n", dormant, NULL);
}

gboolean
mf_netd_guard_load(MfNetdGuard *self, GError **error)
{
  static const char *const load[] = {"nft", "-f", "-", NULL};
  g_autofree char *both = format_load(self);
  if (!mf_netd_run(load, both, NULL, error)) {
    g_prefix_error(error, "the guard cannot be loaded: ");
    return FALSE;
  }
  g_autofree char *listing = list_wanted(error);
  g_autofree char *wanted = listing != NULL ? fingerprint(self, listing) : NULL;
  if (wanted == NULL || !g_file_set_contents_full(self->loaded_file, wanted, -1,
                                                  G_FILE_SET_CONTENTS_CONSISTENT, 0644, error)) {
    g_prefix_error(error, "the guard is loaded but cannot be compared later: ");
    return FALSE;
  }
  return TRUE;
}

gboolean
mf_netd_guard_remove(MfNetdGuard *self, GError **error)
{
  static const char *const remove[] = {"nft", "-f", "-", NULL};
  g_unlink(self->loaded_file);
  return mf_netd_run(remove,
                     "table inet " TABLE "\ndelete table inet " TABLE "\n"
                     "table inet " WANTED "\ndelete table inet " WANTED "\n",
                     NULL, error);
}
