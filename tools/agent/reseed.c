/* SPDX-License-Identifier: Apache-2.0 */

/* Making a forked machine its own: see reseed.h. */

#include "tools/agent/reseed.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#define ENTROPY_MAX 512 /* bytes */
#define DBUS_ID     "/var/lib/dbus/machine-id"
#define SEED_FILE   "/var/lib/systemd/random-seed"
#define SEED_LENGTH 512

static int
hex_digit(char digit)
{
  if (digit >= '0' && digit <= '9')
    return digit - '0';
  if (digit >= 'a' && digit <= 'f')
    return digit - 'a' + 10;
  return -1;
}

static bool
decode_hex(const char *hex, size_t length, unsigned char *out)
{
  for (size_t i = 0; i < length; i++) {
    int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
    if (high < 0 || low < 0)
      return false;
    out[i] = (unsigned char)(high << 4 | low);
  }
  return true;
}

/* Credited, and the pool then made to use it at once: from here on no two forks draw the same
 * numbers. */
static bool
add_entropy(const char *hex)
{
  size_t length = strlen(hex) / 2;
  if (length == 0 || length > ENTROPY_MAX || strlen(hex) % 2 != 0) {
    errno = EINVAL;
    return false;
  }
  MF_AUTO_FREE struct rand_pool_info *pool = mf_util_alloc(sizeof *pool + ENTROPY_MAX);
  MF_AUTO_CLOSE int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
  pool->buf_size = (int)length;
  pool->entropy_count = (int)length * 8;
  bool good = decode_hex(hex, length, (unsigned char *)pool->buf);
  if (!good)
    errno = EINVAL;
  good = good && fd >= 0 && ioctl(fd, RNDADDENTROPY, pool) == 0;
  if (good)
    ioctl(fd, RNDRESEEDCRNG);
  explicit_bzero(pool, sizeof *pool + ENTROPY_MAX);
  return good;
}

/* What a reboot would begin with, and what systemd credits then. */
static bool
renew_seed(void)
{
  unsigned char seed[SEED_LENGTH];
  if (access(SEED_FILE, F_OK) != 0)
    return true;
  return getrandom(seed, sizeof seed, 0) == (ssize_t)sizeof seed &&
         mf_util_write_file(SEED_FILE, 0600, seed, sizeof seed);
}

static bool
set_time(int64_t time_ns)
{
  struct timespec now = {.tv_sec = time_ns / 1000000000, .tv_nsec = time_ns % 1000000000};
  return clock_settime(CLOCK_REALTIME, &now) == 0;
}

static bool
write_line(const char *path, mode_t mode, const char *text)
{
  MF_AUTO_FREE char *line = mf_util_printf("%s\n", text);
  return mf_util_write_file(path, mode, line, strlen(line));
}

static bool
set_hostname(const char *name)
{
  bool set = sethostname(name, strlen(name)) == 0;
  if (set && access("/etc", W_OK) == 0)
    write_line("/etc/hostname", 0644, name);
  return set;
}

static bool
set_machine_id(const char *id)
{
  if (strlen(id) != 32 || strspn(id, "0123456789abcdef") != 32) {
    errno = EINVAL;
    return false;
  }
  struct stat dbus;
  /* Where it is not a link to the other, it is another file with the same. */
  bool own = lstat(DBUS_ID, &dbus) == 0 && S_ISREG(dbus.st_mode);
  return write_line("/etc/machine-id", 0444, id) && (!own || write_line(DBUS_ID, 0444, id));
}

static void
note(char **errors, const char *what)
{
  char *longer = mf_util_printf("%s%s%s (%s)", *errors != NULL ? *errors : "could not set ",
                                *errors != NULL ? ", " : "", what, strerror(errno));
  free(*errors);
  *errors = longer;
}

char *
mf_reseed(MfDocument *document)
{
  char *errors = NULL;
  const char *entropy = mf_document_string(document, "entropy");
  const char *hostname = mf_document_string(document, "hostname");
  const char *machine_id = mf_document_string(document, "machine_id");
  int64_t time_ns = mf_document_int(document, "time_ns", 0);
  /* First: it was right when it was sent. */
  if (time_ns > 0 && !set_time(time_ns))
    note(&errors, "the clock");
  if (entropy != NULL && !add_entropy(entropy))
    note(&errors, "the random number generator");
  if (entropy != NULL && !renew_seed())
    note(&errors, "the seed for the next boot");
  if (hostname != NULL && !set_hostname(hostname))
    note(&errors, "the host name");
  if (machine_id != NULL && !set_machine_id(machine_id))
    note(&errors, "the machine id");
  return errors;
}

void
mf_reseed_settle(void)
{
  sync();
  MF_AUTO_CLOSE int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
  if (fd >= 0)
    (void)!write(fd, "3", 1);
}
