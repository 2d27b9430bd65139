/* SPDX-License-Identifier: Apache-2.0 */
/* Units: sizes and durations, read and written exactly. */
#include "daemon/units.h"

#include <string.h>

#include "daemon/error.h"
#include "daemon/text.h"

static const struct {
  char letter;
  guint shift;
} sizes[] = {{'T', 40}, {'G', 30}, {'M', 20}, {'K', 10}};

static const struct {
  char letter;
  guint64 seconds;
} durations[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};

/* Digits only: no sign, no space, no overflow. Moves *@text behind them. */
static gboolean
take_number(const char **text, guint64 *ret_number)
{
  const char *p = *text;
  guint64 number = 0;
  for (; g_ascii_isdigit(*p); p++)
    if (!g_uint64_checked_mul(&number, number, 10) ||
        !g_uint64_checked_add(&number, number, (guint64)(*p - '0')))
      return FALSE;
  if (p == *text)
    return FALSE;
  *text = p;
  *ret_number = number;
  return TRUE;
}

static gboolean
size_from_text(const char *text, guint64 *ret_bytes)
{
  guint64 number;
  if (text == NULL || !take_number(&text, &number))
    return FALSE;
  guint shift = 0;
  for (guint i = 0; i < G_N_ELEMENTS(sizes); i++)
    if (*text == sizes[i].letter)
      shift = sizes[i].shift;
  if (shift > 0) {
    text++;
    if (strcmp(text, "iB") == 0)
      text += 2;
  }
  return *text == '\0' && g_uint64_checked_mul(ret_bytes, number, G_GUINT64_CONSTANT(1) << shift);
}

gboolean
mf_size_parse(const char *text, guint64 *ret_bytes, GError **error)
{
  guint64 bytes;
  if (size_from_text(text, &bytes)) {
    *ret_bytes = bytes;
    return TRUE;
  }
  g_autofree char *shown = mf_text_quote(text);
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
              "%s is not a size: write a whole number of bytes, or one followed by K, M, G or T, "
              "such as 512M or 2GiB",
              shown);
  return FALSE;
}

char *
mf_size_format(guint64 bytes)
{
  for (guint i = 0; bytes > 0 && i < G_N_ELEMENTS(sizes); i++)
    if (bytes % (G_GUINT64_CONSTANT(1) << sizes[i].shift) == 0)
      return g_strdup_printf("%" G_GUINT64_FORMAT "%ciB", bytes >> sizes[i].shift, sizes[i].letter);
  return g_strdup_printf("%" G_GUINT64_FORMAT, bytes);
}

static gboolean
duration_from_text(const char *text, guint64 *ret_seconds)
{
  guint64 number, total = 0;
  guint next = 0; /* units come from large to small, each once */
  if (text == NULL || !take_number(&text, &number))
    return FALSE;
  if (*text == '\0') {
    *ret_seconds = number;
    return TRUE;
  }
  while (TRUE) {
    while (next < G_N_ELEMENTS(durations) && durations[next].letter != *text)
      next++;
    if (next == G_N_ELEMENTS(durations) ||
        !g_uint64_checked_mul(&number, number, durations[next].seconds) ||
        !g_uint64_checked_add(&total, total, number))
      return FALSE;
    next++;
    if (*++text == '\0')
      break;
    if (!take_number(&text, &number))
      return FALSE;
  }
  *ret_seconds = total;
  return TRUE;
}

gboolean
mf_duration_parse(const char *text, guint64 *ret_seconds, GError **error)
{
  guint64 seconds;
  if (duration_from_text(text, &seconds)) {
    *ret_seconds = seconds;
    return TRUE;
  }
  g_autofree char *shown = mf_text_quote(text);
  g_set_error(
      error, MF_ERROR, MF_ERROR_INVALID,
      "%s is not a time: write a whole number of seconds, or one with d, h, m or s, such as "
      "90s or 1h30m",
      shown);
  return FALSE;
}

char *
mf_duration_format(guint64 seconds)
{
  if (seconds == 0)
    return g_strdup("0s");
  g_autoptr(GString) text = g_string_new(NULL);
  for (guint i = 0; i < G_N_ELEMENTS(durations); i++) {
    if (seconds >= durations[i].seconds)
      g_string_append_printf(text, "%" G_GUINT64_FORMAT "%c", seconds / durations[i].seconds,
                             durations[i].letter);
    seconds %= durations[i].seconds;
  }
  return g_strdup(text->str);
}
