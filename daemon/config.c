/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration: the table of every key, the files it is read from, and what must fit together. */
#include "daemon/config.h"

#include <arpa/inet.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/key-table.h"
#include "daemon/paths.h"
#include "daemon/text.h"

/* Ports get the addresses from the subnet's 16th on; the last one is the broadcast address. */
#define FIRST_PORT_ADDRESS 16

static gboolean
is_word(const char *value, gsize limit)
{
  gsize length = strlen(value);
  for (gsize i = 0; i < length; i++)
    if (!g_ascii_isalnum(value[i]) && strchr("._-", value[i]) == NULL)
      return FALSE;
  return length > 0 && length <= limit && value[0] != '-' && value[0] != '.';
}

static gboolean
is_group_name(const char *value)
{
  return is_word(value, 32);
}

/* The network's name is its bridge's too, and an interface's name has 15 characters at most. */
static gboolean
is_network_name(const char *value)
{
  return is_word(value, 15);
}

static gboolean
is_address(const char *value)
{
  struct in_addr address;
  return inet_pton(AF_INET, value, &address) == 1;
}

static gboolean
parse_subnet(const char *value, guint32 *ret_address, guint *ret_prefix)
{
  const char *slash = strchr(value, '/');
  guint64 prefix;
  struct in_addr address;
  g_autofree char *text = g_strndup(value, slash != NULL ? (gsize)(slash - value) : 0);
  if (slash == NULL || inet_pton(AF_INET, text, &address) != 1 || !g_ascii_isdigit(slash[1]) ||
      !g_ascii_string_to_unsigned(slash + 1, 10, 16, 27, &prefix, NULL))
    return FALSE;
  *ret_address = ntohl(address.s_addr);
  *ret_prefix = (guint)prefix;
  return TRUE;
}

static gboolean
is_subnet(const char *value)
{
  guint32 address;
  guint prefix;
  return parse_subnet(value, &address, &prefix) && (address & (G_MAXUINT32 >> prefix)) == 0;
}

static gboolean
is_address_and_port(const char *value)
{
  const char *colon = strchr(value, ':');
  guint64 port;
  g_autofree char *address = g_strndup(value, colon != NULL ? (gsize)(colon - value) : 0);
  return colon != NULL && is_address(address) && g_ascii_isdigit(colon[1]) &&
         g_ascii_string_to_unsigned(colon + 1, 10, 1, 65535, &port, NULL);
}

#define KIB         (G_GUINT64_CONSTANT(1) << 10)
#define MIB         (G_GUINT64_CONSTANT(1) << 20)
#define GIB         (G_GUINT64_CONSTANT(1) << 30)
#define TIB         (G_GUINT64_CONSTANT(1) << 40)
#define HOUR        G_GUINT64_CONSTANT(3600)
#define DAY         (24 * HOUR)
#define FIELD(name) .offset = G_STRUCT_OFFSET(MfConfig, name)

/* clang-format off */
static const MfKey keys[] = {
    {"daemon", "state-directory", MF_KEY_PATH, MF_STATEDIR, FIELD(state_directory),
     .meaning = "Images, job records with their output, and the machines' disks are kept here."},
    {"daemon", "runtime-directory", MF_KEY_PATH, MF_RUNDIR, FIELD(runtime_directory),
     .meaning = "The daemon's socket and those of the machines are here."},
    {"daemon", "template-directory", MF_KEY_PATH, MF_SYSCONFDIR "/templates", FIELD(template_directory),
     .meaning = "Templates, one NAME.conf each, see mayfly-template(5)."},
    {"daemon", "admin-group", MF_KEY_TEXT, "mayfly-admin", FIELD(admin_group), .check = is_group_name,
     .allowed = "the name of a group",
     .meaning = "Members of this group see and end the jobs of everybody, as root does."},

    {"libvirt", "uri", MF_KEY_TEXT, "qemu:///system", FIELD(uri), .allowed = "a libvirt URI",
     .meaning = "The libvirt that runs the machines. It must be on this host."},

    {"machines", "accel", MF_KEY_CHOICE, "auto", FIELD(accel), .allowed = "auto|kvm|tcg",
     .meaning = "How machines run. auto tries a tiny guest under KVM once and takes tcg (slow, but works) if that fails."},
    {"machines", "emulator", MF_KEY_PATH, "/usr/bin/qemu-system-x86_64", FIELD(emulator),
     .meaning = "The QEMU that runs them."},
    {"machines", "max-machines", MF_KEY_NUMBER, "8", 1, 1024, FIELD(max_machines),
     .meaning = "Most machines at once, with those of pools and those that memory images are made of; more jobs wait in the queue, and such machines make room for them."},
    {"machines", "memory", MF_KEY_SIZE, "0", 0, 64 * TIB, FIELD(memory),
     .meaning = "Memory that machines may be guaranteed together; 0 is 80 % of the host's."},
    {"machines", "overcommit", MF_KEY_NUMBER, "100", 100, 1000, FIELD(overcommit),
     .meaning = "A machine's memory in percent of what it is guaranteed: with 150, one of 3GiB is guaranteed 2GiB, and counts as that; what it uses beyond is not taken from it, but when the host is short it gets no more."},
    {"machines", "memory-reserve", MF_KEY_SIZE, "0", 0, 64 * TIB, FIELD(memory_reserve),
     .meaning = "Memory that the host should have available: with less, machines give back what they do not use, and get it again when there is a quarter more than that; with less than a quarter of it, no job starts until there is half of it. While less than twice of it is available, the time that tasks wait for memory counts as well (/proc/pressure/memory, the last ten seconds): when some wait for more than 15 % of it machines give back, when all wait for more than 20 % no job starts, each until it is 5 %. 0 is a tenth of the host's."},
    {"machines", "cpus", MF_KEY_NUMBER, "0", 0, 65536, FIELD(cpus),
     .meaning = "Virtual CPUs that machines may have together; 0 is four for each of the host's."},
    {"machines", "disk-reserve", MF_KEY_SIZE, "2GiB", 0, 1024 * TIB, FIELD(disk_reserve),
     .meaning = "Space that must stay free where state-directory is; with less, no machine starts."},
    {"machines", "start-timeout", MF_KEY_TIME, "180s", 1, 1 * HOUR, FIELD(start_timeout),
     .meaning = "From a machine's first instruction until it is ready; a template may say another."},
    {"machines", "inject-timeout", MF_KEY_TIME, "120s", 1, 1 * HOUR, FIELD(inject_timeout),
     .meaning = "For writing a job's files into its machine's disk."},
    {"machines", "agent-timeout", MF_KEY_TIME, "60s", 3, 1 * HOUR, FIELD(agent_timeout),
     .meaning = "A machine whose agent has not answered for so long hangs, and is ended."},
    {"machines", "parallel-starts", MF_KEY_NUMBER, "2", 1, 256, FIELD(parallel_starts),
     .meaning = "Most machines that boot, or wake up from a memory image, at the same time, with those of pools and those that memory images are made of."},
    {"machines", "parallel-injects", MF_KEY_NUMBER, "2", 1, 256, FIELD(parallel_injects),
     .meaning = "Most disks that are written to at the same time before their machines start."},
    {"machines", "pool-age", MF_KEY_TIME, "6h", 60, 30 * DAY, FIELD(pool_age),
     .meaning = "A machine that has waited this long for a job (pool in its template) makes room for a new one."},

    {"images", "gitlab-runner", MF_KEY_PATH, "/usr/bin/gitlab-runner", FIELD(gitlab_runner),
     .meaning = "This host's gitlab-runner, if there is one: a copy goes into every machine, for artifacts and caches; user mayfly must be able to read and execute it, which it cannot below /home, /root and /tmp."},

    {"jobs", "default-timeout", MF_KEY_TIME, "1h", 1, 365 * DAY, FIELD(default_timeout),
     .meaning = "A job that asks for no time gets this, from the start of its machine."},
    {"jobs", "max-timeout", MF_KEY_TIME, "24h", 1, 365 * DAY, FIELD(max_timeout),
     .meaning = "The most a job may ask for."},
    {"jobs", "max-keep", MF_KEY_TIME, "1h", 0, 30 * DAY, FIELD(max_keep),
     .meaning = "The longest that a failed job's machine may be kept to look inside."},
    {"jobs", "queue-length", MF_KEY_NUMBER, "1000", 1, 1000000, FIELD(queue_length),
     .meaning = "Most jobs that wait; a further one is refused."},
    {"jobs", "output-limit", MF_KEY_SIZE, "1GiB", 64 * KIB, 1 * TIB, FIELD(output_limit),
     .meaning = "Output that is kept of one command; what comes after is counted, not kept."},
    {"jobs", "console-limit", MF_KEY_SIZE, "8MiB", 64 * KIB, 1 * GIB, FIELD(console_limit),
     .meaning = "Output that is kept of one machine's console."},
    {"jobs", "keep-records", MF_KEY_TIME, "7d", 0, 3650 * DAY, FIELD(keep_records),
     .meaning = "How long a finished job's record and output stay."},

    {"network", "network", MF_KEY_TEXT, "mayfly0", FIELD(network), .check = is_network_name,
     .allowed = "a name of at most 15 letters, digits, '.', '_' and '-'",
     .meaning = "The libvirt network that mayfly-netd makes, and its bridge."},
    {"network", "subnet", MF_KEY_TEXT, "10.177.86.0/24", FIELD(subnet), .check = is_subnet,
     .allowed = "an IPv4 network of /16 to /27, such as 10.177.86.0/24",
     .meaning = "Addresses of the machines: the first is the gateway, ports begin with the 16th."},
    {"network", "ports", MF_KEY_NUMBER, "16", 1, 1024, FIELD(ports),
     .meaning = "Ports that mayfly-netd makes; a machine needs one, and a used one rests before the next."},
    {"network", "holes", MF_KEY_LIST, "", FIELD(holes), .check = is_address_and_port,
     .allowed = "ADDRESS:PORT such as 192.168.1.10:443",
     .meaning = "What machines may reach by TCP although it is the host or a private network: a GitLab or a cache of your own."},
    {"network", "dns-forwarders", MF_KEY_LIST, "", FIELD(dns_forwarders), .check = is_address,
     .allowed = "IPv4 addresses",
     .meaning = "Name servers that the machines' questions are passed on to; none: those of the host."},
    {"network", "port-rest", MF_KEY_TIME, "2s", 0, 1 * HOUR, FIELD(port_rest),
     .meaning = "How long a port stays unused between two machines."},
    {"network", "network-state", MF_KEY_PATH, "/run/mayfly-net/state.json", FIELD(network_state),
     .meaning = "The file in which mayfly-netd says what it made and how it is."},
    {"network", "filter-directory", MF_KEY_PATH, MF_DATADIR "/filters", FIELD(filter_directory),
     .meaning = "The filters that keep machines off the host and its networks."},

    {"http", "max-body", MF_KEY_SIZE, "32MiB", 64 * KIB, 1 * GIB, FIELD(max_body),
     .meaning = "The largest request that is read: a job with its script and files is one."},
    {"http", "header-timeout", MF_KEY_TIME, "10s", 1, 1 * HOUR, FIELD(header_timeout),
     .meaning = "A client that takes longer to send its request is cut off."},
    {"http", "max-connections", MF_KEY_NUMBER, "512", 8, 65536, FIELD(max_connections),
     .meaning = "Most connections at once; one user other than root may have half of them."},
};
/* clang-format on */

static const MfKeyTable table = {keys, G_N_ELEMENTS(keys)};

static MfConfig *
new_with_defaults(void)
{
  MfConfig *self = g_atomic_rc_box_new0(MfConfig);
  mf_key_table_set_defaults(&table, self);
  g_free(self->filter_directory);
  self->filter_directory = mf_path_data("filters");
  return self;
}

static gboolean
check_times(const MfConfig *self, const MfKeyOrigins *origins, GError **error)
{
  if (self->default_timeout <= self->max_timeout)
    return TRUE;
  g_set_error(
      error, MF_ERROR, MF_ERROR_INVALID,
      "[jobs] default-timeout (%s) is longer than max-timeout (%s): lower the first or raise "
      "the second",
      mf_key_origins_get(origins, &table, "jobs", "default-timeout"),
      mf_key_origins_get(origins, &table, "jobs", "max-timeout"));
  return FALSE;
}

static gboolean
check_ports(const MfConfig *self, const MfKeyOrigins *origins, GError **error)
{
  guint32 address;
  guint prefix;
  if (!parse_subnet(self->subnet, &address, &prefix))
    g_return_val_if_reached(FALSE);
  guint room = (1u << (32 - prefix)) - 1 - FIRST_PORT_ADDRESS;
  if (self->ports <= room)
    return TRUE;
  g_set_error(
      error, MF_ERROR, MF_ERROR_INVALID,
      "[network] ports=%u (%s) do not fit into subnet=%s (%s), which has room for %u: take a "
      "larger subnet or fewer ports",
      self->ports, mf_key_origins_get(origins, &table, "network", "ports"), self->subnet,
      mf_key_origins_get(origins, &table, "network", "subnet"), room);
  return FALSE;
}

static gboolean
check_together(const MfConfig *self, const MfKeyOrigins *origins, GError **error)
{
  return check_times(self, origins, error) && check_ports(self, origins, error);
}

static int
compare_names(gconstpointer a, gconstpointer b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Reads FOLDER/ *.conf in name order; hidden files are editors' leftovers. */
static gboolean
read_folder(MfConfig *self, const char *folder, MfKeyOrigins *origins, GError **error)
{
  g_autoptr(GError) local = NULL;
  g_autoptr(GDir) dir = g_dir_open(folder, 0, &local);
  if (g_error_matches(local, G_FILE_ERROR, G_FILE_ERROR_NOENT))
    return TRUE;
  if (dir == NULL) {
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
  }
  g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
  for (const char *name; (name = g_dir_read_name(dir)) != NULL;)
    if (name[0] != '.' && g_str_has_suffix(name, ".conf"))
      g_ptr_array_add(names, g_strdup(name));
  g_ptr_array_sort(names, compare_names);
  for (guint i = 0; i < names->len; i++) {
    g_autofree char *file = g_build_filename(folder, g_ptr_array_index(names, i), NULL);
    if (!mf_key_table_read(&table, self, file, origins, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
read_main_file(MfConfig *self, const char *path, MfKeyOrigins *origins, GError **error)
{
  g_autoptr(GError) local = NULL;
  if (mf_key_table_read(&table, self, path, origins, &local))
    return TRUE;
  if (g_error_matches(local, G_FILE_ERROR, G_FILE_ERROR_NOENT))
    g_set_error(error, MF_ERROR, MF_ERROR_NOT_FOUND,
                "there is no configuration file %s: install mayfly's, or put an empty file there",
                path);
  else
    g_propagate_error(error, g_steal_pointer(&local));
  return FALSE;
}

MfConfig *
mf_config_load(const char *path, GError **error)
{
  g_autoptr(MfConfig) self = new_with_defaults();
  g_autoptr(GPtrArray) origins = mf_key_origins_new(&table);
  if (path != NULL) {
    g_autofree char *folder = g_strconcat(path, ".d", NULL);
    if (!read_main_file(self, path, origins, error) || !read_folder(self, folder, origins, error))
      return NULL;
  }
  if (!check_together(self, origins, error))
    return NULL;
  return g_steal_pointer(&self);
}

MfConfig *
mf_config_from_data(const char *name, const char *data, gsize length, GError **error)
{
  g_autoptr(MfConfig) self = new_with_defaults();
  g_autoptr(GPtrArray) origins = mf_key_origins_new(&table);
  if (!mf_key_table_parse(&table, self, name, data, length, origins, error) ||
      !check_together(self, origins, error))
    return NULL;
  return g_steal_pointer(&self);
}

const MfKeyTable *
mf_config_table(void)
{
  return &table;
}

char *
mf_config_dump(const MfConfig *self, gboolean commented)
{
  g_autofree char *body = mf_key_table_dump(&table, self, commented);
  if (!commented)
    return g_steal_pointer(&body);
  return g_strconcat(
      "# mayfly.conf - configuration of mayflyd and mayfly-netd, see mayfly.conf(5).\n"
      "# Every key stands here with its default: to change one, remove its '#'. Files in\n"
      "# mayfly.conf.d/ whose names end with .conf are read after this one, in name order, and "
      "win.\n"
      "# Try a change with \"mayflyd --check\"; it applies after \"systemctl restart mayflyd\", "
      "that of a\n"
      "# key under [network] after \"systemctl restart mayflyd mayfly-netd\".\n\n",
      body, NULL);
}

MfConfig *
mf_config_ref(const MfConfig *self)
{
  return g_atomic_rc_box_acquire((MfConfig *)self);
}

static void
clear(gpointer self)
{
  mf_key_table_clear(&table, self);
}

void
mf_config_free(MfConfig *self)
{
  if (self != NULL)
    g_atomic_rc_box_release_full(self, clear);
}
