/* SPDX-License-Identifier: Apache-2.0 */
/* Plans: collecting what is to be written into a disk, and handing it over. */
#include "daemon/inject-plan.h"

#include <string.h>

#include "daemon/error.h"
#include "daemon/json.h"
#include "daemon/text.h"

enum { PATH_LENGTH_MAX = 4095, ENTRIES_MAX = 4096, LINE_MAX_LENGTH = 16 * 1024 * 1024 };
#define CONTENT_MAX ((guint64)1024 * 1024 * 1024)

static void
file_free(gpointer data)
{
  MfInjectFile *file = data;
  if (file->length > 0)
    explicit_bzero(file->data, file->length);
  g_free(file->data);
  g_free(file->source);
  g_free(file->path);
  g_free(file);
}

static void
symlink_free(gpointer data)
{
  MfInjectSymlink *link = data;
  g_free(link->path);
  g_free(link->target);
  g_free(link);
}

static MfInjectPlan *
plan_new(void)
{
  MfInjectPlan *self = g_new0(MfInjectPlan, 1);
  self->files = g_ptr_array_new_with_free_func(file_free);
  self->symlinks = g_ptr_array_new_with_free_func(symlink_free);
  self->remove = g_ptr_array_new_with_free_func(g_free);
  return self;
}

MfInjectPlan *
mf_inject_plan_new(const char *disk, const MfImage *image)
{
  MfInjectPlan *self = mf_inject_plan_new_inspect(disk);
  self->root_device = g_strdup(image->root_device);
  self->root_fstype = g_strdup(image->root_fstype);
  return self;
}

MfInjectPlan *
mf_inject_plan_new_inspect(const char *disk)
{
  MfInjectPlan *self = plan_new();
  self->disk = g_strdup(disk);
  return self;
}

void
mf_inject_plan_file(MfInjectPlan *self, const char *path, guint mode, guint uid, guint gid,
                    const void *data, gsize length)
{
  MfInjectFile *file = g_new0(MfInjectFile, 1);
  file->path = g_strdup(path);
  file->mode = mode;
  file->uid = uid;
  file->gid = gid;
  file->data = g_memdup2(data, length);
  file->length = length;
  g_ptr_array_add(self->files, file);
}

void
mf_inject_plan_program(MfInjectPlan *self, const char *path, guint mode, const char *source)
{
  mf_inject_plan_file(self, path, mode, 0, 0, NULL, 0);
  MfInjectFile *file = g_ptr_array_index(self->files, self->files->len - 1);
  file->source = g_strdup(source);
}

void
mf_inject_plan_symlink(MfInjectPlan *self, const char *path, const char *target)
{
  MfInjectSymlink *link = g_new0(MfInjectSymlink, 1);
  link->path = g_strdup(path);
  link->target = g_strdup(target);
  g_ptr_array_add(self->symlinks, link);
}

void
mf_inject_plan_remove(MfInjectPlan *self, const char *path)
{
  g_ptr_array_add(self->remove, g_strdup(path));
}

void
mf_inject_plan_free(MfInjectPlan *self)
{
  if (self == NULL)
    return;
  g_ptr_array_unref(self->files);
  g_ptr_array_unref(self->symlinks);
  g_ptr_array_unref(self->remove);
  g_free(self->disk);
  g_free(self->root_device);
  g_free(self->root_fstype);
  g_free(self->cache_dir);
  g_free(self->tmp_dir);
  g_free(self);
}

MfInjectPlan *
mf_inject_plan_copy(const MfInjectPlan *self)
{
  MfInjectPlan *copy = mf_inject_plan_new_inspect(self->disk);
  copy->root_device = g_strdup(self->root_device);
  copy->root_fstype = g_strdup(self->root_fstype);
  for (guint i = 0; i < self->files->len; i++) {
    const MfInjectFile *f = self->files->pdata[i];
    if (f->source != NULL)
      mf_inject_plan_program(copy, f->path, f->mode, f->source);
    else
      mf_inject_plan_file(copy, f->path, f->mode, f->uid, f->gid, f->data, f->length);
  }
  for (guint i = 0; i < self->symlinks->len; i++) {
    const MfInjectSymlink *l = self->symlinks->pdata[i];
    mf_inject_plan_symlink(copy, l->path, l->target);
  }
  for (guint i = 0; i < self->remove->len; i++)
    mf_inject_plan_remove(copy, self->remove->pdata[i]);
  copy->kvm = self->kvm;
  copy->cache_dir = g_strdup(self->cache_dir);
  copy->tmp_dir = g_strdup(self->tmp_dir);
  copy->timeout = self->timeout;
  copy->tied = self->tied;
  return copy;
}

static gboolean
path_valid(const char *path)
{
  if (path == NULL || *path != '/' || strlen(path) > PATH_LENGTH_MAX ||
      path[strspn(path, "/")] == '\0')
    return FALSE;
  g_auto(GStrv) parts = g_strsplit(path, "/", -1);
  for (char **part = parts; *part != NULL; part++)
    if (strcmp(*part, "..") == 0 || strcmp(*part, ".") == 0 || strlen(*part) > 255)
      return FALSE;
  return !g_str_has_suffix(path, "/") && g_utf8_validate(path, -1, NULL);
}

static gboolean
check_path(const char *path, GError **error)
{
  if (path_valid(path))
    return TRUE;
  g_autofree char *shown = mf_text_quote(path);
  g_set_error(
      error, MF_ERROR, MF_ERROR_INVALID,
      "%s cannot be put into a machine: give an absolute path of a file, without \"..\", in UTF-8",
      shown);
  return FALSE;
}

gboolean
mf_inject_plan_check(const MfInjectPlan *self, GError **error)
{
  guint64 total = 0;
  if (self->files->len + self->symlinks->len + self->remove->len > ENTRIES_MAX) {
    g_set_error(error, MF_ERROR, MF_ERROR_LIMIT,
                "more than %d files for one machine: put them into an archive", ENTRIES_MAX);
    return FALSE;
  }
  for (guint i = 0; i < self->files->len; i++) {
    const MfInjectFile *file = self->files->pdata[i];
    if (!check_path(file->path, error) ||
        (file->source != NULL && !check_path(file->source, error)))
      return FALSE;
    if (file->mode > 07777) {
      g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "%s cannot have the mode %o: at most 7777",
                  file->path, file->mode);
      return FALSE;
    }
    total += file->length;
  }
  if (total > CONTENT_MAX) {
    g_set_error(error, MF_ERROR, MF_ERROR_LIMIT,
                "the files for one machine have more than 1 GiB: let the job fetch them instead");
    return FALSE;
  }
  for (guint i = 0; i < self->symlinks->len; i++) {
    const MfInjectSymlink *link = self->symlinks->pdata[i];
    if (!check_path(link->path, error))
      return FALSE;
    if (*link->target == '\0' || strlen(link->target) > PATH_LENGTH_MAX) {
      g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "the symbolic link %s has no usable target",
                  link->path);
      return FALSE;
    }
  }
  for (guint i = 0; i < self->remove->len; i++)
    if (!check_path(self->remove->pdata[i], error))
      return FALSE;
  return TRUE;
}

static void
add_entries(MfJson *root, const MfInjectPlan *self, guint64 *total)
{
  MfJson *files = json_object_new_array(), *symlinks = json_object_new_array();
  MfJson *gone = json_object_new_array();

  for (guint i = 0; i < self->files->len; i++) {
    const MfInjectFile *f = self->files->pdata[i];
    MfJson *item = json_object_new_object();
    mf_json_add_string(item, "path", f->path);
    mf_json_add_uint(item, "mode", f->mode);
    mf_json_add_uint(item, "uid", f->uid);
    mf_json_add_uint(item, "gid", f->gid);
    mf_json_add_uint(item, "length", f->length);
    if (f->source != NULL)
      mf_json_add_string(item, "source", f->source);
    json_object_array_add(files, item);
    *total += f->length;
  }
  for (guint i = 0; i < self->symlinks->len; i++) {
    const MfInjectSymlink *l = self->symlinks->pdata[i];
    MfJson *item = json_object_new_object();
    mf_json_add_string(item, "path", l->path);
    mf_json_add_string(item, "target", l->target);
    json_object_array_add(symlinks, item);
  }
  for (guint i = 0; i < self->remove->len; i++)
    json_object_array_add(gone, json_object_new_string(self->remove->pdata[i]));
  mf_json_add(root, "files", files);
  mf_json_add(root, "symlinks", symlinks);
  mf_json_add(root, "remove", gone);
}

guint8 *
mf_inject_plan_serialize(const MfInjectPlan *self, gsize *ret_length)
{
  g_autoptr(MfJson) root = json_object_new_object();
  guint64 total = 0;

  mf_json_add_string(root, "disk", self->disk);
  if (self->root_device != NULL) {
    mf_json_add_string(root, "root_device", self->root_device);
    mf_json_add_string(root, "root_fstype", self->root_fstype);
  }
  mf_json_add_string(root, "accel", self->kvm ? "kvm" : "tcg");
  if (self->cache_dir != NULL)
    mf_json_add_string(root, "cache_dir", self->cache_dir);
  if (self->tmp_dir != NULL)
    mf_json_add_string(root, "tmp_dir", self->tmp_dir);
  mf_json_add_uint(root, "timeout", self->timeout);
  mf_json_add_bool(root, "tied", self->tied);
  add_entries(root, self, &total);
  mf_json_add_uint(root, "content", total);

  size_t line_length;
  const char *line = json_object_to_json_string_length(root, JSON_C_TO_STRING_PLAIN, &line_length);
  *ret_length = line_length + 1 + total;
  guint8 *buffer = g_malloc(*ret_length), *p = buffer;
  memcpy(p, line, line_length);
  p += line_length;
  *p++ = '\n';
  for (guint i = 0; i < self->files->len; i++) {
    const MfInjectFile *f = self->files->pdata[i];
    if (f->length > 0)
      memcpy(p, f->data, f->length);
    p += f->length;
  }
  return buffer;
}

static MfJson *
parse_line(const char *line, gsize length, guint64 *ret_content, GError **error)
{
  if (length > LINE_MAX_LENGTH) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "the plan has too many entries");
    return NULL;
  }
  g_autoptr(MfJson) root = mf_json_parse(line, length, "the plan", error);
  *ret_content = 0;
  if (root == NULL || !mf_json_read_uint(root, "", "content", 0, CONTENT_MAX, ret_content, error))
    return NULL;
  return g_steal_pointer(&root);
}

gsize
mf_inject_plan_total(const char *line, gsize line_length)
{
  guint64 content;
  g_autoptr(MfJson) root = parse_line(line, line_length, &content, NULL);
  return root != NULL ? line_length + 1 + content : 0;
}

static gboolean
check_entry(MfJson *item, const char *at, const char *const *keys, GError **error)
{
  if (json_object_is_type(item, json_type_object))
    return mf_json_check_keys(item, at, keys, error);
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "the plan's %s is no object", at);
  return FALSE;
}

static gboolean
read_file(MfInjectPlan *self, MfJson *item, const char *at, const guint8 **data, gsize *left,
          GError **error)
{
  static const char *const keys[] = {"path", "mode", "uid", "gid", "length", "source", NULL};
  g_autofree char *path = NULL, *source = NULL;
  guint64 mode = 0644, uid = 0, gid = 0, length = 0;
  if (!check_entry(item, at, keys, error) || !mf_json_read_string(item, at, "path", &path, error) ||
      !mf_json_read_uint(item, at, "mode", 0, 07777, &mode, error) ||
      !mf_json_read_uint(item, at, "uid", 0, G_MAXINT32, &uid, error) ||
      !mf_json_read_uint(item, at, "gid", 0, G_MAXINT32, &gid, error) ||
      !mf_json_read_uint(item, at, "length", 0, *left, &length, error) ||
      !mf_json_read_string(item, at, "source", &source, error))
    return FALSE;
  if (source != NULL) {
    mf_inject_plan_program(self, path != NULL ? path : "", (guint)mode, source);
    return TRUE;
  }
  mf_inject_plan_file(self, path != NULL ? path : "", (guint)mode, (guint)uid, (guint)gid, *data,
                      length);
  *data += length;
  *left -= length;
  return TRUE;
}

static gboolean
read_symlink(MfInjectPlan *self, MfJson *item, const char *at, GError **error)
{
  static const char *const keys[] = {"path", "target", NULL};
  g_autofree char *path = NULL, *target = NULL;
  if (!check_entry(item, at, keys, error) || !mf_json_read_string(item, at, "path", &path, error) ||
      !mf_json_read_string(item, at, "target", &target, error))
    return FALSE;
  mf_inject_plan_symlink(self, path != NULL ? path : "", target != NULL ? target : "");
  return TRUE;
}

static gboolean
read_entries(MfInjectPlan *self, MfJson *root, const guint8 *data, gsize left, GError **error)
{
  MfJson *files = NULL, *symlinks = NULL;
  g_auto(GStrv) gone = NULL;
  if (!mf_json_read_array(root, "", "files", &files, error) ||
      !mf_json_read_array(root, "", "symlinks", &symlinks, error) ||
      !mf_json_read_strv(root, "", "remove", ENTRIES_MAX, &gone, error))
    return FALSE;
  for (gsize i = 0; files != NULL && i < json_object_array_length(files); i++) {
    g_autofree char *at = mf_json_item_path("", "files", i);
    if (!read_file(self, json_object_array_get_idx(files, i), at, &data, &left, error))
      return FALSE;
  }
  for (gsize i = 0; symlinks != NULL && i < json_object_array_length(symlinks); i++) {
    g_autofree char *at = mf_json_item_path("", "symlinks", i);
    if (!read_symlink(self, json_object_array_get_idx(symlinks, i), at, error))
      return FALSE;
  }
  for (char **path = gone; path != NULL && *path != NULL; path++)
    mf_inject_plan_remove(self, *path);
  if (left == 0)
    return TRUE;
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "the plan's content belongs to no file");
  return FALSE;
}

static gboolean
read_options(MfInjectPlan *self, MfJson *root, GError **error)
{
  g_autofree char *accel = NULL;
  if (!mf_json_read_string(root, "", "disk", &self->disk, error) ||
      !mf_json_read_string(root, "", "root_device", &self->root_device, error) ||
      !mf_json_read_string(root, "", "root_fstype", &self->root_fstype, error) ||
      !mf_json_read_string(root, "", "accel", &accel, error) ||
      !mf_json_read_string(root, "", "cache_dir", &self->cache_dir, error) ||
      !mf_json_read_string(root, "", "tmp_dir", &self->tmp_dir, error) ||
      !mf_json_read_uint(root, "", "timeout", 0, G_MAXUINT32, &self->timeout, error) ||
      !mf_json_read_bool(root, "", "tied", &self->tied, error))
    return FALSE;
  self->kvm = g_strcmp0(accel, "kvm") == 0;
  if (self->disk != NULL && accel != NULL && (self->kvm || strcmp(accel, "tcg") == 0) &&
      (self->root_device == NULL) == (self->root_fstype == NULL))
    return TRUE;
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
              "the plan needs \"disk\", \"accel\" of \"kvm\" or \"tcg\", and \"root_device\" with "
              "\"root_fstype\" or neither");
  return FALSE;
}

MfInjectPlan *
mf_inject_plan_parse(const guint8 *data, gsize length, GError **error)
{
  static const char *const keys[] = {"disk",    "root_device", "root_fstype", "accel", "cache_dir",
                                     "tmp_dir", "timeout",     "tied",        "files", "symlinks",
                                     "remove",  "content",     NULL};
  const guint8 *newline = memchr(data, '\n', length);
  gsize line_length = newline != NULL ? (gsize)(newline - data) : length;
  guint64 content;
  g_autoptr(MfJson) root = parse_line((const char *)data, line_length, &content, error);
  if (root == NULL || !mf_json_check_keys(root, "", keys, error))
    return NULL;
  gsize left = newline != NULL ? length - line_length - 1 : 0;
  if (left != content) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "the plan announces %" G_GUINT64_FORMAT
                " bytes of content and brings %" G_GSIZE_FORMAT,
                content, left);
    return NULL;
  }
  g_autoptr(MfInjectPlan) self = plan_new();
  if (!read_options(self, root, error) ||
      !read_entries(self, root, data + length - left, left, error) ||
      !mf_inject_plan_check(self, error))
    return NULL;
  return g_steal_pointer(&self);
}
