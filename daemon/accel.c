/* SPDX-License-Identifier: Apache-2.0 */
/* KVM or TCG: what is configured, what was found out before, else what the tiny guest shows. */
#include "daemon/accel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "daemon/accel-cache.h"
#include "daemon/accel-run.h"
#include "daemon/auto.h"
#include "daemon/error.h"

#define DEVICE "/dev/kvm"
/* Twice: on a host that is busy starting, the first may only have been late. */
#define TRIES    2
#define TRY_MS   5000
#define FALLBACK "machines run under TCG, which works but is many times slower"

typedef struct {
  char *mode;
  char *emulator;
  char *cache;
} Probe;

static void
probe_free(gpointer data)
{
  Probe *self = data;

  g_free(self->mode);
  g_free(self->emulator);
  g_free(self->cache);
  g_free(self);
}

static gboolean
read_key(const char *emulator, MfAccelKey *key, GError **error)
{
  const char *argv[] = {emulator, "--version", NULL};
  struct utsname name;
  g_autoptr(GError) local = NULL;

  if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL,
                    &key->version, NULL, NULL, &local)) {
    g_set_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE,
                "QEMU cannot be run (%s): install qemu-system-x86, or set emulator in mayfly.conf",
                local->message);
    return FALSE;
  }
  char *end = strchr(key->version, '\n');
  if (end != NULL)
    *end = '\0';
  key->emulator = g_strdup(emulator);
  key->kernel = g_strdup(uname(&name) == 0 ? name.release : "");
  if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &key->boot, NULL, NULL))
    key->boot = g_strdup("");
  g_strstrip(key->boot);
  return TRUE;
}

/* What an admin can change without a reboot is looked at each time, never remembered. */
static MfAccel *
check_device(void)
{
  g_auto(MfFd) fd = open(DEVICE, O_RDWR | O_CLOEXEC);

  if (fd >= 0)
    return NULL;
  if (errno == EACCES || errno == EPERM)
    return mf_accel_new(
        FALSE,
        "user %s may not open " DEVICE
        ": make its group kvm and put the user into that group; until then " FALLBACK,
        g_get_user_name());
  if (errno == ENOENT || errno == ENXIO || errno == ENODEV)
    return mf_accel_new(FALSE,
                        "there is no KVM here (" DEVICE
                        " is missing): switch on virtualisation in the firmware or the "
                        "hypervisor below, and load kvm_intel or kvm_amd; until then " FALLBACK);
  return mf_accel_new(FALSE, DEVICE " cannot be opened (%s); " FALLBACK, g_strerror(errno));
}

static MfAccel *
judge(const MfAccelRun *run)
{
  if (run->whole)
    return mf_accel_new(TRUE, "KVM ran a guest in %u ms", run->milliseconds);
  if (run->hung)
    return mf_accel_new(
        FALSE, DEVICE " is there, but a guest under KVM hangs (%s within %d s); " FALLBACK,
        run->printed == 0 ? "it printed nothing" : "it never reached 64-bit mode", TRY_MS / 1000);
  return mf_accel_new(FALSE, DEVICE " is there, but KVM cannot run a guest (%s); " FALLBACK,
                      run->complaint != NULL ? run->complaint : "QEMU ended without a word");
}

/* libvirt's host-passthrough is QEMU's host, so that is what has to work. */
static MfAccel *
run_guest(const char *emulator, GCancellable *c, GError **error)
{
  for (guint try = 1;; try++) {
    g_auto(MfAccelRun) run = {0};
    if (!mf_accel_run(emulator, "kvm", "host", TRY_MS, c, &run, error))
      return NULL;
    if (!run.hung || try >= TRIES)
      return judge(&run);
  }
}

static MfAccel *
find_out(const Probe *self, GCancellable *c, GError **error)
{
  g_auto(MfAccelKey) key = {0};
  g_autofree char *text = NULL;
  gsize length = 0;

  MfAccel *accel = check_device();
  if (accel != NULL)
    return accel;
  if (!read_key(self->emulator, &key, error))
    return NULL;
  if (g_file_get_contents(self->cache, &text, &length, NULL))
    accel = mf_accel_cache_read(text, length, &key);
  if (accel != NULL)
    return accel;
  accel = run_guest(self->emulator, c, error);
  if (accel == NULL)
    return NULL;
  /* Not being able to remember costs a second at the next start, no more. */
  g_autofree char *document = mf_accel_cache_write(&key, accel);
  g_file_set_contents(self->cache, document, -1, NULL);
  return accel;
}

static void
probe_on_worker(GTask *task, gpointer source, gpointer task_data, GCancellable *cancellable)
{
  const Probe *self = task_data;
  g_autoptr(MfAccel) accel = NULL;
  GError *error = NULL;

  if (g_str_equal(self->mode, "tcg"))
    accel = mf_accel_new(FALSE, "accel = tcg is configured; " FALLBACK);
  else
    accel = find_out(self, cancellable, &error);
  if (accel == NULL)
    g_task_return_error(task, error);
  else if (!accel->kvm && g_str_equal(self->mode, "kvm"))
    g_task_return_new_error(task, MF_ERROR, MF_ERROR_UNAVAILABLE,
                            "accel = kvm is configured, but KVM does not work: %s", accel->reason);
  else
    g_task_return_pointer(task, g_steal_pointer(&accel), (GDestroyNotify)mf_accel_free);
}

void
mf_accel_probe_async(const MfConfig *config, GCancellable *c, GAsyncReadyCallback cb, gpointer data)
{
  g_autoptr(GTask) task = g_task_new(NULL, c, cb, data);
  Probe *probe = g_new0(Probe, 1);

  probe->mode = g_strdup(config->accel);
  probe->emulator = g_strdup(config->emulator);
  probe->cache = g_build_filename(config->state_directory, "accel.json", NULL);
  g_task_set_task_data(task, probe, probe_free);
  g_task_run_in_thread(task, probe_on_worker);
}

MfAccel *
mf_accel_probe_finish(GAsyncResult *r, GError **error)
{
  g_return_val_if_fail(g_task_is_valid(r, NULL), NULL);
  return g_task_propagate_pointer(G_TASK(r), error);
}
