/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Standard input brought to an exec: read, sent, and sent again from where the daemon says it has
 * got to, so that nothing is lost or doubled, whatever breaks. Reads on only when all is taken.
 * Main context only.
 */

#include "tools/client.h"

typedef struct MfInput MfInput;

/* @path: "/v1/jobs/ID/execs/N/stdin". Starts at once. @fd is not closed. */
MfInput *mf_input_new(MfClient *client, const char *path, int fd);
/* Stops; what is under way is given up. */
void mf_input_free(MfInput *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfInput, mf_input_free)
