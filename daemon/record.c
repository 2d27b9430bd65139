/* SPDX-License-Identifier: Apache-2.0 */
/* Record: a job's documents on disk. */
#include "daemon/record.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/error.h"

#define RECORD  "record.json"
#define SECRETS "secrets"

static void
set_error(GError **error, const char *verb, const char *path)
{
  int saved = errno;
  g_set_error(error, MF_ERROR,
              saved == ENOSPC || saved == EDQUOT ? MF_ERROR_NO_SPACE : MF_ERROR_FAILED,
              "cannot %s %s: %s", verb, path, g_strerror(saved));
}

static gboolean
replace(const char *folder, const char *name, MfJson *document, GError **error)
{
  gsize length;
  const char *text = json_object_to_json_string_length(document, JSON_C_TO_STRING_PLAIN, &length);
  g_autofree char *path = g_build_filename(folder, name, NULL);
  g_autofree char *fresh = g_strconcat(path, ".new", NULL);
  g_auto(MfFd) fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  gboolean good = fd >= 0;
  for (gsize at = 0; good && at < length;) {
    gssize n = write(fd, text + at, length - at);
    good = n > 0;
    at += good ? (gsize)n : 0;
  }
  good = good && fdatasync(fd) == 0 && rename(fresh, path) == 0;
  if (!good) {
    set_error(error, "write", path);
    unlink(fresh);
  }
  return good;
}

gboolean
mf_record_create(const char *folder, MfJson *record, MfJson *secrets, GError **error)
{
  if (mkdir(folder, 0700) != 0) {
    set_error(error, "make", folder);
    return FALSE;
  }
  if ((secrets == NULL || replace(folder, SECRETS ".json", secrets, error)) &&
      replace(folder, RECORD, record, error))
    return TRUE;
  g_autoptr(GError) also = NULL;
  if (!mf_record_remove(folder, &also))
    g_debug("%s, ignoring", also->message);
  return FALSE;
}

gboolean
mf_record_write(const char *folder, MfJson *record, GError **error)
{
  return replace(folder, RECORD, record, error);
}

static char *
exec_name(guint number)
{
  return g_strdup_printf(SECRETS "-%u.json", number);
}

gboolean
mf_record_write_exec(const char *folder, guint number, MfJson *secrets, GError **error)
{
  g_autofree char *name = exec_name(number);
  return replace(folder, name, secrets, error);
}

MfJson *
mf_record_read_exec(const char *folder, guint number, GError **error)
{
  g_autofree char *name = exec_name(number);
  return mf_record_read(folder, name, error);
}

MfJson *
mf_record_read(const char *folder, const char *name, GError **error)
{
  g_autofree char *path = g_build_filename(folder, name, NULL);
  g_autofree char *text = NULL;
  gsize length;
  g_autoptr(GError) io = NULL;
  if (!g_file_get_contents(path, &text, &length, &io)) {
    g_set_error_literal(error, MF_ERROR, mf_error_code(io), io->message);
    return NULL;
  }
  g_autoptr(MfJson) json = json_tokener_parse(text);
  memset(text, 0, length);
  if (!json_object_is_type(json, json_type_object)) {
    g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED,
                "%s is not what mayfly wrote there: move the folder away", path);
    return NULL;
  }
  return g_steal_pointer(&json);
}

static gboolean
wipe(const char *folder, const char *name, GError **error)
{
  static const guint8 zeros[4096];
  g_autofree char *path = g_build_filename(folder, name, NULL);
  g_auto(MfFd) fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) {
    if (errno == ENOENT)
      return TRUE;
    set_error(error, "wipe", path);
    return FALSE;
  }
  struct stat st;
  gboolean good = fstat(fd, &st) == 0;
  for (off_t at = 0; good && at < st.st_size;) {
    gssize n = pwrite(fd, zeros, MIN(sizeof zeros, (gsize)(st.st_size - at)), at);
    good = n > 0;
    at += good ? n : 0;
  }
  good = good && fdatasync(fd) == 0;
  /* Unlinked even if it could not be overwritten: less is left that way. */
  if (unlink(path) != 0 || !good) {
    set_error(error, "wipe", path);
    return FALSE;
  }
  return TRUE;
}

gboolean
mf_record_wipe_exec(const char *folder, guint number, GError **error)
{
  g_autofree char *name = exec_name(number);
  return wipe(folder, name, error);
}

gboolean
mf_record_wipe_secrets(const char *folder, GError **error)
{
  g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
  gboolean good = TRUE;
  /* What an interrupted write left under its first name is a secret as well. */
  for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;)
    if (g_str_has_prefix(name, SECRETS))
      good = wipe(folder, name, good ? error : NULL) && good;
  return good;
}

gboolean
mf_record_remove(const char *folder, GError **error)
{
  g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
  const char *name;
  while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
    g_autofree char *path = g_build_filename(folder, name, NULL);
    if (unlink(path) != 0 && errno != ENOENT) {
      set_error(error, "remove", path);
      return FALSE;
    }
  }
  if (rmdir(folder) != 0 && errno != ENOENT) {
    set_error(error, "remove", folder);
    return FALSE;
  }
  return TRUE;
}
