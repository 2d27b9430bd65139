/* SPDX-License-Identifier: Apache-2.0 */
/* Starting the appliance, and putting libguestfs's errors into one line. */
#include "daemon/inject-child.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "daemon/error.h"
#include "daemon/text.h"

enum { MEMORY_MIB = 512, FULL_MEMORY_MIB = 768, OUTPUT_MAX = 256 * 1024 };

void
mf_inject_strv_free(MfGuestfsStrv *strv)
{
  for (char **p = strv; p != NULL && *p != NULL; p++)
    free(*p);
  free(strv);
}

gboolean
mf_inject_fail(guestfs_h *g, GError **error, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  g_autofree char *doing = g_strdup_vprintf(format, args);
  va_end(args);
  int err = guestfs_last_errno(g);
  /* libguestfs appends advice on debugging it, after the first line. */
  g_autofree char *first =
      g_strdup(guestfs_last_error(g) != NULL ? guestfs_last_error(g) : "unknown");
  first[strcspn(first, "\n")] = '\0';
  g_autofree char *shown = g_strndup(first, 300);
  for (char *p = shown; *p != '\0'; p++)
    if (!g_ascii_isprint(*p))
      *p = '?';
  g_set_error(error, MF_ERROR, err == ENOSPC ? MF_ERROR_NO_SPACE : MF_ERROR_FAILED, "cannot %s: %s",
              doing, shown);
  return FALSE;
}

static gboolean
configure(guestfs_h *g, const MfInjectPlan *plan, const char *appliance, gboolean readonly)
{
  g_autofree char *runtime =
      plan->tmp_dir != NULL ? g_strconcat("XDG_RUNTIME_DIR=", plan->tmp_dir, NULL) : NULL;
  char *environment[] = {runtime, NULL};

  guestfs_set_error_handler(g, NULL, NULL);
  /* Its sockets go where the caller sweeps; the function that sets their folder takes it in this
   * form only. */
  if (guestfs_parse_environment_list(g, environment) != 0 ||
      guestfs_set_backend(g, "direct") != 0 ||
      guestfs_set_backend_setting(g, plan->kvm ? "force_kvm" : "force_tcg", "1") != 0 ||
      guestfs_set_network(g, 0) != 0 || guestfs_set_smp(g, 1) != 0 ||
      guestfs_set_memsize(g, appliance != NULL ? MEMORY_MIB : FULL_MEMORY_MIB) != 0)
    return FALSE;
  if (plan->cache_dir != NULL && guestfs_set_cachedir(g, plan->cache_dir) != 0)
    return FALSE;
  if (plan->tmp_dir != NULL && guestfs_set_tmpdir(g, plan->tmp_dir) != 0)
    return FALSE;
  if (appliance != NULL && guestfs_set_path(g, appliance) != 0)
    return FALSE;
  if (appliance != NULL && plan->root_fstype != NULL) {
    g_autofree char *append = g_strconcat("mayfly_fs=", plan->root_fstype, NULL);
    if (guestfs_set_append(g, append) != 0)
      return FALSE;
  }
  /* By default a write that finds the host's disk full stops the appliance, and us with it, for
   * ever. */
  if (guestfs_config(g, "-global", "scsi-hd.werror=report") != 0 ||
      guestfs_config(g, "-global", "scsi-hd.rerror=report") != 0)
    return FALSE;
  /* As for machines (domain-xml.c). The last one counts. */
  if (!plan->kvm && guestfs_config(g, "-cpu", "max,-erms") != 0)
    return FALSE;
  return guestfs_add_drive_opts(g, plan->disk, GUESTFS_ADD_DRIVE_OPTS_READONLY, (int)readonly,
                                GUESTFS_ADD_DRIVE_OPTS_FORMAT, "qcow2",
                                GUESTFS_ADD_DRIVE_OPTS_CACHEMODE, "unsafe",
                                GUESTFS_ADD_DRIVE_OPTS_DISCARD, "besteffort", -1) == 0;
}

/* What QEMU and the appliance's kernel say comes here, and only here is why QEMU did not start. */
static void
on_output(guestfs_h *g, void *data, uint64_t event, int handle, int flags, const char *text,
          size_t length, const uint64_t *array, size_t array_length)
{
  GString *kept = data;
  if (kept->len + length < OUTPUT_MAX)
    g_string_append_len(kept, text, (gssize)length);
}

/* QEMU's complaint, with a leading separator, or "" (transfer full). */
static char *
complaint(const GString *output)
{
  g_auto(GStrv) lines = g_strsplit_set(output->str, "\r\n", -1);
  for (char **line = lines; *line != NULL; line++)
    if (g_str_has_prefix(*line, "qemu")) {
      /* Its own command line stands in front of what it says. */
      const char *last = g_strrstr(*line, ": ");
      g_autofree char *quoted = mf_text_quote(last != NULL ? last + 2 : *line);
      return g_strconcat("; QEMU says ", quoted, NULL);
    }
  return g_strdup("");
}

/* libguestfs would only say that QEMU did not start. */
static gboolean
check_disk(const char *path, gboolean readonly, GError **error)
{
  static const guint8 magic[] = {'Q', 'F', 'I', 0xfb};
  guint8 head[sizeof magic] = {0};
  g_auto(MfFd) fd = open(path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
  if (fd < 0 || read(fd, head, sizeof head) < 0) {
    g_set_error(error, MF_ERROR, errno == ENOENT ? MF_ERROR_NOT_FOUND : MF_ERROR_FAILED,
                "cannot open the disk %s: %s", path, g_strerror(errno));
    return FALSE;
  }
  if (memcmp(head, magic, sizeof magic) == 0)
    return TRUE;
  g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED, "%s is damaged: it is no disk in qcow2 format",
              path);
  return FALSE;
}

static guestfs_h *
launch(const MfInjectPlan *plan, const char *appliance, gboolean readonly, GError **error)
{
  g_autoptr(guestfs_h) g =
      guestfs_create_flags(GUESTFS_CREATE_NO_ENVIRONMENT | GUESTFS_CREATE_NO_CLOSE_ON_EXIT);
  if (g == NULL) {
    g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "cannot start libguestfs: %s", g_strerror(errno));
    return NULL;
  }
  if (!configure(g, plan, appliance, readonly)) {
    mf_inject_fail(g, error, "prepare libguestfs for %s", plan->disk);
    return NULL;
  }
  g_autoptr(GString) output = g_string_new(NULL);
  int handle = guestfs_set_event_callback(g, on_output, GUESTFS_EVENT_APPLIANCE, 0, output);
  gboolean launched = guestfs_launch(g) == 0;
  if (handle >= 0)
    guestfs_delete_event_callback(g, handle);
  if (!launched) {
    g_autofree char *why = complaint(output);
    mf_inject_fail(g, error,
                   "start libguestfs's appliance under %s%s ('libguestfs-test-tool' tells more)",
                   plan->kvm ? "KVM" : "TCG", why);
    if (*why != '\0' && error != NULL)
      (*error)->code = MF_ERROR_UNAVAILABLE;
    return NULL;
  }
  return g_steal_pointer(&g);
}

guestfs_h *
mf_inject_open(const MfInjectPlan *plan, gboolean light, gboolean readonly, GError **error)
{
  if (!check_disk(plan->disk, readonly, error))
    return NULL;
  if (light) {
    g_autoptr(GError) local = NULL;
    mf_inject_report_phase("appliance");
    g_autofree char *appliance = mf_inject_appliance(plan, &local);
    mf_inject_report_phase("launch");
    guestfs_h *g = appliance != NULL ? launch(plan, appliance, readonly, &local) : NULL;
    if (g != NULL)
      return g;
    /* What QEMU itself refuses it would refuse again. */
    if (g_error_matches(local, MF_ERROR, MF_ERROR_UNAVAILABLE)) {
      g_propagate_error(error, g_steal_pointer(&local));
      return NULL;
    }
    g_printerr("mayfly-inject: %s; using libguestfs's own appliance\n", local->message);
  }
  mf_inject_report_phase("launch");
  return launch(plan, NULL, readonly, error);
}
