/* SPDX-License-Identifier: Apache-2.0 */

/* Memory, time and whole files: see util.h. */

#include "tools/agent/util.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static void *
require_memory(void *pointer)
{
  if (pointer == NULL) {
    static const char message[] = "mayfly-agent: there is no memory left in this guest\n";
    (void)!write(STDERR_FILENO, message, sizeof message - 1);
    _exit(1);
  }
  return pointer;
}

void *
mf_util_alloc(size_t size)
{
  return require_memory(calloc(1, size > 0 ? size : 1));
}

void *
mf_util_realloc(void *pointer, size_t size)
{
  return require_memory(realloc(pointer, size > 0 ? size : 1));
}

char *
mf_util_strdup(const char *text)
{
  return require_memory(strdup(text));
}

char *
mf_util_vprintf(const char *format, va_list arguments)
{
  char *text = NULL;
  if (vasprintf(&text, format, arguments) < 0)
    text = NULL;
  return require_memory(text);
}

char *
mf_util_printf(const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  char *text = mf_util_vprintf(format, arguments);
  va_end(arguments);
  return text;
}

void
mf_util_close(int *fd)
{
  if (*fd >= 0)
    close(*fd);
  *fd = -1;
}

static int64_t
clock_ms(clockid_t clock)
{
  struct timespec now;
  clock_gettime(clock, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t
mf_util_now_ms(void)
{
  return clock_ms(CLOCK_MONOTONIC);
}

int64_t
mf_util_uptime_ms(void)
{
  return clock_ms(CLOCK_BOOTTIME);
}

bool
mf_util_write_all(int fd, const void *data, size_t length)
{
  const char *at = data;
  while (length > 0) {
    ssize_t wrote = write(fd, at, length);
    if (wrote < 0 && errno == EINTR)
      continue;
    if (wrote < 0)
      return false;
    at += wrote;
    length -= (size_t)wrote;
  }
  return true;
}

/* The size is not asked for: files in /proc and /sys do not know theirs. */
char *
mf_util_read_file(const char *path, size_t limit, size_t *ret_length)
{
  MF_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0)
    return NULL;
  MF_AUTO_FREE char *data = NULL;
  size_t room = 0, length = 0;
  for (;;) {
    if (length == room) {
      room = room == 0 ? 4096 : room * 2;
      data = mf_util_realloc(data, room + 1);
    }
    ssize_t got = read(fd, data + length, room - length);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return NULL;
    if (got == 0)
      break;
    length += (size_t)got;
    if (length > limit) {
      errno = EFBIG;
      return NULL;
    }
  }
  data[length] = '\0';
  if (ret_length != NULL)
    *ret_length = length;
  char *result = data;
  data = NULL;
  return result;
}

static void
make_parents(const char *path)
{
  MF_AUTO_FREE char *copy = mf_util_strdup(path);
  for (char *slash = strchr(copy + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    mkdir(copy, 0755);
    *slash = '/';
  }
}

bool
mf_util_write_file(const char *path, mode_t mode, const void *data, size_t length)
{
  make_parents(path);
  MF_AUTO_FREE char *temporary = mf_util_printf("%s.mayfly-XXXXXX", path);
  MF_AUTO_CLOSE int fd = mkostemp(temporary, O_CLOEXEC);
  if (fd < 0)
    return false;
  if (fchmod(fd, mode) == 0 && mf_util_write_all(fd, data, length) && rename(temporary, path) == 0)
    return true;
  int saved = errno;
  unlink(temporary);
  errno = saved;
  return false;
}

static int
remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
  (void)status;
  (void)type;
  (void)where;
  remove(path);
  return 0;
}

void
mf_util_remove_tree(const char *path)
{
  nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}
