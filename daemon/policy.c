/* SPDX-License-Identifier: Apache-2.0 */
/* Policy: limits of one job, admission of all. */
#include "daemon/policy.h"

#include "daemon/error.h"
#include "daemon/units.h"

/* Overcommit of virtual CPUs where the admin gave no number: jobs rarely use theirs all the time.
 */
#define CPUS_PER_HOST_CPU 4
/* As in a template: with less, QEMU cannot even load a kernel. */
#define LEAST_MEMORY (G_GUINT64_CONSTANT(32) << 20)
#define MIB_REST     ((G_GUINT64_CONSTANT(1) << 20) - 1)

static gboolean
check_size(const char *what, guint64 value, guint64 most, const char *template, GError **error)
{
  if (value <= most)
    return TRUE;
  g_autofree char *asked = mf_size_format(value);
  g_autofree char *allowed = mf_size_format(most);
  g_set_error(error, MF_ERROR, MF_ERROR_LIMIT,
              "%s of %s asked for, but template '%s' allows at most %s (%s under [limits] in its "
              "file, set by "
              "this host's admin)",
              what, asked, template, allowed, what);
  return FALSE;
}

static gboolean
check_time(const char *what, guint64 value, guint64 most, const char *setting, GError **error)
{
  if (value <= most)
    return TRUE;
  g_autofree char *asked = mf_duration_format(value);
  g_autofree char *allowed = mf_duration_format(most);
  g_set_error(error, MF_ERROR, MF_ERROR_LIMIT,
              "%s of %s asked for, but at most %s is allowed (%s, set by this host's admin)", what,
              asked, allowed, setting);
  return FALSE;
}

MfGrant
mf_policy_grant_default(const MfTemplate *template, guint64 image_size)
{
  return (MfGrant){
      .cpus = template->cpus,
      .memory = template->memory,
      .disk = MAX(template->disk, image_size),
  };
}

gboolean
mf_policy_grant(const MfJobSpec *spec, const MfTemplate *template, const MfConfig *config,
                guint64 image_size, MfGrant *ret_grant, GError **error)
{
  MfGrant g = mf_policy_grant_default(template, image_size);
  g.cpus = spec->cpus > 0 ? spec->cpus : g.cpus;
  g.memory = spec->memory > 0 ? spec->memory : g.memory;
  g.disk = spec->disk > 0 ? spec->disk : g.disk;
  g.keep = spec->keep;
  guint64 longest = template->max_timeout > 0 ? MIN(template->max_timeout, config->max_timeout)
                                              : config->max_timeout;
  g.timeout = spec->timeout > 0 ? spec->timeout : MIN(config->default_timeout, longest);
  if (g.cpus > template->max_cpus) {
    g_set_error(error, MF_ERROR, MF_ERROR_LIMIT,
                "%u cpus asked for, but template '%s' allows at most %u (cpus under [limits] in "
                "its file, set "
                "by this host's admin)",
                g.cpus, template->name, template->max_cpus);
    return FALSE;
  }
  if (g.memory < LEAST_MEMORY) {
    g_autofree char *asked = mf_size_format(g.memory);
    g_set_error(error, MF_ERROR, MF_ERROR_LIMIT,
                "memory of %s asked for, but a machine needs at least 32MiB", asked);
    return FALSE;
  }
  if (g.disk < image_size) {
    g_autofree char *asked = mf_size_format(g.disk);
    g_autofree char *least = mf_size_format(image_size);
    g_set_error(error, MF_ERROR, MF_ERROR_LIMIT,
                "disk of %s asked for, but the image of template '%s' needs at least %s", asked,
                template->name, least);
    return FALSE;
  }
  if (!check_size("memory", g.memory, template->max_memory, template->name, error) ||
      !check_size("disk", g.disk, MAX(template->max_disk, image_size), template->name, error) ||
      !check_time("timeout", g.timeout, longest,
                  template->max_timeout > 0 && template->max_timeout < config->max_timeout
                      ? "timeout under [limits] in the template's file"
                      : "max-timeout in mayfly.conf",
                  error) ||
      !check_time("keep-on-failure", g.keep, config->max_keep, "max-keep in mayfly.conf", error))
    return FALSE;
  *ret_grant = g;
  return TRUE;
}

MfUsage
mf_policy_capacity(const MfConfig *config, const MfUsage *host, guint ports)
{
  return (MfUsage){
      .machines = MIN(config->max_machines, ports),
      .cpus = config->cpus > 0 ? config->cpus : host->cpus * CPUS_PER_HOST_CPU,
      .memory = config->memory > 0 ? config->memory : host->memory / 5 * 4,
  };
}

guint64
mf_policy_guaranteed(const MfConfig *config, guint64 memory)
{
  guint percent = config->overcommit;
  /* In two parts, so that nothing overflows; whole MiB, as people read it. */
  guint64 part = memory / percent * 100 + memory % percent * 100 / percent;
  return percent == 100 ? memory : MAX(part & ~MIB_REST, MIN(memory, LEAST_MEMORY));
}

char *
mf_policy_admit(const MfUsage *capacity, const MfUsage *used, const MfGrant *grant,
                guint64 disk_free, const MfConfig *config)
{
  if (used->machines >= capacity->machines)
    return capacity->machines == 1
               ? g_strdup("the one machine of this host is in use")
               : g_strdup_printf("all %u machines of this host are in use", capacity->machines);
  guint64 memory = mf_policy_guaranteed(config, grant->memory);
  if (used->memory + memory > capacity->memory) {
    g_autofree char *need = mf_size_format(memory);
    g_autofree char *left = mf_size_format(capacity->memory - MIN(used->memory, capacity->memory));
    return g_strdup_printf("it needs %s of memory and %s is left", need, left);
  }
  if (used->cpus + grant->cpus > capacity->cpus)
    return g_strdup_printf("it needs %u cpus and %u are left", grant->cpus,
                           capacity->cpus - MIN(used->cpus, capacity->cpus));
  if (disk_free < config->disk_reserve) {
    g_autofree char *free_text = mf_size_format(disk_free);
    g_autofree char *reserve = mf_size_format(config->disk_reserve);
    return g_strdup_printf(
        "%s has %s free and %s must stay free (disk-reserve): free some space there",
        config->state_directory, free_text, reserve);
  }
  return NULL;
}

gboolean
mf_policy_possible(const MfUsage *capacity, const MfGrant *grant, const MfConfig *config,
                   GError **error)
{
  if (grant->cpus > capacity->cpus) {
    g_set_error(error, MF_ERROR, MF_ERROR_LIMIT,
                "%u cpus asked for, but this host gives its machines %u in all (cpus in "
                "mayfly.conf, set by this host's admin)",
                grant->cpus, capacity->cpus);
    return FALSE;
  }
  guint64 memory = mf_policy_guaranteed(config, grant->memory);
  if (memory > capacity->memory) {
    g_autofree char *asked = mf_size_format(grant->memory);
    g_autofree char *part = mf_size_format(memory);
    g_autofree char *all = mf_size_format(capacity->memory);
    g_autofree char *counts =
        memory < grant->memory ? g_strdup_printf(", which counts as %s", part) : g_strdup("");
    g_set_error(error, MF_ERROR, MF_ERROR_LIMIT,
                "memory of %s asked for%s, but this host gives its machines %s in all (memory in "
                "mayfly.conf, set by this host's admin)",
                asked, counts, all);
    return FALSE;
  }
  return TRUE;
}
