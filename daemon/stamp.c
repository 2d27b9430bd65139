/* SPDX-License-Identifier: Apache-2.0 */
/* Stamps: see stamp.h. */
#include "daemon/stamp.h"

static const char *
text(const char *given)
{
  return given != NULL ? given : "";
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
  g_autofree char *all = g_strjoin("\n", machine, text(agent), text(copied), text(emulator),
                                   text(mf_hypervisor_versions(host->hypervisor)),
                                   text(mf_hypervisor_label(host->hypervisor)),
                                   host->accel->kvm ? "kvm" : "tcg", MF_VERSION, NULL);
  return g_compute_checksum_for_string(G_CHECKSUM_SHA256, all, -1);
}
