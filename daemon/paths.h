/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Where mayfly's own files are: as installed, unless the environment says otherwise
 * (MAYFLY_LIBEXECDIR, MAYFLY_DATADIR, MAYFLY_CONFIG, MAYFLY_GITLAB_CONFIG,
 * MAYFLY_SOCKET), which is how tests and an
 * uninstalled build run.
 */

#include <glib.h>

/* A helper program: mf_path_libexec("mayfly-inject"). (transfer full) */
char *mf_path_libexec(const char *name);

/* Shipped data: mf_path_data("templates/domain.xml"). (transfer full) */
char *mf_path_data(const char *name);

/* The daemon's configuration file. (transfer full) */
char *mf_path_config(void);

/* What the admin says about GitLab's jobs. (transfer full) */
char *mf_path_gitlab_config(void);

/* The daemon's socket as clients find it. (transfer full) */
char *mf_path_socket(void);
