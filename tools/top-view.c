/* SPDX-License-Identifier: Apache-2.0 */
/* The view of top: rates between two answers, and how all of it is shown. */
#include "tools/top-view.h"

#include <string.h>

#include "daemon/error.h"
#include "daemon/text.h"
#include "daemon/units.h"
#include "tools/document.h"
#include "tools/table.h"

#define MIN_DELAY_MS 500u
#define MAX_DELAY_MS (24u * 3600 * 1000)

/* A label may be as long as its job's owner liked: where there is no room for all, numbers come
 * first. */
#define WIDE 140
static const struct {
  guint name, template;
} wide = {24, 16}, narrow = {12, 10};

static const char *const sort_names[] = {
    [MF_TOP_CPU] = "cpu",         [MF_TOP_MEMORY] = "memory", [MF_TOP_DISK] = "disk",
    [MF_TOP_NETWORK] = "network", [MF_TOP_AGE] = "age",
};
G_STATIC_ASSERT(G_N_ELEMENTS(sort_names) == MF_TOP_SORT_LAST_);

MfTopSort
mf_top_sort_from_string(const char *name)
{
  for (guint i = 0; i < G_N_ELEMENTS(sort_names); i++)
    if (g_strcmp0(sort_names[i], name) == 0)
      return (MfTopSort)i;
  return MF_TOP_CPU;
}

gboolean
mf_top_sort_from_key(char key, MfTopSort *ret_sort)
{
  for (guint i = 0; i < G_N_ELEMENTS(sort_names); i++)
    if (sort_names[i][0] == key) {
      *ret_sort = (MfTopSort)i;
      return TRUE;
    }
  return FALSE;
}

/* "0.5" and "0.5s"; whole numbers are left to mf_duration_parse(). */
static gboolean
parse_fraction(const char *text, double *ret_seconds)
{
  gsize whole = strspn(text, "0123456789");
  gsize part = text[whole] == '.' ? strspn(text + whole + 1, "0123456789") : 0;
  const char *end = text + whole + 1 + part;
  if (whole == 0 || whole > 6 || part == 0 || (strcmp(end, "") != 0 && strcmp(end, "s") != 0))
    return FALSE;
  *ret_seconds = g_ascii_strtod(text, NULL);
  return TRUE;
}

gboolean
mf_top_parse_delay(const char *text, guint *ret_ms, GError **error)
{
  double seconds = 0;
  guint64 whole = 0;
  if (!parse_fraction(text, &seconds)) {
    if (!mf_duration_parse(text, &whole, error)) {
      g_prefix_error(error, "--delay: ");
      return FALSE;
    }
    seconds = (double)whole;
  }
  if (seconds * 1000 < MIN_DELAY_MS || seconds * 1000 > MAX_DELAY_MS) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "--delay: it must be between 0.5s and 1d");
    return FALSE;
  }
  *ret_ms = (guint)(seconds * 1000);
  return TRUE;
}

/* --- rates --- */

static const struct {
  const char *counter, *rate;
  double unit; /* of the counter, in those of the rate */
} rates[] = {
    {"cpu_time_ns", "cpu", 1e-7}, /* 10 million nanoseconds of a second are one percent */
    {"disk_read_bytes", "disk_read", 1}, {"disk_written_bytes", "disk_written", 1},
    {"net_rx_bytes", "net_rx", 1},       {"net_tx_bytes", "net_tx", 1},
};

static MfJson *
number_json(double value)
{
  char text[G_ASCII_DTOSTR_BUF_SIZE];
  return json_object_new_double_s(value, g_ascii_formatd(text, sizeof text, "%.1f", value));
}

/* @now, @before: stats, or NULL. NULL: none can be told. */
static MfJson *
rates_json(MfJson *now, MfJson *before, double seconds)
{
  if (now == NULL || before == NULL || seconds <= 0)
    return NULL;
  g_autoptr(MfJson) json = json_object_new_object();
  for (gsize i = 0; i < G_N_ELEMENTS(rates); i++) {
    const char *key = rates[i].counter;
    guint64 value = mf_document_uint(now, key), last = mf_document_uint(before, key);
    gboolean known = mf_document_has(now, key) && mf_document_has(before, key);
    if (known && value < last)
      return NULL;
    json_object_object_add(json, rates[i].rate,
                           known ? number_json((double)(value - last) * rates[i].unit / seconds)
                                 : NULL);
  }
  return g_steal_pointer(&json);
}

/* Machines by their ids, all borrowed. */
static GHashTable *
by_id(MfJson *answer)
{
  GHashTable *table = g_hash_table_new(g_str_hash, g_str_equal);
  MfJson *machines = mf_document_member(answer, "machines");
  for (gsize i = 0; i < mf_document_count(machines); i++) {
    MfJson *machine = mf_document_item(machines, i);
    const char *id = mf_document_text(machine, "id");
    if (id != NULL)
      g_hash_table_insert(table, (gpointer)id, machine);
  }
  return table;
}

void
mf_top_add_rates(MfJson *now, MfJson *before)
{
  g_autoptr(GHashTable) old = by_id(before);
  double seconds = mf_document_number(now, "time") - mf_document_number(before, "time");
  MfJson *machines = mf_document_member(now, "machines");
  for (gsize i = 0; i < mf_document_count(machines); i++) {
    MfJson *machine = mf_document_item(machines, i);
    const char *id = mf_document_text(machine, "id");
    MfJson *last = id != NULL ? g_hash_table_lookup(old, id) : NULL;
    if (json_object_is_type(machine, json_type_object))
      json_object_object_add(machine, "rates",
                             rates_json(mf_document_member(machine, "stats"),
                                        mf_document_member(last, "stats"), seconds));
  }
}

/* --- order --- */

typedef struct {
  MfJson *machine;      /* borrowed */
  double first, second; /* the larger, the further up */
  const char *id;
} Place;

/* Of the member @part: -1 is below all that are known. */
static double
number_of(MfJson *machine, const char *part, const char *key)
{
  MfJson *member = mf_document_member(machine, part);
  return mf_document_has(member, key) ? mf_document_number(member, key) : -1;
}

static Place
place_of(MfJson *machine, MfTopSort sort)
{
  Place place = {machine, 0, 0, mf_document_text(machine, "id")};
  switch (sort) {
  case MF_TOP_CPU:
    place.first = number_of(machine, "rates", "cpu");
    place.second = number_of(machine, "stats", "cpu_time_ns");
    break;
  case MF_TOP_MEMORY:
    place.first = number_of(machine, "stats", "resident");
    place.second = mf_document_number(machine, "guaranteed");
    break;
  case MF_TOP_DISK:
    place.first = number_of(machine, "rates", "disk_written");
    place.second = number_of(machine, "stats", "disk_written_bytes");
    break;
  case MF_TOP_NETWORK:
    place.first = number_of(machine, "rates", "net_rx") + number_of(machine, "rates", "net_tx");
    break;
  case MF_TOP_AGE:
    place.first =
        mf_document_has(machine, "since") ? -mf_document_number(machine, "since") : -G_MAXDOUBLE;
    break;
  case MF_TOP_SORT_LAST_:
    break;
  }
  return place;
}

static int
compare(gconstpointer a, gconstpointer b)
{
  const Place *one = a, *other = b;
  if (one->first != other->first)
    return one->first > other->first ? -1 : 1;
  if (one->second != other->second)
    return one->second > other->second ? -1 : 1;
  return g_strcmp0(one->id, other->id);
}

void
mf_top_sort(MfJson *answer, MfTopSort sort)
{
  MfJson *machines = mf_document_member(answer, "machines");
  MfJson *sorted = json_object_new_array();
  g_autoptr(GArray) places = g_array_new(FALSE, FALSE, sizeof(Place));
  for (gsize i = 0; i < mf_document_count(machines); i++) {
    Place place = place_of(mf_document_item(machines, i), sort);
    g_array_append_val(places, place);
  }
  g_array_sort(places, compare);
  for (guint i = 0; i < places->len; i++)
    json_object_array_add(sorted, json_object_get(g_array_index(places, Place, i).machine));
  json_object_object_add(answer, "machines", sorted);
}

/* --- text --- */

/* At most five columns: "0", "12K", "1.5G". */
static char *
short_size(double bytes)
{
  static const char units[] = "BKMGTPE";
  guint unit = 0;
  while (bytes >= 999.5 && units[unit + 1] != '\0') {
    bytes /= 1024;
    unit++;
  }
  if (unit == 0)
    return g_strdup_printf("%.0f", bytes);
  return g_strdup_printf(bytes < 9.95 ? "%.1f%c" : "%.0f%c", bytes, units[unit]);
}

/* NULL for what is not known. */
static char *
size_of(MfJson *machine, const char *part, const char *key)
{
  double bytes = number_of(machine, part, key);
  return bytes >= 0 ? short_size(bytes) : NULL;
}

/* Of what is never 0 unless it is not known. */
static char *
size_said(MfJson *stats, const char *key)
{
  guint64 bytes = mf_document_uint(stats, key);
  return bytes > 0 ? short_size((double)bytes) : NULL;
}

static char *
memory_in_use(MfJson *stats)
{
  guint64 all = mf_document_uint(stats, "balloon_current");
  guint64 usable = mf_document_uint(stats, "balloon_usable");
  return usable > 0 && usable <= all ? short_size((double)(all - usable)) : NULL;
}

static char *
cpu_of(MfJson *machine)
{
  double percent = number_of(machine, "rates", "cpu");
  return percent >= 0 ? g_strdup_printf(percent < 99.95 ? "%.1f" : "%.0f", percent) : NULL;
}

static char *
shorten(const char *text, guint columns)
{
  g_autofree char *line = mf_text_line(text);
  if (mf_text_columns(line) <= columns)
    return g_steal_pointer(&line);
  g_autofree char *cut = mf_text_cut(line, columns - 1);
  return g_strconcat(cut, "…", NULL);
}

static void
add_row(MfTable *table, MfJson *machine, double now, gboolean is_wide)
{
  MfJson *stats = mf_document_member(machine, "stats");
  const char *job = mf_document_text(machine, "job");
  g_autofree char *name =
      shorten(mf_document_text(machine, "name"), is_wide ? wide.name : narrow.name);
  g_autofree char *template =
      shorten(mf_document_text(machine, "template"), is_wide ? wide.template : narrow.template);
  g_autofree char *cpu = cpu_of(machine);
  g_autofree char *memory = size_said(machine, "guaranteed");
  g_autofree char *balloon = size_said(stats, "balloon_current");
  g_autofree char *used = memory_in_use(stats);
  g_autofree char *resident = size_said(stats, "resident");
  g_autofree char *writes = size_of(machine, "rates", "disk_written");
  g_autofree char *written = size_of(machine, "stats", "disk_written_bytes");
  g_autofree char *received = size_of(machine, "rates", "net_rx");
  g_autofree char *sent = size_of(machine, "rates", "net_tx");
  g_autofree char *age = mf_document_has(machine, "since")
                             ? mf_document_format_age(mf_document_number(machine, "since"), now)
                             : NULL;
  mf_table_add(table, job != NULL ? job : mf_document_text(machine, "id"), name, template,
               mf_document_text(machine, "state"), cpu, memory, balloon, used, resident, writes,
               written, received, sent, age);
}

static char *
format_table(MfJson *answer, gboolean is_wide)
{
  g_autoptr(MfTable) table =
      mf_table_new("ID", "NAME", "TEMPLATE", "STATE", "CPU%", "MEM", "BALLOON", "USED", "RES",
                   "DISK W/s", "WRITTEN", "NET RX/s", "TX/s", "AGE", NULL);
  MfJson *machines = mf_document_member(answer, "machines");
  mf_table_set_numbers(table, 4);
  for (gsize i = 0; i < mf_document_count(machines); i++)
    add_row(table, mf_document_item(machines, i), mf_document_number(answer, "time"), is_wide);
  return mf_table_format(table);
}

static char *
format_host(MfJson *answer)
{
  MfJson *host = mf_document_member(answer, "host");
  MfJson *used = mf_document_member(answer, "used");
  MfJson *limits = mf_document_member(answer, "limits");
  MfJson *pressure = mf_document_member(host, "pressure");
  g_autofree char *time = mf_document_format_time(mf_document_number(answer, "time"));
  g_autofree char *granted = short_size(mf_document_number(used, "memory"));
  g_autofree char *limit = short_size(mf_document_number(limits, "memory"));
  g_autofree char *all = short_size(mf_document_number(host, "memory"));
  g_autofree char *available = size_said(host, "memory_available");
  g_autoptr(GString) out = g_string_new(NULL);
  g_string_append_printf(out,
                         "%s  machines %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                         "  cpus %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                         " granted, host has %" G_GUINT64_FORMAT "\n",
                         time, mf_document_uint(used, "machines"),
                         mf_document_uint(limits, "machines"), mf_document_uint(used, "cpus"),
                         mf_document_uint(limits, "cpus"), mf_document_uint(host, "cpus"));
  g_string_append_printf(out, "memory %s of %s granted, %s of %s available", granted, limit,
                         available != NULL ? available : "?", all);
  const char *level = mf_document_text(host, "memory_level");
  if (level != NULL && strcmp(level, "well") != 0)
    g_string_append_printf(out, " (%s)", level);
  if (pressure != NULL)
    g_string_append_printf(out, "  pressure %.1f%% (full %.1f%%)",
                           mf_document_number(pressure, "some"),
                           mf_document_number(pressure, "full"));
  return g_strdup(out->str);
}

char *
mf_top_format(MfJson *answer)
{
  g_autofree char *host = format_host(answer);
  g_autofree char *table = format_table(answer, TRUE);
  return g_strconcat(host, "\n", table, NULL);
}

/* --- screen --- */

#define HEADINGS 3 /* the line that they are */

static char *
format_status(const char *problem, MfTopSort sort)
{
  if (problem != NULL)
    return mf_text_line(problem);
  g_autoptr(GString) out = g_string_new("sort by");
  for (guint i = 0; i < G_N_ELEMENTS(sort_names); i++)
    g_string_append_printf(out, i == sort ? "  [%s]" : "  %s", sort_names[i]);
  g_string_append(out, "  (first letter)  q quits");
  return g_strdup(out->str);
}

/* One line in its place: nothing of it or of what was there before goes beyond its end. */
static void
append_line(GString *out, guint row, guint cols, const char *line, gboolean inverse)
{
  g_autofree char *cut = mf_text_cut(line, cols);
  guint width = mf_text_columns(cut);
  g_string_append_printf(out, "\033[%u;1H%s%s", row + 1, inverse ? "\033[7m" : "", cut);
  if (inverse)
    g_string_append_printf(out, "%*s\033[m", (int)(cols - width), "");
  else if (width < cols) /* else the cursor still stands on the last character */
    g_string_append(out, "\033[K");
}

char *
mf_top_screen(MfJson *answer, const char *problem, MfTopSort sort, guint rows, guint cols)
{
  g_autofree char *host = format_host(answer);
  g_autofree char *status = format_status(problem, sort);
  g_autofree char *table = format_table(answer, cols >= WIDE);
  g_autofree char *text = g_strconcat(host, "\n", status, "\n", table, NULL);
  g_auto(GStrv) lines = g_strsplit(g_strchomp(text), "\n", -1);
  guint count = g_strv_length(lines);
  guint shown = MIN(count, rows);
  g_autoptr(GString) out = g_string_new(NULL);
  for (guint i = 0; i < shown; i++) {
    g_autofree char *rest = g_strdup_printf("(and %u more)", count - i);
    gboolean last = i + 1 == rows && count > rows && i > HEADINGS;
    append_line(out, i, cols, last ? rest : lines[i], i == HEADINGS);
  }
  if (shown < rows)
    g_string_append_printf(out, "\033[%u;1H\033[J", shown + 1);
  return g_strdup(out->str);
}
