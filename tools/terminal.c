/* SPDX-License-Identifier: Apache-2.0 */
/* Terminal: one saved mode in the process, because a process has one terminal and exit handlers
 * have no argument. */
#include "tools/terminal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct {
  gboolean raw;
  gboolean registered;
  int fd;
  struct termios before;
  gboolean screen; /* the alternate one is open, on screen_fd */
  int screen_fd;
} saved;

#define OPEN_SCREEN  "\033[?1049h\033[?25l"
#define CLOSE_SCREEN "\033[?25h\033[?1049l"

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

gboolean
mf_terminal_write(int fd, const char *text)
{
  gsize length = strlen(text);
  for (gsize done = 0; done < length;) {
    ssize_t n = write(fd, text + done, length - done);
    if (n > 0) {
      done += (gsize)n;
      continue;
    }
    /* Who shares the terminal may have made it non-blocking. */
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    if (errno == EAGAIN)
      poll(&ready, 1, -1);
    else if (errno != EINTR)
      return FALSE;
  }
  return TRUE;
}

static void
restore_at_exit(void)
{
  if (!saved.registered)
    atexit(mf_terminal_restore);
  saved.registered = TRUE;
}

gboolean
mf_terminal_open_screen(int fd)
{
  if (saved.screen)
    return TRUE;
  saved.screen_fd = fd;
  restore_at_exit();
  saved.screen = mf_terminal_write(fd, OPEN_SCREEN);
  return saved.screen;
}

void
mf_terminal_restore(void)
{
  if (saved.screen && !mf_terminal_write(saved.screen_fd, CLOSE_SCREEN))
    g_debug("the terminal is gone, ignoring");
  saved.screen = FALSE;
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
  restore_at_exit();
  cfmakeraw(&mode);
  saved.raw = tcsetattr(fd, TCSADRAIN, &mode) == 0;
  return saved.raw;
}
