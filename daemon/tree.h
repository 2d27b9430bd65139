/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

/*
 * mf_tree_remove() - a file, or a folder with all that is in it. Links are removed, not followed;
 * what is mounted inside is never entered, so its folder stays and the removal fails. That nothing
 * is there is success. FALSE: errno says why.
 */
gboolean mf_tree_remove(const char *path);
