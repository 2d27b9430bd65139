/* SPDX-License-Identifier: Apache-2.0 */
/* Tables: cells kept as visible text until the widths are known. */
#include "tools/table.h"

#include <stdio.h>

#include "daemon/text.h"

#define GAP 2

struct MfTable {
  guint columns;
  guint numbers; /* the first column of numbers */
  gboolean headed;
  GPtrArray *cells; /* row by row, the headings first */
};

static char *
make_visible(const char *text)
{
  return text == NULL || text[0] == '\0' ? g_strdup("-") : mf_text_line(text);
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
  self->numbers = self->columns;
  va_end(args);
  return self;
}

void
mf_table_set_numbers(MfTable *self, guint column)
{
  self->numbers = column;
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
  guint width = 0;
  for (guint i = column; i < self->cells->len; i += self->columns)
    width = MAX(width, mf_text_columns(g_ptr_array_index(self->cells, i)));
  return width;
}

char *
mf_table_format(const MfTable *self)
{
  g_autoptr(GString) out = g_string_new(NULL);
  g_autofree guint *widths = g_new(guint, self->columns);
  for (guint column = 0; column < self->columns; column++)
    widths[column] = column_width(self, column);
  for (guint i = self->headed ? 0 : self->columns; i < self->cells->len; i++) {
    const char *cell = g_ptr_array_index(self->cells, i);
    guint column = i % self->columns;
    gboolean last = column + 1 == self->columns;
    gboolean right = column >= self->numbers;
    int space = (int)(widths[column] - mf_text_columns(cell));
    g_string_append_printf(out, "%*s%s", right ? space : 0, "", cell);
    if (!last)
      g_string_append_printf(out, "%*s", right ? GAP : space + GAP, "");
    else
      g_string_append_c(out, '\n');
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
