/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The few things every part of the agent needs. No GLib here: the agent is one static program that
 * runs in any Linux guest, also as its first process.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static inline void
mf_util_free_p(void *pointer)
{
  free(*(void **)pointer);
}

static inline void
mf_util_close_p(int *fd)
{
  if (*fd >= 0)
    close(*fd);
}

#define MF_AUTO_FREE  __attribute__((cleanup(mf_util_free_p)))
#define MF_AUTO_CLOSE __attribute__((cleanup(mf_util_close_p)))

/* Memory is small and bounded here; where there is none left the agent ends with a clear line. */
void *mf_util_alloc(size_t size); /* zeroed */
void *mf_util_realloc(void *pointer, size_t size);
char *mf_util_strdup(const char *text);
char *mf_util_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *mf_util_vprintf(const char *format, va_list arguments) __attribute__((format(printf, 1, 0)));

/* Closes *@fd if it is open, and sets it to -1. */
void mf_util_close(int *fd);

int64_t mf_util_now_ms(void);    /* monotonic */
int64_t mf_util_uptime_ms(void); /* since the guest's kernel started */

/* Calls that go on after signals and short transfers. False: errno says why. */
bool mf_util_write_all(int fd, const void *data, size_t length);
/* At most @limit bytes of a file, with a NUL behind them (transfer: free). NULL: errno says why,
 * EFBIG if longer. */
char *mf_util_read_file(const char *path, size_t limit, size_t *ret_length);
/* Creates or replaces a small file in one step, with missing parent folders. */
bool mf_util_write_file(const char *path, mode_t mode, const void *data, size_t length);

/* Removes a file or a folder with what is in it; never follows links out of it. */
void mf_util_remove_tree(const char *path);
