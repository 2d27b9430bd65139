/* SPDX-License-Identifier: Apache-2.0 */
/* Contract: environment in, statuses out. */
#include "tools/gitlab-contract.h"

#include <glib/gstdio.h>
#include <stdio.h>

/* As every gitlab-runner has had them. */
#define BUILD_FAILURE  1
#define SYSTEM_FAILURE 2

static int
status_from(const char *variable, int otherwise)
{
  guint64 status;
  const char *text = g_getenv(variable);
  if (text == NULL || !g_ascii_isdigit(text[0]) ||
      !g_ascii_string_to_unsigned(text, 10, 1, 255, &status, NULL))
    return otherwise;
  return (int)status;
}

static const char *
text_from(const char *variable)
{
  const char *text = g_getenv(variable);
  return text != NULL && text[0] != '\0' ? text : NULL;
}

void
mf_gitlab_contract_read(MfGitlabContract *self)
{
  *self = (MfGitlabContract){
      .build_failure = status_from("BUILD_FAILURE_EXIT_CODE", BUILD_FAILURE),
      .system_failure = status_from("SYSTEM_FAILURE_EXIT_CODE", SYSTEM_FAILURE),
      .exit_code_file = text_from("BUILD_EXIT_CODE_FILE"),
      .response_file = text_from("JOB_RESPONSE_FILE"),
      .job_status = text_from("CUSTOM_ENV_CI_JOB_STATUS"),
  };
}

void
mf_gitlab_contract_forget(const MfGitlabContract *self)
{
  if (self->exit_code_file != NULL)
    g_unlink(self->exit_code_file);
}

int
mf_gitlab_contract_report(const MfGitlabContract *self, int code)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *text = g_strdup_printf("%d", code);
  if (code == 0)
    return 0;
  /* Without it the runner says 1, and the job has still failed. */
  if (self->exit_code_file != NULL &&
      !g_file_set_contents_full(self->exit_code_file, text, -1, G_FILE_SET_CONTENTS_NONE, 0600,
                                &error))
    fprintf(stderr, "mayfly: the exit status %d cannot be passed on: %s\n", code, error->message);
  return self->build_failure;
}

int
mf_gitlab_contract_fail(int status, const GError *error)
{
  fflush(stdout);
  fprintf(stderr, "\033[31;1mmayfly: %s\033[0m\n", error->message);
  return status;
}
