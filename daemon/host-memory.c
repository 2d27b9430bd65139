/* SPDX-License-Identifier: Apache-2.0 */
/* The host's memory: two files of /proc. */
#include "daemon/host-memory.h"

#include <string.h>

/* The text behind @key at the beginning of a line; NULL: there is none. */
static const char *
find_line(const char *text, const char *key)
{
  gsize length = strlen(key);
  for (; text != NULL; text = strchr(text, '\n')) {
    text += *text == '\n';
    if (strncmp(text, key, length) == 0)
      return text + length;
  }
  return NULL;
}

/* "some avg10=0.12 avg60=…" */
static gboolean
read_share(const char *pressure, const char *key, double *ret)
{
  const char *value = pressure != NULL ? find_line(pressure, key) : NULL;
  if (value == NULL || !g_ascii_isdigit(*value))
    return FALSE;
  *ret = g_ascii_strtod(value, NULL);
  return TRUE;
}

gboolean
mf_host_memory_parse(const char *meminfo, const char *pressure, MfHostMemory *ret)
{
  const char *value = find_line(meminfo, "MemAvailable:");
  if (value == NULL)
    return FALSE;
  value += strspn(value, " ");
  if (!g_ascii_isdigit(*value))
    return FALSE;
  MfHostMemory memory = {.available = g_ascii_strtoull(value, NULL, 10) * 1024};
  memory.has_pressure = read_share(pressure, "some avg10=", &memory.some) &&
                        read_share(pressure, "full avg10=", &memory.full);
  *ret = memory;
  return TRUE;
}

gboolean
mf_host_memory_read(MfHostMemory *ret)
{
  g_autofree char *meminfo = NULL, *pressure = NULL;
  /* Without PSI the file is not there, or there and cannot be read. */
  if (!g_file_get_contents("/proc/pressure/memory", &pressure, NULL, NULL))
    pressure = NULL;
  return g_file_get_contents("/proc/meminfo", &meminfo, NULL, NULL) &&
         mf_host_memory_parse(meminfo, pressure, ret);
}
