/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Who an exec runs as, from the guest's /etc/passwd and /etc/group read directly: a static program
 * cannot load the guest's name service modules.
 */

#include <stdbool.h>
#include <sys/types.h>

typedef struct {
  uid_t uid;
  gid_t gid;
  char *name, *home, *shell;
  gid_t *groups;
  size_t group_count;
} MfUser;

/*
 * mf_user_find() - @wanted is a name or a number; NULL: whoever the agent itself is. A number
 * without an entry is a user without a home. Return: false and *ret_error (free) if there is no
 * such name; nothing to clear then.
 */
bool mf_user_find(const char *wanted, MfUser *ret_user, char **ret_error);
void mf_user_clear(MfUser *self);
