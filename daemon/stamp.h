/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What makes two machines alike, as one short text: where that differs, what was made ahead is not
 * used. */

#include "daemon/machine.h"

/* The template as it is, the domain it names, and the image. (transfer full) */
char *mf_stamp_machine(const MfTemplate *template, const MfImage *image);
/* The same, and everything on the host that saved memory depends on: agent, libvirt and QEMU,
 * acceleration, mayfly. (transfer full) */
char *mf_stamp_memory(const MfHost *host, const MfTemplate *template, const MfImage *image);
