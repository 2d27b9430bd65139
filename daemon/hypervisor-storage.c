/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Overlays: volumes of a storage pool of our own, over a folder of our own. The pool is never
 * refreshed while jobs run (libvirt refuses that while a volume is being made, and the other way
 * round), so the folder, not the pool, says what there is.
 */
#include "daemon/hypervisor-private.h"

#include <errno.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <libxml/parser.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "daemon/domain-check.h"

#define POOL_NAME   "mayfly-overlays"
#define FILE_PREFIX "overlay-"
#define FILE_SUFFIX ".qcow2"
/* Others may pass through, which QEMU must; nobody may list. */
#define FOLDER_MODE 0711
/* An overlay's first clusters take 200 KiB; with less left than this its making failed for want of
 * space. */
#define SPACE_MIN (1024 * 1024)

static char *
overlay_folder(const MfConfig *config)
{
  g_autofree char *folder = g_build_filename(config->state_directory, "overlays", NULL);
  return g_canonicalize_filename(folder, "/");
}

static char *
overlay_name(const char *id)
{
  return g_strconcat(FILE_PREFIX, id, FILE_SUFFIX, NULL);
}

char *
mf_hypervisor_overlay_path(MfHypervisor *self, const char *id)
{
  g_autofree char *folder = overlay_folder(self->config);
  g_autofree char *name = overlay_name(id);
  return g_build_filename(folder, name, NULL);
}

/* --- prepare: the pool and the filters --- */

static char *
pool_path(virStoragePoolPtr pool)
{
  char *xml = virStoragePoolGetXMLDesc(pool, 0);
  xmlDoc *doc = xml != NULL ? xmlReadMemory(xml, (int)strlen(xml), NULL, NULL,
                                            XML_PARSE_NONET | XML_PARSE_NOERROR)
                            : NULL;
  xmlNode *target = doc != NULL ? mf_xml_child(xmlDocGetRootElement(doc), "target") : NULL;
  xmlNode *path = target != NULL ? mf_xml_child(target, "path") : NULL;
  xmlChar *content = path != NULL ? xmlNodeGetContent(path) : NULL;
  char *result = g_strdup((const char *)content);

  xmlFree(content);
  xmlFreeDoc(doc);
  free(xml);
  return result;
}

/* A pool of our name over another folder is from before the state directory was changed; its files
 * are not touched. */
static virStoragePoolPtr
find_pool(virConnectPtr connection, const char *folder, GError **error)
{
  g_autoptr(GError) local = NULL;
  g_autoptr(virStoragePool) pool = virStoragePoolLookupByName(connection, POOL_NAME);

  if (pool == NULL) {
    if (mf_hypervisor_take_error(&local, "cannot look for storage pool %s", POOL_NAME) !=
        VIR_ERR_NO_STORAGE_POOL)
      g_propagate_error(error, g_steal_pointer(&local));
    return NULL;
  }
  g_autofree char *path = pool_path(pool);
  if (g_strcmp0(path, folder) == 0)
    return g_steal_pointer(&pool);
  if ((virStoragePoolIsActive(pool) == 1 && virStoragePoolDestroy(pool) < 0) ||
      (virStoragePoolIsPersistent(pool) == 1 && virStoragePoolUndefine(pool) < 0))
    mf_hypervisor_take_error(error, "storage pool %s is at %s and cannot be moved to %s", POOL_NAME,
                             path, folder);
  return NULL;
}

static gboolean
prepare_pool(virConnectPtr connection, const char *folder, GError **error)
{
  g_autoptr(GError) local = NULL;
  g_autoptr(virStoragePool) pool = find_pool(connection, folder, &local);

  if (local != NULL) {
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
  }
  if (pool == NULL) {
    g_autofree char *xml = g_markup_printf_escaped(
        "<pool type='dir'><name>%s</name><target><path>%s</path></target></pool>", POOL_NAME,
        folder);
    pool = virStoragePoolDefineXML(connection, xml, 0);
  }
  if (pool == NULL || (virStoragePoolIsActive(pool) != 1 && virStoragePoolCreate(pool, 0) < 0)) {
    mf_hypervisor_take_error(error, "storage pool %s over %s cannot be started", POOL_NAME, folder);
    return FALSE;
  }
  return TRUE;
}

static gboolean
prepare_folder(const char *folder, GError **error)
{
  if (g_mkdir_with_parents(folder, FOLDER_MODE) == 0)
    return TRUE;
  g_set_error(error, MF_ERROR, errno == ENOSPC ? MF_ERROR_NO_SPACE : MF_ERROR_FAILED,
              "the folder for overlays %s cannot be made: %s", folder, g_strerror(errno));
  return FALSE;
}

static gboolean
prepare_work(virConnectPtr connection, gpointer data, GCancellable *cancellable, GError **error)
{
  const MfConfig *config = *(const MfConfig **)data;
  g_autofree char *folder = overlay_folder(config);

  return prepare_folder(folder, error) && prepare_pool(connection, folder, error) &&
         mf_hypervisor_define_filters(connection, config, error);
}

void
mf_hypervisor_prepare_async(MfHypervisor *self, GCancellable *c, GAsyncReadyCallback cb,
                            gpointer data)
{
  const MfConfig **config = g_new(const MfConfig *, 1);
  *config = self->config;
  mf_hypervisor_call_async(self, MF_CONNECTION_CONTROL, prepare_work, config, g_free, c, cb, data);
}

gboolean
mf_hypervisor_prepare_finish(MfHypervisor *self, GAsyncResult *r, GError **error)
{
  return mf_hypervisor_call_finish(self, r, prepare_work, error) != NULL;
}

/* --- create --- */

typedef struct {
  char *id;
  char *path;
  char *backing;
  guint64 capacity;
  gint64 gid;
} Overlay;

static void
overlay_free(gpointer data)
{
  Overlay *self = data;

  g_free(self->id);
  g_free(self->path);
  g_free(self->backing);
  g_free(self);
}

static Overlay *
overlay_new(MfHypervisor *self, const char *id)
{
  Overlay *overlay = g_new0(Overlay, 1);

  overlay->id = g_strdup(id);
  overlay->path = mf_hypervisor_overlay_path(self, id);
  overlay->gid = mf_hypervisor_label_gid(self->label);
  return overlay;
}

/* Owned by us, for mayfly-inject; QEMU comes in through its group. Without compat 1.1 libvirt makes
 * an old qcow2. */
static char *
volume_xml(const Overlay *self)
{
  g_autofree char *name = overlay_name(self->id);
  gint64 gid = self->gid >= 0 ? self->gid : (gint64)getegid();

  return g_markup_printf_escaped(
      "<volume><name>%s</name><capacity unit='bytes'>%" G_GUINT64_FORMAT "</capacity>"
      "<target><format type='qcow2'/><compat>1.1</compat>"
      "<permissions><mode>%s</mode><owner>%u</owner><group>%" G_GINT64_FORMAT
      "</group></permissions>"
      "</target><backingStore><path>%s</path><format type='qcow2'/></backingStore></volume>",
      name, self->capacity, self->gid >= 0 ? "0660" : "0600", (guint)geteuid(), gid, self->backing);
}

/* qemu-img's words are all that libvirt passes on, so the filesystem is asked. */
static gboolean
is_full(const char *path)
{
  g_autofree char *folder = g_path_get_dirname(path);
  struct statvfs st;

  if (statvfs(folder, &st) != 0)
    return FALSE;
  return (guint64)st.f_bavail * st.f_frsize < SPACE_MIN || (st.f_files > 0 && st.f_favail == 0);
}

static gboolean
create_work(virConnectPtr connection, gpointer data, GCancellable *cancellable, GError **error)
{
  Overlay *self = data;
  g_autoptr(GError) local = NULL;
  g_autoptr(virStoragePool) pool = virStoragePoolLookupByName(connection, POOL_NAME);

  if (pool == NULL) {
    mf_hypervisor_take_error(error, "storage pool %s is missing; mayflyd makes it when it starts",
                             POOL_NAME);
    return FALSE;
  }
  g_autofree char *xml = volume_xml(self);
  g_autoptr(virStorageVol) volume = virStorageVolCreateXML(pool, xml, 0);
  if (volume != NULL)
    return TRUE;
  mf_hypervisor_take_error(&local, "the overlay %s cannot be made", self->path);
  /* Another's file of that name stays. */
  if (!g_error_matches(local, MF_ERROR, MF_ERROR_CONFLICT))
    g_unlink(self->path);
  if (g_error_matches(local, MF_ERROR, MF_ERROR_NO_SPACE) || is_full(self->path)) {
    g_autofree char *folder = g_path_get_dirname(self->path);
    g_set_error(error, MF_ERROR, MF_ERROR_NO_SPACE,
                "there is no space left for a machine's disk in %s: free some, or move the state "
                "directory to a larger disk",
                folder);
    return FALSE;
  }
  g_propagate_error(error, g_steal_pointer(&local));
  return FALSE;
}

/* An id becomes a file name: one that could leave the folder never gets that far. */
static void
call_overlay(MfHypervisor *self, MfConnectionKind kind, MfHypervisorWork work, Overlay *overlay,
             GCancellable *c, GAsyncReadyCallback cb, gpointer data)
{
  if (mf_hypervisor_is_id(overlay->id)) {
    mf_hypervisor_call_async(self, kind, work, overlay, overlay_free, c, cb, data);
    return;
  }
  g_task_report_new_error(self, cb, data, (gpointer)work, MF_ERROR, MF_ERROR_INVALID,
                          "\"%s\" cannot be a machine's id", overlay->id);
  overlay_free(overlay);
}

void
mf_hypervisor_create_overlay_async(MfHypervisor *self, const char *id, const char *backing,
                                   guint64 capacity, GCancellable *c, GAsyncReadyCallback cb,
                                   gpointer data)
{
  Overlay *overlay = overlay_new(self, id);
  overlay->backing = g_strdup(backing);
  overlay->capacity = capacity;
  call_overlay(self, MF_CONNECTION_CONTROL, create_work, overlay, c, cb, data);
}

char *
mf_hypervisor_create_overlay_finish(MfHypervisor *self, GAsyncResult *r, GError **error)
{
  Overlay *overlay = mf_hypervisor_call_finish(self, r, create_work, error);
  return overlay != NULL ? g_strdup(overlay->path) : NULL;
}

/* --- delete --- */

/* The file counts: the pool may not know of it (made before libvirtd forgot), or know of one that
 * is gone. */
static gboolean
delete_work(virConnectPtr connection, gpointer data, GCancellable *cancellable, GError **error)
{
  Overlay *self = data;
  g_autofree char *name = overlay_name(self->id);
  g_autoptr(virStoragePool) pool = virStoragePoolLookupByName(connection, POOL_NAME);
  g_autoptr(virStorageVol) volume = pool != NULL ? virStorageVolLookupByName(pool, name) : NULL;

  if (volume != NULL)
    virStorageVolDelete(volume, VIR_STORAGE_VOL_DELETE_NORMAL);
  if (g_unlink(self->path) == 0 || errno == ENOENT)
    return TRUE;
  g_set_error(error, MF_ERROR, MF_ERROR_FAILED, "the overlay %s cannot be removed: %s", self->path,
              g_strerror(errno));
  return FALSE;
}

void
mf_hypervisor_delete_overlay_async(MfHypervisor *self, const char *id, GCancellable *c,
                                   GAsyncReadyCallback cb, gpointer data)
{
  call_overlay(self, MF_CONNECTION_DESTROY, delete_work, overlay_new(self, id), c, cb, data);
}

gboolean
mf_hypervisor_delete_overlay_finish(MfHypervisor *self, GAsyncResult *r, GError **error)
{
  return mf_hypervisor_call_finish(self, r, delete_work, error) != NULL;
}

/* --- list --- */

static void
list_on_worker(GTask *task, gpointer source, gpointer task_data, GCancellable *cancellable)
{
  g_autoptr(GStrvBuilder) ids = g_strv_builder_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(GDir) dir = g_dir_open(task_data, 0, &error);
  const char *name;

  if (dir == NULL && !g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
    g_task_return_new_error(task, MF_ERROR, MF_ERROR_FAILED, "cannot list the overlays: %s",
                            error->message);
    return;
  }
  while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
    if (!g_str_has_prefix(name, FILE_PREFIX) || !g_str_has_suffix(name, FILE_SUFFIX))
      continue;
    gsize length = strlen(name) - strlen(FILE_PREFIX FILE_SUFFIX);
    g_autofree char *id = g_strndup(name + strlen(FILE_PREFIX), length);
    if (mf_hypervisor_is_id(id))
      g_strv_builder_add(ids, id);
  }
  g_task_return_pointer(task, g_strv_builder_end(ids), (GDestroyNotify)g_strfreev);
}

/* Needs no libvirtd: the folder is ours. */
void
mf_hypervisor_list_overlays_async(MfHypervisor *self, GCancellable *c, GAsyncReadyCallback cb,
                                  gpointer data)
{
  g_autoptr(GTask) task = g_task_new(self, c, cb, data);
  g_task_set_task_data(task, overlay_folder(self->config), g_free);
  g_task_run_in_thread(task, list_on_worker);
}

char **
mf_hypervisor_list_overlays_finish(MfHypervisor *self, GAsyncResult *r, GError **error)
{
  g_return_val_if_fail(g_task_is_valid(r, self), NULL);
  return g_task_propagate_pointer(G_TASK(r), error);
}
