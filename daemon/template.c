/* SPDX-License-Identifier: Apache-2.0 */
/* Templates: their table of keys, and finding them by a name that came from a client. */
#include "daemon/template.h"

#include <string.h>

#include "daemon/error.h"
#include "daemon/paths.h"
#include "daemon/text.h"

#define NAME_LIMIT 63
#define SUFFIX     ".conf"

static const char *const ready_names[] = {
    [MF_READY_AGENT] = "agent",
    [MF_READY_NETWORK] = "network",
    [MF_READY_SYSTEM] = "system",
};

const char *
mf_ready_to_string(MfReady ready)
{
  g_return_val_if_fail((guint)ready < G_N_ELEMENTS(ready_names), "agent");
  return ready_names[ready];
}

gboolean
mf_ready_from_string(const char *text, MfReady *ret_ready)
{
  for (guint i = 0; i < G_N_ELEMENTS(ready_names); i++)
    if (g_strcmp0(text, ready_names[i]) == 0) {
      *ret_ready = (MfReady)i;
      return TRUE;
    }
  return FALSE;
}

/* What the table fills; ready is a word there. */
typedef struct {
  MfTemplate template;
  char *ready;
} Draft;

#define MIB         (G_GUINT64_CONSTANT(1) << 20)
#define TIB         (G_GUINT64_CONSTANT(1) << 40)
#define HOUR        G_GUINT64_CONSTANT(3600)
#define DAY         (24 * HOUR)
#define FIELD(name) .offset = G_STRUCT_OFFSET(Draft, template.name)

/* clang-format off */
static const MfKey keys[] = {
    {"template", "description", MF_KEY_TEXT, "", FIELD(description),
     .meaning = "One line for those who choose between templates."},
    {"template", "image", MF_KEY_TEXT, NULL, FIELD(image),
     .allowed = "the name of an image, or NAME@DIGEST for one version of it",
     .meaning = "What the machine's disk is made of, see mayfly image list."},
    {"template", "domain", MF_KEY_TEXT, "", FIELD(domain), .check = g_path_is_absolute,
     .allowed = "an absolute path",
     .meaning = "The libvirt domain that values are put into; empty: the one that comes with mayfly."},
    {"template", "ready", MF_KEY_CHOICE, "network", .offset = G_STRUCT_OFFSET(Draft, ready), .allowed = "agent|network|system",
     .meaning = "When a job's first command starts: with the agent, when the network is up, or when the whole system is."},
    {"template", "start-timeout", MF_KEY_TIME, "0", 0, 1 * HOUR, FIELD(start_timeout),
     .meaning = "The longest it may take to be ready; 0: as in mayfly.conf."},
    {"template", "pool", MF_KEY_NUMBER, "0", 0, 1024, FIELD(pool),
     .meaning = "Machines that are started ahead and wait, for jobs that ask for nothing beyond this template. They count in max-machines and parallel-starts of mayfly.conf, and make room for other jobs."},
    {"template", "fork", MF_KEY_FLAG, "no", FIELD(fork),
     .meaning = "Start such machines from the saved memory of one that was booted once, instead of booting each."},
    {"template", "graceful", MF_KEY_FLAG, "no", FIELD(graceful),
     .meaning = "Ask the machine to shut down at the job's end instead of switching it off."},
    {"template", "grace", MF_KEY_TIME, "10s", 1, 1 * HOUR, FIELD(grace),
     .meaning = "How long it may take for that."},

    {"machine", "cpus", MF_KEY_NUMBER, "1", 1, 1024, FIELD(cpus),
     .meaning = "Virtual CPUs of a job that asks for nothing, as all keys in this group."},
    {"machine", "memory", MF_KEY_SIZE, "1GiB", 32 * MIB, 16 * TIB, FIELD(memory),
     .meaning = "The most memory that the machine can use."},
    {"machine", "memory-floor", MF_KEY_SIZE, "0", 0, 16 * TIB, FIELD(memory_floor),
     .meaning = "The least that it keeps while it waits for a job, or the host is short of memory: it gives back what it does not use. 0: what it uses. A fork waits with what it was saved with."},
    {"machine", "disk", MF_KEY_SIZE, "10GiB", 16 * MIB, 64 * TIB, FIELD(disk),
     .meaning = "Size of its disk, and the most that it can take up on the host."},
    {"machine", "disk-iops", MF_KEY_COUNT, "0", 0, 10000000, FIELD(disk_iops),
     .meaning = "Most disk operations a second; 0: no limit."},
    {"machine", "disk-bytes-per-second", MF_KEY_SIZE, "0", 0, 1 * TIB, FIELD(disk_bytes_per_second),
     .meaning = "Most bytes read from and written to the disk a second; 0: no limit."},
    {"machine", "network-bytes-per-second", MF_KEY_SIZE, "0", 0, 1 * TIB, FIELD(network_bytes_per_second),
     .meaning = "Most bytes in and out a second; 0: no limit."},

    {"limits", "cpus", MF_KEY_NUMBER, "0", 0, 1024, FIELD(max_cpus),
     .meaning = "The most a job may ask for; 0: what every machine gets, as for memory and disk."},
    {"limits", "memory", MF_KEY_SIZE, "0", 0, 16 * TIB, FIELD(max_memory),
     .meaning = "Likewise."},
    {"limits", "disk", MF_KEY_SIZE, "0", 0, 64 * TIB, FIELD(max_disk),
     .meaning = "Likewise."},
    {"limits", "timeout", MF_KEY_TIME, "0", 0, 365 * DAY, FIELD(max_timeout),
     .meaning = "The longest that a job may run; 0: as in mayfly.conf."},
};
/* clang-format on */

static const MfKeyTable table = {keys, G_N_ELEMENTS(keys)};

const MfKeyTable *
mf_template_table(void)
{
  return &table;
}

static gboolean
name_is_allowed(const char *name)
{
  gsize length = strlen(name);
  if (length == 0 || length > NAME_LIMIT || strchr("._-", name[0]) != NULL)
    return FALSE;
  for (gsize i = 0; i < length; i++)
    if (!g_ascii_islower(name[i]) && !g_ascii_isdigit(name[i]) && strchr("._-", name[i]) == NULL)
      return FALSE;
  return TRUE;
}

static gboolean
check_name(const char *name, GError **error)
{
  if (name_is_allowed(name))
    return TRUE;
  g_autofree char *shown = mf_text_quote(name);
  g_set_error(
      error, MF_ERROR, MF_ERROR_INVALID,
      "%s cannot be the name of a template: use at most %d small letters, digits, '.', '_' and "
      "'-', a letter or digit first",
      shown, NAME_LIMIT);
  return FALSE;
}

static void
draft_free(Draft *draft)
{
  mf_key_table_clear(&table, draft);
  g_free(draft->template.name);
  g_free(draft->template.stamp);
  g_free(draft);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Draft, draft_free)

static gboolean
check_limit(const char *file, const MfKeyOrigins *origins, const char *name, guint64 wanted,
            guint64 limit, GError **error)
{
  if (wanted <= limit)
    return TRUE;
  g_set_error(
      error, MF_ERROR, MF_ERROR_INVALID,
      "%s: [machine] %s (%s) is more than [limits] %s (%s): lower the first or raise the second",
      file, name, mf_key_origins_get(origins, &table, "machine", name), name,
      mf_key_origins_get(origins, &table, "limits", name));
  return FALSE;
}

/* Fills what the file left to others, and checks what must fit together. */
static gboolean
complete(MfTemplate *self, const char *file, const MfKeyOrigins *origins, GError **error)
{
  if (self->domain[0] == '\0') {
    g_free(self->domain);
    self->domain = mf_path_data("templates/domain.xml");
  }
  if (self->max_cpus == 0)
    self->max_cpus = self->cpus;
  if (self->max_memory == 0)
    self->max_memory = self->memory;
  if (self->max_disk == 0)
    self->max_disk = self->disk;
  if (self->memory_floor > self->memory) {
    g_set_error(
        error, MF_ERROR, MF_ERROR_INVALID,
        "%s: [machine] memory-floor (%s) is more than memory (%s): lower the first or raise the "
        "second",
        file, mf_key_origins_get(origins, &table, "machine", "memory-floor"),
        mf_key_origins_get(origins, &table, "machine", "memory"));
    return FALSE;
  }
  return check_limit(file, origins, "cpus", self->cpus, self->max_cpus, error) &&
         check_limit(file, origins, "memory", self->memory, self->max_memory, error) &&
         check_limit(file, origins, "disk", self->disk, self->max_disk, error);
}

static MfTemplate *
publish(Draft *draft, const char *name)
{
  MfTemplate *self = g_new(MfTemplate, 1);
  *self = draft->template;
  memset(&draft->template, 0, sizeof draft->template);
  g_atomic_ref_count_init(&self->refs);
  self->name = g_strdup(name);
  return self;
}

static Draft *
draft_new(void)
{
  Draft *draft = g_new0(Draft, 1);
  mf_key_table_set_defaults(&table, draft);
  return draft;
}

static MfTemplate *
finish(Draft *draft, const char *name, const char *file, const MfKeyOrigins *origins,
       GError **error)
{
  if (!mf_key_table_check_required(&table, file, origins, error) ||
      !complete(&draft->template, file, origins, error))
    return NULL;
  g_autofree char *all = mf_key_table_dump(&table, draft, FALSE);
  draft->template.stamp = g_compute_checksum_for_string(G_CHECKSUM_SHA256, all, -1);
  /* The table lets nothing else through. */
  if (!mf_ready_from_string(draft->ready, &draft->template.ready))
    g_return_val_if_reached(NULL);
  return publish(draft, name);
}

MfTemplate *
mf_template_from_data(const char *name, const char *data, gsize length, GError **error)
{
  g_autoptr(Draft) draft = draft_new();
  g_autoptr(GPtrArray) origins = mf_key_origins_new(&table);
  if (!check_name(name, error) ||
      !mf_key_table_parse(&table, draft, name, data, length, origins, error))
    return NULL;
  return finish(draft, name, name, origins, error);
}

MfTemplate *
mf_template_load(const char *path, GError **error)
{
  g_autoptr(Draft) draft = draft_new();
  g_autoptr(GPtrArray) origins = mf_key_origins_new(&table);
  g_autofree char *name = g_path_get_basename(path);
  if (g_str_has_suffix(name, SUFFIX))
    name[strlen(name) - strlen(SUFFIX)] = '\0';
  if (!check_name(name, error)) {
    g_prefix_error(error, "%s: ", path);
    return NULL;
  }
  if (!mf_key_table_read(&table, draft, path, origins, error))
    return NULL;
  return finish(draft, name, path, origins, error);
}

static int
compare_names(gconstpointer a, gconstpointer b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names without ".conf", in order; hidden files are editors' leftovers. */
static GPtrArray *
list_names(const char *directory, GError **error)
{
  g_autoptr(GDir) dir = g_dir_open(directory, 0, error);
  if (dir == NULL) {
    g_prefix_error(error, "the templates cannot be read: ");
    return NULL;
  }
  GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
  for (const char *name; (name = g_dir_read_name(dir)) != NULL;)
    if (name[0] != '.' && g_str_has_suffix(name, SUFFIX))
      g_ptr_array_add(names, g_strndup(name, strlen(name) - strlen(SUFFIX)));
  g_ptr_array_sort(names, compare_names);
  return names;
}

/* @bad: NULL: a bad file is an error. */
static GPtrArray *
load_each(const char *directory, GHashTable *bad, GError **error)
{
  g_autoptr(GPtrArray) names = list_names(directory, error);
  if (names == NULL)
    return NULL;
  g_autoptr(GPtrArray) templates =
      g_ptr_array_new_with_free_func((GDestroyNotify)mf_template_unref);
  for (guint i = 0; i < names->len; i++) {
    const char *name = g_ptr_array_index(names, i);
    g_autofree char *file = g_strconcat(name, SUFFIX, NULL);
    g_autofree char *path = g_build_filename(directory, file, NULL);
    g_autoptr(GError) problem = NULL;
    MfTemplate *template = mf_template_load(path, &problem);
    if (template != NULL) {
      g_ptr_array_add(templates, template);
    } else if (bad != NULL) {
      g_hash_table_insert(bad, g_strdup(name), g_strdup(problem->message));
    } else {
      g_propagate_error(error, g_steal_pointer(&problem));
      return NULL;
    }
  }
  return g_steal_pointer(&templates);
}

GPtrArray *
mf_template_load_all(const char *directory, GError **error)
{
  return load_each(directory, NULL, error);
}

GPtrArray *
mf_template_load_good(const char *directory, GHashTable **ret_bad, GError **error)
{
  g_autoptr(GHashTable) bad = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  GPtrArray *templates = load_each(directory, bad, error);
  if (templates != NULL && ret_bad != NULL)
    *ret_bad = g_steal_pointer(&bad);
  return templates;
}

static void
set_not_found(const char *directory, const char *name, GError **error)
{
  g_autoptr(GPtrArray) names = list_names(directory, NULL);
  g_autoptr(GString) list = g_string_new(NULL);
  for (guint i = 0; names != NULL && i < names->len; i++)
    g_string_append_printf(list, "%s%s", i > 0 ? ", " : "", (char *)g_ptr_array_index(names, i));
  if (list->len == 0)
    g_set_error(
        error, MF_ERROR, MF_ERROR_NOT_FOUND,
        "there is no template \"%s\", nor any other in %s: the administrator puts them there, see "
        "mayfly-template(5)",
        name, directory);
  else
    g_set_error(error, MF_ERROR, MF_ERROR_NOT_FOUND, "there is no template \"%s\"; there are %s",
                name, list->str);
}

MfTemplate *
mf_template_find(const char *directory, const char *name, GError **error)
{
  if (!check_name(name, error))
    return NULL;
  g_autofree char *file = g_strconcat(name, SUFFIX, NULL);
  g_autofree char *path = g_build_filename(directory, file, NULL);
  g_autoptr(GError) local = NULL;
  MfTemplate *template = mf_template_load(path, &local);
  if (template != NULL)
    return template;
  if (g_error_matches(local, G_FILE_ERROR, G_FILE_ERROR_NOENT))
    set_not_found(directory, name, error);
  else
    g_propagate_error(error, g_steal_pointer(&local));
  return NULL;
}

MfTemplate *
mf_template_ref(MfTemplate *self)
{
  g_atomic_ref_count_inc(&self->refs);
  return self;
}

void
mf_template_unref(MfTemplate *self)
{
  if (self == NULL || !g_atomic_ref_count_dec(&self->refs))
    return;
  g_free(self->name);
  g_free(self->description);
  g_free(self->image);
  g_free(self->domain);
  g_free(self->stamp);
  g_free(self);
}
