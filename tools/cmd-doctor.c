/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly doctor: what is wrong here, and what to do about it. Works without mayflyd as well. */
#include <stdio.h>

#include "daemon/error.h"
#include "daemon/paths.h"
#include "tools/commands.h"
#include "tools/doctor.h"
#include "tools/document.h"

/* With a configuration that cannot be read, the rest is looked at as if there were none. */
static MfConfig *
check_config(MfDoctor *doctor)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *path = mf_path_config();
  MfConfig *config = mf_config_load(path, &error);
  if (config != NULL) {
    mf_doctor_say(doctor, "configuration", MF_DOCTOR_OK, path, NULL);
    return config;
  }
  mf_doctor_say(doctor, "configuration", MF_DOCTOR_PROBLEM, error->message,
                "correct it; mayflyd --check reads it again");
  return mf_config_load(NULL, NULL);
}

int
mf_cmd_doctor(const MfCommon *common, gconstpointer options, char **argv, GError **error)
{
  g_autoptr(GError) problem = NULL;
  g_autoptr(MfDoctor) doctor = mf_doctor_new();
  g_autoptr(MfConfig) config = check_config(doctor);
  g_autoptr(MfClient) client = mf_client_new(common->socket);
  g_autoptr(MfJson) info = mf_client_call(client, "GET", "/v1/info", NULL, &problem);
  if (info != NULL) {
    mf_doctor_check_daemon(doctor, info);
  } else {
    mf_doctor_say(doctor, "mayflyd", MF_DOCTOR_PROBLEM, problem->message,
                  g_error_matches(problem, MF_ERROR, MF_ERROR_FORBIDDEN)
                      ? "or run this with sudo"
                      : "journalctl -u mayflyd tells why, if it does not start");
    mf_doctor_check_kvm(doctor, config);
  }
  mf_doctor_check_account(doctor);
  mf_doctor_check_libvirt(doctor);
  mf_doctor_check_network(doctor, config, mf_doctor_ports_are_fine(info));
  mf_doctor_check_storage(doctor, config);
  mf_doctor_check_templates(doctor, config);
  if (info != NULL)
    mf_doctor_check_images(doctor, client);
  mf_doctor_check_programs(doctor, config);
  if (mf_command_wants_json(common)) {
    g_autoptr(MfJson) json = mf_doctor_to_json(doctor);
    mf_document_print(json);
  } else {
    g_autofree char *text = mf_doctor_format(doctor);
    fputs(text, stdout);
  }
  return mf_doctor_has_problems(doctor) ? MF_EXIT_PROBLEM : MF_EXIT_OK;
}
