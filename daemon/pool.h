/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Machines started ahead of need, forked where that is possible: for every template with pool = N,
 * N that are up and have no job. A job takes one that is as it asks, once; the place is filled
 * again in the background, and gives way to jobs that wait. Where starts fail it tries again later
 * and later, and says why. Main context only.
 */

#include "daemon/forks.h"

typedef struct MfPool MfPool;

/* @host, @forks and what @data is outlive it. */
MfPool *mf_pool_new(const MfHost *host, MfForks *forks, const MfBackground *hooks, gpointer data);
void mf_pool_free(MfPool *self);

/*
 * mf_pool_look() - compare what there is with what @templates (MfTemplate, all there are) ask for:
 * start what is missing, unless @busy (a job waits), and let go what is too old, too many or of
 * another version. Nothing of those in @bad (name, what is wrong) is touched.
 */
void mf_pool_look(MfPool *self, GPtrArray *templates, GHashTable *bad, gboolean busy);
/* While it cannot look, and @why: notes what @templates ask for. */
void mf_pool_expect(MfPool *self, GPtrArray *templates, const char *why);
/* When it should look again even if nothing happens; real time, 0 = never. */
gint64 mf_pool_next(MfPool *self);
/* All of them go, and none is started until this is taken back: the host is being drained. */
void mf_pool_set_closed(MfPool *self, gboolean closed);

/*
 * mf_pool_take() - a machine that waits, made from this very @template and @image with this
 * @grant's cpus, memory and disk. It no longer counts here: the caller counts its job. NULL: none.
 * (transfer full)
 */
MfMachine *mf_pool_take(MfPool *self, const MfTemplate *template, const MfImage *image,
                        const MfGrant *grant);
/* One that waits makes room, for a job of @template that finds none of its kind; or one that is
 * being started, unless it may be what the job needs. FALSE: there is none. */
gboolean mf_pool_make_room(MfPool *self, const char *template);
/* The host cannot go on like this: all go, even those that still start, and the next come later.
 * FALSE: there is none that does not go already. */
gboolean mf_pool_end_all(MfPool *self, const char *why);
/* Guaranteed to those that have not had it yet: they are starting. */
guint64 mf_pool_starting(MfPool *self);
/* One is on its way out. */
gboolean mf_pool_is_leaving(MfPool *self);

/* NULL: not one of ours. (transfer none) */
MfMachine *mf_pool_find(MfPool *self, const char *id);
gboolean mf_pool_uses_image(MfPool *self, const char *digest);

/*
 * [{"template","wanted","ready","starting","problem":text|null,"failures":n,"retry":t|null,"machines":[{"id",
 * "state":"starting"|"ready"|"leaving","since":t,"image","ip","port"}]}], every template that wants
 * or has some. (transfer full)
 */
MfJson *mf_pool_to_json(MfPool *self);
/* Each of them, as mf_scheduler_machines() shows it, at the end of the array @list. */
void mf_pool_add_machines(MfPool *self, MfJson *list);
