/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * All processes that descend from an exec. Its monitor (spawn.h) is their subreaper, so following
 * parents down from it finds every one, daemonised or in a session of its own; where cgroup v2 is
 * writable a group helps to kill them at once.
 */

#include <stdint.h>
#include <sys/types.h>

/* mf_tree_signal() - @signal to all that descend from @top, not to itself. @group:
 * mf_tree_group_make()'s or NULL. */
void mf_tree_signal(pid_t top, int signal, const char *group);

/* mf_tree_group_make() - a cgroup for @exec. Return: its folder (free), or NULL where there can be
 * none. */
char *mf_tree_group_make(uint32_t exec);
/* The calling process moves into it. */
void mf_tree_group_enter(const char *group);
/* Only when nothing is left in it. */
void mf_tree_group_remove(const char *group);
