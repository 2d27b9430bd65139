/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A job's response as the GitLab driver takes it. Whoever writes .gitlab-ci.yml writes most of it:
 * what comes of it must be bounded, and the machine's name only what the runner says.
 */

#include <stdlib.h>
#include <string.h>

#include "tools/gitlab-job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(gboolean condition)
{
  if (!condition)
    abort();
}

static void
check_name(const char *name)
{
  require(g_str_has_prefix(name, "gitlab-"));
  const char *id = name + strlen("gitlab-");
  size_t digits = strspn(id, "0123456789");
  require(digits >= 1 && digits <= 19 && id[digits] == '-');
  require(strspn(id + digits + 1, "0123456789abcdef") == 12 && id[digits + 13] == '\0');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfGitlabJob) job = mf_gitlab_job_parse(data, size, &error);
  require((job == NULL) == (error != NULL));
  if (job == NULL)
    return 0;
  check_name(job->name);
  g_autoptr(GError) refusal = NULL;
  g_autoptr(MfGitlabWishes) wishes = mf_gitlab_job_get_wishes(job, &refusal);
  require((wishes == NULL) == (refusal != NULL));
  if (wishes == NULL)
    return 0;
  require(wishes->image == NULL ||
          (wishes->image[0] != '\0' && strlen(wishes->image) <= MF_GITLAB_IMAGE_LIMIT));
  require((wishes->image == NULL) == (wishes->image_shown == NULL));
  require(wishes->cpus <= 4096 && wishes->memory <= G_GUINT64_CONSTANT(1) << 60);
  require(g_strv_length(wishes->services) <= 16);
  return 0;
}
