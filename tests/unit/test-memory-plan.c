/* SPDX-License-Identifier: Apache-2.0 */
/* Who gives memory and who gets it: levels that do not flap, guests that do not break. */
#include "daemon/memory-plan.h"

#define MIB (G_GUINT64_CONSTANT(1) << 20)
#define GIB (G_GUINT64_CONSTANT(1) << 30)

static MfHostMemory
host(guint64 available)
{
  return (MfHostMemory){.available = available, .has_pressure = TRUE};
}

static void
test_levels(void)
{
  static const struct {
    guint64 available;
    double some, full;
    MfMemoryLevel before, after;
  } cases[] = {
      {8 * GIB, 0, 0, MF_MEMORY_WELL, MF_MEMORY_WELL},
      {4 * GIB, 0, 0, MF_MEMORY_WELL, MF_MEMORY_WELL},
      {4 * GIB - 1, 0, 0, MF_MEMORY_WELL, MF_MEMORY_LOW},
      {7 * GIB, 16, 0, MF_MEMORY_WELL, MF_MEMORY_LOW},
      /* It is left only when there is clearly enough again. */
      {5 * GIB - 1, 0, 0, MF_MEMORY_LOW, MF_MEMORY_LOW},
      {6 * GIB, 6, 0, MF_MEMORY_LOW, MF_MEMORY_LOW},
      {5 * GIB, 0, 0, MF_MEMORY_LOW, MF_MEMORY_WELL},
      {GIB, 0, 0, MF_MEMORY_LOW, MF_MEMORY_LOW},
      {GIB - 1, 0, 0, MF_MEMORY_WELL, MF_MEMORY_CRITICAL},
      {7 * GIB, 0, 21, MF_MEMORY_WELL, MF_MEMORY_CRITICAL},
      /* Where there is plenty, who waits does so at a limit of its own. */
      {8 * GIB, 99, 99, MF_MEMORY_WELL, MF_MEMORY_WELL},
      {GIB, 0, 0, MF_MEMORY_CRITICAL, MF_MEMORY_CRITICAL},
      {3 * GIB, 0, 6, MF_MEMORY_CRITICAL, MF_MEMORY_CRITICAL},
      {2 * GIB, 0, 0, MF_MEMORY_CRITICAL, MF_MEMORY_LOW},
      {8 * GIB, 0, 0, MF_MEMORY_CRITICAL, MF_MEMORY_WELL},
  };
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    MfHostMemory memory = host(cases[i].available);
    memory.some = cases[i].some;
    memory.full = cases[i].full;
    g_test_message("case %u", i);
    g_assert_cmpint(mf_memory_level(&memory, 4 * GIB, cases[i].before), ==, cases[i].after);
  }
  /* A kernel that does not account for it: what it says of nothing does not count. */
  MfHostMemory silent = {.available = 8 * GIB, .some = 99, .full = 99};
  g_assert_cmpint(mf_memory_level(&silent, 4 * GIB, MF_MEMORY_WELL), ==, MF_MEMORY_WELL);
  g_assert_cmpstr(mf_memory_level_to_string(MF_MEMORY_CRITICAL), ==, "critical");
}

/* A machine of 2 GiB that has all of it and uses @used. */
static MfMemoryMachine
machine(guint64 used)
{
  return (MfMemoryMachine){.maximum = 2 * GIB,
                           .guaranteed = GIB,
                           .current = 2 * GIB,
                           .usable = 2 * GIB - used,
                           .rounds = 9};
}

static void
plan_one(MfMemoryLevel level, guint64 available, MfMemoryMachine *one)
{
  MfHostMemory memory = host(available);
  mf_memory_plan(level, &memory, 4 * GIB, one, 1);
}

/* The guest does as it is told; what it uses stays. */
static void
obey(MfMemoryMachine *one)
{
  guint64 used = one->current - one->usable;
  if (one->goal != 0)
    one->current = one->goal;
  one->usable = one->current - used;
}

static void
test_shrinks_to_what_is_used(void)
{
  MfMemoryMachine one = machine(500 * MIB);
  guint rounds = 0;
  guint64 before = one.current;
  do {
    plan_one(MF_MEMORY_LOW, 3 * GIB, &one);
    obey(&one);
    /* Never by much at once. */
    g_assert_cmpuint(before - one.current, <=, 2 * GIB / 20 + 4 * MIB);
    before = one.current;
  } while (one.goal != 0 && ++rounds < 100);
  g_assert_cmpuint(rounds, >, 10);
  g_assert_cmpuint(rounds, <, 60);
  g_assert_cmpuint(one.current, >=, 500 * MIB + 500 * MIB / 5 + 60 * MIB);
  g_assert_cmpuint(one.current, <=, 500 * MIB + 500 * MIB / 5 + 72 * MIB);
}

static void
test_floor(void)
{
  MfMemoryMachine one = machine(100 * MIB);
  one.floor = one.current - 20 * MIB;
  plan_one(MF_MEMORY_LOW, 3 * GIB, &one);
  g_assert_cmpuint(one.goal, ==, one.floor);
  obey(&one);
  plan_one(MF_MEMORY_LOW, 3 * GIB, &one);
  g_assert_cmpuint(one.goal, ==, 0);
}

static void
test_comes_back(void)
{
  MfMemoryMachine one = machine(300 * MIB);
  one.current = GIB;
  one.usable = GIB - 300 * MIB;
  /* Between enough and too little nothing happens. */
  plan_one(MF_MEMORY_LOW, 5 * GIB, &one);
  g_assert_cmpuint(one.goal, ==, 0);
  /* No more than would bring the host where it was. */
  plan_one(MF_MEMORY_WELL, 5 * GIB + 100 * MIB, &one);
  g_assert_cmpuint(one.goal, ==, GIB + 100 * MIB);
  obey(&one);
  plan_one(MF_MEMORY_WELL, 20 * GIB, &one);
  g_assert_cmpuint(one.goal, ==, 2 * GIB);
  obey(&one);
  plan_one(MF_MEMORY_WELL, 20 * GIB, &one);
  g_assert_cmpuint(one.goal, ==, 0);
}

static void
test_wants(void)
{
  MfMemoryMachine one = machine(0);
  one.current = 600 * MIB;
  one.usable = 20 * MIB;
  /* What is guaranteed, however the host is; at once. */
  plan_one(MF_MEMORY_CRITICAL, GIB / 2, &one);
  g_assert_cmpuint(one.goal, ==, GIB);
  one.current = 1000 * MIB;
  one.usable = 20 * MIB;
  one.asked = 0;
  plan_one(MF_MEMORY_LOW, 3 * GIB, &one);
  g_assert_cmpuint(one.goal, ==, GIB);
  /* And not more, while the host is short. */
  one.current = one.goal;
  one.usable = 20 * MIB;
  plan_one(MF_MEMORY_LOW, 3 * GIB, &one);
  g_assert_cmpuint(one.goal, ==, 0);
  plan_one(MF_MEMORY_WELL, 20 * GIB, &one);
  g_assert_cmpuint(one.goal, ==, 2 * GIB);
}

static void
test_unknown(void)
{
  MfMemoryMachine silent = machine(100 * MIB), none = machine(100 * MIB);
  silent.usable = 0;
  none.current = 0;
  for (guint i = 0; i < 3; i++) {
    plan_one(MF_MEMORY_CRITICAL, GIB / 2, &silent);
    plan_one(MF_MEMORY_CRITICAL, GIB / 2, &none);
    g_assert_cmpuint(silent.goal, ==, 0);
    g_assert_cmpuint(none.goal, ==, 0);
  }
  /* But it may be one that has nothing left to say it with. */
  silent.current = GIB / 2;
  plan_one(MF_MEMORY_CRITICAL, GIB / 2, &silent);
  g_assert_cmpuint(silent.goal, ==, GIB);
}

/* Its balloon may still be on its way to where it is to be. */
static void
test_new(void)
{
  MfMemoryMachine one = machine(100 * MIB);
  one.rounds = 0;
  for (guint i = 0; i < 3; i++) {
    plan_one(MF_MEMORY_LOW, 3 * GIB, &one);
    g_assert_true((one.goal > 0) == (i == 2));
  }
}

/* What was not heard is said again. */
static void
test_lost(void)
{
  MfMemoryMachine one = machine(100 * MIB);
  one.current = GIB;
  one.usable = GIB - 100 * MIB;
  for (guint i = 0; i < 3; i++) {
    plan_one(MF_MEMORY_WELL, 20 * GIB, &one);
    g_assert_cmpuint(one.goal, ==, 2 * GIB);
  }
}

/* One that does not do as it is told is left alone until it moves. */
static void
test_ignores(void)
{
  MfMemoryMachine one = machine(100 * MIB);
  plan_one(MF_MEMORY_LOW, 3 * GIB, &one);
  g_assert_cmpuint(one.goal, <, 2 * GIB);
  g_assert_cmpuint(one.goal, >, 0);
  for (guint i = 0; i < 10; i++) {
    plan_one(MF_MEMORY_LOW, 3 * GIB, &one);
    /* It is told once more, that it may stay as it is. */
    g_assert_cmpuint(one.goal, ==, i == 1 ? 2 * GIB : 0);
  }
  /* After a while it is tried again, even so. */
  guint more = 0;
  for (one.goal = 0; one.goal == 0 && more < 30; more++)
    plan_one(MF_MEMORY_LOW, 3 * GIB, &one);
  g_assert_cmpuint(more, <, 10);
  one.current -= 50 * MIB;
  one.usable -= 50 * MIB;
  plan_one(MF_MEMORY_LOW, 3 * GIB, &one);
  g_assert_cmpuint(one.goal, <, one.current);
  g_assert_cmpuint(one.goal, >, 0);
}

/* Several share what there is. */
static void
test_shares(void)
{
  MfMemoryMachine two[] = {machine(100 * MIB), machine(100 * MIB)};
  MfHostMemory memory = host(5 * GIB + 700 * MIB);
  for (guint i = 0; i < 2; i++) {
    two[i].current = GIB + 512 * MIB;
    two[i].usable = GIB;
  }
  mf_memory_plan(MF_MEMORY_WELL, &memory, 4 * GIB, two, 2);
  g_assert_cmpuint(two[0].goal, ==, 2 * GIB);
  g_assert_cmpuint(two[1].goal, ==, GIB + 700 * MIB);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/memory-plan/levels", test_levels);
  g_test_add_func("/memory-plan/shrinks-to-what-is-used", test_shrinks_to_what_is_used);
  g_test_add_func("/memory-plan/floor", test_floor);
  g_test_add_func("/memory-plan/comes-back", test_comes_back);
  g_test_add_func("/memory-plan/wants", test_wants);
  g_test_add_func("/memory-plan/unknown", test_unknown);
  g_test_add_func("/memory-plan/new", test_new);
  g_test_add_func("/memory-plan/lost", test_lost);
  g_test_add_func("/memory-plan/ignores", test_ignores);
  g_test_add_func("/memory-plan/shares", test_shares);
  return g_test_run();
}
