/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Rows for people: columns as wide as their widest cell, no lines. Cells are made visible: they may
 * hold words of guests. */

#include "daemon/auto.h"

typedef struct MfTable MfTable;

/* @headings: up to NULL. With one that is "" the headings are left out: a list of keys and values.
 */
MfTable *mf_table_new(const char *heading, ...) G_GNUC_NULL_TERMINATED;
/* Columns from this one on are numbers: they stand to the right. */
void mf_table_set_numbers(MfTable *self, guint column);
/* As many cells as there are headings; NULL is shown as "-". */
void mf_table_add(MfTable *self, const char *cell, ...);
guint mf_table_rows(const MfTable *self);
char *mf_table_format(const MfTable *self); /* (transfer full) */
void mf_table_print(const MfTable *self);   /* on stdout */
/* Every key of an object with its value, on stdout; what is null is left out. */
void mf_table_print_document(MfJson *document);
void mf_table_free(MfTable *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfTable, mf_table_free)
