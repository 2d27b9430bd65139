/* SPDX-License-Identifier: Apache-2.0 */
/* Pool: machines started ahead of need. */
#include "daemon/pool.h"

#include <glib/gstdio.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/json.h"
#include "daemon/stamp.h"
#include "daemon/tree.h"

typedef enum { STARTING, READY, LEAVING } State;
static const char *const state_names[] = {"starting", "ready", "leaving"};

typedef struct {
  MfPool *pool;
  MfMachine *machine;
  State state;
  char *template; /* its name */
  char *stamp;    /* of what it is made of */
  char *image;    /* reference */
  char *digest;
  MfGrant grant;
  gint64 since; /* real time of its state */
} Member;

/* What is remembered of a template between looks. */
typedef struct {
  guint wanted;
  MfTries tries;
} Shelf;

struct MfPool {
  const MfHost *host;
  MfForks *forks;
  MfBackground hooks;
  gpointer data;
  char *folder;        /* consoles of those that wait */
  GPtrArray *members;  /* Member */
  GHashTable *shelves; /* template name → Shelf */
  gboolean closed;
};

static void
member_free(gpointer data)
{
  Member *self = data;
  if (self->machine != NULL)
    g_signal_handlers_disconnect_by_data(self->machine, self);
  g_clear_object(&self->machine);
  g_free(self->template);
  g_free(self->stamp);
  g_free(self->image);
  g_free(self->digest);
  g_free(self);
}

static void
shelf_free(gpointer data)
{
  Shelf *self = data;
  mf_tries_clear(&self->tries);
  g_free(self);
}

static Shelf *
shelf_of(MfPool *self, const char *template)
{
  Shelf *shelf = g_hash_table_lookup(self->shelves, template);
  if (shelf == NULL) {
    shelf = g_new0(Shelf, 1);
    g_hash_table_insert(self->shelves, g_strdup(template), shelf);
  }
  return shelf;
}

static void
set_state(Member *member, State state)
{
  member->state = state;
  member->since = g_get_real_time();
}

static guint
count_of(MfPool *self, const char *template, State state)
{
  guint n = 0;
  for (guint i = 0; i < self->members->len; i++) {
    const Member *member = g_ptr_array_index(self->members, i);
    n += member->state == state && strcmp(member->template, template) == 0;
  }
  return n;
}

static void
let_go(Member *member, const char *why)
{
  if (member->state == LEAVING)
    return;
  g_message("pool %s: machine %s goes: %s", member->template, mf_machine_get_id(member->machine),
            why);
  set_state(member, LEAVING);
  mf_machine_stop(member->machine, FALSE);
}

static void
on_up(MfMachine *machine, gpointer data)
{
  Member *member = data;
  MfMemoryImage *memory = mf_machine_get_memory_image(machine);
  mf_tries_note(&shelf_of(member->pool, member->template)->tries, NULL);
  if (memory != NULL)
    mf_forks_tell(member->pool->forks, memory, NULL);
  set_state(member, READY);
  mf_machine_shrink(machine);
  member->pool->hooks.changed(member->pool->data);
}

static void
on_down(MfMachine *machine, const char *reason, gpointer data)
{
  Member *member = data;
  MfMemoryImage *memory = mf_machine_get_memory_image(machine);
  mf_tries_note(&shelf_of(member->pool, member->template)->tries, reason);
  if (mf_machine_did_not_wake(machine))
    mf_forks_tell(member->pool->forks, memory, reason);
  let_go(member, reason);
}

static void
on_gone(MfMachine *machine, gpointer data)
{
  Member *member = data;
  MfPool *self = member->pool;
  self->hooks.count(&member->grant, FALSE, self->data);
  g_ptr_array_remove(self->members, member);
  self->hooks.changed(self->data);
}

static void
start_one(MfPool *self, MfTemplate *template, MfImage *image, const char *stamp,
          const MfGrant *grant)
{
  Member *member = g_new0(Member, 1);
  /* Unlike any job's: those have no dash. */
  g_autofree char *random = mf_machine_new_id();
  g_autofree char *id = g_strconcat("p-", random, NULL);
  g_autofree char *name = g_strconcat(id, ".log", NULL);
  member->pool = self;
  member->template = g_strdup(template->name);
  member->stamp = g_strdup(stamp);
  member->image = mf_image_reference(image);
  member->digest = g_strdup(image->digest);
  member->grant = *grant;
  g_autofree char *console = g_build_filename(self->folder, name, NULL);
  g_mkdir_with_parents(self->folder, 0700);
  MfMachineSpec spec = {id, template, image, *grant, console, FALSE};
  member->machine = mf_machine_new_waiting(self->host, &spec);
  MfMemoryImage *memory = mf_forks_find(self->forks, template, image, grant);
  if (memory != NULL)
    mf_machine_set_memory_image(member->machine, memory);
  g_signal_connect(member->machine, "up", G_CALLBACK(on_up), member);
  g_signal_connect(member->machine, "down", G_CALLBACK(on_down), member);
  g_signal_connect(member->machine, "gone", G_CALLBACK(on_gone), member);
  set_state(member, STARTING);
  g_ptr_array_add(self->members, member);
  self->hooks.count(grant, TRUE, self->data);
  mf_machine_start(member->machine);
}

/* One that goes may leave the list at once. */
static GPtrArray *
members_now(MfPool *self)
{
  GPtrArray *now = g_ptr_array_new();
  for (guint i = 0; i < self->members->len; i++)
    g_ptr_array_add(now, g_ptr_array_index(self->members, i));
  return now;
}

/* Those that a job would not be given, or that are more than wanted, the youngest first. */
static void
weed(MfPool *self, const char *template, const char *stamp, guint wanted)
{
  guint kept = 0;
  gint64 oldest = g_get_real_time() - (gint64)self->host->config->pool_age * G_USEC_PER_SEC;
  g_autoptr(GPtrArray) now = members_now(self);
  for (guint i = 0; i < now->len; i++) {
    Member *member = g_ptr_array_index(now, i);
    if (member->state == LEAVING || strcmp(member->template, template) != 0)
      continue;
    if (g_strcmp0(member->stamp, stamp) != 0)
      let_go(member, "its template or image was changed");
    else if (member->state == READY && member->since < oldest)
      let_go(member, "it has waited too long (pool-age)");
    else if (++kept > wanted)
      let_go(member, "fewer are wanted");
  }
}

/* (transfer full) */
static char *
why_none_now(MfPool *self, const char *template, const MfGrant *grant, gboolean busy)
{
  if (busy)
    return g_strdup(MF_BACKGROUND_BUSY);
  if (mf_forks_is_coming(self->forks, template))
    return g_strdup("its memory image is being made");
  return self->hooks.may_start(grant, self->data);
}

static void
fill(MfPool *self, MfTemplate *template, MfImage *image, const char *stamp, gboolean busy)
{
  Shelf *shelf = shelf_of(self, template->name);
  MfGrant grant = mf_policy_grant_default(template, image->virtual_size);
  if (!mf_tries_may(&shelf->tries))
    return;
  while (count_of(self, template->name, STARTING) + count_of(self, template->name, READY) <
         template->pool) {
    g_autofree char *why = why_none_now(self, template->name, &grant, busy);
    if (why != NULL) {
      mf_tries_set_reason(&shelf->tries, g_steal_pointer(&why));
      return;
    }
    mf_tries_set_reason(&shelf->tries, NULL);
    start_one(self, template, image, stamp, &grant);
  }
  if (shelf->tries.failures == 0)
    mf_tries_set_reason(&shelf->tries, NULL);
}

static void
look_at(MfPool *self, MfTemplate *template, gboolean busy)
{
  g_autofree char *images = g_build_filename(self->host->config->state_directory, "images", NULL);
  g_autoptr(GError) error = NULL;
  Shelf *shelf = shelf_of(self, template->name);
  guint most = self->closed ? 0 : template->pool;
  shelf->wanted = template->pool;
  if (self->closed && shelf->wanted > 0)
    mf_tries_set_reason(&shelf->tries, g_strdup("this host is being drained"));
  if (most == 0 && count_of(self, template->name, STARTING) == 0 &&
      count_of(self, template->name, READY) == 0)
    return;
  g_autoptr(MfImage) image = mf_image_find(images, template->image, &error);
  if (image == NULL) {
    mf_tries_set_reason(&shelf->tries, g_strdup(error->message));
    weed(self, template->name, NULL, 0);
    return;
  }
  g_autofree char *stamp = mf_stamp_machine(template, image);
  weed(self, template->name, stamp, most);
  if (most > 0)
    fill(self, template, image, stamp, busy);
}

/* Of templates that are no longer there. One that cannot be read for now says nothing. */
static void
weed_orphans(MfPool *self, GPtrArray *templates, GHashTable *bad)
{
  GHashTableIter iter;
  gpointer name, shelf;
  g_hash_table_iter_init(&iter, self->shelves);
  while (g_hash_table_iter_next(&iter, &name, &shelf)) {
    const char *problem = g_hash_table_lookup(bad, name);
    if (problem != NULL) {
      mf_tries_set_reason(&((Shelf *)shelf)->tries, g_strdup(problem));
      continue;
    }
    gboolean found = FALSE;
    for (guint i = 0; i < templates->len && !found; i++)
      found = strcmp(((MfTemplate *)g_ptr_array_index(templates, i))->name, name) == 0;
    if (found)
      continue;
    ((Shelf *)shelf)->wanted = 0;
    weed(self, name, NULL, 0);
  }
}

void
mf_pool_look(MfPool *self, GPtrArray *templates, GHashTable *bad, gboolean busy)
{
  for (guint i = 0; i < templates->len; i++)
    look_at(self, g_ptr_array_index(templates, i), busy);
  weed_orphans(self, templates, bad);
}

void
mf_pool_expect(MfPool *self, GPtrArray *templates, const char *why)
{
  for (guint i = 0; i < templates->len; i++) {
    const MfTemplate *template = g_ptr_array_index(templates, i);
    Shelf *shelf = shelf_of(self, template->name);
    guint have = count_of(self, template->name, STARTING) + count_of(self, template->name, READY);
    shelf->wanted = template->pool;
    if (have < shelf->wanted && !self->closed && shelf->tries.failures == 0)
      mf_tries_set_reason(&shelf->tries, g_strdup(why));
  }
}

gint64
mf_pool_next(MfPool *self)
{
  gint64 next = 0;
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, self->shelves);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    const Shelf *shelf = value;
    next = mf_background_sooner(next, shelf->wanted > 0 ? shelf->tries.retry_at : 0);
  }
  for (guint i = 0; i < self->members->len; i++) {
    const Member *member = g_ptr_array_index(self->members, i);
    gint64 age = (gint64)self->host->config->pool_age * G_USEC_PER_SEC;
    if (member->state == READY)
      next = mf_background_sooner(next, member->since + age + 1);
  }
  return next;
}

void
mf_pool_set_closed(MfPool *self, gboolean closed)
{
  self->closed = closed;
}

static Member *
find_ready(MfPool *self, const char *template, const char *stamp, const MfGrant *grant)
{
  for (guint i = 0; i < self->members->len; i++) {
    Member *member = g_ptr_array_index(self->members, i);
    if (member->state == READY && mf_machine_is_up(member->machine) &&
        (template == NULL ||
         (strcmp(member->template, template) == 0 && strcmp(member->stamp, stamp) == 0 &&
          member->grant.cpus == grant->cpus && member->grant.memory == grant->memory &&
          member->grant.disk == grant->disk)))
      return member;
  }
  return NULL;
}

MfMachine *
mf_pool_take(MfPool *self, const MfTemplate *template, const MfImage *image, const MfGrant *grant)
{
  if (count_of(self, template->name, READY) == 0)
    return NULL;
  g_autofree char *stamp = mf_stamp_machine(template, image);
  Member *member = find_ready(self, template->name, stamp, grant);
  if (member == NULL)
    return NULL;
  MfMachine *machine = g_object_ref(member->machine);
  self->hooks.count(&member->grant, FALSE, self->data);
  g_ptr_array_remove(self->members, member);
  return machine;
}

static Member *
find_starting_other(MfPool *self, const char *template)
{
  for (guint i = self->members->len; i > 0; i--) {
    Member *member = g_ptr_array_index(self->members, i - 1);
    if (member->state == STARTING && strcmp(member->template, template) != 0)
      return member;
  }
  return NULL;
}

gboolean
mf_pool_make_room(MfPool *self, const char *template)
{
  /* One that goes already is room to come. */
  if (mf_pool_is_leaving(self))
    return TRUE;
  Member *member = find_ready(self, NULL, NULL, NULL);
  if (member == NULL)
    member = find_starting_other(self, template);
  if (member == NULL)
    return FALSE;
  let_go(member, "a job needs the room");
  return TRUE;
}

gboolean
mf_pool_end_all(MfPool *self, const char *why)
{
  gboolean found = FALSE;
  g_autoptr(GPtrArray) now = members_now(self);
  for (guint i = 0; i < now->len; i++) {
    Member *member = g_ptr_array_index(now, i);
    if (member->state == LEAVING)
      continue;
    mf_tries_note(&shelf_of(self, member->template)->tries, why);
    let_go(member, why);
    found = TRUE;
  }
  return found;
}

guint64
mf_pool_starting(MfPool *self)
{
  guint64 sum = 0;
  for (guint i = 0; i < self->members->len; i++) {
    const Member *member = g_ptr_array_index(self->members, i);
    if (member->state == STARTING)
      sum += mf_policy_guaranteed(self->host->config, member->grant.memory);
  }
  return sum;
}

gboolean
mf_pool_is_leaving(MfPool *self)
{
  for (guint i = 0; i < self->members->len; i++)
    if (((Member *)g_ptr_array_index(self->members, i))->state == LEAVING)
      return TRUE;
  return FALSE;
}

MfMachine *
mf_pool_find(MfPool *self, const char *id)
{
  for (guint i = 0; i < self->members->len; i++) {
    const Member *member = g_ptr_array_index(self->members, i);
    if (strcmp(mf_machine_get_id(member->machine), id) == 0)
      return member->machine;
  }
  return NULL;
}

gboolean
mf_pool_uses_image(MfPool *self, const char *digest)
{
  for (guint i = 0; i < self->members->len; i++)
    if (strcmp(((Member *)g_ptr_array_index(self->members, i))->digest, digest) == 0)
      return TRUE;
  return FALSE;
}

static MfJson *
time_json(gint64 microseconds)
{
  return json_object_new_double((double)microseconds / G_USEC_PER_SEC);
}

static MfJson *
members_json(MfPool *self, const char *template)
{
  MfJson *list = json_object_new_array();
  for (guint i = 0; i < self->members->len; i++) {
    const Member *member = g_ptr_array_index(self->members, i);
    if (strcmp(member->template, template) != 0)
      continue;
    MfJson *json = json_object_new_object();
    mf_json_add_string(json, "id", mf_machine_get_id(member->machine));
    mf_json_add_string(json, "state", state_names[member->state]);
    mf_json_add(json, "since", time_json(member->since));
    mf_json_add_string(json, "image", member->image);
    json_object_array_add(list, json);
  }
  return list;
}

MfJson *
mf_pool_to_json(MfPool *self)
{
  MfJson *pools = json_object_new_array();
  g_autoptr(GList) names = g_list_sort(g_hash_table_get_keys(self->shelves), (GCompareFunc)strcmp);
  for (GList *name = names; name != NULL; name = name->next) {
    const Shelf *shelf = g_hash_table_lookup(self->shelves, name->data);
    MfJson *members = members_json(self, name->data);
    if (shelf->wanted == 0 && json_object_array_length(members) == 0) {
      json_object_put(members);
      continue;
    }
    MfJson *json = json_object_new_object();
    mf_json_add_string(json, "template", name->data);
    mf_json_add_uint(json, "wanted", shelf->wanted);
    mf_json_add_uint(json, "ready", count_of(self, name->data, READY));
    mf_json_add_uint(json, "starting", count_of(self, name->data, STARTING));
    mf_tries_add_to(&shelf->tries, json);
    mf_json_add(json, "machines", members);
    json_object_array_add(pools, json);
  }
  return pools;
}

MfPool *
mf_pool_new(const MfHost *host, MfForks *forks, const MfBackground *hooks, gpointer data)
{
  MfPool *self = g_new0(MfPool, 1);
  self->host = host;
  self->forks = forks;
  self->hooks = *hooks;
  self->data = data;
  self->folder = g_build_filename(host->config->state_directory, "pool", NULL);
  /* Of machines that waited when the daemon before this one ended; the reaper ends them. */
  if (!mf_tree_remove(self->folder))
    g_debug("%s cannot be removed, ignoring", self->folder);
  self->members = g_ptr_array_new_with_free_func(member_free);
  self->shelves = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, shelf_free);
  return self;
}

void
mf_pool_free(MfPool *self)
{
  g_ptr_array_unref(self->members);
  g_hash_table_unref(self->shelves);
  g_free(self->folder);
  g_free(self);
}

void
mf_pool_add_machines(MfPool *self, MfJson *list)
{
  static const char *const states[] = {"starting", "waiting", "stopping"};
  G_STATIC_ASSERT(G_N_ELEMENTS(states) == G_N_ELEMENTS(state_names));
  for (guint i = 0; i < self->members->len; i++) {
    const Member *member = g_ptr_array_index(self->members, i);
    MfJson *json = json_object_new_object();
    mf_json_add_string(json, "id", mf_machine_get_id(member->machine));
    mf_json_add(json, "job", NULL);
    mf_json_add(json, "name", NULL);
    mf_json_add_string(json, "template", member->template);
    mf_json_add(json, "owner", NULL);
    mf_json_add(json, "owner_name", NULL);
    mf_json_add_string(json, "state", states[member->state]);
    mf_json_add(json, "how", NULL);
    mf_json_add_uint(json, "cpus", member->grant.cpus);
    mf_json_add_uint(json, "memory", member->grant.memory);
    mf_json_add_uint(json, "guaranteed",
                     mf_policy_guaranteed(self->host->config, member->grant.memory));
    mf_json_add(json, "since", time_json(member->since));
    json_object_array_add(list, json);
  }
}
