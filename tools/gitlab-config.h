/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the admin says about GitLab's jobs: /etc/mayfly/gitlab.conf, read by the driver in every
 * stage that needs it, as gitlab-runner's user. Pure but for reading the file.
 */

#include "daemon/auto.h"
#include "daemon/key-table.h"

typedef struct {
  char *template;   /* of a job without image: */
  char **images;    /* "PATTERN" or "PATTERN=TEMPLATE", the first that fits counts */
  char *builds_dir; /* in the machine, as cache_dir */
  char *cache_dir;
  guint64 margin;     /* seconds a machine lives longer than its job's timeout */
  guint64 lease;      /* seconds it lives without a stage that watches it */
  guint64 keep_limit; /* most seconds a failed job's machine is kept */
  gboolean retryable; /* jobs may be ended when the host runs out of memory */
  guint64 term_grace; /* seconds from TERM to KILL for a script that is to end */
} MfGitlabConfig;

/* A file that is not there gives the defaults. (transfer full); INVALID names file, line and what
 * is allowed. */
MfGitlabConfig *mf_gitlab_config_load(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same of one text, @name being what messages call it. */
MfGitlabConfig *mf_gitlab_config_from_data(const char *name, const char *data, gsize length,
                                           GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Every key there is. (transfer none) */
const MfKeyTable *mf_gitlab_config_table(void);
/* @commented: the shipped form, with meanings. (transfer full) */
char *mf_gitlab_config_dump(const MfGitlabConfig *self, gboolean commented);

/* @answer: of GET /v1/templates. The templates, and those whose file has a mistake by their names: a
 * job that asks for one fails by that mistake and does not get another template, nor the blame.
 * (transfer full): an array */
MfJson *mf_gitlab_config_templates(MfJson *answer);

/*
 * mf_gitlab_config_find_template() - what @image of a job stands for.
 * @image: (nullable): the default template. @shown: the same for messages.
 * @templates: of mf_gitlab_config_templates(). Returns: a template's name (transfer full); FORBIDDEN
 * lists the images that are allowed.
 */
char *mf_gitlab_config_find_template(const MfGitlabConfig *self, const char *image,
                                     const char *shown, MfJson *templates,
                                     GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* One sentence for each rule of @images that no job gets a machine by: its template is not there.
 * (transfer full) */
char **mf_gitlab_config_find_problems(const MfGitlabConfig *self, MfJson *templates);

void mf_gitlab_config_free(MfGitlabConfig *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfGitlabConfig, mf_gitlab_config_free)
