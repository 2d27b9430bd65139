/* SPDX-License-Identifier: Apache-2.0 */
/* Terminal: one saved mode in the process, because a process has one terminal and exit handlers
 * have no argument. */
#include "tools/terminal.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct {
  gboolean raw;
  gboolean registered;
  int fd;
  struct termios before;
} saved;

gboolean
mf_terminal_get_size(int fd, guint *ret_rows, guint *ret_cols)
{
  struct winsize size;
  if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0)
    return FALSE;
  *ret_rows = size.ws_row;
  *ret_cols = size.ws_col;
  return TRUE;
}

void
mf_terminal_restore(void)
{
  if (saved.raw)
    tcsetattr(saved.fd, TCSADRAIN, &saved.before);
  saved.raw = FALSE;
}

gboolean
mf_terminal_make_raw(int fd)
{
  struct termios mode;
  if (saved.raw)
    return TRUE;
  if (tcgetattr(fd, &mode) != 0)
    return FALSE;
  saved.fd = fd;
  saved.before = mode;
  if (!saved.registered)
    atexit(mf_terminal_restore);
  saved.registered = TRUE;
  cfmakeraw(&mode);
  saved.raw = tcsetattr(fd, TCSADRAIN, &mode) == 0;
  return saved.raw;
}
