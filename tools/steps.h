/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a long command is doing, for people: steps, how far each is, and how long it took. On a terminal one line changes in place;
 * elsewhere plain lines, and a sign of life every few seconds. Needs the main loop to run.
 */

#include <glib.h>
#include <stdio.h>

typedef struct MfSteps MfSteps;

/* @live: @to is a terminal. */
MfSteps *mf_steps_new(FILE *to, gboolean live);

/* A new step; the one before is done. @text may be anybody's. */
void mf_steps_begin(MfSteps *self, const char *text);

/* How far the step is, 0 to 1. */
void mf_steps_fraction(MfSteps *self, double fraction);

/* The last step is over: with its time if it @succeeded. */
void mf_steps_end(MfSteps *self, gboolean succeeded);

void mf_steps_free(MfSteps *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfSteps, mf_steps_free)
