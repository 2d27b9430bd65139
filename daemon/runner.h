/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The host's gitlab-runner, of which every prepared layer gets a copy: a GitLab job's scripts call
 * it for artifacts and caches. Main context only.
 */

#include <gio/gio.h>

#include "daemon/auto.h"

/* Where it is in a machine: a GitLab job's scripts, which call it by name, find it there in every
 * distribution. */
#define MF_RUNNER_GUEST_PATH "/usr/local/bin/gitlab-runner"

/* mf_runner_stamp() - what tells one version of the program at @path from the next without reading
 * it all; NULL if nothing there can be run. (transfer full) */
char *mf_runner_stamp(const char *path);

typedef struct MfRunner MfRunner;
/* @path: need not be there. */
MfRunner *mf_runner_new(const char *path);
void mf_runner_free(MfRunner *self);
/* The path, or NULL while there is no such program that can be used. */
const char *mf_runner_path(MfRunner *self);
/* {"path","version","problem"}: version null until it has said so itself, problem why it cannot be
 * used; NULL while nothing is there. (transfer full) */
MfJson *mf_runner_to_json(MfRunner *self);
