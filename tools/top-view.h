/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What mayfly top makes of two answers of /v1/machines: rates, an order, a table, a screen. Pure.
 * Texts of jobs are made visible, numbers that are not known are shown as "-".
 */

#include "daemon/auto.h"

typedef enum {
  MF_TOP_CPU,
  MF_TOP_MEMORY, /* resident on the host */
  MF_TOP_DISK,   /* written */
  MF_TOP_NETWORK,
  MF_TOP_AGE, /* the oldest first; all others: the most first */
  MF_TOP_SORT_LAST_
} MfTopSort;

/* Its names in their order, for an option: "cpu|memory|…". */
#define MF_TOP_SORTS "cpu|memory|disk|network|age"
/* @name: one of them; NULL is cpu. */
MfTopSort mf_top_sort_from_string(const char *name);
/* The key that chooses it; FALSE: the key is none of those. */
gboolean mf_top_sort_from_key(char key, MfTopSort *ret_sort);

/* "2", "0.5s", "1m": milliseconds, from half a second to a day. */
gboolean mf_top_parse_delay(const char *text, guint *ret_ms,
                            GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * mf_top_add_rates() - give each machine of @now "rates": {"cpu": percent of one processor,
 * "disk_read", "disk_written", "net_rx", "net_tx": bytes a second}, each null where it is not known
 * now or was not before; null altogether for a machine that is new, or whose counters have gone
 * back: it is another than before.
 * @before: the answer before, or NULL.
 */
void mf_top_add_rates(MfJson *now, MfJson *before);
/* Machines of which it is not known come last. */
void mf_top_sort(MfJson *answer, MfTopSort sort);

/* Two lines about the host, and a line for each machine under one of headings. (transfer full) */
char *mf_top_format(MfJson *answer);
/*
 * mf_top_screen() - what brings a whole terminal of this size up to date, with the sequences for
 * that. @problem: shown instead of the keys, NULL: there is none. (transfer full)
 */
char *mf_top_screen(MfJson *answer, const char *problem, MfTopSort sort, guint rows, guint cols);
