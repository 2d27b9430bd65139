/* SPDX-License-Identifier: Apache-2.0 */
/* See own-child.h. */
#include "tests/lib/own-child.h"

#include <sys/wait.h>
#include <unistd.h>

#define CANNOT 77 /* what the child says that this machine does not let do this */

void
own_child_need(gboolean can)
{
  if (!can)
    _exit(CANNOT);
}

void
own_child_test(gconstpointer data)
{
  const OwnChild *child = data;
  int status = -1;
  pid_t pid = fork();
  if (pid == 0) {
    child->run();
    _exit(0);
  }
  g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
  if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT)
    g_test_skip("namespaces, or a tap in one, cannot be made here; run it as root");
  else
    g_assert_cmpint(status, ==, 0);
}
