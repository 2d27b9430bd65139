/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The socket API: HTTP/1.1 on a listening unix socket, described by openapi.json. Main context
 * only.
 *
 * It holds no state of jobs: every request asks the scheduler. What a client may see is decided by
 * its uid, which the kernel tells (SO_PEERCRED), in one place (api-peer.c). A client that is slow,
 * silent or gone costs its own connection and at most one chunk of memory.
 */

#include "daemon/scheduler.h"

typedef struct MfApi MfApi;

/*
 * mf_api_new() - serve @listen_fd, a listening unix stream socket, which is taken over on success.
 * @scheduler: referenced.
 */
MfApi *mf_api_new(MfScheduler *scheduler, int listen_fd, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Ends every connection: clients see theirs break off, and come back by offset. */
void mf_api_free(MfApi *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfApi, mf_api_free)
