/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The file of an exec's script: its own, only its user can read it, gone when the exec is. */

#include <stdint.h>
#include <sys/types.h>

/*
 * mf_script_write() - *@ret_folder (free, and mf_script_remove) holds the file *@ret_path (free),
 * 0700, of @uid and @gid. Return: 0, or -1 and *@ret_error (free).
 */
int mf_script_write(uint32_t exec, const char *text, size_t length, uid_t uid, gid_t gid,
                    char **ret_folder, char **ret_path, char **ret_error);
void mf_script_remove(const char *folder);
