/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Templates: what a machine is made from. One key file each, <template_directory>/NAME.conf, strictly checked like the
 * daemon's configuration. Immutable once loaded; refcounted, because a job keeps the one it was admitted with.
 */

#include <glib.h>

#include "daemon/key-table.h"

typedef enum { MF_READY_AGENT, MF_READY_NETWORK, MF_READY_SYSTEM } MfReady;
const char *mf_ready_to_string(MfReady ready);
gboolean mf_ready_from_string(const char *text, MfReady *ret_ready);

typedef struct {
  gatomicrefcount refs;
  char *name;
  char *description;
  char *image;          /* name or name@digest prefix */
  char *domain;         /* path of the domain XML template, absolute */
  MfReady ready;
  /* [machine] what a job gets that asks for nothing, [limits] the most it may ask for (max_*; never less than the first) */
  guint cpus, max_cpus;
  guint64 memory, max_memory;   /* bytes, the hard maximum of the domain */
  guint64 memory_floor;         /* bytes that it keeps when memory is taken from it, 0 = what it uses */
  guint64 disk, max_disk;       /* bytes, the overlay's virtual size = its quota */
  guint64 max_timeout;          /* seconds, 0 = the daemon's */
  guint64 start_timeout;        /* seconds, 0 = the daemon's */
  guint pool;                   /* machines to keep ready */
  gboolean fork;                /* start machines from the saved memory of one that has booted */
  gboolean graceful;            /* stop by ACPI first */
  guint64 grace;                /* seconds for that */
  guint64 disk_iops, disk_bytes_per_second;       /* 0 = no limit */
  guint64 network_bytes_per_second;               /* 0 = no limit */
  char *stamp;                  /* digest of all of the above: another template of the name has another */
} MfTemplate;

MfTemplate *mf_template_load(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same of one text. */
MfTemplate *mf_template_from_data(const char *name, const char *data, gsize length, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Every key there is. (transfer none) */
const MfKeyTable *mf_template_table(void);
/* All templates of a folder by name (transfer full: GPtrArray of MfTemplate); one bad file is an error naming it. */
GPtrArray *mf_template_load_all(const char *directory, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same, but a bad file is passed over: *@ret_bad (transfer full; may be NULL) has by its template's name what is wrong with it. */
GPtrArray *mf_template_load_good(const char *directory, GHashTable **ret_bad, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* One template; NOT_FOUND lists the names there are. The name is checked ([a-z0-9][a-z0-9._-]{0,62}) before a path is made of it. */
MfTemplate *mf_template_find(const char *directory, const char *name, GError **error) G_GNUC_WARN_UNUSED_RESULT;
MfTemplate *mf_template_ref(MfTemplate *self);
void mf_template_unref(MfTemplate *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfTemplate, mf_template_unref)
