/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The memory images of templates with fork = yes: made in the background when there is none for
 * the template as it is now, by booting a machine without a network, and dropped when they are
 * stale or no good. Where that fails it is tried again later and later, machines boot meanwhile,
 * and why is told. Main context only.
 */

#include "daemon/background.h"
#include "daemon/machine.h"

typedef struct MfForks MfForks;

/* @host and what @data is outlive it. */
MfForks *mf_forks_new(const MfHost *host, const MfBackground *hooks, gpointer data);
void mf_forks_free(MfForks *self);

/* Compare what there is with what @templates (MfTemplate, all there are) ask for; nothing new is
 * begun while @busy. Nothing of those in @bad (name, what is wrong) is touched. */
void mf_forks_look(MfForks *self, GPtrArray *templates, GHashTable *bad, gboolean busy);
/* When it should look again even if nothing happens; real time, 0 = never. */
gint64 mf_forks_next(MfForks *self);
/* What is being made is given up, and nothing new is begun: the host is being drained. */
void mf_forks_set_closed(MfForks *self, gboolean closed);

/* What a machine of @template and @image with @grant can be forked from, or NULL. (transfer none)
 */
MfMemoryImage *mf_forks_find(MfForks *self, const MfTemplate *template, const MfImage *image,
                             const MfGrant *grant);
/* One is being made, so that it is worth waiting for. */
gboolean mf_forks_is_coming(MfForks *self, const char *template);
/* How a machine forked from @image came up: @problem NULL: well. One of which two did not is made
 * anew. */
void mf_forks_tell(MfForks *self, MfMemoryImage *image, const char *problem);
/* A job finds no room: what is being made goes. FALSE: nothing is. */
gboolean mf_forks_make_room(MfForks *self);
/* The host cannot go on like this: likewise, and the next try comes later. FALSE: nothing is being
 * made that is not given up already. */
gboolean mf_forks_end_all(MfForks *self, const char *why);

/* The machine that is being saved, by its id; NULL: none of ours. (transfer none) */
MfMachine *mf_forks_find_machine(MfForks *self, const char *id);
gboolean mf_forks_uses_image(MfForks *self, const char *digest);

/* {"state":"ready"|"making"|"none","size":bytes|null,"made":t|null,"problem":text|null,
 * "failures":n,"retry":t|null}; failures: see MfTries. NULL: the template does not fork. @why
 * nothing is looked at for now, or NULL. (transfer full) */
MfJson *mf_forks_to_json(MfForks *self, const MfTemplate *template, const char *why);
