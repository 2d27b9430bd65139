/* SPDX-License-Identifier: Apache-2.0 */
/* What system is on a disk that somebody else made: where its root is, and how it starts. */
#include "daemon/inject-child.h"

#include <string.h>

#include "daemon/error.h"
#include "daemon/json.h"

enum { OS_RELEASE_MAX = 64 * 1024 };

/* Mount points, shortest first, so that / comes before /usr. A missing one is no error: only what
 * is there counts. */
static void
mount_all(guestfs_h *g, const char *root)
{
  g_autoptr(MfGuestfsStrv) points = guestfs_inspect_get_mountpoints(g, root);
  for (gsize wanted = 1; points != NULL && wanted < 256; wanted++)
    for (char **p = points; p[0] != NULL; p += 2)
      if (strlen(p[0]) == wanted)
        guestfs_mount_ro(g, p[1], p[0]);
}

static gboolean
exists(guestfs_h *g, const char *path)
{
  return guestfs_exists(g, path) == 1;
}

static const char *
init_kind(guestfs_h *g)
{
  char *real = guestfs_realpath(g, "/sbin/init");
  g_autofree char *init = g_strdup(real != NULL ? real : "");
  free(real);
  if (g_str_has_suffix(init, "/systemd"))
    return "systemd";
  if (exists(g, "/sbin/openrc") || exists(g, "/usr/bin/openrc"))
    return "openrc";
  if (strstr(init, "busybox") != NULL)
    return "busybox";
  if (exists(g, "/etc/inittab") && exists(g, "/etc/init.d"))
    return "sysv";
  return "unknown";
}

/* Is there a kernel that a boot loader on this disk could start? */
static gboolean
has_kernel(guestfs_h *g)
{
  static const char *const patterns[] = {"/boot/vmlinu*", "/boot/*/vmlinu*", "/boot/*/*/linux",
                                         "/boot/bzImage*"};
  gboolean found = FALSE;
  for (guint i = 0; !found && i < G_N_ELEMENTS(patterns); i++) {
    g_autoptr(MfGuestfsStrv) match = guestfs_glob_expand(g, patterns[i]);
    found = match != NULL && match[0] != NULL;
  }
  return found;
}

/* PRETTY_NAME of its os-release: what the system calls itself. NULL: it does not (transfer full,
 * malloc). */
static char *
pretty_name(guestfs_h *g)
{
  static const char file[] = "/etc/os-release", key[] = "PRETTY_NAME=";
  if (guestfs_is_file_opts(g, file, GUESTFS_IS_FILE_OPTS_FOLLOWSYMLINKS, 1, -1) != 1 ||
      guestfs_filesize(g, file) > OS_RELEASE_MAX)
    return NULL;
  char *text = guestfs_cat(g, file);
  g_auto(GStrv) lines = g_strsplit(text != NULL ? text : "", "\n", -1);
  free(text);
  for (char **line = lines; *line != NULL; line++) {
    if (!g_str_has_prefix(*line, key))
      continue;
    g_auto(GStrv) words = NULL;
    if (g_shell_parse_argv(*line + strlen(key), NULL, &words, NULL) && words[0] != NULL)
      return strdup(words[0]);
  }
  return NULL;
}

static void
add_text(MfJson *object, const char *key, char *value, const char *otherwise)
{
  g_autofree char *valid = value != NULL ? g_utf8_make_valid(value, -1) : g_strdup(otherwise);
  mf_json_add_string(object, key, *valid != '\0' ? valid : otherwise);
  free(value);
}

gboolean
mf_inject_inspect(const MfInjectPlan *plan, GError **error)
{
  g_autoptr(guestfs_h) g = mf_inject_open(plan, FALSE, TRUE, error);
  if (g == NULL)
    return FALSE;
  mf_inject_report_phase("inspect");
  g_autoptr(MfGuestfsStrv) roots = guestfs_inspect_os(g);
  if (roots == NULL)
    return mf_inject_fail(g, error, "look for an operating system on %s", plan->disk);
  if (roots[0] == NULL) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "no operating system was found on the disk: say where its root filesystem is with "
                "--root-device "
                "and --root-fstype");
    return FALSE;
  }
  char *type = guestfs_inspect_get_type(g, roots[0]);
  gboolean is_linux = g_strcmp0(type, "linux") == 0;
  free(type);
  if (!is_linux) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "the system on the disk is no Linux: mayfly's agent runs on Linux only");
    return FALSE;
  }
  mount_all(g, roots[0]);
  MfJson *report = json_object_new_object();
  mf_json_add_string(report, "event", "system");
  mf_json_add_string(report, "root_device", roots[0]);
  add_text(report, "root_fstype", guestfs_vfs_type(g, roots[0]), "unknown");
  char *name = pretty_name(g);
  add_text(report, "os", name != NULL ? name : guestfs_inspect_get_product_name(g, roots[0]),
           "Linux");
  add_text(report, "distro", guestfs_inspect_get_distro(g, roots[0]), "unknown");
  mf_json_add_string(report, "init", init_kind(g));
  mf_json_add_bool(report, "boot_kernel", has_kernel(g));
  mf_inject_report(report);
  return TRUE;
}
