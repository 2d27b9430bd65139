/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What scheduler and machine, which drive jobs, see of them; everybody else has job.h. A job and
 * its execs are plain state with setters that record and emit: the driving is elsewhere.
 */

#include "daemon/agent-link.h"
#include "daemon/image.h"
#include "daemon/job.h"
#include "daemon/policy.h"

typedef enum { MF_EXEC_WAITING, MF_EXEC_RUNNING, MF_EXEC_FINISHED } MfExecState;

/* Where a job's time went, in the order of its life; each is in its record, in seconds. */
typedef enum {
  MF_TIMING_QUEUE,
  MF_TIMING_PREPARE, /* the image's prepared layer, when it had to be made */
  MF_TIMING_CLONE,
  MF_TIMING_WAIT, /* for places among those that inject and those that start, together */
  MF_TIMING_INJECT,
  MF_TIMING_PORT, /* until one was free */
  MF_TIMING_START,
  MF_TIMING_HELLO, /* from its first instruction to its agent's first word: in start and boot */
  MF_TIMING_BOOT,
  MF_TIMING_FIRST_OUTPUT,
  MF_TIMING_TEARDOWN,
  MF_TIMING_LAST_
} MfTiming;
const char *mf_timing_to_string(MfTiming timing);

struct _MfExec {
  GObject parent;
  guint number;
  MfExecState state;
  MfExecSpec *spec; /* NULL once the secrets are wiped */
  char *key;
  char **argv; /* what people see of it */
  gboolean tty;
  MfOutputLog *output;
  int exit_code; /* -1: none */
  int signal;    /* 0: none */
  char *error;
  gint64 started, finished; /* unix microseconds, 0 = not yet */
  MfAgentLink *link;        /* NULL while the agent is not there */
  /* Standard input: what the agent has taken, and what waits for it. */
  guint64 stdin_base;
  GByteArray *stdin_pending;
  gboolean stdin_eof;
  gboolean
      stdin_unknown; /* of a running exec from its record: the agent has to say how far it is */
  guint output_watch;
  guint64 acked[3]; /* by stream, what the agent was told */
};

struct _MfJob {
  GObject parent;
  char *id;
  uid_t owner;
  char *folder;
  MfJobSpec *spec; /* NULL once the secrets are wiped, and for jobs read from their record */
  MfTemplate *template;
  MfImage *image;
  char *name, *key, *template_name, *image_ref, *image_digest;
  MfGrant grant;
  guint64 lease;
  gboolean hold, retryable;
  MfJobState state;
  MfResult result;
  int exit_code; /* -1: none */
  char *reason;
  const char *phase; /* static text */
  guint position;
  char *queued_for;
  char *machine; /* its machine's: its own id, unless one was waiting or it was started again */
  char *ip, *port, *uuid;
  char *agent; /* which one greeted last: another knows nothing of our execs */
  const char *accel;
  const char *how; /* its machine came to be: "cold", "fork", "pool" */
  gint64 created, started, finished, deadline, kept_until; /* unix microseconds, 0 = none */
  double timings[MF_TIMING_LAST_];                         /* seconds, < 0 = did not happen */
  char **console_tail;
  MfOutputLog *console;
  GPtrArray *execs; /* NULL: in the record only */
  gboolean behind;  /* the record is: it could not be written */
  gboolean filed;   /* the job is over, and all but what lists ask of many is in its record only */
};

/* A new exec in @self, its log opened. LIMIT: the job has too many. */
#define MF_JOB_MOST_UNFINISHED 64
#define MF_JOB_MOST_EXECS      1000
MfExec *mf_exec_new(MfJob *job, guint number, MfExecSpec *spec, guint64 output_limit,
                    GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* From its document in a record; @output_limit as above. */
MfExec *mf_exec_restore(MfJob *job, MfJson *document, MfExecSpec *spec, guint64 output_limit,
                        GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The agent is there: start it if it waits, give it what its standard input still has. */
void mf_exec_attach(MfExec *self, MfAgentLink *link, char *const *base_env);
void mf_exec_detach(MfExec *self);
/* The agent's words. FALSE: the output could not be kept. */
gboolean mf_exec_take_output(MfExec *self, guint stream, guint64 offset, const void *data,
                             gsize length, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void mf_exec_take_stdin_ack(MfExec *self, guint64 offset);
void mf_exec_take_exit(MfExec *self, int code, int signum, const char *problem);
/*
 * FALSE: output of these lengths has not all been taken. Just after a reconnect what the agent sent
 * to the connection before may still come, with a gap where that one ended; an exit among it is
 * said again after the output.
 */
gboolean mf_exec_has_output(MfExec *self, guint64 out_length, guint64 err_length);
/* What WELCOME says of it. (transfer full) */
MfJson *mf_exec_welcome(MfExec *self);

MfJob *mf_job_new(const char *id, uid_t owner, const char *jobs_folder, MfJobSpec *spec,
                  MfTemplate *template, MfImage *image, const MfGrant *grant);
/* From <folder>/record.json (and secrets.json, if it is there). @output_limit: of each exec. */
MfJob *mf_job_load(const char *folder, guint64 output_limit,
                   GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Makes the folder and the first record, with the secrets. */
gboolean mf_job_create_record(MfJob *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Of a job that is over: lets go of what its record has. It is read again for who asks. */
void mf_job_file(MfJob *self);
/* Reads execs and console of a filed job again, until it is filed the next time. */
void mf_job_fetch(MfJob *self);
/* Records, then emits "state-changed". A record that cannot be written is logged; the transition
 * stands: the job must go on to its end. */
void mf_job_set_state(MfJob *self, MfJobState state);
/*
 * From starting back to queued, as if it had never left; but libvirtd may keep name and UUID of its
 * machine for good (hypervisor-destroy.c), so both are new. @machine: its name, taken.
 */
void mf_job_start_over(MfJob *self, char *machine);
/* Writes the record without a change of state. */
void mf_job_save(MfJob *self);
void mf_job_emit_changed(MfJob *self);
void mf_job_set_phase(MfJob *self, const char *phase);
void mf_job_set_timing(MfJob *self, MfTiming timing, double seconds);
/* The first result stays. */
void mf_job_set_result(MfJob *self, MfResult result, int exit_code, const char *reason);
void mf_job_add_exec(MfJob *self, MfExec *exec);
/* What a later exec asks for goes to disk before it is accepted: a restarted daemon starts it from
 * there. */
gboolean mf_job_keep_exec(MfJob *self, MfExec *exec, GError **error) G_GNUC_WARN_UNUSED_RESULT;
gboolean mf_job_has_running_exec(MfJob *self);
/* The end: secrets on disk and in memory. */
void mf_job_wipe(MfJob *self);
