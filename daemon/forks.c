/* SPDX-License-Identifier: Apache-2.0 */
/* Forks: the memory images of templates, see forks.h. */
#include "daemon/forks.h"

#include <glib/gstdio.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/json.h"
#include "daemon/stamp.h"

#define CONSOLE "console.log"
/* One failure may be the host's, which had too much to do. Those that went well do not count: half
 * of the machines of one image never woke up, and each cost its job a boot and more. */
#define MOST_FAILURES 2

/* A template's. */
typedef struct {
  MfForks *forks;
  char *template; /* its name */
  char *stamp;    /* of what is wanted; NULL: nothing */
  MfGrant grant;
  MfMemoryImage *image; /* NULL: there is none */
  guint bad;            /* forks of it that failed */
  MfTries tries;
  /* one being made */
  MfMachine *machine;
  MfGrant counted;
  char *work;       /* folder */
  char *work_stamp; /* of what it will be */
  char *digest;     /* of its image */
} Shelf;

struct MfForks {
  const MfHost *host;
  MfBackground hooks;
  gpointer data;
  char *folder;
  GHashTable *shelves; /* template name → Shelf */
  gboolean closed;
};

static void
forget_work(Shelf *shelf)
{
  if (shelf->work != NULL)
    mf_memory_image_forget(shelf->work);
  g_clear_pointer(&shelf->work, g_free);
  g_clear_pointer(&shelf->work_stamp, g_free);
  g_clear_pointer(&shelf->digest, g_free);
}

static void
shelf_free(gpointer data)
{
  Shelf *shelf = data;
  if (shelf->machine != NULL)
    g_signal_handlers_disconnect_by_data(shelf->machine, shelf);
  g_clear_object(&shelf->machine);
  g_clear_pointer(&shelf->image, mf_memory_image_unref);
  mf_tries_clear(&shelf->tries);
  forget_work(shelf);
  g_free(shelf->template);
  g_free(shelf->stamp);
  g_free(shelf);
}

static Shelf *
shelf_of(MfForks *self, const char *template)
{
  Shelf *shelf = g_hash_table_lookup(self->shelves, template);
  if (shelf == NULL) {
    shelf = g_new0(Shelf, 1);
    shelf->forks = self;
    shelf->template = g_strdup(template);
    g_hash_table_insert(self->shelves, shelf->template, shelf);
  }
  return shelf;
}

/* Making one */

static void
on_up(MfMachine *machine, gpointer data)
{
  Shelf *shelf = data;
  g_message("template %s: its machine is up and is being saved", shelf->template);
  mf_machine_save(machine, shelf->work);
}

static void
on_down(MfMachine *machine, const char *reason, gpointer data)
{
  Shelf *shelf = data;
  g_message("template %s: no memory image could be made: %s", shelf->template, reason);
  mf_tries_note(&shelf->tries, reason);
  mf_machine_stop(machine, FALSE);
}

static void
on_saved(MfMachine *machine, gpointer data)
{
  Shelf *shelf = data;
  MfForks *self = shelf->forks;
  g_autoptr(GError) error = NULL;
  g_autofree char *console = g_build_filename(shelf->work, CONSOLE, NULL);
  g_unlink(console);
  gboolean good = mf_memory_image_publish(shelf->work, self->folder, shelf->template,
                                          shelf->work_stamp, &error);
  g_autoptr(MfMemoryImage) image =
      good ? mf_memory_image_find(self->folder, shelf->template, shelf->work_stamp, &error) : NULL;
  g_clear_pointer(&shelf->work, g_free);
  if (image != NULL) {
    g_message("template %s: its machines are forked from now on (%" G_GUINT64_FORMAT " MiB)",
              shelf->template, image->size >> 20);
    g_clear_pointer(&shelf->image, mf_memory_image_unref);
    shelf->image = g_steal_pointer(&image);
    shelf->bad = 0;
    /* The failures before are forgotten when a machine has come up from it. */
    mf_tries_set_reason(&shelf->tries, NULL);
  } else {
    mf_tries_note(&shelf->tries, error->message);
  }
  mf_machine_stop(machine, FALSE);
}

static void
on_gone(MfMachine *machine, gpointer data)
{
  Shelf *shelf = data;
  MfForks *self = shelf->forks;
  g_signal_handlers_disconnect_by_data(machine, shelf);
  g_clear_object(&shelf->machine);
  forget_work(shelf);
  self->hooks.count(&shelf->counted, FALSE, self->data);
  self->hooks.changed(self->data);
}

static void
make(MfForks *self, Shelf *shelf, MfTemplate *template, MfImage *image)
{
  g_autoptr(GError) error = NULL;
  /* Unlike any job's, which have no dash, and any waiting machine's. */
  g_autofree char *random = mf_machine_new_id();
  g_autofree char *id = g_strconcat("f-", random, NULL);
  g_autofree char *overlays =
      g_build_filename(self->host->config->state_directory, "overlays", NULL);
  shelf->work = mf_memory_image_begin(self->folder, overlays, &error);
  if (shelf->work == NULL) {
    mf_tries_note(&shelf->tries, error->message);
    return;
  }
  g_autofree char *console = g_build_filename(shelf->work, CONSOLE, NULL);
  MfMachineSpec spec = {id, template, image, shelf->grant, console, TRUE};
  shelf->work_stamp = g_strdup(shelf->stamp);
  shelf->digest = g_strdup(image->digest);
  shelf->counted = shelf->grant;
  shelf->machine = mf_machine_new_waiting(self->host, &spec);
  g_signal_connect(shelf->machine, "up", G_CALLBACK(on_up), shelf);
  g_signal_connect(shelf->machine, "down", G_CALLBACK(on_down), shelf);
  g_signal_connect(shelf->machine, "saved", G_CALLBACK(on_saved), shelf);
  g_signal_connect(shelf->machine, "gone", G_CALLBACK(on_gone), shelf);
  self->hooks.count(&shelf->counted, TRUE, self->data);
  g_message("template %s: making the memory image that its machines will be forked from",
            shelf->template);
  mf_machine_start(shelf->machine);
}

/* Looking */

static void
drop_image(Shelf *shelf, const char *why)
{
  if (shelf->image == NULL)
    return;
  g_message("template %s: its memory image goes: %s", shelf->template, why);
  mf_memory_image_remove(shelf->image);
  g_clear_pointer(&shelf->image, mf_memory_image_unref);
}

static void
give_up(Shelf *shelf, const char *why)
{
  if (shelf->machine == NULL)
    return;
  g_debug("template %s: its memory image is not made: %s", shelf->template, why);
  mf_machine_stop(shelf->machine, FALSE);
}

/* @stamp: taken; NULL: none is wanted. */
static void
want(MfForks *self, Shelf *shelf, char *stamp)
{
  gboolean same = g_strcmp0(stamp, shelf->stamp) == 0;
  g_free(shelf->stamp);
  shelf->stamp = stamp;
  if (shelf->machine != NULL && g_strcmp0(stamp, shelf->work_stamp) != 0)
    give_up(shelf, "its template, its image or the host was changed");
  if (same)
    return;
  mf_tries_clear(&shelf->tries);
  shelf->bad = 0;
  drop_image(shelf, "its template, its image or the host was changed");
  if (stamp != NULL)
    shelf->image = mf_memory_image_find(self->folder, shelf->template, stamp, NULL);
}

/* (transfer full) */
static char *
why_none_now(MfForks *self, const MfGrant *grant, gboolean busy)
{
  if (self->closed)
    return g_strdup("this host is being drained");
  return busy ? g_strdup(MF_BACKGROUND_BUSY) : self->hooks.may_start(grant, self->data);
}

static void
look_at(MfForks *self, MfTemplate *template, gboolean busy)
{
  g_autofree char *images = g_build_filename(self->host->config->state_directory, "images", NULL);
  g_autoptr(GError) error = NULL;
  Shelf *shelf = shelf_of(self, template->name);
  g_autoptr(MfImage) image = mf_image_find(images, template->image, &error);
  if (image == NULL || mf_hypervisor_label(self->host->hypervisor) == NULL) {
    want(self, shelf, NULL);
    mf_tries_set_reason(
        &shelf->tries,
        g_strdup(error != NULL ? error->message : "libvirt does not say whom it runs QEMU as"));
    return;
  }
  shelf->grant = mf_policy_grant_default(template, image->virtual_size);
  want(self, shelf, mf_stamp_memory(self->host, template, image));
  if (shelf->image != NULL || shelf->machine != NULL || !mf_tries_may(&shelf->tries))
    return;
  g_autofree char *why = why_none_now(self, &shelf->grant, busy);
  gboolean may = why == NULL;
  mf_tries_set_reason(&shelf->tries, g_steal_pointer(&why));
  if (may)
    make(self, shelf, template, image);
}

static void
sweep(MfForks *self)
{
  g_autoptr(GHashTable) keep = g_hash_table_new(g_str_hash, g_str_equal);
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, self->shelves);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    const Shelf *shelf = value;
    if (shelf->image != NULL)
      g_hash_table_add(keep, shelf->image->folder);
    if (shelf->work != NULL)
      g_hash_table_add(keep, shelf->work);
  }
  mf_memory_image_sweep(self->folder, keep);
}

void
mf_forks_look(MfForks *self, GPtrArray *templates, GHashTable *bad, gboolean busy)
{
  g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
  for (guint i = 0; i < templates->len; i++) {
    MfTemplate *template = g_ptr_array_index(templates, i);
    if (!template->fork)
      continue;
    g_hash_table_add(seen, template->name);
    look_at(self, template, busy);
  }
  GHashTableIter iter;
  gpointer name, shelf;
  g_hash_table_iter_init(&iter, self->shelves);
  while (g_hash_table_iter_next(&iter, &name, &shelf))
    if (!g_hash_table_contains(seen, name) && !g_hash_table_contains(bad, name))
      want(self, shelf, NULL);
  sweep(self);
}

gint64
mf_forks_next(MfForks *self)
{
  gint64 next = 0;
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, self->shelves);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    const Shelf *shelf = value;
    if (shelf->stamp != NULL && shelf->image == NULL && shelf->machine == NULL)
      next = mf_background_sooner(next, shelf->tries.retry_at);
  }
  return next;
}

void
mf_forks_set_closed(MfForks *self, gboolean closed)
{
  self->closed = closed;
  if (closed)
    mf_forks_make_room(self);
}

MfMemoryImage *
mf_forks_find(MfForks *self, const MfTemplate *template, const MfImage *image, const MfGrant *grant)
{
  Shelf *shelf = g_hash_table_lookup(self->shelves, template->name);
  if (!template->fork || shelf == NULL || shelf->image == NULL ||
      shelf->grant.cpus != grant->cpus || shelf->grant.memory != grant->memory ||
      shelf->grant.disk != grant->disk)
    return NULL;
  g_autofree char *stamp = mf_stamp_memory(self->host, template, image);
  return g_strcmp0(stamp, shelf->image->stamp) == 0 ? shelf->image : NULL;
}

gboolean
mf_forks_is_coming(MfForks *self, const char *template)
{
  const Shelf *shelf = g_hash_table_lookup(self->shelves, template);
  return shelf != NULL && shelf->machine != NULL;
}

void
mf_forks_tell(MfForks *self, MfMemoryImage *image, const char *problem)
{
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, self->shelves);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    Shelf *shelf = value;
    if (shelf->image != image)
      continue;
    if (problem == NULL)
      mf_tries_clear(&shelf->tries);
    else
      shelf->bad++;
    if (shelf->bad < MOST_FAILURES)
      continue;
    mf_tries_note(&shelf->tries, problem);
    drop_image(shelf, problem);
  }
}

gboolean
mf_forks_make_room(MfForks *self)
{
  gboolean found = FALSE;
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, self->shelves);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    found = found || ((Shelf *)value)->machine != NULL;
    give_up(value, "a job needs the room");
  }
  return found;
}

gboolean
mf_forks_end_all(MfForks *self, const char *why)
{
  gboolean found = FALSE;
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, self->shelves);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    Shelf *shelf = value;
    if (shelf->machine == NULL || mf_machine_is_stopping(shelf->machine))
      continue;
    found = TRUE;
    mf_tries_note(&shelf->tries, why);
    give_up(shelf, why);
  }
  return found;
}

MfMachine *
mf_forks_find_machine(MfForks *self, const char *id)
{
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, self->shelves);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    const Shelf *shelf = value;
    if (shelf->machine != NULL && strcmp(mf_machine_get_id(shelf->machine), id) == 0)
      return shelf->machine;
  }
  return NULL;
}

gboolean
mf_forks_uses_image(MfForks *self, const char *digest)
{
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, self->shelves);
  while (g_hash_table_iter_next(&iter, NULL, &value))
    if (g_strcmp0(((const Shelf *)value)->digest, digest) == 0)
      return TRUE;
  return FALSE;
}

MfJson *
mf_forks_to_json(MfForks *self, const MfTemplate *template, const char *why)
{
  const Shelf *shelf = g_hash_table_lookup(self->shelves, template->name);
  if (!template->fork)
    return NULL;
  MfMemoryImage *image = shelf != NULL ? shelf->image : NULL;
  gboolean making = shelf != NULL && shelf->machine != NULL;
  MfTries tries = shelf != NULL ? shelf->tries : (MfTries){0};
  if (why != NULL && image == NULL && !making && tries.failures == 0)
    tries.problem = (char *)why;
  MfJson *json = json_object_new_object();
  mf_json_add_string(json, "state", image != NULL ? "ready" : making ? "making" : "none");
  mf_json_add(json, "size", image != NULL ? json_object_new_uint64(image->size) : NULL);
  mf_json_add(json, "made", image != NULL ? json_object_new_int64(image->made) : NULL);
  mf_tries_add_to(&tries, json);
  return json;
}

MfForks *
mf_forks_new(const MfHost *host, const MfBackground *hooks, gpointer data)
{
  MfForks *self = g_new0(MfForks, 1);
  self->host = host;
  self->hooks = *hooks;
  self->data = data;
  self->folder = g_build_filename(host->config->state_directory, "forks", NULL);
  self->shelves = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, shelf_free);
  mf_memory_image_sweep_unfinished(self->folder);
  return self;
}

void
mf_forks_free(MfForks *self)
{
  g_hash_table_unref(self->shelves);
  g_free(self->folder);
  g_free(self);
}
