/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What mayfly-inject is told on its standard input, shared by it and its caller. Pure.
 *
 * One line of JSON says everything but the files' content; the contents follow as raw bytes, one
 * after the other, as long as the line says. So no secret is escaped, encoded or copied more often
 * than it must be, and every copy can be wiped.
 */

#include "daemon/inject.h"

typedef struct {
  char *path;
  guint mode, uid, gid;
  guint8 *data; /* wiped before it is freed */
  gsize length;
  char *source; /* instead of data: a file of the host, which the child reads itself */
} MfInjectFile;

typedef struct {
  char *path;
  char *target;
} MfInjectSymlink;

struct MfInjectPlan {
  char *disk;
  char *root_device; /* NULL: find out what is on the disk instead of writing to it */
  char *root_fstype;
  GPtrArray *files;    /* MfInjectFile */
  GPtrArray *symlinks; /* MfInjectSymlink */
  GPtrArray *remove;   /* char * */
  /* For the child only: the caller's options. */
  gboolean kvm;
  char *cache_dir; /* appliances, kept */
  char *tmp_dir;   /* this run's own; the caller deletes it */
  guint64 timeout; /* seconds */
  gboolean tied;   /* standard input stays open as long as the caller lives */
};

MfInjectPlan *mf_inject_plan_new_inspect(const char *disk);
MfInjectPlan *mf_inject_plan_copy(const MfInjectPlan *self);

/* mf_inject_plan_check() - paths absolute, without "..", within bounds: INVALID names the first
 * that is not. */
gboolean mf_inject_plan_check(const MfInjectPlan *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Line and contents in a buffer of its exact size; the caller wipes it. (transfer full) */
guint8 *mf_inject_plan_serialize(const MfInjectPlan *self, gsize *ret_length);

/* mf_inject_plan_parse() - what mf_inject_plan_serialize() made; checked. @data may be wiped
 * afterwards. (transfer full) */
MfInjectPlan *mf_inject_plan_parse(const guint8 *data, gsize length,
                                   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* How many bytes belong to the plan that starts with this line; 0: not a plan. */
gsize mf_inject_plan_total(const char *line, gsize line_length);
