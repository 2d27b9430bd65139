/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * From a template's domain XML and one machine's values to what libvirt gets. Pure: text in, text out, through libxml2, so
 * that no value can become markup. The template file is a complete domain an admin can read; mayfly sets what it owns
 * (name, uuid, type, memory, cpus, boot files, the system disk, interface, channel, console, metadata) and leaves the rest.
 */

#include <glib.h>

#include "daemon/image.h"
#include "daemon/port.h"
#include "daemon/template.h"

typedef struct {
  const char *id;           /* job id: name, metadata */
  const char *uuid;         /* canonical text */
  gboolean kvm;             /* else TCG */
  const char *emulator;
  guint cpus;
  guint64 memory; /* bytes */
  const char *overlay;      /* path */
  const char *prepared;     /* path of the prepared layer below it */
  const MfImage *image;     /* the golden below that, and boot files */
  const MfPort *port;       /* NULL: no NIC, but a socket for one */
  const char *agent_socket; /* paths, < 108 bytes; their folder is setgid to QEMU's group, which libvirt's sockets are open to */
  const char *console_socket;
  gint64 deadline;          /* unix seconds, 0 = none */
  const char *label;        /* mf_hypervisor_label(): whom QEMU runs as, so that no file changes its owner; NULL: libvirt sees to it */
  const MfTemplate *template;
} MfDomainSpec;

/*
 * mf_domain_xml() - @text: the template file's content. (transfer full)
 * INVALID: not well-formed, not a domain, or it has what a throw-away machine must not (a host device, a shared
 * file system, an interface of its own).
 */
char *mf_domain_xml(const char *text, const MfDomainSpec *spec, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The interface on @port, for a machine that runs without one. (transfer full) */
char *mf_domain_interface_xml(const MfPort *port, const MfTemplate *template, GError **error) G_GNUC_WARN_UNUSED_RESULT;
