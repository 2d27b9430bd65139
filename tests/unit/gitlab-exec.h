/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A script in a machine of gitlab-host.h: a process of this host. */

#include <gio/gio.h>

#include "daemon/auto.h"

typedef struct HostExec HostExec;

struct HostExec {
  gpointer host;
  guint job; /* index */
  guint number;
  char *key;
  GSubprocess *process;
  GByteArray *output;
  gboolean read_out, exited;
  const char *error;
  void (*changed)(HostExec *exec); /* more output, or its end */
};

/* @json: as it was posted. Its script is written below @folder, which is also all that a script of
 * prepare's own finds programs in. */
void host_exec_run(HostExec *self, MfJson *json, const char *folder);
gboolean host_exec_is_over(const HostExec *self);
MfJson *host_exec_document(const HostExec *self);
void host_exec_signal(HostExec *self, const char *name);
void host_exec_free(HostExec *self);
