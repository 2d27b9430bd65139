/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a job may have: the template's limits for one, the host's capacity for all. Pure. */

#include "daemon/config.h"
#include "daemon/job-spec.h"
#include "daemon/template.h"

typedef struct {
  guint cpus;
  guint64 memory;  /* bytes, the most it can use */
  guint64 disk;    /* bytes, the overlay's quota */
  guint64 timeout; /* seconds from the machine's start to the deadline */
  guint64 keep;    /* seconds a failed machine stays */
} MfGrant;

/* What a machine of @template gets that no job has asked for more or less: no times. @image_size:
 * virtual size of the image's disk; an overlay cannot be smaller. */
MfGrant mf_policy_grant_default(const MfTemplate *template, guint64 image_size);
/*
 * mf_policy_grant() - what @spec asks for, with the template's values for what it does not name.
 * Returns: FALSE with LIMIT naming the limit, its value and who sets it.
 */
gboolean mf_policy_grant(const MfJobSpec *spec, const MfTemplate *template, const MfConfig *config,
                         guint64 image_size, MfGrant *ret_grant,
                         GError **error) G_GNUC_WARN_UNUSED_RESULT;

typedef struct {
  guint machines;
  guint cpus;
  guint64 memory; /* bytes, guaranteed */
} MfUsage;

/* What the host gives in all: the configuration's numbers, and for those that are 0 a share of
 * @host. */
MfUsage mf_policy_capacity(const MfConfig *config, const MfUsage *host, guint ports);

/* What a machine of @memory (bytes) has for certain, and counts as. */
guint64 mf_policy_guaranteed(const MfConfig *config, guint64 memory);

/*
 * mf_policy_admit() - may one more machine start? @disk_free: bytes free where overlays live.
 * Returns: NULL, or why not yet, as a person is told it ("all 3 machines are in use"). (transfer
 * full)
 */
char *mf_policy_admit(const MfUsage *capacity, const MfUsage *used, const MfGrant *grant,
                      guint64 disk_free, const MfConfig *config);

/* Could it ever start on this host? FALSE with LIMIT: it would wait for ever. */
gboolean mf_policy_possible(const MfUsage *capacity, const MfGrant *grant, const MfConfig *config,
                            GError **error) G_GNUC_WARN_UNUSED_RESULT;
