/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What mayfly-netd saw, on its way into the network state file (format in port.h). */

#include <glib.h>

#include "daemon/auto.h"

typedef struct {
  char *tap;
  char *problem; /* NULL = the tap is as it should be */
  gboolean isolated;
  gboolean used;
  gboolean chains;
  char *chains_problem; /* NULL = whole */
} MfNetdPortState;

typedef struct {
  char *network_problem;
  char *guard_problem;
  guint guard_restored;
  char **addresses;
  GPtrArray *ports; /* of MfNetdPortState */
} MfNetdState;

MfNetdState *mf_netd_state_new(void);
void mf_netd_state_free(MfNetdState *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfNetdState, mf_netd_state_free)
/* (transfer none) appended */
MfNetdPortState *mf_netd_state_add_port(MfNetdState *self, const char *tap);

/* @updated: seconds. (transfer full) */
MfJson *mf_netd_state_to_json(const MfNetdState *self, gint64 updated);
/* Replaces @path atomically, readable by all. */
gboolean mf_netd_state_write(const MfNetdState *self, const char *path, gint64 updated,
                             GError **error) G_GNUC_WARN_UNUSED_RESULT;
/*
 * mf_netd_state_problems() - one line for each thing that is wrong; NULL-terminated, maybe empty.
 * That a port has no rules yet counts only if it is in use: mayflyd makes them before it lends the
 * port. (transfer full)
 */
char **mf_netd_state_problems(const MfNetdState *self);
