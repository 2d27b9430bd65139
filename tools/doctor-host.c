/* SPDX-License-Identifier: Apache-2.0 */
/* Doctor: what this host must have for mayfly, looked at from outside of the daemon. */
#include <gio/gunixsocketaddress.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "daemon/paths.h"
#include "daemon/template.h"
#include "tools/doctor.h"
#include "tools/document.h"

#define ACCOUNT "mayfly"
/* mayfly-netd writes its state at least every minute. */
#define STATE_STALE_SECONDS 180

static gboolean
account_is_in(const char *account, gid_t primary, const char *group_name)
{
  const struct group *group = getgrnam(group_name);
  return group != NULL &&
         (group->gr_gid == primary || g_strv_contains((const char *const *)group->gr_mem, account));
}

void
mf_doctor_check_account(MfDoctor *self)
{
  static const char *const groups[] = {"libvirt", "kvm", "libvirt-qemu"};
  const struct passwd *account = getpwnam(ACCOUNT);
  if (account == NULL) {
    mf_doctor_say(self, "account", MF_DOCTOR_PROBLEM, "there is no user mayfly",
                  "systemd-sysusers mayfly.conf (installing the package does it)");
    return;
  }
  gid_t primary = account->pw_gid;
  g_autoptr(GString) missing = g_string_new(NULL);
  for (guint i = 0; i < G_N_ELEMENTS(groups); i++)
    if (!account_is_in(ACCOUNT, primary, groups[i]))
      g_string_append_printf(missing, "%s%s", missing->len > 0 ? "," : "", groups[i]);
  if (missing->len == 0)
    mf_doctor_say(self, "account", MF_DOCTOR_OK,
                  "mayfly is in the groups libvirt, kvm and libvirt-qemu", NULL);
  else
    mf_doctor_add(
        self, "account", MF_DOCTOR_PROBLEM,
        g_strdup_printf("user mayfly is not in %s", missing->str),
        g_strdup_printf("usermod -aG %s mayfly, then systemctl restart mayflyd", missing->str));
}

typedef enum { SOCKET_ANSWERS, SOCKET_CLOSED_TO_US, SOCKET_DEAD } SocketState;

static SocketState
try_socket(const char *path)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
  g_autoptr(GSocketClient) client = g_socket_client_new();
  g_autoptr(GSocketConnection) connection =
      g_socket_client_connect(client, G_SOCKET_CONNECTABLE(address), NULL, &error);
  if (connection != NULL)
    return SOCKET_ANSWERS;
  return g_error_matches(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED) ? SOCKET_CLOSED_TO_US
                                                                          : SOCKET_DEAD;
}

/* Debian runs the one libvirtd; others a daemon for each driver. */
static gboolean
any_answers(const char *const *paths)
{
  for (; *paths != NULL; paths++)
    if (try_socket(*paths) != SOCKET_DEAD)
      return TRUE;
  return FALSE;
}

void
mf_doctor_check_libvirt(MfDoctor *self)
{
  static const char *const libvirtd[] = {"/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock",
                                         NULL};
  static const char *const virtlogd[] = {"/run/libvirt/virtlogd-sock", NULL};
  if (any_answers(libvirtd))
    mf_doctor_say(self, "libvirtd", MF_DOCTOR_OK, "it answers on its socket", NULL);
  else
    mf_doctor_say(self, "libvirtd", MF_DOCTOR_PROBLEM,
                  "nobody answers at /run/libvirt/libvirt-sock",
                  "apt-get install libvirt-daemon-system, then systemctl start libvirtd");
  if (any_answers(virtlogd))
    mf_doctor_say(self, "virtlogd", MF_DOCTOR_OK, "it answers on its socket", NULL);
  else
    mf_doctor_say(self, "virtlogd", MF_DOCTOR_PROBLEM,
                  "nobody answers at /run/libvirt/virtlogd-sock, without which no machine starts",
                  "systemctl start virtlogd.socket");
}

void
mf_doctor_check_kvm(MfDoctor *self, const MfConfig *config)
{
  gboolean device = access("/dev/kvm", F_OK) == 0;
  if (strcmp(config->accel, "tcg") == 0)
    mf_doctor_say(self, "acceleration", MF_DOCTOR_NOTE,
                  "mayfly.conf says accel=tcg: machines are slow",
                  "remove accel=tcg where the processor can do better");
  else if (device)
    mf_doctor_say(self, "acceleration", MF_DOCTOR_OK,
                  "/dev/kvm is there; whether it works, mayflyd tries when it starts", NULL);
  else
    mf_doctor_say(
        self, "acceleration",
        strcmp(config->accel, "kvm") == 0 ? MF_DOCTOR_PROBLEM : MF_DOCTOR_NOTE,
        "there is no /dev/kvm: machines can only run under TCG, several times slower",
        "switch virtualization on in the firmware, or nested virtualization in the host of this "
        "one; modprobe kvm_intel or kvm_amd says what is wrong");
}

static void
add_part(MfDoctor *self, MfJson *state, const char *part, const char *good)
{
  MfJson *json = mf_document_member(state, part);
  const char *problem = mf_document_text(json, "problem");
  if (mf_document_flag(json, "ok"))
    mf_doctor_say(self, part, MF_DOCTOR_OK, good, NULL);
  else
    mf_doctor_say(
        self, part, MF_DOCTOR_PROBLEM, problem != NULL ? problem : "mayfly-netd has not made it",
        "journalctl -u mayfly-netd tells why; systemctl restart mayfly-netd makes it anew");
}

static void
add_filter(MfDoctor *self, MfJson *state, gboolean settling)
{
  MfJson *ports = mf_document_member(state, "ports");
  guint filtered = 0, made = 0;
  const char *problem = NULL;
  for (gsize i = 0; i < mf_document_count(ports); i++) {
    MfJson *port = mf_document_item(ports, i);
    made += mf_document_flag(port, "ok");
    filtered += mf_document_flag(port, "ok") && mf_document_flag(port, "chains");
    if (!mf_document_flag(port, "ok") && problem == NULL)
      problem = mf_document_text(port, "problem");
  }
  gsize count = mf_document_count(ports);
  if (count > 0 && made == count)
    mf_doctor_add(self, "taps", MF_DOCTOR_OK, g_strdup_printf("%u made and isolated", made), NULL);
  else
    mf_doctor_add(self, "taps", MF_DOCTOR_PROBLEM,
                  g_strdup_printf("%u of %" G_GSIZE_FORMAT " are made%s%s", made, count,
                                  problem != NULL ? ": " : "", problem != NULL ? problem : ""),
                  g_strdup("systemctl restart mayfly-netd"));
  if (count > 0 && filtered == count)
    mf_doctor_add(self, "filter", MF_DOCTOR_OK,
                  g_strdup_printf("no-host-lan is in the kernel on all %u", filtered), NULL);
  else if (settling)
    mf_doctor_add(self, "filter", MF_DOCTOR_NOTE,
                  g_strdup_printf("no-host-lan was seen in the kernel on %u of %" G_GSIZE_FORMAT
                                  " taps; mayflyd is at work on the others",
                                  filtered, count),
                  NULL);
  else
    mf_doctor_add(
        self, "filter", MF_DOCTOR_PROBLEM,
        g_strdup_printf("no-host-lan is in the kernel on %u of %" G_GSIZE_FORMAT
                        " taps; the others are not used",
                        filtered, count),
        g_strdup("mayflyd binds it when libvirtd runs: journalctl -u mayflyd tells why not"));
}

static void
add_holes(MfDoctor *self, const MfConfig *config)
{
  g_autofree char *list = g_strjoinv(", ", config->holes);
  mf_doctor_add(self, "holes", MF_DOCTOR_OK,
                list[0] != '\0' ? g_strdup_printf("machines may also reach %s", list)
                                : g_strdup("none: machines reach the internet and nothing here"),
                NULL);
}

void
mf_doctor_check_network(MfDoctor *self, const MfConfig *config, gboolean settling)
{
  g_autoptr(MfJson) state = json_object_from_file(config->network_state);
  add_holes(self, config);
  if (state == NULL) {
    mf_doctor_add(self, "network", MF_DOCTOR_PROBLEM,
                  g_strdup_printf("mayfly-netd has not run: there is no %s", config->network_state),
                  g_strdup("systemctl enable --now mayfly-netd"));
    return;
  }
  double age = (double)g_get_real_time() / G_USEC_PER_SEC - mf_document_number(state, "updated");
  if (age > STATE_STALE_SECONDS)
    mf_doctor_add(self, "mayfly-netd", MF_DOCTOR_PROBLEM,
                  g_strdup_printf("it has not looked at the network for %.0f s", age),
                  g_strdup("systemctl restart mayfly-netd; what is said below may be out of date"));
  g_autofree char *network = g_strdup_printf("%s with %s is up", config->network, config->subnet);
  add_part(self, state, "network", network);
  add_part(self, state, "guard", "the guard at the host's door is in place");
  add_filter(self, state, settling);
}

void
mf_doctor_check_storage(MfDoctor *self, const MfConfig *config)
{
  struct statvfs fs;
  if (statvfs(config->state_directory, &fs) != 0) {
    mf_doctor_add(
        self, "storage", MF_DOCTOR_PROBLEM,
        g_strdup_printf("%s is not there", config->state_directory),
        g_strdup("systemd-tmpfiles --create mayfly.conf (installing the package does it)"));
    return;
  }
  guint64 free_bytes = (guint64)fs.f_bavail * fs.f_frsize;
  g_autofree char *free_text = mf_document_format_size(free_bytes);
  g_autofree char *reserve = mf_document_format_size(config->disk_reserve);
  gboolean enough = free_bytes > config->disk_reserve;
  mf_doctor_add(
      self, "storage", enough ? MF_DOCTOR_OK : MF_DOCTOR_PROBLEM,
      g_strdup_printf("%s free in %s, of which %s stay in reserve", free_text,
                      config->state_directory, reserve),
      enough ? NULL
             : g_strdup("free some space there (mayfly image list), or lower disk-reserve in "
                        "mayfly.conf"));
}

void
mf_doctor_check_templates(MfDoctor *self, const MfConfig *config)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) templates = mf_template_load_all(config->template_directory, &error);
  if (templates == NULL)
    mf_doctor_say(self, "templates", MF_DOCTOR_PROBLEM, error->message, "correct that file");
  else if (templates->len == 0)
    mf_doctor_add(self, "templates", MF_DOCTOR_PROBLEM,
                  g_strdup_printf("there is none in %s", config->template_directory),
                  g_strdup("copy one there, see mayfly-template(5)"));
  else
    mf_doctor_add(self, "templates", MF_DOCTOR_OK,
                  g_strdup_printf("%u in %s", templates->len, config->template_directory), NULL);
}

static void
check_program(MfDoctor *self, const char *what, const char *path, const char *advice)
{
  if (access(path, X_OK) == 0)
    mf_doctor_add(self, what, MF_DOCTOR_OK, g_strdup_printf("%s is there", path), NULL);
  else
    mf_doctor_add(self, what, MF_DOCTOR_PROBLEM, g_strdup_printf("%s is missing", path),
                  g_strdup(advice));
}

/* The appliance is made of a kernel of the host; Ubuntu lets only root read those. */
static gboolean
kernel_is_readable(void)
{
  g_autoptr(GDir) boot = g_dir_open("/boot", 0, NULL);
  for (const char *name; boot != NULL && (name = g_dir_read_name(boot)) != NULL;) {
    struct stat info;
    g_autofree char *path = g_build_filename("/boot", name, NULL);
    if (g_str_has_prefix(name, "vmlinuz-") && stat(path, &info) == 0 && (info.st_mode & S_IROTH))
      return TRUE;
  }
  return FALSE;
}

void
mf_doctor_check_programs(MfDoctor *self, const MfConfig *config)
{
  g_autofree char *agent = mf_path_libexec("mayfly-agent");
  g_autofree char *inject = mf_path_libexec("mayfly-inject");
  check_program(self, "agent", agent, "install mayfly again: it belongs to it");
  check_program(self, "emulator", config->emulator, "apt-get install qemu-system-x86");
  if (access(inject, X_OK) != 0)
    check_program(self, "libguestfs", inject, "install mayfly again: it belongs to it");
  else if (kernel_is_readable())
    mf_doctor_say(self, "libguestfs", MF_DOCTOR_OK, "mayfly-inject and a kernel for it are there",
                  NULL);
  else
    mf_doctor_say(self, "libguestfs", MF_DOCTOR_PROBLEM,
                  "no kernel in /boot that user mayfly may read, which libguestfs needs",
                  "apt-get install linux-image-amd64, or chmod o+r /boot/vmlinuz-*");
}
