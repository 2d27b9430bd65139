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
  gsize errors; /* bytes on a stream of their own, of a script of prepare's */
  gboolean read_out, exited;
  const char *error;
  void (*changed)(HostExec *exec); /* more output, or its end */
};

/*
 * @json: as it was posted. @folder: the script is written there. A script of prepare's own, which
 * has no stage, finds programs nowhere else: @moved: what the machine has in /usr/local/bin is
 * there.
 */
void host_exec_run(HostExec *self, MfJson *json, const char *folder, gboolean moved);
gboolean host_exec_is_over(const HostExec *self);
MfJson *host_exec_document(const HostExec *self);
void host_exec_signal(HostExec *self, const char *name);
void host_exec_free(HostExec *self);
