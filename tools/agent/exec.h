/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The execs of this machine: all that the host asked to run, from its document to the acknowledged
 * exit status.
 *
 * An exec goes through: running → exited (its main process ended; what is in its pipes still
 * counts) → finished (nothing more will be sent than what is in its windows, and then EXIT) →
 * acknowledged → forgotten, but for its id: an id is never run twice. exec-start.c begins it,
 * exec-io.c moves its bytes and sees its end.
 */

#include "daemon/frame.h"
#include "tools/agent/document.h"
#include "tools/agent/environment.h"
#include "tools/agent/link.h"
#include "tools/agent/poller.h"
#include "tools/agent/stream.h"

#define MF_EXEC_STREAMS 2 /* stdout and stderr; a terminal has only the first */

typedef struct {
  int fd; /* -1: ended */
  int place;
  size_t owed; /* bytes that were in the pipe when the main process ended */
  MfStream window;
} MfExecOutput;

typedef struct MfExec MfExec;
struct MfExec {
  MfExec *next;
  uint32_t id;
  bool tty;
  pid_t monitor; /* 0: gone, and with it every descendant */
  int report_fd, report_place;
  char *group;         /* cgroup, or NULL */
  char *script_folder; /* or NULL */

  int in_fd, in_place; /* -1: nobody reads */
  MfStream in;
  uint64_t in_told; /* last acknowledgement sent */
  bool in_ends;
  uint64_t in_end; /* where EOF is */

  MfExecOutput out[MF_EXEC_STREAMS];
  int out_turn;

  bool exited;
  int status;  /* wait status, once exited */
  char *error; /* why it could not be started, or NULL */
  int64_t exited_at, quiet_since;
  bool finished, error_sent, exit_sent, acknowledged;
};

typedef struct {
  MfExec *first;
  MfLink *link;
  const MfEnvironment *environment; /* of every exec, under its own */
  bool groups;                      /* give each a cgroup */
  uint32_t *known;                  /* ids that were run and forgotten */
  size_t known_count, known_room;
} MfExecTable;

MfExec *mf_exec_find(const MfExecTable *self, uint32_t id);
bool mf_exec_is_known(const MfExecTable *self, uint32_t id);

/* mf_exec_start() - run @document as exec @id. What cannot be started is an exec with an error and
 * an exit status. */
void mf_exec_start(MfExecTable *self, uint32_t id, MfDocument *document);
/* The exec ends here, without having run: with @code, and @error (taken). */
void mf_exec_refuse(MfExec *self, int code, char *error);

void mf_exec_stdin(MfExecTable *self, const MfFrame *frame);
void mf_exec_eof(MfExecTable *self, const MfFrame *frame);
void mf_exec_signal(MfExecTable *self, uint32_t id, int signal);
void mf_exec_resize(MfExecTable *self, uint32_t id, int rows, int cols);
void mf_exec_ack(MfExecTable *self, const MfFrame *frame);

/* mf_exec_resume() - the host, newly connected, has of each exec what @welcome's "execs" says. */
void mf_exec_resume(MfExecTable *self, MfDocument *welcome);
/* mf_exec_send_next() - one frame of output, error or exit, the execs by turns. Return: whether
 * there was one. */
bool mf_exec_send_next(MfExecTable *self);

void mf_exec_prepare(MfExecTable *self, MfPoller *poller);
void mf_exec_dispatch(MfExecTable *self, const MfPoller *poller);
/* A child of the agent was reaped: it may have been a monitor. */
void mf_exec_reaped(MfExecTable *self, pid_t pid);

/* Parts of the above for one exec, in exec-io.c. */
void mf_exec_io_set_window_size(const MfExec *self, int rows, int cols);
void mf_exec_io_close_input(MfExec *self);
void mf_exec_io_prepare(MfExec *self, MfPoller *poller);
void mf_exec_io_dispatch(MfExec *self, const MfPoller *poller);
