/* SPDX-License-Identifier: Apache-2.0 */
/* The small appliance: which one fits this host, and making it once. mayfly-mkappliance says what
 * it is. */
#include "daemon/inject-child.h"

#include <dirent.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "daemon/error.h"
#include "daemon/paths.h"
#include "daemon/tree.h"

#define PREFIX "appliance-"

gboolean
mf_inject_appliance_fits(const char *device, const char *fstype)
{
  static const char *const types[] = {"ext2", "ext3", "ext4", "xfs", "btrfs", NULL};
  if (!g_str_has_prefix(device, "/dev/sda"))
    return FALSE;
  const char *partition = device + strlen("/dev/sda");
  return strspn(partition, "0123456789") == strlen(partition) && g_strv_contains(types, fstype);
}

/* The newest kernel of the host that has its modules beside it and that we may read. */
static char *
find_kernel(char **ret_modules)
{
  g_autofree char *best = NULL;
  g_autoptr(GDir) boot = g_dir_open("/boot", 0, NULL);
  for (const char *name; boot != NULL && (name = g_dir_read_name(boot)) != NULL;) {
    if (!g_str_has_prefix(name, "vmlinuz-"))
      continue;
    g_autofree char *kernel = g_build_filename("/boot", name, NULL);
    const char *version = name + strlen("vmlinuz-");
    g_autofree char *dep = g_build_filename("/lib/modules", version, "modules.dep", NULL);
    if (access(kernel, R_OK) == 0 && access(dep, R_OK) == 0 &&
        (best == NULL || strverscmp(version, best) > 0)) {
      g_free(best);
      best = g_strdup(version);
    }
  }
  if (best == NULL)
    return NULL;
  *ret_modules = g_build_filename("/lib/modules", best, NULL);
  return g_strconcat("/boot/vmlinuz-", best, NULL);
}

static void
add_file(GChecksum *checksum, const char *path)
{
  struct stat st = {0};
  stat(path, &st);
  g_autofree char *text =
      g_strdup_printf("%s %lld %lld\n", path, (long long)st.st_size, (long long)st.st_mtime);
  g_checksum_update(checksum, (const guchar *)text, -1);
}

/* Another kernel, libguestfs or recipe is another appliance. */
static char *
folder_for(const char *cache, const char *kernel, const char *daemon, const char *program)
{
  g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
  add_file(checksum, kernel);
  add_file(checksum, daemon);
  add_file(checksum, program);
  return g_strdup_printf("%s/" PREFIX "%.16s", cache, g_checksum_get_string(checksum));
}

static char *
guestfsd_tar(void)
{
  g_autoptr(guestfs_h) g =
      guestfs_create_flags(GUESTFS_CREATE_NO_ENVIRONMENT | GUESTFS_CREATE_NO_CLOSE_ON_EXIT);
  const char *path = g != NULL ? guestfs_get_path(g) : NULL;
  return path != NULL ? g_build_filename(path, "supermin.d", "daemon.tar.gz", NULL) : NULL;
}

/* Older ones serve nobody who starts from now on; one that is just being opened makes its user fall
 * back. */
static void
drop_others(const char *cache, const char *kept)
{
  g_autoptr(GDir) dir = g_dir_open(cache, 0, NULL);
  for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;) {
    g_autofree char *path = g_build_filename(cache, name, NULL);
    if (g_str_has_prefix(name, PREFIX) && strcmp(path, kept) != 0)
      mf_tree_remove(path);
  }
}

static gboolean
build(const char *program, const char *kernel, const char *modules, const char *daemon,
      const char *cache, const char *folder, GError **error)
{
  g_autofree char *work = g_build_filename(cache, PREFIX "XXXXXX", NULL);
  g_autofree char *output = NULL;
  int status;
  if (g_mkdtemp_full(work, 0755) == NULL) {
    g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "cannot make a folder in %s: %s", cache,
                g_strerror(errno));
    return FALSE;
  }
  char *argv[] = {(char *)program, (char *)kernel, (char *)modules, (char *)daemon, work, NULL};
  if (!g_spawn_sync(NULL, argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, &output,
                    &status, error))
    return FALSE;
  if (!g_spawn_check_wait_status(status, NULL)) {
    mf_tree_remove(work);
    g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "the small appliance could not be made: %s",
                g_strstrip(output));
    return FALSE;
  }
  if (g_rename(work, folder) != 0) {
    g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "cannot put the appliance into %s: %s", folder,
                g_strerror(errno));
    return FALSE;
  }
  drop_others(cache, folder);
  return TRUE;
}

char *
mf_inject_appliance(const MfInjectPlan *plan, GError **error)
{
  g_autofree char *modules = NULL;
  g_autofree char *kernel = find_kernel(&modules);
  g_autofree char *daemon = guestfsd_tar();
  g_autofree char *program = mf_path_libexec("mayfly-mkappliance");

  if (plan->cache_dir == NULL || kernel == NULL || daemon == NULL || access(daemon, R_OK) != 0 ||
      access(program, X_OK) != 0) {
    g_set_error(
        error, MF_ERROR, MF_ERROR_FAILED,
        "no small appliance: it needs a cache folder, a readable /boot/vmlinuz-* with its modules, "
        "libguestfs's daemon and %s",
        program);
    return NULL;
  }
  g_autofree char *folder = folder_for(plan->cache_dir, kernel, daemon, program);
  if (g_file_test(folder, G_FILE_TEST_IS_DIR))
    return g_steal_pointer(&folder);

  /* Whoever comes meanwhile waits: making it takes a second or two, two at once would take longer.
   */
  g_autofree char *lock_path = g_build_filename(plan->cache_dir, ".appliance.lock", NULL);
  g_auto(MfFd) lock = open(lock_path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (lock < 0 || flock(lock, LOCK_EX) != 0) {
    g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "cannot lock %s: %s", lock_path,
                g_strerror(errno));
    return NULL;
  }
  if (!g_file_test(folder, G_FILE_TEST_IS_DIR) &&
      !build(program, kernel, modules, daemon, plan->cache_dir, folder, error))
    return NULL;
  return g_steal_pointer(&folder);
}
