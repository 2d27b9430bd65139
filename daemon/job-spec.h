/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a client asks for, from JSON and back. Pure and strict: an unknown key, a wrong type or a value out of bounds is
 * INVALID and named. Strings are bytes; those that cannot be passed on (a NUL in an argument, '=' in a variable's name) are refused here.
 */

#include <glib.h>

#include "daemon/auto.h"

typedef struct {
  char *path; /* absolute, in the guest */
  guint mode;
  GBytes *content;
} MfFile;

typedef struct {
  gatomicrefcount refs;
  char *key;      /* NULL, or its client's word for it: a second one of the same key is the first */
  char **argv;    /* or NULL: then script */
  GBytes *script; /* or NULL */
  char **shell;   /* candidates that read the script on stdin, or NULL */
  char **env;     /* "K=V" */
  char *cwd;      /* NULL: "/" or the user's home */
  char *user;     /* NULL: root */
  gboolean tty;
  guint rows, cols;
  gboolean open_stdin; /* "stdin": true: the client will send standard input */
} MfExecSpec;

MfExecSpec *mf_exec_spec_ref(MfExecSpec *self);
void mf_exec_spec_unref(MfExecSpec *self); /* wipes env and script */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfExecSpec, mf_exec_spec_unref)

/* {"key","argv":[…]|"script":…|"script_base64":…, "shell":[…],"env":{…},"cwd","user","tty","rows","cols","stdin"} */
MfExecSpec *mf_exec_spec_from_json(MfJson *json, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same as JSON again. (transfer full) */
MfJson *mf_exec_spec_to_json(const MfExecSpec *self);
/* The agent's exec document (frame.h), with @base_env before its own. (transfer full) */
MfJson *mf_exec_spec_to_frame(const MfExecSpec *self, char *const *base_env);

typedef struct {
  gatomicrefcount refs;
  char *template; /* NULL: the default one, "default" */
  char *name;     /* a label people see, ≤ 128 bytes, or NULL */
  char *key;      /* as an exec's, among its owner's jobs that have not finished */
  guint cpus;            /* 0 = the template's, as all below */
  guint64 memory, disk;  /* bytes */
  guint64 timeout;       /* seconds */
  guint64 lease;         /* seconds the job lives without a watching connection or renewal; 0 = for ever */
  guint64 keep;          /* seconds to keep the machine if it failed ("keep_on_failure") */
  gboolean hold;         /* "hold": do not end with the first exec */
  gboolean retryable;    /* its client tries it again if it ends as a system failure */
  char **env;            /* "K=V", for every exec */
  GPtrArray *files;      /* MfFile */
  MfExecSpec *exec;      /* first exec, or NULL (then hold is implied) */
} MfJobSpec;

MfJobSpec *mf_job_spec_ref(MfJobSpec *self);
void mf_job_spec_unref(MfJobSpec *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfJobSpec, mf_job_spec_unref)
/* {"template","name","key","cpus","memory","disk","timeout","lease","keep_on_failure","hold","retryable","env":{…},
    "files":[{"path","mode":"0644","content"|"content_base64"}],"exec":{…}} */
MfJobSpec *mf_job_spec_from_json(MfJson *json, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The same as JSON again; mf_job_spec_from_json() of it gives an equal one. (transfer full) */
MfJson *mf_job_spec_to_json(const MfJobSpec *self);

/* What is refused of a new job, though one on record with it goes on. */
gboolean mf_job_spec_check_new(const MfJobSpec *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;
