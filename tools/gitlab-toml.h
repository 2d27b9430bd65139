/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The section of gitlab-runner's config.toml that hands jobs to mayfly. Pure. */

#include "daemon/auto.h"
#include "tools/gitlab-config.h"

/*
 * mf_gitlab_toml_capacity() - how many machines of @template this host runs at once.
 * @info: /v1/info; @template: its document, or NULL: only the host's own limit counts.
 * At least 1.
 */
guint64 mf_gitlab_toml_capacity(MfJson *info, MfJson *template);

/* @program: mayfly's absolute path. @socket: (nullable): mayflyd's, if it is not the usual one.
 * (transfer full) */
char *mf_gitlab_toml_format(const MfGitlabConfig *config, const char *program, const char *socket,
                            const char *name, guint64 capacity);
