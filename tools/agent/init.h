/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The agent as /init of our own initrd: drivers, then the agent itself as a child, then the root
 * file system, then the image's init. The child has greeted the host long before the root is there;
 * it follows into the new root when it is.
 */

#include <stdbool.h>

/* mf_init_run() - does not return, but by ending the machine with a line on its console. */
int mf_init_run(char **argv);

/* To the child at the other end of @agent_fd: the new root is there. */
bool mf_init_send_root(int agent_fd, int root_fd);

/* In the child: the init at the other end of @boot_fd has something to say. Return: we are in the
 * new root. */
bool mf_init_follow_root(int boot_fd);

/* Parts of it. Each says on failure what is wrong, *@ret_error (free), and the caller ends the
 * machine. */

/* init-modules.c: load /modules.list up to and with the one named @until, or to its end; a second
 * call goes on. */
void mf_init_modules_load(const char *until);

/* init-root.c: mount what the command line calls root= on @target. */
bool mf_init_root_mount(const char *command_line, const char *target, char **ret_error);
/* A value on the kernel's command line (free), or NULL. A word without '=' has the value "". */
char *mf_init_root_parameter(const char *command_line, const char *key);
