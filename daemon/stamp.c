/* SPDX-License-Identifier: Apache-2.0 */
/* Stamps: see stamp.h. */
#include "daemon/stamp.h"

#include <sys/utsname.h>

static const char *
text(const char *given)
{
  return given != NULL ? given : "";
}

/* Saved state of a processor is taken up by the same one, driven by the same kernel. (transfer
 * full)
 */
static char *
processor(void)
{
  g_autoptr(GString) out = g_string_new(NULL);
  g_autofree char *all = NULL;
  struct utsname names;
  if (uname(&names) == 0)
    g_string_append_printf(out, "%s %s", names.release, names.version);
  if (!g_file_get_contents("/proc/cpuinfo", &all, NULL, NULL))
    return g_string_free(g_steal_pointer(&out), FALSE);
  g_auto(GStrv) lines = g_strsplit(all, "\n", -1);
  for (char **line = lines; *line != NULL && **line != '\0'; line++)
    if (g_str_has_prefix(*line, "model name") || g_str_has_prefix(*line, "microcode") ||
        g_str_has_prefix(*line, "flags"))
      g_string_append_printf(out, "\n%s", *line);
  return g_string_free(g_steal_pointer(&out), FALSE);
}

char *
mf_stamp_machine(const MfTemplate *template, const MfImage *image)
{
  g_autofree char *domain = NULL;
  g_file_get_contents(template->domain, &domain, NULL, NULL);
  g_autofree char *all = g_strconcat(template->stamp, " ", image->digest, "\n", text(domain), NULL);
  return g_compute_checksum_for_string(G_CHECKSUM_SHA256, all, -1);
}

char *
mf_stamp_memory(const MfHost *host, const MfTemplate *template, const MfImage *image)
{
  g_autofree char *machine = mf_stamp_machine(template, image);
  g_autofree char *agent = mf_runner_stamp(host->agent);
  const char *runner = mf_runner_path(host->runner);
  g_autofree char *copied = runner != NULL ? mf_runner_stamp(runner) : NULL;
  g_autofree char *emulator = mf_runner_stamp(host->config->emulator);
  g_autofree char *cpu = host->accel->kvm ? processor() : NULL;
  g_autofree char *all = g_strjoin("\n", machine, text(agent), text(copied), text(emulator),
                                   text(mf_hypervisor_versions(host->hypervisor)),
                                   text(mf_hypervisor_label(host->hypervisor)),
                                   host->accel->kvm ? "kvm" : "tcg", text(cpu), MF_VERSION, NULL);
  return g_compute_checksum_for_string(G_CHECKSUM_SHA256, all, -1);
}
