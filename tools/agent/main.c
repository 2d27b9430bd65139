/* SPDX-License-Identifier: Apache-2.0 */

/*
 * mayfly-agent: runs inside a machine and does there what mayflyd asks for. Started as the first
 * process of our initrd it is also the initrd's init.
 */

#include "tools/agent/init.h"
#include "tools/agent/session.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

static const char help[] =
    "usage: mayfly-agent [--socket PATH | --fd N]\n"
    "\n"
    "Runs inside a mayfly machine and does what mayflyd on the host asks for, over the "
    "virtio-serial port\n" MF_FRAME_PORT_NAME
    ". Where another agent has the port already it ends at once, with status 0.\n"
    "Started as /init of an initrd it also loads drivers, mounts the root and starts its init.\n"
    "\n"
    "  --socket PATH  connect to this unix socket instead, again and again\n"
    "  --fd N         talk over this open file instead\n"
    "  --version      print the version\n"
    "  --help         print this\n";

/* A job that runs as root can end us, but not by a signal that was meant for a terminal or a whole
 * session. */
static void
ignore_signals(void)
{
  static const int ignored[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGPIPE, SIGALRM,
                                SIGTERM, SIGUSR1, SIGUSR2, SIGTSTP, SIGTTIN,
                                SIGTTOU, SIGPWR,  SIGXCPU, SIGXFSZ, SIGWINCH};
  struct sigaction action = {.sa_handler = SIG_IGN};
  for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
    sigaction(ignored[i], &action, NULL);
}

static void
protect_from_oom(void)
{
  MF_AUTO_CLOSE int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd >= 0)
    (void)!write(fd, "-1000", 5);
}

/* A command that writes wakes us: were we to take the processor from it at once, each of its lines
 * would cost two switches and a frame. As a batch we read what has come together. What we start is
 * none (spawn.c). */
static void
let_writers_go_on(void)
{
  struct sched_param none = {0};
  sched_setscheduler(0, SCHED_BATCH, &none);
}

/* 0, 1 and 2 must be something, or the next files opened would become standard streams. */
static void
open_standard_streams(void)
{
  while (fcntl(2, F_GETFD) < 0)
    if (open("/dev/null", O_RDWR) < 0 || fcntl(2, F_GETFD) >= 0)
      break;
}

static bool
is_init(int argc, char **argv)
{
  size_t length = argc > 0 ? strlen(argv[0]) : 0;
  if (getpid() != 1 || length < 4 || strcmp(argv[0] + length - 4, "init") != 0)
    return false;
  for (int i = 1; i < argc; i++)
    if (strncmp(argv[i], "--", 2) == 0)
      return false;
  return true;
}

static bool
parse_number(const char *text, int *ret_number)
{
  char *end;
  long number = strtol(text, &end, 10);
  if (*text == '\0' || *end != '\0' || number < 0 || number > 1 << 20)
    return false;
  *ret_number = (int)number;
  return true;
}

int
main(int argc, char **argv)
{
  if (is_init(argc, argv))
    return mf_init_run(argv);

  enum { SOCKET = 1, FD, BOOT_FD, VERSION, HELP };
  static const struct option options[] = {
      {"socket", required_argument, NULL, SOCKET},
      {"fd", required_argument, NULL, FD},
      {"boot-fd", required_argument, NULL, BOOT_FD},
      {"version", no_argument, NULL, VERSION},
      {"help", no_argument, NULL, HELP},
      {0},
  };
  MfLinkKind kind = MF_LINK_PORT;
  const char *path = NULL;
  int fd = -1, boot_fd = -1;
  bool good = true;
  for (int option; good && (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (option == VERSION)
      return printf("mayfly-agent %s\n", MF_VERSION) < 0;
    if (option == HELP)
      return fputs(help, stdout) < 0;
    if (option == SOCKET) {
      kind = MF_LINK_SOCKET;
      path = optarg;
    } else if (option == FD) {
      kind = MF_LINK_FD;
      good = parse_number(optarg, &fd);
    } else if (option == BOOT_FD) {
      good = parse_number(optarg, &boot_fd);
    } else {
      good = false;
    }
  }
  if (!good || optind < argc) {
    fprintf(stderr, "mayfly-agent: unknown or wrong argument; see mayfly-agent --help\n");
    return 2;
  }
  open_standard_streams();
  ignore_signals();
  protect_from_oom();
  let_writers_go_on();
  prctl(PR_SET_NAME, "mayfly-agent");
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  mf_session_run(kind, path, fd, boot_fd);
  return 0;
}
