/* SPDX-License-Identifier: Apache-2.0 */
/* image.json: parsing it strictly, writing it, and the digest that names a version. */
#include "daemon/image-meta.h"

#include <string.h>

#include "daemon/auto.h"
#include "daemon/error.h"
#include "daemon/text.h"

enum { MF_IMAGE_META_FORMAT = 1 };
enum { NAME_MAX_LENGTH = 63, OS_MAX = 200, DEVICE_MAX = 128, FSTYPE_MAX = 16, CMDLINE_MAX = 1024 };
enum { TEXT_MAX = 64 * 1024 };

static const char *const file_names[] = {
    [MF_IMAGE_FILE_DISK] = "disk.qcow2",
    [MF_IMAGE_FILE_KERNEL] = "kernel",
    [MF_IMAGE_FILE_INITRD] = "initrd",
};
G_STATIC_ASSERT(G_N_ELEMENTS(file_names) == MF_IMAGE_FILE_LAST_);

static const char *const inits[] = {"systemd", "sysv", "openrc", "busybox", "unknown", NULL};

const char *
mf_image_file_name(MfImageFileKind kind)
{
  g_return_val_if_fail((guint)kind < G_N_ELEMENTS(file_names), NULL);
  return file_names[kind];
}

MfImageMeta *
mf_image_meta_new(void)
{
  return g_new0(MfImageMeta, 1);
}

void
mf_image_meta_free(MfImageMeta *self)
{
  if (self == NULL)
    return;
  g_free(self->name);
  g_free(self->os);
  g_free(self->init);
  g_free(self->root_device);
  g_free(self->root_fstype);
  g_free(self->cmdline);
  for (guint i = 0; i < MF_IMAGE_FILE_LAST_; i++)
    g_free(self->files[i].sha256);
  g_free(self);
}

static gboolean
only(const char *text, const char *allowed, gsize max)
{
  return text != NULL && *text != '\0' && strspn(text, allowed) == strlen(text) &&
         strlen(text) <= max;
}

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define DIGIT "0123456789"
#define ALNUM LOWER "ABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGIT

gboolean
mf_image_name_valid(const char *name)
{
  return only(name, ALNUM "._-", NAME_MAX_LENGTH) && g_ascii_isalnum(*name);
}

gboolean
mf_image_init_valid(const char *init)
{
  return init != NULL && g_strv_contains(inits, init);
}

static gboolean
sha256_valid(const char *text)
{
  return only(text, DIGIT "abcdef", 64) && strlen(text) == 64;
}

static gboolean
device_valid(const char *text)
{
  /* libguestfs names a btrfs subvolume btrfsvol:/dev/sda2/root. */
  return only(text, ALNUM "/._-+:@", DEVICE_MAX) && strstr(text, "..") == NULL &&
         (g_str_has_prefix(text, "/dev/") || g_str_has_prefix(text, "btrfsvol:/dev/"));
}

static gboolean
printable(const char *text, gsize max)
{
  if (text == NULL || strlen(text) > max || !g_utf8_validate(text, -1, NULL))
    return FALSE;
  for (const char *p = text; *p != '\0'; p = g_utf8_next_char(p))
    if (!g_unichar_isprint(g_utf8_get_char(p)))
      return FALSE;
  return TRUE;
}

static gboolean
ascii_printable(const char *text, gsize max)
{
  if (strlen(text) > max)
    return FALSE;
  for (const char *p = text; *p != '\0'; p++)
    if (!g_ascii_isprint(*p))
      return FALSE;
  return TRUE;
}

char *
mf_image_os_text(const char *text)
{
  g_autofree char *valid = g_utf8_make_valid(text, -1);
  g_autoptr(GString) out = g_string_new(NULL);
  for (const char *p = valid; *p != '\0'; p = g_utf8_next_char(p)) {
    gunichar c = g_utf8_get_char(p);
    if (out->len + 6 > OS_MAX)
      break;
    g_string_append_unichar(out, g_unichar_isprint(c) ? c : ' ');
  }
  return g_strdup(g_strstrip(out->str));
}

gboolean
mf_image_meta_check(const MfImageMeta *self, GError **error)
{
  const char *bad = NULL;

  if (!mf_image_name_valid(self->name))
    bad = "name: letters, digits, '.', '_' and '-', at most 63, a letter or digit first";
  else if (!printable(self->os, OS_MAX))
    bad = "os: printable text of at most 200 bytes";
  else if (!mf_image_init_valid(self->init))
    bad = "init: systemd, sysv, openrc, busybox or unknown";
  else if (!device_valid(self->root_device))
    bad = "root_device: a device as libguestfs names it, like /dev/sda1";
  else if (!only(self->root_fstype, LOWER DIGIT "_", FSTYPE_MAX))
    bad = "root_fstype: a file system like ext4";
  else if (self->cmdline != NULL && !ascii_printable(self->cmdline, CMDLINE_MAX))
    bad = "cmdline: printable ASCII of at most 1024 bytes";
  else if (self->created < 0)
    bad = "created: seconds since 1970";
  else if (self->virtual_size == 0 || self->virtual_size > G_MAXINT64)
    bad = "virtual_size: the disk's size in bytes";
  else if (self->files[MF_IMAGE_FILE_DISK].sha256 == NULL)
    bad = "files: disk.qcow2 is missing";
  else if (self->files[MF_IMAGE_FILE_INITRD].sha256 != NULL &&
           self->files[MF_IMAGE_FILE_KERNEL].sha256 == NULL)
    bad = "files: an initrd needs a kernel";
  else if (self->agent_in_initrd && self->files[MF_IMAGE_FILE_INITRD].sha256 == NULL)
    bad = "agent_in_initrd: true, but there is no initrd";
  for (guint i = 0; bad == NULL && i < MF_IMAGE_FILE_LAST_; i++)
    if (self->files[i].sha256 != NULL &&
        (!sha256_valid(self->files[i].sha256) || self->files[i].size > G_MAXINT64))
      bad = "files: each has a sha256 of 64 hex digits and a size";
  if (bad == NULL)
    return TRUE;
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "bad image description: %s", bad);
  return FALSE;
}

static gboolean
invalid(GError **error, const char *what, const char *key)
{
  g_autofree char *shown = mf_text_quote(key);
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "bad image description: %s %s", what, shown);
  return FALSE;
}

static gboolean
take_string(MfJson *value, const char *key, char **field, GError **error)
{
  /* A NUL inside would make what is checked differ from what was written. */
  if (!json_object_is_type(value, json_type_string) ||
      strlen(json_object_get_string(value)) != (size_t)json_object_get_string_len(value))
    return invalid(error, "not a text:", key);
  g_free(*field);
  *field = g_strdup(json_object_get_string(value));
  return TRUE;
}

static gboolean
take_number(MfJson *value, const char *key, gint64 *field, GError **error)
{
  if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0 ||
      json_object_get_int64(value) == G_MAXINT64)
    return invalid(error, "not a number from 0:", key);
  *field = json_object_get_int64(value);
  return TRUE;
}

static gboolean
take_size(MfJson *value, const char *key, guint64 *field, GError **error)
{
  gint64 number;
  if (!take_number(value, key, &number, error))
    return FALSE;
  *field = (guint64)number;
  return TRUE;
}

static gboolean
take_file(MfJson *value, MfImageFile *file, GError **error)
{
  if (!json_object_is_type(value, json_type_object))
    return invalid(error, "not an object:", "files");
  json_object_object_foreach(value, key, member)
  {
    gboolean ok;
    if (strcmp(key, "sha256") == 0)
      ok = take_string(member, key, &file->sha256, error);
    else if (strcmp(key, "size") == 0)
      ok = take_size(member, key, &file->size, error);
    else
      ok = invalid(error, "unknown key", key);
    if (!ok)
      return FALSE;
  }
  return file->sha256 != NULL || invalid(error, "missing key", "sha256");
}

static gboolean
take_files(MfImageMeta *self, MfJson *value, GError **error)
{
  if (!json_object_is_type(value, json_type_object))
    return invalid(error, "not an object:", "files");
  json_object_object_foreach(value, key, member)
  {
    guint kind = 0;
    while (kind < MF_IMAGE_FILE_LAST_ && strcmp(key, file_names[kind]) != 0)
      kind++;
    if (kind == MF_IMAGE_FILE_LAST_)
      return invalid(error, "unknown file", key);
    if (!take_file(member, &self->files[kind], error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
take_member(MfImageMeta *self, const char *key, MfJson *value, GError **error)
{
  const struct {
    const char *key;
    char **field;
  } texts[] = {
      {"name", &self->name},       {"os", &self->os},
      {"init", &self->init},       {"root_device", &self->root_device},
      {"cmdline", &self->cmdline}, {"root_fstype", &self->root_fstype},
  };

  for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
    if (strcmp(key, texts[i].key) == 0)
      return take_string(value, key, texts[i].field, error);
  if (strcmp(key, "created") == 0)
    return take_number(value, key, &self->created, error);
  if (strcmp(key, "virtual_size") == 0)
    return take_size(value, key, &self->virtual_size, error);
  if (strcmp(key, "files") == 0)
    return take_files(self, value, error);
  if (strcmp(key, "agent_in_initrd") == 0) {
    self->agent_in_initrd = json_object_get_boolean(value);
    return json_object_is_type(value, json_type_boolean) ||
           invalid(error, "not true or false:", key);
  }
  if (strcmp(key, "format") == 0) {
    gint64 format;
    if (!take_number(value, key, &format, error))
      return FALSE;
    return format == MF_IMAGE_META_FORMAT ||
           invalid(error, "made by a newer mayfly, this one does not know its", key);
  }
  return invalid(error, "unknown key", key);
}

MfImageMeta *
mf_image_meta_parse(const char *text, gsize length, GError **error)
{
  if (length == 0 || length > TEXT_MAX) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "bad image description: it is empty, or larger than 64 KiB");
    return NULL;
  }
  struct json_tokener *tokener = json_tokener_new_ex(8);
  json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
  g_autoptr(MfJson) root = json_tokener_parse_ex(tokener, text, (int)length);
  enum json_tokener_error outcome = json_tokener_get_error(tokener);
  gsize end = json_tokener_get_parse_end(tokener);
  json_tokener_free(tokener);
  while (end < length && g_ascii_isspace(text[end]))
    end++;
  if (outcome != json_tokener_success || end != length ||
      !json_object_is_type(root, json_type_object)) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "bad image description: it is not a JSON object (at byte %" G_GSIZE_FORMAT ")",
                end);
    return NULL;
  }
  g_autoptr(MfImageMeta) self = mf_image_meta_new();
  json_object_object_foreach(root, key, value)
  {
    if (!take_member(self, key, value, error))
      return NULL;
  }
  if (!json_object_object_get_ex(root, "format", NULL)) {
    invalid(error, "missing key", "format");
    return NULL;
  }
  if (!mf_image_meta_check(self, error))
    return NULL;
  return g_steal_pointer(&self);
}

char *
mf_image_meta_to_json(const MfImageMeta *self)
{
  g_autoptr(MfJson) root = json_object_new_object();
  json_object_object_add(root, "format", json_object_new_int(MF_IMAGE_META_FORMAT));
  json_object_object_add(root, "name", json_object_new_string(self->name));
  json_object_object_add(root, "created", json_object_new_int64(self->created));
  json_object_object_add(root, "virtual_size", json_object_new_int64((gint64)self->virtual_size));
  json_object_object_add(root, "os", json_object_new_string(self->os));
  json_object_object_add(root, "init", json_object_new_string(self->init));
  json_object_object_add(root, "root_device", json_object_new_string(self->root_device));
  json_object_object_add(root, "root_fstype", json_object_new_string(self->root_fstype));
  if (self->cmdline != NULL)
    json_object_object_add(root, "cmdline", json_object_new_string(self->cmdline));
  json_object_object_add(root, "agent_in_initrd", json_object_new_boolean(self->agent_in_initrd));
  MfJson *files = json_object_new_object();
  json_object_object_add(root, "files", files);
  for (guint i = 0; i < MF_IMAGE_FILE_LAST_; i++) {
    if (self->files[i].sha256 == NULL)
      continue;
    MfJson *file = json_object_new_object();
    json_object_object_add(file, "sha256", json_object_new_string(self->files[i].sha256));
    json_object_object_add(file, "size", json_object_new_int64((gint64)self->files[i].size));
    json_object_object_add(files, file_names[i], file);
  }
  return g_strconcat(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY |
                                                              JSON_C_TO_STRING_NOSLASHESCAPE),
                     "\n", NULL);
}

char *
mf_image_meta_digest(const MfImageMeta *self)
{
  g_autoptr(GString) text = g_string_new(NULL);
  for (guint i = 0; i < MF_IMAGE_FILE_LAST_; i++)
    if (self->files[i].sha256 != NULL)
      g_string_append_printf(text, "%s %s\n", self->files[i].sha256, file_names[i]);
  g_string_append_printf(text, "init %s\nroot %s %s\nagent-in-initrd %d\n", self->init,
                         self->root_device, self->root_fstype, self->agent_in_initrd != FALSE);
  if (self->cmdline != NULL)
    g_string_append_printf(text, "cmdline %s\n", self->cmdline);
  return g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)text->str, text->len);
}
