/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the tiny guest in a QEMU without devices, libvirt or network, reads what it prints, and ends
 * QEMU in any case. */
#include "daemon/accel-run.h"

#include <errno.h>
#include <gio/gunixinputstream.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "daemon/auto.h"
#include "daemon/error.h"

#define SECTOR        512
#define COMPLAINT_MAX 300
#define SLICE_MS      100
#define GUEST_SAYS    "RK"

extern const guint8 mf_accel_guest[SECTOR];

void
mf_accel_run_clear(MfAccelRun *self)
{
  g_clear_pointer(&self->complaint, g_free);
}

/* A disk of one sector is none: SeaBIOS asks for a cylinder at least. (transfer full) its path */
static char *
write_disk(GError **error)
{
  g_autofree char *path = NULL;
  g_auto(MfFd) fd = g_file_open_tmp("mayfly-accel-XXXXXX", &path, error);

  if (fd < 0)
    return NULL;
  if (write(fd, mf_accel_guest, SECTOR) != SECTOR || ftruncate(fd, 1024 * 1024) != 0) {
    g_set_error(error, MF_ERROR, errno == ENOSPC ? MF_ERROR_NO_SPACE : MF_ERROR_FAILED,
                "cannot write %s: %s", path, g_strerror(errno));
    g_unlink(path);
    return NULL;
  }
  return g_steal_pointer(&path);
}

/* A guest that hangs must not outlive us. */
static void
die_with_parent(gpointer unused)
{
  prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static GSubprocess *
spawn(const char *emulator, const char *accel, const char *cpu, const char *disk, GError **error)
{
  g_autofree char *machine = g_strconcat("q35,accel=", accel, NULL);
  g_autofree char *drive = g_strconcat("file=", disk, ",format=raw,if=ide", NULL);
  const char *argv[] = {emulator,
                        "-machine",
                        machine,
                        "-cpu",
                        cpu,
                        "-m",
                        "64",
                        "-nodefaults",
                        "-no-user-config",
                        "-display",
                        "none",
                        "-no-reboot",
                        "-debugcon",
                        "stdio",
                        "-device",
                        "isa-debug-exit,iobase=0xf4,iosize=4",
                        "-drive",
                        drive,
                        NULL};
  g_autoptr(GSubprocessLauncher) launcher =
      g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_PIPE);
  g_autoptr(GError) local = NULL;

  g_subprocess_launcher_set_child_setup(launcher, die_with_parent, NULL, NULL);
  GSubprocess *process = g_subprocess_launcher_spawnv(launcher, argv, &local);
  if (process == NULL)
    g_set_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE,
                "QEMU cannot be run (%s): install qemu-system-x86, or set emulator in mayfly.conf",
                local->message);
  return process;
}

/* What came on a pipe, at most up to @max bytes kept; FALSE at its end. */
static gboolean
read_more(int fd, GString *text, gsize max)
{
  char buffer[256];
  gssize n = read(fd, buffer, sizeof buffer);

  if (n < 0)
    return errno == EAGAIN || errno == EINTR;
  if (n > 0 && text->len < max)
    g_string_append_len(text, buffer, MIN(n, (gssize)(max - text->len)));
  return n > 0;
}

static int
pipe_fd(GInputStream *stream)
{
  return g_unix_input_stream_get_fd(G_UNIX_INPUT_STREAM(stream));
}

/* Until both pipes end, the guest has said all, or the deadline passes. TRUE: the deadline passed.
 */
static gboolean
follow(GSubprocess *process, gint64 deadline, GCancellable *c, GString *printed, GString *said)
{
  struct pollfd pipes[] = {
      {.fd = pipe_fd(g_subprocess_get_stdout_pipe(process)), .events = POLLIN},
      {.fd = pipe_fd(g_subprocess_get_stderr_pipe(process)), .events = POLLIN},
  };
  GString *const texts[] = {printed, said};

  while (pipes[0].fd >= 0 || pipes[1].fd >= 0) {
    if (g_cancellable_is_cancelled(c))
      return FALSE;
    if (g_get_monotonic_time() >= deadline)
      return TRUE;
    poll(pipes, G_N_ELEMENTS(pipes), SLICE_MS);
    for (guint i = 0; i < G_N_ELEMENTS(pipes); i++) {
      if (pipes[i].fd >= 0 && pipes[i].revents != 0 &&
          !read_more(pipes[i].fd, texts[i], COMPLAINT_MAX))
        pipes[i].fd = -1;
      pipes[i].revents = 0;
    }
    if (g_str_equal(printed->str, GUEST_SAYS))
      return FALSE;
  }
  return FALSE;
}

static char *
first_line(const char *text)
{
  g_auto(GStrv) lines = g_strsplit(text, "\n", 2);

  if (lines[0] == NULL || *g_strstrip(lines[0]) == '\0')
    return NULL;
  return g_utf8_make_valid(lines[0], -1);
}

gboolean
mf_accel_run(const char *emulator, const char *accel, const char *cpu, guint patience_ms,
             GCancellable *c, MfAccelRun *ret, GError **error)
{
  g_autofree char *disk = write_disk(error);
  if (disk == NULL)
    return FALSE;
  gint64 begin = g_get_monotonic_time();
  g_autoptr(GSubprocess) process = spawn(emulator, accel, cpu, disk, error);
  if (process == NULL) {
    g_unlink(disk);
    return FALSE;
  }
  g_autoptr(GString) printed = g_string_new(NULL);
  g_autoptr(GString) said = g_string_new(NULL);
  gboolean late = follow(process, begin + (gint64)patience_ms * 1000, c, printed, said);
  gint64 end = g_get_monotonic_time();
  g_subprocess_force_exit(process);
  g_subprocess_wait(process, NULL, NULL);
  g_unlink(disk);
  if (g_cancellable_set_error_if_cancelled(c, error))
    return FALSE;
  *ret = (MfAccelRun){
      .whole = g_str_equal(printed->str, GUEST_SAYS),
      .hung = late,
      .printed = (guint)printed->len,
      .milliseconds = (guint)((end - begin) / 1000),
      .complaint = first_line(said->str),
  };
  return TRUE;
}
