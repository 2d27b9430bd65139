/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A whole connection of any bytes, to the API over a fake scheduler in the same process. The first
 * byte says in how many pieces the rest arrives and who sends it. When the client has said all and
 * closed, nothing of it may be left.
 */

#include <glib/gstdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "tests/lib/api-fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ApiFixture *
fixture(void)
{
  static ApiFixture f;
  if (f.api != NULL)
    return &f;
  api_fixture_set_up(&f, NULL);
  MfJob *job = fake_scheduler_add(f.scheduler, "a", 1000, MF_JOB_RUNNING);
  fake_exec_write(fake_job_add_exec(f.scheduler, job), 1, "out\n", 4);
  fake_job_open_console(f.scheduler, job);
  fake_scheduler_add(f.scheduler, "b", 1001, MF_JOB_FINISHED);
  return &f;
}

static void
drain(int fd)
{
  char buffer[65536];
  while (recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT) > 0)
    continue;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  ApiFixture *f = fixture();
  int fds[2];
  if (size < 1 || size > 64 << 10 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
    return 0;
  guint pieces = (data[0] & 7) + 1;
  api_fixture_set_peer(f, data[0] & 8 ? 0 : 1000, (data[0] & 8) != 0);
  g_autoptr(GSocket) server = g_socket_new_from_fd(fds[0], NULL);
  mf_api_admit(f->api, server);
  g_clear_object(&server);
  size_t step = (size - 1) / pieces + 1;
  for (size_t at = 1; at < size; at += step) {
    size_t n = MIN(step, size - at);
    if (send(fds[1], data + at, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
      break;
    api_settle();
    drain(fds[1]);
  }
  close(fds[1]);
  /* A worker may still be at it: an image's digest. */
  while (g_hash_table_size(f->api->connections) + g_hash_table_size(f->api->requests) +
             g_hash_table_size(f->api->refused) >
         0)
    g_main_context_iteration(NULL, TRUE);
  if (((MfJob *)f->scheduler->jobs->pdata[0])->watchers != 0)
    abort();
  /* What was posted would otherwise pile up. */
  g_ptr_array_set_size(f->scheduler->jobs, 2);
  f->scheduler->draining = FALSE;
  return 0;
}
