/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "daemon/error.h"
#include "daemon/policy.h"

#define MIB (1024ull * 1024)
#define GIB (1024ull * MIB)

static MfTemplate template = {
    .name = (char *)"small",
    .cpus = 2,
    .max_cpus = 4,
    .memory = 1 * GIB,
    .max_memory = 2 * GIB,
    .disk = 10 * GIB,
    .max_disk = 20 * GIB,
    .max_timeout = 7200,
};

static MfConfig config = {
    .overcommit = 100,
    .state_directory = (char *)"/var/lib/mayfly",
    .max_machines = 4,
    .disk_reserve = 1 * GIB,
    .default_timeout = 3600,
    .max_timeout = 86400,
    .max_keep = 600,
};

static void
test_defaults(void)
{
  MfJobSpec spec = {0};
  MfGrant grant;
  g_autoptr(GError) error = NULL;
  g_assert_true(mf_policy_grant(&spec, &template, &config, GIB, &grant, &error));
  g_assert_no_error(error);
  g_assert_cmpuint(grant.cpus, ==, 2);
  g_assert_cmpuint(grant.memory, ==, GIB);
  g_assert_cmpuint(grant.disk, ==, 10 * GIB);
  g_assert_cmpuint(grant.timeout, ==, 3600);
  /* An image larger than the template's disk still fits in its overlay. */
  g_assert_true(mf_policy_grant(&spec, &template, &config, 15 * GIB, &grant, &error));
  g_assert_cmpuint(grant.disk, ==, 15 * GIB);
}

static void
test_limits_name_themselves(void)
{
  static const struct {
    MfJobSpec spec;
    const char *says[3];
  } cases[] = {
      {{.cpus = 5}, {"5 cpus", "at most 4", "[limits]"}},
      {{.memory = 3 * GIB}, {"3GiB", "2GiB", "memory under [limits]"}},
      {{.disk = 30 * GIB}, {"30GiB", "20GiB", "disk under [limits]"}},
      {{.memory = 32 * MIB - 1}, {"memory", "at least 32MiB", "needs"}},
      {{.disk = 512 * MIB}, {"512MiB", "at least 1GiB", "image"}},
      {{.timeout = 7201}, {"2h1s", "2h", "template"}},
      {{.keep = 601}, {"10m1s", "10m", "max-keep"}},
  };
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    MfGrant grant = {.cpus = 77};
    g_autoptr(GError) error = NULL;
    g_assert_false(mf_policy_grant(&cases[i].spec, &template, &config, GIB, &grant, &error));
    g_assert_error(error, MF_ERROR, MF_ERROR_LIMIT);
    for (guint j = 0; j < 3; j++)
      if (strstr(error->message, cases[i].says[j]) == NULL)
        g_error("'%s' does not say '%s'", error->message, cases[i].says[j]);
    g_assert_cmpuint(grant.cpus, ==, 77);
  }
}

static void
test_capacity(void)
{
  MfUsage host = {.cpus = 2, .memory = 10 * GIB};
  MfUsage all = mf_policy_capacity(&config, &host, 16);
  g_assert_cmpuint(all.machines, ==, 4);
  g_assert_cmpuint(all.cpus, ==, 8);
  g_assert_cmpuint(all.memory, ==, 8 * GIB);
  g_assert_cmpuint(mf_policy_capacity(&config, &host, 3).machines, ==, 3);
  MfConfig own = config;
  own.cpus = 5;
  own.memory = 3 * GIB;
  all = mf_policy_capacity(&own, &host, 16);
  g_assert_cmpuint(all.cpus, ==, 5);
  g_assert_cmpuint(all.memory, ==, 3 * GIB);
}

static void
test_admission(void)
{
  MfUsage capacity = {.machines = 2, .cpus = 4, .memory = 4 * GIB};
  MfGrant grant = {.cpus = 2, .memory = 2 * GIB};
  static const struct {
    MfUsage used;
    guint64 disk;
    const char *why;
  } cases[] = {
      {{0}, 5 * GIB, NULL},
      {{.machines = 2}, 5 * GIB, "all 2 machines"},
      {{.machines = 1, .memory = 3 * GIB}, 5 * GIB, "1GiB is left"},
      {{.machines = 1, .cpus = 3}, 5 * GIB, "2 cpus and 1 are left"},
      {{0}, 512 * MIB, "disk-reserve"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autofree char *why =
        mf_policy_admit(&capacity, &cases[i].used, &grant, cases[i].disk, &config);
    if (cases[i].why == NULL)
      g_assert_null(why);
    else
      g_assert_nonnull(strstr(why, cases[i].why));
  }
  MfUsage one = {.machines = 1, .cpus = 4, .memory = 4 * GIB};
  MfUsage used = {.machines = 1};
  g_autofree char *why = mf_policy_admit(&one, &used, &grant, 5 * GIB, &config);
  g_assert_nonnull(strstr(why, "the one machine"));
}

static void
test_possible(void)
{
  MfUsage capacity = {.machines = 2, .cpus = 4, .memory = 4 * GIB};
  MfGrant wide = {.cpus = 5, .memory = GIB}, big = {.cpus = 1, .memory = 5 * GIB},
          good = {.cpus = 4, .memory = 4 * GIB};
  g_autoptr(GError) cpus = NULL;
  g_autoptr(GError) memory = NULL;
  g_assert_false(mf_policy_possible(&capacity, &wide, &config, &cpus));
  g_assert_error(cpus, MF_ERROR, MF_ERROR_LIMIT);
  g_assert_false(mf_policy_possible(&capacity, &big, &config, &memory));
  g_assert_error(memory, MF_ERROR, MF_ERROR_LIMIT);
  g_assert_true(mf_policy_possible(&capacity, &good, &config, NULL));
}

/* A part of a machine's memory is guaranteed, and that is what counts. */
static void
test_overcommit(void)
{
  MfConfig generous = {.overcommit = 150, .disk_reserve = GIB};
  MfUsage capacity = {.machines = 9, .cpus = 99, .memory = 4 * GIB};
  MfUsage used = {.machines = 1, .cpus = 1, .memory = 2 * GIB};
  MfGrant grant = {.cpus = 1, .memory = 3 * GIB}, big = {.cpus = 1, .memory = 7 * GIB};
  g_autoptr(GError) error = NULL;
  g_assert_cmpuint(mf_policy_guaranteed(&generous, 3 * GIB), ==, 2 * GIB);
  g_assert_cmpuint(mf_policy_guaranteed(&config, 3 * GIB + 1), ==, 3 * GIB + 1);
  /* Less than a machine needs to boot is no guarantee. */
  g_assert_cmpuint(mf_policy_guaranteed(&generous, 36 * MIB), ==, 32 * MIB);
  g_assert_null(mf_policy_admit(&capacity, &used, &grant, 5 * GIB, &generous));
  used.memory += 1;
  g_autofree char *why = mf_policy_admit(&capacity, &used, &grant, 5 * GIB, &generous);
  g_assert_nonnull(strstr(why, "it needs 2GiB of memory"));
  g_assert_true(mf_policy_possible(&capacity, &grant, &generous, NULL));
  g_assert_false(mf_policy_possible(&capacity, &big, &generous, &error));
  g_assert_nonnull(strstr(error->message, "which counts as"));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/policy/defaults", test_defaults);
  g_test_add_func("/policy/limits", test_limits_name_themselves);
  g_test_add_func("/policy/capacity", test_capacity);
  g_test_add_func("/policy/admission", test_admission);
  g_test_add_func("/policy/possible", test_possible);
  g_test_add_func("/policy/overcommit", test_overcommit);
  return g_test_run();
}
