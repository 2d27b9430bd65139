/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A machine that was forked from another must not share its random numbers, time and names. */

#include "tools/agent/document.h"

/* mf_reseed() - carry out a RESEED document. Return: NULL, or what could not be done (free); the
 * rest was. */
char *mf_reseed(MfDocument *document);
/* What is written goes to the disk, and what was read goes from memory: the machine is about to be
 * saved. */
void mf_reseed_settle(void);
