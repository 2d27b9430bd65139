/* SPDX-License-Identifier: Apache-2.0 */
/* Tables: cells kept as visible text until the widths are known. */
#include "tools/table.h"

#include <stdio.h>
#include <string.h>

#include "daemon/text.h"

#define GAP 2

struct MfTable {
  guint columns;
  gboolean headed;
  GPtrArray *cells; /* row by row, the headings first */
};

static char *
make_visible(const char *text)
{
  if (text == NULL || text[0] == '\0')
    return g_strdup("-");
  MfTextVisible visible = {0};
  g_autoptr(GString) out = g_string_new(NULL);
  mf_text_visible_feed(&visible, text, strlen(text), out);
  mf_text_visible_end(&visible, out);
  return g_strdelimit(g_strdup(out->str), "\n\t", ' ');
}

MfTable *
mf_table_new(const char *heading, ...)
{
  MfTable *self = g_new0(MfTable, 1);
  self->cells = g_ptr_array_new_with_free_func(g_free);
  self->headed = TRUE;
  va_list args;
  va_start(args, heading);
  for (; heading != NULL; heading = va_arg(args, const char *)) {
    self->headed = self->headed && heading[0] != '\0';
    g_ptr_array_add(self->cells, g_strdup(heading));
    self->columns++;
  }
  va_end(args);
  return self;
}

void
mf_table_add(MfTable *self, const char *cell, ...)
{
  va_list args;
  va_start(args, cell);
  for (guint i = 0; i < self->columns; i++) {
    g_ptr_array_add(self->cells, make_visible(cell));
    if (i + 1 < self->columns)
      cell = va_arg(args, const char *);
  }
  va_end(args);
}

guint
mf_table_rows(const MfTable *self)
{
  return self->cells->len / self->columns - 1;
}

static guint
column_width(const MfTable *self, guint column)
{
  glong width = 0;
  for (guint i = column; i < self->cells->len; i += self->columns)
    width = MAX(width, g_utf8_strlen(g_ptr_array_index(self->cells, i), -1));
  return (guint)width;
}

char *
mf_table_format(const MfTable *self)
{
  g_autoptr(GString) out = g_string_new(NULL);
  for (guint i = self->headed ? 0 : self->columns; i < self->cells->len; i++) {
    const char *cell = g_ptr_array_index(self->cells, i);
    guint column = i % self->columns;
    g_string_append(out, cell);
    if (column + 1 == self->columns) {
      g_string_append_c(out, '\n');
      continue;
    }
    guint width = (guint)g_utf8_strlen(cell, -1);
    g_string_append_printf(out, "%*s", (int)(column_width(self, column) - width + GAP), "");
  }
  return g_strdup(out->str);
}

void
mf_table_print(const MfTable *self)
{
  g_autofree char *text = mf_table_format(self);
  fputs(text, stdout);
}

void
mf_table_print_document(MfJson *document)
{
  g_autoptr(MfTable) table = mf_table_new("", "", NULL);
  json_object_object_foreach(document, key, value)
  {
    gboolean text = json_object_is_type(value, json_type_string);
    if (value != NULL)
      mf_table_add(table, key,
                   text ? json_object_get_string(value)
                        : json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN));
  }
  mf_table_print(table);
}

void
mf_table_free(MfTable *self)
{
  if (self == NULL)
    return;
  g_ptr_array_unref(self->cells);
  g_free(self);
}
