/* SPDX-License-Identifier: Apache-2.0 */
/* Carrying out a plan: what it removes goes first, then files, then symbolic links. */
#include "daemon/inject-child.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "daemon/error.h"

/* What ext4's journal and qcow2's own tables may need beside the content. */
#define SPACE_MARGIN ((guint64)16 * 1024 * 1024)

/*
 * The disk must not fill up below us: ext4 writes late, and an error of that is reported to nobody.
 * So space is asked for before and looked at again afterwards.
 */
static gboolean
check_space(const MfInjectPlan *plan, guint64 wanted, GError **error)
{
  g_autofree char *folder = g_path_get_dirname(plan->disk);
  struct statvfs fs;
  if (statvfs(folder, &fs) != 0 || (guint64)fs.f_bavail * fs.f_frsize >= wanted)
    return TRUE;
  g_set_error(error, MF_ERROR, MF_ERROR_NO_SPACE,
              "the disk of %s is full: writing into a machine's disk needs %" G_GUINT64_FORMAT
              " MiB there; free some space",
              folder, wanted / (1024 * 1024) + 1);
  return FALSE;
}

static guint64
size_of(const MfInjectFile *file)
{
  struct stat st;
  return file->source == NULL || stat(file->source, &st) != 0 ? file->length : (guint64)st.st_size;
}

/* In the way of a file or link of ours: a file, a link or an empty folder go; a folder with content
 * is an error. */
static gboolean
clear_way(guestfs_h *g, const char *path, GError **error)
{
  g_autofree char *parent = g_path_get_dirname(path);
  if (strcmp(parent, "/") != 0 && guestfs_mkdir_p(g, parent) != 0)
    return mf_inject_fail(g, error, "make the folder %s in the image", parent);
  if (guestfs_rm_f(g, path) != 0)
    return mf_inject_fail(g, error, "replace %s in the image", path);
  return TRUE;
}

/* One that would not fit is left out before it is begun: what comes after it needs the room. */
static gboolean
copy_program(guestfs_h *g, const MfInjectFile *file, GError **error)
{
  struct stat st;
  if (stat(file->source, &st) != 0 || !S_ISREG(st.st_mode)) {
    g_printerr("mayfly-inject: %s cannot be read and is left out\n", file->source);
    return TRUE;
  }
  g_autoptr(MfGuestfsStatvfs) fs = guestfs_statvfs(g, "/");
  if (fs == NULL)
    return mf_inject_fail(g, error, "ask how much room is in the image");
  if ((guint64)fs->bavail * (guint64)fs->bsize < (guint64)st.st_size + SPACE_MARGIN) {
    g_printerr("mayfly-inject: the image has no room for %s, which is left out\n", file->source);
    return TRUE;
  }
  if (!clear_way(g, file->path, error))
    return FALSE;
  if (guestfs_upload(g, file->source, file->path) != 0 || guestfs_chown(g, 0, 0, file->path) != 0 ||
      guestfs_chmod(g, (int)file->mode, file->path) != 0)
    return mf_inject_fail(g, error, "copy %s into the image", file->source);
  return TRUE;
}

static gboolean
write_file(guestfs_h *g, const MfInjectFile *file, GError **error)
{
  if (file->source != NULL)
    return copy_program(g, file, error);
  if (!clear_way(g, file->path, error))
    return FALSE;
  if (guestfs_write(g, file->path, file->data != NULL ? (const char *)file->data : "",
                    file->length) != 0 ||
      guestfs_chown(g, (int)file->uid, (int)file->gid, file->path) != 0 ||
      guestfs_chmod(g, (int)file->mode, file->path) != 0)
    return mf_inject_fail(g, error, "write %s into the image", file->path);
  return TRUE;
}

static gboolean
write_all(guestfs_h *g, const MfInjectPlan *plan, GError **error)
{
  for (guint i = 0; i < plan->remove->len; i++)
    if (guestfs_rm_rf(g, plan->remove->pdata[i]) != 0)
      return mf_inject_fail(g, error, "remove %s from the image", (char *)plan->remove->pdata[i]);
  for (guint i = 0; i < plan->files->len; i++)
    if (!write_file(g, plan->files->pdata[i], error))
      return FALSE;
  for (guint i = 0; i < plan->symlinks->len; i++) {
    const MfInjectSymlink *link = plan->symlinks->pdata[i];
    if (!clear_way(g, link->path, error))
      return FALSE;
    if (guestfs_ln_s(g, link->target, link->path) != 0)
      return mf_inject_fail(g, error, "link %s in the image", link->path);
  }
  return TRUE;
}

gboolean
mf_inject_apply(const MfInjectPlan *plan, GError **error)
{
  guint64 content = 0;
  for (guint i = 0; i < plan->files->len; i++)
    content += size_of(plan->files->pdata[i]);
  if (!check_space(plan, content + SPACE_MARGIN, error))
    return FALSE;

  gboolean light = mf_inject_appliance_fits(plan->root_device, plan->root_fstype);
  g_autoptr(guestfs_h) g = mf_inject_open(plan, light, FALSE, error);
  if (g == NULL)
    return FALSE;
  mf_inject_report_phase("write");
  if (guestfs_mount_vfs(g, "noatime", plan->root_fstype, plan->root_device, "/") != 0)
    return mf_inject_fail(
        g, error,
        "mount the root filesystem of %s, %s (%s), the image may be damaged ('mayfly image "
        "verify' tells)",
        plan->disk, plan->root_device, plan->root_fstype);
  if (!write_all(g, plan, error))
    return FALSE;
  mf_inject_report_phase("sync");
  if (guestfs_umount_all(g) != 0)
    return mf_inject_fail(g, error, "finish writing to %s", plan->disk);
  /* Until this has succeeded nothing is certain to be in the disk; closing the handle would hide an
   * error. */
  if (guestfs_shutdown(g) != 0)
    return mf_inject_fail(g, error, "finish writing to %s", plan->disk);
  return check_space(plan, 1, error);
}
