/* SPDX-License-Identifier: Apache-2.0 */
/* Visible text: see text.h for what is spelled out and how. */
#include "daemon/text.h"

#include <string.h>

#define QUOTE_LIMIT 80

static gboolean
turns_direction(gunichar c)
{
  return c == 0x061c || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2066 && c <= 0x2069);
}

static void
append_bytes_spelled(GString *out, const guint8 *bytes, gsize length)
{
  for (gsize i = 0; i < length; i++)
    g_string_append_printf(out, "\\x%02x", bytes[i]);
}

static void
append_character(GString *out, const guint8 *bytes, gsize length, gunichar c)
{
  if (c == '\n' || c == '\t')
    g_string_append_c(out, (char)c);
  else if (c < 0x20 || c == 0x7f)
    g_string_append_printf(out, "^%c", (int)(c ^ 0x40));
  else if (c >= 0x80 && c < 0xa0)
    append_bytes_spelled(out, bytes, length);
  else if (turns_direction(c))
    g_string_append_printf(out, "\\u{%04x}", c);
  else
    g_string_append_len(out, (const char *)bytes, (gssize)length);
}

/*
 * Takes one unit from the @length bytes at @bytes and says how many it was; 0: its end has not come
 * yet.
 */
static gsize
take_one(const guint8 *bytes, gsize length, GString *out)
{
  if (bytes[0] == '\r') {
    if (length == 1)
      return 0;
    if (bytes[1] != '\n')
      g_string_append(out, "^M");
    return 1;
  }
  /* GLib takes a NUL for an unfinished character. */
  gunichar c = bytes[0];
  if (c >= 0x80)
    c = g_utf8_get_char_validated((const char *)bytes, (gssize)length);
  if (c == (gunichar)-2 && length < 4)
    return 0;
  if (c == (gunichar)-1 || c == (gunichar)-2) {
    append_bytes_spelled(out, bytes, 1);
    return 1;
  }
  gsize size = c < 0x80 ? 1 : (gsize)g_unichar_to_utf8(c, NULL);
  append_character(out, bytes, size, c);
  return size;
}

void
mf_text_visible_feed(MfTextVisible *self, const void *data, gsize length, GString *out)
{
  const guint8 *bytes = data;
  /* At most three bytes are held; one more at a time settles them without copying all of @data. */
  while (self->fill > 0 && length > 0) {
    self->held[self->fill++] = *bytes++;
    length--;
    gsize taken;
    while (self->fill > 0 && (taken = take_one(self->held, self->fill, out)) > 0) {
      self->fill -= taken;
      memmove(self->held, self->held + taken, self->fill);
    }
  }
  gsize position = 0;
  while (position < length) {
    gsize taken = take_one(bytes + position, length - position, out);
    if (taken == 0)
      break;
    position += taken;
  }
  if (position < length) {
    self->fill = length - position;
    memcpy(self->held, bytes + position, self->fill);
  }
}

void
mf_text_visible_end(MfTextVisible *self, GString *out)
{
  if (self->fill == 1 && self->held[0] == '\r')
    g_string_append(out, "^M");
  else
    append_bytes_spelled(out, self->held, self->fill);
  self->fill = 0;
}

char *
mf_text_quote(const char *text)
{
  if (text == NULL)
    return g_strdup("nothing");
  MfTextVisible visible = {0};
  gsize length = strlen(text);
  g_autoptr(GString) shown = g_string_new("\"");
  mf_text_visible_feed(&visible, text, MIN(length, QUOTE_LIMIT), shown);
  if (length <= QUOTE_LIMIT)
    mf_text_visible_end(&visible, shown);
  g_string_replace(shown, "\n", "\\n", 0);
  g_string_append(shown, length > QUOTE_LIMIT ? "…\"" : "\"");
  return g_strdup(shown->str);
}

char *
mf_text_line(const char *text)
{
  MfTextVisible visible = {0};
  g_autoptr(GString) out = g_string_new(NULL);
  if (text != NULL)
    mf_text_visible_feed(&visible, text, strlen(text), out);
  mf_text_visible_end(&visible, out);
  return g_strdelimit(g_strdup(out->str), "\n\t", ' ');
}

/* The end of what fits into *@columns, which becomes what that takes. */
static const char *
measure(const char *line, guint *columns)
{
  guint taken = 0;
  const char *p = line;
  for (; *p != '\0'; p = g_utf8_next_char(p)) {
    gunichar c = g_utf8_get_char(p);
    guint width = g_unichar_iszerowidth(c) ? 0 : g_unichar_iswide(c) ? 2 : 1;
    if (taken + width > *columns)
      break;
    taken += width;
  }
  *columns = taken;
  return p;
}

guint
mf_text_columns(const char *line)
{
  guint columns = G_MAXUINT;
  measure(line, &columns);
  return columns;
}

char *
mf_text_cut(const char *line, guint columns)
{
  const char *end = measure(line, &columns);
  return g_strndup(line, (gsize)(end - line));
}
