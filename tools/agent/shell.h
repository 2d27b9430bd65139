/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the agent has others do that are at home in the image. */

#include <stdbool.h>
#include <sys/types.h>

/* Starts /bin/sh with @script, silent and without what protects the agent. Return: as of fork(). */
pid_t mf_shell_start(const char *script);
/* The same, to its end. Return: whether it ended well. */
bool mf_shell_run(const char *script);
