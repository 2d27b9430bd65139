/* SPDX-License-Identifier: Apache-2.0 */
/* Disks as qemu-img sees them. */
#include "tools/disk-info.h"

#include <string.h>

#include "daemon/error.h"
#include "daemon/json.h"
#include "daemon/text.h"

void
mf_disk_info_free(MfDiskInfo *self)
{
  if (self == NULL)
    return;
  g_free(self->format);
  g_free(self);
}

static gboolean
refuse(const char *path, const char *why, GError **error)
{
  g_autofree char *shown = mf_text_quote(path);
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "%s cannot become an image: %s", shown, why);
  return FALSE;
}

static gboolean
check_qcow2(MfJson *specific, const char *path, GError **error)
{
  MfJson *data = NULL;
  gboolean corrupt = FALSE;
  if (!mf_json_read_object(specific, "format-specific", "data", &data, error))
    return FALSE;
  if (data == NULL)
    return TRUE;
  if (mf_json_has(data, "data-file"))
    return refuse(
        path,
        "its content is in another file; convert it first: qemu-img convert -O qcow2 FILE NEW",
        error);
  if (mf_json_has(data, "encrypt"))
    return refuse(path, "it is encrypted", error);
  if (!mf_json_read_bool(data, "format-specific.data", "corrupt", &corrupt, error))
    return FALSE;
  return !corrupt || refuse(path, "it is marked as corrupt; try qemu-img check -r all FILE", error);
}

MfDiskInfo *
mf_disk_info_parse(const char *json, gsize length, const char *path, GError **error)
{
  g_autoptr(MfDiskInfo) self = g_new0(MfDiskInfo, 1);
  g_autoptr(MfJson) root = mf_json_parse(json, length, "qemu-img's answer", error);
  MfJson *specific = NULL;
  gboolean encrypted = FALSE;

  if (root == NULL || !mf_json_read_string(root, "", "format", &self->format, error) ||
      !mf_json_read_uint(root, "", "virtual-size", 0, G_MAXINT64, &self->virtual_size, error) ||
      !mf_json_read_bool(root, "", "encrypted", &encrypted, error) ||
      !mf_json_read_object(root, "", "format-specific", &specific, error))
    return NULL;
  const char *why = NULL;
  if (g_strcmp0(self->format, "qcow2") != 0 && g_strcmp0(self->format, "raw") != 0)
    why = "it is neither qcow2 nor raw; convert it first: qemu-img convert -O qcow2 FILE NEW";
  else if (mf_json_has(root, "backing-filename") || mf_json_has(root, "full-backing-filename"))
    why = "it is a layer on another disk; make it whole first: qemu-img convert -O qcow2 FILE NEW";
  else if (encrypted)
    why = "it is encrypted";
  else if (self->virtual_size == 0)
    why = "it is empty";
  if (why != NULL) {
    refuse(path, why, error);
    return NULL;
  }
  if (specific != NULL && !check_qcow2(specific, path, error))
    return NULL;
  return g_steal_pointer(&self);
}

MfDiskInfo *
mf_disk_info_read(const char *path, const char *format, GError **error)
{
  /* Absolute, so that nothing in the name is taken for an option or a protocol of QEMU's. */
  g_autofree char *absolute = g_canonicalize_filename(path, NULL);
  const char *argv[] = {"qemu-img", "info", "--output=json", NULL, NULL, NULL, NULL};
  guint n = 3;
  if (format != NULL) {
    argv[n++] = "-f";
    argv[n++] = format;
  }
  argv[n] = absolute;
  g_autoptr(GError) local = NULL;
  g_autofree char *output = NULL, *errors = NULL;
  g_autoptr(GSubprocess) child = g_subprocess_newv(
      argv, G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_PIPE, &local);
  if (child == NULL) {
    g_set_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE,
                "cannot start qemu-img: %s; apt-get install qemu-utils", local->message);
    return NULL;
  }
  if (!g_subprocess_communicate_utf8(child, NULL, NULL, &output, &errors, &local)) {
    g_propagate_prefixed_error(error, g_steal_pointer(&local), "qemu-img: ");
    return NULL;
  }
  if (!g_subprocess_get_successful(child)) {
    g_autofree char *words = mf_text_quote(g_strstrip(errors));
    g_autofree char *shown = mf_text_quote(path);
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "%s cannot be read as a disk: qemu-img says %s",
                shown, words);
    return NULL;
  }
  return mf_disk_info_parse(output, strlen(output), path, error);
}
