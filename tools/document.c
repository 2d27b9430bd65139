/* SPDX-License-Identifier: Apache-2.0 */
/* Documents: lenient getters, and how numbers of them are shown to people. */
#include "tools/document.h"

#include <math.h>
#include <stdio.h>

#include "daemon/units.h"

static MfJson *
get(MfJson *self, const char *key)
{
  MfJson *value = NULL;
  if (json_object_is_type(self, json_type_object))
    json_object_object_get_ex(self, key, &value);
  return value;
}

const char *
mf_document_text(MfJson *self, const char *key)
{
  MfJson *value = get(self, key);
  return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : NULL;
}

double
mf_document_number(MfJson *self, const char *key)
{
  MfJson *value = get(self, key);
  gboolean number =
      json_object_is_type(value, json_type_double) || json_object_is_type(value, json_type_int);
  return number ? json_object_get_double(value) : 0;
}

guint64
mf_document_uint(MfJson *self, const char *key)
{
  MfJson *value = get(self, key);
  return json_object_is_type(value, json_type_int) ? json_object_get_uint64(value) : 0;
}

gboolean
mf_document_flag(MfJson *self, const char *key)
{
  MfJson *value = get(self, key);
  return json_object_is_type(value, json_type_boolean) && json_object_get_boolean(value);
}

gboolean
mf_document_has(MfJson *self, const char *key)
{
  return get(self, key) != NULL;
}

MfJson *
mf_document_member(MfJson *self, const char *key)
{
  MfJson *value = get(self, key);
  gboolean fits =
      json_object_is_type(value, json_type_object) || json_object_is_type(value, json_type_array);
  return fits ? value : NULL;
}

gsize
mf_document_count(MfJson *array)
{
  return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

MfJson *
mf_document_item(MfJson *array, gsize index)
{
  return json_object_array_get_idx(array, index);
}

char *
mf_document_format_time(double unix_time)
{
  g_autoptr(GDateTime) time = g_date_time_new_from_unix_local((gint64)unix_time);
  return time != NULL ? g_date_time_format(time, "%Y-%m-%d %H:%M:%S") : g_strdup("?");
}

char *
mf_document_format_age(double unix_time, double now)
{
  double age = MAX(now - unix_time, 0);
  if (age < 120)
    return g_strdup_printf("%.0fs", floor(age));
  if (age < 120 * 60)
    return g_strdup_printf("%.0fm", floor(age / 60));
  if (age < 48 * 3600)
    return g_strdup_printf("%.0fh", floor(age / 3600));
  return g_strdup_printf("%.0fd", floor(age / 86400));
}

char *
mf_document_format_size(guint64 bytes)
{
  g_autofree char *text = g_format_size_full(bytes, G_FORMAT_SIZE_IEC_UNITS);
  /* GLib puts a no-break space there, which columns and searches stumble over. */
  g_autoptr(GString) plain = g_string_new(text);
  g_string_replace(plain, "\302\240", " ", 0);
  return g_strdup(plain->str);
}

char *
mf_document_format_seconds(double seconds)
{
  if (seconds < 10)
    return g_strdup_printf("%.2fs", seconds);
  if (seconds < 60)
    return g_strdup_printf("%.1fs", seconds);
  guint64 whole = (guint64)seconds;
  return g_strdup_printf("%" G_GUINT64_FORMAT "m%02us", whole / 60, (guint)(whole % 60));
}

char *
mf_document_format_problem(MfJson *self, double now)
{
  const char *problem = mf_document_text(self, "problem");
  double left = ceil(mf_document_number(self, "retry") - now);
  if (left < 1)
    return g_strdup(problem);
  g_autofree char *time = mf_duration_format((guint64)left);
  return problem != NULL ? g_strdup_printf("%s; again in %s", problem, time)
                         : g_strdup_printf("again in %s", time);
}

void
mf_document_print(MfJson *self)
{
  puts(json_object_to_json_string_ext(self,
                                      JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
}
