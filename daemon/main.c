/* SPDX-License-Identifier: Apache-2.0 */
/* mayflyd: options, configuration, the socket, signals, the main loop. */
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <grp.h>
#include <locale.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include "daemon/api.h"
#include "daemon/auto.h"
#include "daemon/error.h"
#include "daemon/image-store.h"
#include "daemon/network.h"
#include "daemon/paths.h"
#include "daemon/scheduler.h"

#define SOCKET_GROUP "mayfly"
#define LOCK_WAIT    (2 * G_USEC_PER_SEC)
#define EXIT_USAGE   2

typedef struct {
  char *config;
  gboolean check, dump, version;
} Options;

static gboolean
parse_options(int *argc, char ***argv, Options *options, GError **error)
{
  const GOptionEntry entries[] = {
      {"config", 'c', 0, G_OPTION_ARG_FILENAME, &options->config, "Configuration file", "FILE"},
      {"check", 0, 0, G_OPTION_ARG_NONE, &options->check,
       "Check configuration and templates, and exit", NULL},
      {"dump-config", 0, 0, G_OPTION_ARG_NONE, &options->dump,
       "Print the configuration in effect, and exit", NULL},
      {"version", 0, 0, G_OPTION_ARG_NONE, &options->version, "Print the version, and exit", NULL},
      G_OPTION_ENTRY_NULL,
  };
  g_autoptr(GOptionContext) context =
      g_option_context_new("- run every CI job in a machine of its own");
  g_option_context_set_description(
      context, "Machines go on when mayflyd ends; 'mayfly drain' lets them run out first.\n"
               "See mayflyd(8) and mayfly.conf(5).");
  g_option_context_add_main_entries(context, entries, NULL);
  if (!g_option_context_parse(context, argc, argv, error))
    return FALSE;
  if (*argc > 1) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "'%s' is not an option: see mayflyd --help",
                (*argv)[1]);
    return FALSE;
  }
  return TRUE;
}

static gboolean
make_folders(const MfConfig *config, GError **error)
{
  const struct {
    const char *parent, *name;
    int mode;
  } folders[] = {
      {config->state_directory, "", 0711},     {config->state_directory, "images", 0755},
      {config->state_directory, "jobs", 0700}, {config->state_directory, "overlays", 0711},
      {config->runtime_directory, "", 0755},   {config->runtime_directory, "machines", 0711},
  };
  for (guint i = 0; i < G_N_ELEMENTS(folders); i++) {
    g_autofree char *path = g_build_filename(folders[i].parent, folders[i].name, NULL);
    if (g_mkdir_with_parents(path, folders[i].mode) != 0 || access(path, W_OK | X_OK) != 0) {
      g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "%s cannot be used by user %s: %s", path,
                  g_get_user_name(), g_strerror(errno));
      return FALSE;
    }
  }
  return TRUE;
}

/* Held for the life of the process: two daemons on one state would end each other's machines. */
static int
lock_state(const MfConfig *config, GError **error)
{
  g_autofree char *path = g_build_filename(config->state_directory, "lock", NULL);
  g_auto(MfFd) fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "cannot open %s: %s", path, g_strerror(errno));
    return -1;
  }
  /* One that was killed holds it until the last of its threads and children is through the kernel.
   */
  gint64 until = g_get_monotonic_time() + LOCK_WAIT;
  int held = flock(fd, LOCK_EX | LOCK_NB);
  for (; held != 0 && g_get_monotonic_time() < until; held = flock(fd, LOCK_EX | LOCK_NB))
    g_usleep(20000);
  if (held != 0) {
    g_set_error(error, MF_ERROR, MF_ERROR_CONFLICT,
                "another mayflyd already runs on %s: end it first, or give this one a "
                "state-directory of its own",
                config->state_directory);
    return -1;
  }
  return mf_fd_steal(&fd);
}

static int
make_socket(const MfConfig *config, GError **error)
{
  g_autofree char *path = g_build_filename(config->runtime_directory, "mayfly.sock", NULL);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (g_strlcpy(address.sun_path, path, sizeof address.sun_path) >= sizeof address.sun_path) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "%s is too long for a socket: choose a shorter runtime-directory", path);
    return -1;
  }
  g_auto(MfFd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  /* The lock on the state is held: whoever left a socket here is gone. */
  g_unlink(path);
  struct group *group = getgrnam(SOCKET_GROUP);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
      chmod(path, 0660) != 0 || listen(fd, SOMAXCONN) != 0) {
    g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "cannot listen on %s: %s", path,
                g_strerror(errno));
    return -1;
  }
  if (group != NULL && chown(path, (uid_t)-1, group->gr_gid) != 0)
    g_message("%s keeps its group: %s, ignoring", path, g_strerror(errno));
  return mf_fd_steal(&fd);
}

static int
listening_socket(const MfConfig *config, GError **error)
{
  int n = sd_listen_fds(TRUE);
  if (n == 0)
    return make_socket(config, error);
  if (n < 0 || n > 1 || sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_STREAM, 1, NULL, 0) <= 0) {
    g_set_error_literal(error, MF_ERROR, MF_ERROR_INVALID,
                        "systemd is to pass exactly one listening unix socket (mayflyd.socket)");
    return -1;
  }
  return SD_LISTEN_FDS_START;
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
  g_main_loop_quit(data);
  return G_SOURCE_CONTINUE;
}

static gboolean
serve(const MfConfig *config, GError **error)
{
  if (!make_folders(config, error))
    return FALSE;
  g_auto(MfFd) lock = lock_state(config, error);
  g_auto(MfFd) listening = lock < 0 ? -1 : listening_socket(config, error);
  if (listening < 0)
    return FALSE;
  g_autofree char *images = g_build_filename(config->state_directory, "images", NULL);
  mf_image_store_sweep(images);
  g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
  g_autoptr(MfHypervisor) hypervisor = mf_hypervisor_new(config);
  g_autoptr(MfNetwork) network = mf_network_new(config, hypervisor, error);
  if (network == NULL)
    return FALSE;
  g_autoptr(MfScheduler) scheduler = mf_scheduler_new(config, hypervisor, network);
  g_autoptr(MfApi) api = mf_api_new(scheduler, listening, error);
  if (api == NULL)
    return FALSE;
  mf_fd_steal(&listening);
  g_unix_signal_add(SIGTERM, on_end, loop);
  g_unix_signal_add(SIGINT, on_end, loop);
  guint64 watchdog = 0;
  if (sd_watchdog_enabled(FALSE, &watchdog) > 0)
    g_timeout_add((guint)(watchdog / 3000), on_watchdog, NULL);
  sd_notify(0, "READY=1");
  g_message("mayflyd %s is ready", MF_VERSION);
  g_main_loop_run(loop);
  sd_notify(0, "STOPPING=1");
  g_clear_pointer(&api, mf_api_free);
  mf_hypervisor_close(hypervisor);
  g_message("mayflyd ends; machines run on");
  return TRUE;
}

static gboolean
check(const MfConfig *config, GError **error)
{
  g_autoptr(GPtrArray) templates = mf_template_load_all(config->template_directory, error);
  if (templates == NULL)
    return FALSE;
  g_print("configuration and %u templates are good\n", templates->len);
  return TRUE;
}

int
main(int argc, char **argv)
{
  setlocale(LC_ALL, "");
  Options options = {0};
  g_autoptr(GError) error = NULL;
  if (!parse_options(&argc, &argv, &options, &error)) {
    g_printerr("mayflyd: %s\n", error->message);
    return EXIT_USAGE;
  }
  if (options.version) {
    g_print("mayflyd %s\n", MF_VERSION);
    return 0;
  }
  g_autofree char *path = options.config ? g_steal_pointer(&options.config) : mf_path_config();
  g_autoptr(MfConfig) config = mf_config_load(path, &error);
  gboolean good = config != NULL;
  if (good && options.dump) {
    g_autofree char *text = mf_config_dump(config, FALSE);
    g_print("%s", text);
  } else if (good && options.check) {
    good = check(config, &error);
  } else if (good) {
    good = serve(config, &error);
  }
  if (!good)
    g_printerr("mayflyd: %s\n", error->message);
  return good ? 0 : 1;
}
