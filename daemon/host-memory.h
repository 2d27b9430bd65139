/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How much memory the host has left, and how much its tasks wait for it, by the kernel's account.
 * Pure but for the one function that reads it. */

#include <glib.h>

typedef struct {
  guint64 available;     /* bytes that can be had without swapping (MemAvailable) */
  gboolean has_pressure; /* the kernel accounts for it (PSI) */
  double some, full; /* percent of the last 10 s in which some tasks, or all, waited for memory */
} MfHostMemory;

/* @meminfo, @pressure: the text of /proc/meminfo and /proc/pressure/memory; the latter may be NULL.
 * FALSE: MemAvailable is not in it. */
gboolean mf_host_memory_parse(const char *meminfo, const char *pressure, MfHostMemory *ret);

/* Of this host, now; does not block. FALSE: the kernel does not say. */
gboolean mf_host_memory_read(MfHostMemory *ret);
