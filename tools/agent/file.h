/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Files between host and guest: PUT and GET documents. */

#include "tools/agent/document.h"

/* mf_file_put() - write what @document says. Return: NULL, or why not (free). */
char *mf_file_put(MfDocument *document);
/* mf_file_get() - Return: the PUT document of the file @document names (put), or NULL and
 * *@ret_error (free). */
MfDocument *mf_file_get(MfDocument *document, char **ret_error);
