/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How the host's memory is shared among machines that together may use more than there is: what
 * they do not use is taken by their balloons when the host runs short, a little a round, and comes
 * back as soon as they want it or the host is well. Pure.
 */

#include "daemon/host-memory.h"

typedef enum {
  MF_MEMORY_WELL,
  MF_MEMORY_LOW,      /* machines give back, nothing is begun ahead of need */
  MF_MEMORY_CRITICAL, /* no machine starts; one ends if that lasts */
  MF_MEMORY_LEVEL_LAST_
} MfMemoryLevel;
const char *mf_memory_level_to_string(MfMemoryLevel level);

/* What the host has to have left so that what was taken comes back, and more begins. */
guint64 mf_memory_edge(guint64 reserve);
/* @reserve: bytes that the host should have left. @before: where it was: it is left only when
 * things are clearly better; MF_MEMORY_WELL: as things are. */
MfMemoryLevel mf_memory_level(const MfHostMemory *host, guint64 reserve, MfMemoryLevel before);

/* One machine in one round. All in bytes. */
typedef struct {
  guint64 maximum;    /* its domain's */
  guint64 guaranteed; /* what it may have whatever the host's state */
  guint64 floor;      /* its template's: it is not made smaller */
  guint64 current;    /* what its balloon leaves it; 0: not known */
  guint64 usable;     /* of that, what is free or could be; 0: not known */
  guint64 goal;       /* out: what it is to be told to become, 0: nothing */
  /* Kept from round to round, 0 at first. */
  guint64 asked; /* what it was told, until it has become that */
  guint64 last;  /* what its balloon left it */
  guint ignored; /* rounds in which it did not do as it was told, and was left alone after */
  guint rounds;  /* in which it took part */
} MfMemoryMachine;

/* What @machine needs to go on as it does: what it uses and a margin. */
guint64 mf_memory_need(const MfMemoryMachine *machine);

/*
 * mf_memory_plan() - one round: sets every machine's goal. Who says nothing of its memory is not
 * made smaller, nor is who is new, or does not do as it was told: that one is asked again after a
 * while.
 */
void mf_memory_plan(MfMemoryLevel level, const MfHostMemory *host, guint64 reserve,
                    MfMemoryMachine *machines, gsize count);
