/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * From the XML in a memory image to that of one fork. Pure. What the guest can see stays as it was
 * saved, or QEMU could not take up its state; what is the host's, or names the machine, is this
 * fork's own.
 */

#include <glib.h>

typedef struct {
  const char *id;   /* the fork's: name, metadata */
  const char *uuid; /* canonical text */
  const char *overlay;
  const char *disk; /* the frozen layer below it: what the saved machine wrote */
  const char *agent_socket, *console_socket;
  gint64 deadline;
} MfForkSpec;

/*
 * mf_domain_fork_xml() - @saved: as mf_save_header_parse() gives it. DAMAGED: it is not a machine
 * that was made to be forked (one disk, no interface, our two sockets). (transfer full)
 */
char *mf_domain_fork_xml(const char *saved, const MfForkSpec *spec,
                         GError **error) G_GNUC_WARN_UNUSED_RESULT;
