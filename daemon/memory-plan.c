/* SPDX-License-Identifier: Apache-2.0 */
/* Memory plan: when the host is short, and what each machine gives or gets. */
#include "daemon/memory-plan.h"

#define MIB (G_GUINT64_CONSTANT(1) << 20)
/* What a guest has at hand before it is given more. */
#define MARGIN (64 * MIB)
/* A twentieth a round, as oVirt does; small machines would never get anywhere by that. */
#define SHRINK_PART 20
#define LEAST_STEP  (16 * MIB)
/* Less than this is not worth telling. */
#define NEAR (4 * MIB)
/* Rounds in which a machine that was told to shrink did nothing: it is left alone for some more. */
#define PATIENCE 2
#define REPRIEVE 12
/* The first ones of a machine: its balloon may still be giving it what it is to have. */
#define GRACE 2
/* Percent of the time in which some tasks, or all, waited for memory. Tasks wait at limits of their
 * own, too: it counts only where there is not plenty. */
#define SOME_LOW      15.0
#define SOME_WELL     5.0
#define FULL_CRITICAL 20.0
#define FULL_BETTER   5.0

static const char *const level_names[] = {
    [MF_MEMORY_WELL] = "well",
    [MF_MEMORY_LOW] = "low",
    [MF_MEMORY_CRITICAL] = "critical",
};
G_STATIC_ASSERT(G_N_ELEMENTS(level_names) == MF_MEMORY_LEVEL_LAST_);

const char *
mf_memory_level_to_string(MfMemoryLevel level)
{
  return level_names[level];
}

guint64
mf_memory_edge(guint64 reserve)
{
  return reserve + reserve / 4;
}

static gboolean
waits(const MfHostMemory *host, guint64 reserve, double share, double most)
{
  return host->has_pressure && share > most && host->available / 2 < reserve;
}

static gboolean
is_short(const MfHostMemory *host, guint64 reserve)
{
  return host->available < reserve || waits(host, reserve, host->some, SOME_LOW);
}

MfMemoryLevel
mf_memory_level(const MfHostMemory *host, guint64 reserve, MfMemoryLevel before)
{
  if (host->available < reserve / 4 || waits(host, reserve, host->full, FULL_CRITICAL))
    return MF_MEMORY_CRITICAL;
  if (before == MF_MEMORY_CRITICAL &&
      (host->available < reserve / 2 || waits(host, reserve, host->full, FULL_BETTER)))
    return MF_MEMORY_CRITICAL;
  if (is_short(host, reserve))
    return MF_MEMORY_LOW;
  if (before != MF_MEMORY_WELL &&
      (host->available < mf_memory_edge(reserve) || waits(host, reserve, host->some, SOME_WELL)))
    return MF_MEMORY_LOW;
  return MF_MEMORY_WELL;
}

guint64
mf_memory_need(const MfMemoryMachine *machine)
{
  guint64 used = machine->current - MIN(machine->usable, machine->current);
  return MIN(MAX(used + used / 5 + MARGIN, machine->floor), machine->maximum);
}

static guint64
distance(guint64 a, guint64 b)
{
  return MAX(a, b) - MIN(a, b);
}

/* Has it done as it was told? */
static void
observe(MfMemoryMachine *machine)
{
  gboolean moved = machine->last == 0 || distance(machine->current, machine->last) > NEAR / 4;
  gboolean below = machine->asked != 0 && machine->asked + NEAR < machine->current;
  if (moved || machine->ignored > PATIENCE + REPRIEVE)
    machine->ignored = 0;
  else if (below || machine->ignored >= PATIENCE)
    machine->ignored++;
  /* It is there; or what it was to get has not reached it, and is told again. */
  if (distance(machine->current, machine->asked) <= NEAR || (!moved && !below))
    machine->asked = 0;
  machine->last = machine->current;
  machine->rounds++;
}

/* All that it is guaranteed, if it may need it; beyond that, while the host is @well, what it is
 * short of and a good deal more. */
static guint64
grown(const MfMemoryMachine *machine, gboolean well)
{
  gboolean wants = machine->usable < MAX(MARGIN / 2, machine->current / 10);
  guint64 more = MAX(mf_memory_need(machine), machine->current + machine->current / 4);
  guint64 most = well && machine->usable > 0 ? machine->maximum : machine->guaranteed;
  guint64 goal = MAX(machine->guaranteed, MIN(more, most));
  return wants ? MAX(goal, machine->current) : machine->current;
}

static guint64
shrunk(const MfMemoryMachine *machine)
{
  guint64 need = mf_memory_need(machine);
  guint64 step = MAX(machine->current / SHRINK_PART, LEAST_STEP);
  if (machine->usable == 0 || machine->ignored >= PATIENCE || machine->rounds <= GRACE ||
      need >= machine->current)
    return machine->current;
  return MAX(need, machine->current - MIN(step, machine->current));
}

static void
tell(MfMemoryMachine *machine, guint64 goal)
{
  guint64 pending = machine->asked != 0 ? machine->asked : machine->current;
  gboolean all = goal == machine->maximum && pending < goal;
  machine->goal = all || distance(goal, pending) > NEAR ? goal : 0;
  if (machine->goal != 0)
    machine->asked = goal;
}

void
mf_memory_plan(MfMemoryLevel level, const MfHostMemory *host, guint64 reserve,
               MfMemoryMachine *machines, gsize count)
{
  gboolean shrinks = level != MF_MEMORY_WELL && is_short(host, reserve);
  /* What comes back must not bring the host where it was. */
  guint64 edge = mf_memory_edge(reserve);
  guint64 spare = level == MF_MEMORY_WELL && host->available > edge ? host->available - edge : 0;
  for (gsize i = 0; i < count; i++) {
    MfMemoryMachine *machine = &machines[i];
    machine->goal = 0;
    if (machine->current == 0)
      continue;
    observe(machine);
    guint64 goal = grown(machine, level == MF_MEMORY_WELL);
    if (goal == machine->current && shrinks)
      goal = shrunk(machine);
    else if (goal < machine->maximum)
      goal += MIN(machine->maximum - goal, spare);
    spare -= MIN(goal - MIN(machine->current, goal), spare);
    tell(machine, goal);
  }
}
