/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A GitLab job as its runner writes it down for the driver (JOB_RESPONSE_FILE): who it is, and what
 * it asks for. Only this file counts: any CUSTOM_ENV_ variable can be set by the job itself. Pure.
 * No message says a variable's value, because it may be a secret.
 */

#include "daemon/auto.h"

#define MF_GITLAB_IMAGE_LIMIT 512

typedef struct {
  guint64 id;
  char *name; /* of its machine: the same for every stage and try of this job, and for no other */
  MfJson *response;
} MfGitlabJob;

/* What a job may choose; 0 and NULL: it does not say. */
typedef struct {
  char *image;       /* variables put in; non-empty */
  char *image_shown; /* as it was written, in quotes */
  char **services;   /* their images' names, in quotes */
  guint cpus;
  guint64 memory, disk;
  guint64 keep;          /* seconds, MAYFLY_KEEP_ON_FAILURE */
  gboolean retryable;    /* MAYFLY_RETRYABLE; yes, unless the job says no */
  guint64 timeout;       /* seconds, the runner's word */
  gboolean needs_runner; /* artifacts or cache: a gitlab-runner in the machine moves them */
} MfGitlabWishes;

/* INVALID: this is no job's response, or one without an id and a token. */
MfGitlabJob *mf_gitlab_job_parse(const void *data, gsize length,
                                 GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same of a file. */
MfGitlabJob *mf_gitlab_job_load(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* INVALID names the variable or the keyword that its author has to change. */
MfGitlabWishes *mf_gitlab_job_get_wishes(const MfGitlabJob *self,
                                         GError **error) G_GNUC_WARN_UNUSED_RESULT;

void mf_gitlab_job_free(MfGitlabJob *self);
void mf_gitlab_wishes_free(MfGitlabWishes *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfGitlabJob, mf_gitlab_job_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfGitlabWishes, mf_gitlab_wishes_free)
