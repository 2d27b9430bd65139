/* SPDX-License-Identifier: Apache-2.0 */
/* Doctor: what mayflyd says of itself. */
#include "tools/doctor.h"

#include <string.h>

#include "tools/document.h"

static void
check_accel(MfDoctor *self, MfJson *info)
{
  MfJson *accel = mf_document_member(info, "accel");
  const char *reason = mf_document_text(accel, "reason");
  if (!mf_document_has(accel, "kvm")) {
    mf_doctor_say(self, "acceleration", reason != NULL ? MF_DOCTOR_PROBLEM : MF_DOCTOR_NOTE,
                  reason != NULL ? reason : "mayflyd is still trying what this host can do",
                  reason != NULL ? "journalctl -u mayflyd tells more" : NULL);
    return;
  }
  gboolean kvm = mf_document_flag(accel, "kvm");
  mf_doctor_add(
      self, "acceleration", kvm ? MF_DOCTOR_OK : MF_DOCTOR_NOTE,
      g_strdup_printf("%s: %s", kvm ? "KVM" : "TCG",
                      reason != NULL ? reason : "mayflyd does not say why"),
      kvm ? NULL
          : g_strdup("everything works; for speed, switch virtualization on in the firmware "
                     "or in the host of this one"));
}

static void
check_libvirt(MfDoctor *self, MfJson *info)
{
  MfJson *libvirt = mf_document_member(info, "libvirt");
  const char *problem = mf_document_text(libvirt, "problem");
  const char *versions = mf_document_text(libvirt, "versions");
  if (mf_document_flag(libvirt, "up"))
    mf_doctor_say(self, "libvirt", MF_DOCTOR_OK, versions != NULL ? versions : "connected", NULL);
  else
    mf_doctor_say(self, "libvirt", MF_DOCTOR_PROBLEM,
                  problem != NULL ? problem : "mayflyd cannot reach it",
                  "systemctl start libvirtd");
}

static void
check_memory(MfDoctor *self, MfJson *info)
{
  MfJson *memory = mf_document_member(info, "memory");
  const char *level = mf_document_text(memory, "level");
  gboolean critical = g_strcmp0(level, "critical") == 0;
  guint64 all = mf_document_uint(mf_document_member(info, "host"), "memory");
  g_autofree char *available = mf_document_format_size(mf_document_uint(memory, "available"));
  g_autofree char *reserve = mf_document_format_size(mf_document_uint(memory, "reserve"));
  /* A mayflyd of another version does not say. */
  if (level == NULL)
    return;
  if (strcmp(level, "well") == 0) {
    mf_doctor_add(self, "memory", MF_DOCTOR_OK, g_strdup_printf("%s available", available), NULL);
    return;
  }
  if (mf_document_uint(memory, "reserve") > all) {
    mf_doctor_add(self, "memory", MF_DOCTOR_PROBLEM,
                  g_strdup_printf("%s should be available, more than this host has", reserve),
                  g_strdup("lower memory-reserve in mayfly.conf"));
    return;
  }
  mf_doctor_add(
      self, "memory", critical ? MF_DOCTOR_PROBLEM : MF_DOCTOR_NOTE,
      g_strdup_printf(
          "%s available, %s should be: %s", available, reserve,
          critical ? "no job starts"
          : mf_document_uint(memory, "available") < mf_document_uint(memory, "reserve")
              ? "machines give back what they do not use"
              : "machines get back what they gave when there is a quarter more and tasks "
                "do not wait for it"),
      g_strdup("end what else uses this host's memory, or give machines less: memory, overcommit "
               "and memory-reserve in mayfly.conf"));
}

gboolean
mf_doctor_ports_are_fine(MfJson *info)
{
  MfJson *ports = mf_document_member(mf_document_member(info, "network"), "ports");
  for (gsize i = 0; i < mf_document_count(ports); i++)
    if (mf_document_has(mf_document_item(ports, i), "problem"))
      return FALSE;
  return mf_document_count(ports) > 0;
}

static void
check_ports(MfDoctor *self, MfJson *network)
{
  MfJson *ports = mf_document_member(network, "ports");
  guint used = 0, faulty = 0;
  const char *problem = NULL;
  for (gsize i = 0; i < mf_document_count(ports); i++) {
    MfJson *port = mf_document_item(ports, i);
    used += mf_document_has(port, "job");
    faulty += mf_document_has(port, "problem");
    if (problem == NULL)
      problem = mf_document_text(port, "problem");
  }
  gsize count = mf_document_count(ports);
  MfDoctorState state = faulty == 0      ? MF_DOCTOR_OK
                        : faulty < count ? MF_DOCTOR_NOTE
                                         : MF_DOCTOR_PROBLEM;
  mf_doctor_add(
      self, "ports", state,
      faulty == 0 ? g_strdup_printf("%" G_GSIZE_FORMAT ", %u in use", count, used)
                  : g_strdup_printf("%u of %" G_GSIZE_FORMAT " are not handed out: %s", faulty,
                                    count, problem),
      faulty == 0 ? NULL : g_strdup("mayfly-netd repairs them; journalctl -u mayfly-netd tells"));
}

void
mf_doctor_check_daemon(MfDoctor *self, MfJson *info)
{
  MfJson *network = mf_document_member(info, "network");
  const char *version = mf_document_text(info, "version");
  const char *problem = mf_document_text(network, "problem");
  gboolean same = g_strcmp0(version, MF_VERSION) == 0;
  mf_doctor_add(self, "mayflyd", same ? MF_DOCTOR_OK : MF_DOCTOR_NOTE,
                g_strdup_printf("version %s, %" G_GUINT64_FORMAT
                                " jobs in machines, %" G_GUINT64_FORMAT " waiting%s",
                                version, mf_document_uint(info, "running"),
                                mf_document_uint(info, "queue"),
                                mf_document_flag(info, "draining") ? ", taking no new ones" : ""),
                same ? NULL
                     : g_strdup("this program is of version " MF_VERSION
                                ": systemctl restart mayflyd after an update"));
  check_accel(self, info);
  check_libvirt(self, info);
  check_memory(self, info);
  if (!mf_document_flag(network, "ok") && problem != NULL)
    mf_doctor_say(self, "network", MF_DOCTOR_PROBLEM, problem,
                  "systemctl restart mayfly-netd; journalctl -u mayfly-netd tells why");
  check_ports(self, network);
}

/* A template whose image is missing is a problem only if there is no other to use. */
void
mf_doctor_check_images(MfDoctor *self, MfClient *client)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJson) answer = mf_client_call(client, "GET", "/v1/templates", NULL, &error);
  if (answer == NULL) {
    mf_doctor_say(self, "images", MF_DOCTOR_PROBLEM, error->message, NULL);
    return;
  }
  MfJson *templates = mf_document_member(answer, "templates");
  g_autoptr(GString) ready = g_string_new(NULL);
  g_autoptr(GString) lacking = g_string_new(NULL);
  for (gsize i = 0; i < mf_document_count(templates); i++) {
    MfJson *template = mf_document_item(templates, i);
    GString *list = mf_document_flag(template, "image_available") ? ready : lacking;
    g_string_append_printf(list, "%s%s (%s)", list->len > 0 ? ", " : "",
                           mf_document_text(template, "name"), mf_document_text(template, "image"));
  }
  if (ready->len > 0)
    mf_doctor_add(self, "images", MF_DOCTOR_OK,
                  g_strdup_printf("there for templates %s", ready->str), NULL);
  if (lacking->len > 0)
    mf_doctor_add(
        self, "images", ready->len > 0 ? MF_DOCTOR_NOTE : MF_DOCTOR_PROBLEM,
        g_strdup_printf("missing for templates %s", lacking->str),
        g_strdup(
            "mayfly image build NAME makes those that mayfly has recipes for: tiny, debian-12"));
}
