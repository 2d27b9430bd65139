/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly-netd: options and modes. It takes no input but its configuration. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <sys/file.h>

#include "daemon/auto.h"
#include "daemon/error.h"
#include "daemon/hypervisor-network-define.h"
#include "daemon/netd-libvirtd.h"
#include "daemon/netd.h"
#include "daemon/paths.h"

#define LOCK_TRIES    60
#define LOCK_PAUSE_US 50000

static struct {
  char *config;
  gboolean once, check, json, down, force, version;
} options;

static const GOptionEntry entries[] = {
    {"config", 0, 0, G_OPTION_ARG_FILENAME, &options.config,
     "Configuration (default " MF_SYSCONFDIR "/mayfly.conf)", "FILE"},
    {"once", 0, 0, G_OPTION_ARG_NONE, &options.once, "Make network, ports and guard, then exit",
     NULL},
    {"check", 0, 0, G_OPTION_ARG_NONE, &options.check,
     "Change nothing; print what is wrong and exit with 1 if something is", NULL},
    {"json", 0, 0, G_OPTION_ARG_NONE, &options.json, "With --check: print everything, as JSON",
     NULL},
    {"down", 0, 0, G_OPTION_ARG_NONE, &options.down,
     "Remove network, ports, their filters and the guard", NULL},
    {"force", 0, 0, G_OPTION_ARG_NONE, &options.force,
     "With --down: even if machines use the ports", NULL},
    {"version", 0, 0, G_OPTION_ARG_NONE, &options.version, "Print the version", NULL},
    {NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL}};

static int
fail(const GError *error)
{
  g_printerr("mayfly-netd: %s\n", error->message);
  return 1;
}

static int
print_problems(const MfNetdState *state)
{
  g_auto(GStrv) problems = mf_netd_state_problems(state);
  for (guint i = 0; problems[i] != NULL; i++)
    g_printerr("mayfly-netd: %s\n", problems[i]);
  return problems[0] != NULL ? 1 : 0;
}

/* One that was just told to end may still be at it. */
static gboolean
take_lock(int fd)
{
  for (int i = 0; i < LOCK_TRIES; i++) {
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
      return TRUE;
    if (errno != EWOULDBLOCK)
      return FALSE;
    g_usleep(LOCK_PAUSE_US);
  }
  errno = EWOULDBLOCK;
  return FALSE;
}

/* Held until the process ends: two of us would undo each other's work. */
static gboolean
lock(const MfConfig *config, GError **error)
{
  g_autofree char *directory = g_path_get_dirname(config->network_state);
  g_autofree char *path = g_build_filename(directory, "lock", NULL);
  if (g_mkdir_with_parents(directory, 0755) < 0) {
    g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "folder %s cannot be made: %s", directory,
                g_strerror(errno));
    return FALSE;
  }
  g_auto(MfFd) fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0 || !take_lock(fd)) {
    g_set_error(error, MF_ERROR, MF_ERROR_CONFLICT,
                errno == EWOULDBLOCK
                    ? "another mayfly-netd runs; stop it first, with 'systemctl stop mayfly-netd'"
                    : "%s cannot be locked: %s",
                path, g_strerror(errno));
    return FALSE;
  }
  mf_fd_steal(&fd);
  return TRUE;
}

/* Filters do not count: mayflyd makes them. */
static gboolean
is_made(const MfNetdState *state)
{
  if (state->network_problem != NULL || state->guard_problem != NULL)
    return FALSE;
  for (guint i = 0; i < state->ports->len; i++)
    if (((const MfNetdPortState *)g_ptr_array_index(state->ports, i))->problem != NULL)
      return FALSE;
  return TRUE;
}

/* The guard first, then the network, then the taps on it; a second look for what libvirtd does a
 * moment later. */
static int
run_once(MfNetd *netd)
{
  const MfConfig *config = mf_netd_config(netd);
  g_autoptr(MfNetdState) state = mf_netd_pass(netd, TRUE);
  g_autoptr(GError) error = NULL;
  g_autofree char *done = NULL;
  if (!mf_hypervisor_network_ensure(config, mf_netd_ports(netd), mf_netd_libvirtd_make_chains,
                                    &done, &error))
    mf_netd_set_network_error(netd, error);
  for (int i = 0; i < 20; i++) {
    if (i > 0)
      g_usleep(250000);
    g_clear_pointer(&state, mf_netd_state_free);
    state = mf_netd_pass(netd, TRUE);
    if (is_made(state) || error != NULL)
      break;
  }
  g_autoptr(GError) write_error = NULL;
  if (!mf_netd_state_write(state, config->network_state, g_get_real_time() / G_USEC_PER_SEC,
                           &write_error))
    return fail(write_error);
  return print_problems(state);
}

static int
run_check(MfNetd *netd)
{
  g_autoptr(GError) error = NULL;
  if (!mf_hypervisor_network_check(mf_netd_config(netd), mf_netd_ports(netd), &error))
    mf_netd_set_network_error(netd, error);
  g_autoptr(MfNetdState) state = mf_netd_pass(netd, FALSE);
  if (!options.json)
    return print_problems(state);
  g_autoptr(MfJson) json = mf_netd_state_to_json(state, g_get_real_time() / G_USEC_PER_SEC);
  puts(json_object_to_json_string_ext(json,
                                      JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
  g_auto(GStrv) problems = mf_netd_state_problems(state);
  return problems[0] != NULL ? 1 : 0;
}

static gboolean
require_idle(MfNetd *netd, GError **error)
{
  g_autoptr(MfNetdState) state = mf_netd_pass(netd, FALSE);
  for (guint i = 0; i < state->ports->len; i++) {
    const MfNetdPortState *port = g_ptr_array_index(state->ports, i);
    if (!port->used)
      continue;
    g_set_error(error, MF_ERROR, MF_ERROR_CONFLICT,
                "port %s is in use by a machine; end its job, or give --force to cut it off",
                port->tap);
    return FALSE;
  }
  return TRUE;
}

static int
run_down(MfNetd *netd)
{
  const MfConfig *config = mf_netd_config(netd);
  g_autoptr(GError) error = NULL;
  if ((!options.force && !require_idle(netd, &error)) || !mf_netd_remove(netd, &error))
    return fail(error);
  g_unlink(config->network_state);
  if (!mf_hypervisor_network_remove(config, &error))
    return fail(error);
  return 0;
}

static int
run(const MfConfig *config)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfNetd) netd = mf_netd_new(config, &error);
  if (netd == NULL)
    return fail(error);
  if (geteuid() != 0) {
    g_printerr("mayfly-netd: it makes interfaces and firewall rules and so needs root; use sudo, "
               "or the service\n");
    return 1;
  }
  if (options.check)
    return run_check(netd);
  if (!lock(config, &error))
    return fail(error);
  return options.once ? run_once(netd) : options.down ? run_down(netd) : mf_netd_serve(netd);
}

int
main(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context =
      g_option_context_new("- make and watch the network of mayfly's machines");
  g_option_context_add_main_entries(context, entries, NULL);
  if (!g_option_context_parse(context, &argc, &argv, &error))
    return fail(error);
  if (argc > 1 || options.once + options.check + options.down > 1) {
    g_printerr("mayfly-netd: it takes no arguments, and at most one of --once, --check and --down; "
               "see --help\n");
    return 2;
  }
  if (options.version) {
    puts("mayfly-netd " MF_VERSION);
    return 0;
  }
  g_autofree char *path = options.config != NULL ? g_strdup(options.config) : mf_path_config();
  g_autoptr(MfConfig) config = mf_config_load(path, &error);
  if (config == NULL)
    return fail(error);
  return run(config);
}
