/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Starting an exec's process under a monitor: a fork of the agent that is the subreaper of
 * everything the exec starts, so that none of it is lost sight of. The monitor reports how the main
 * process ended, and lives until the last descendant is gone.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tools/agent/user.h"

typedef struct {
  char *const *argv;
  char *const *env;
  const char *cwd; /* NULL: the user's home, else / */
  const MfUser *user;
  const char *group; /* cgroup to run in, or NULL */
  bool tty;          /* in is the terminal's slave side, and becomes the controlling terminal */
  int in, out, err;
} MfSpawn;

typedef enum {
  MF_SPAWN_FAILED, /* it could not be started: text says why; EXITED follows */
  MF_SPAWN_EXITED, /* value: wait status */
} MfSpawnReportKind;

/* Written in one piece: smaller than PIPE_BUF. */
typedef struct {
  int32_t kind;
  int32_t value;
  char text[1024];
} MfSpawnReport;

/* mf_spawn_start() - Return: the monitor's pid and *@ret_report_fd, or -1 and errno. */
pid_t mf_spawn_start(const MfSpawn *spawn, int *ret_report_fd);
