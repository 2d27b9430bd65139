/* SPDX-License-Identifier: Apache-2.0 */
/*
 * last-thread LOCK MS - locks the file LOCK and waits for SIGTERM. Then its first thread ends, and
 * MS milliseconds later the other one: what any daemon with threads does, but slowly. It waits for
 * the lock: who asks whether it is held holds it for a moment.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

typedef struct {
  pthread_t first;
  useconds_t us;
} Last;

static void *
end_last(void *data)
{
  const Last *last = data;
  pthread_join(last->first, NULL);
  usleep(last->us);
  return NULL;
}

int
main(int argc, char **argv)
{
  static Last last;
  sigset_t set;
  pthread_t thread;
  int got;
  if (argc != 3) {
    fputs("last-thread LOCK MS\n", stderr);
    return 2;
  }
  last.first = pthread_self();
  last.us = (useconds_t)(1000 * strtoul(argv[2], NULL, 10));
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, NULL);
  int fd = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || flock(fd, LOCK_EX) < 0 ||
      pthread_create(&thread, NULL, end_last, &last) != 0)
    return 1;
  sigwait(&set, &got);
  pthread_exit(NULL);
}
