/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly top as a program: on a terminal, which is as it was before once it has ended, and in a
 * pipe. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <libsoup/soup.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

#include "daemon/auto.h"
#include "daemon/text.h"
#include "tests/lib/serve.h"

#define OPENED "\033[?1049h"
#define CLOSED "\033[?25h\033[?1049l"

/* A mayflyd with one machine that always uses half a processor, and a terminal. */
typedef struct {
  char *folder, *path;
  SoupServer *server; /* NULL: it is away */
  guint answers;
  gboolean old; /* it does not know of machines */
  MfFd master, slave;
  struct termios before;
  GString *screen; /* what came up to now */
  GPid pid;
  int status; /* as waitpid() says, once the pid is 0 */
} Host;

static void
on_request(SoupServer *server, SoupServerMessage *message, const char *path, GHashTable *query,
           gpointer data)
{
  Host *self = data;
  guint n = ++self->answers;
  g_autofree char *text =
      self->old ? g_strdup("{\"type\":\"https://mayfly.dev/problems/not-found\",\"title\":\"x\","
                           "\"status\":404,\"detail\":\"There is nothing.\"}")
                : g_strdup_printf("{\"time\":%u,\"machines\":[{\"id\":\"p-m1\",\"job\":\"j1\","
                                  "\"state\":\"running\",\"memory\":1024,\"stats\":"
                                  "{\"cpu_time_ns\":%u000000000}}]}",
                                  1000 + 2 * n, n);
  g_assert_cmpstr(path, ==, "/v1/machines");
  soup_server_message_set_status(message, self->old ? 404 : 200, NULL);
  soup_server_message_set_response(message, "application/json", SOUP_MEMORY_COPY, text,
                                   strlen(text));
}

static void
come(Host *self)
{
  self->server = serve_at(self->path, on_request, self);
}

static void
go_away(Host *self)
{
  soup_server_disconnect(self->server);
  g_clear_object(&self->server);
  g_remove(self->path);
}

static void
set_up(Host *self, gconstpointer unused)
{
  struct winsize size = {.ws_row = 10, .ws_col = 100};
  self->folder = g_dir_make_tmp("mayfly-top-XXXXXX", NULL);
  self->path = g_build_filename(self->folder, "sock", NULL);
  self->screen = g_string_new(NULL);
  self->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  g_assert_cmpint(self->master, >=, 0);
  g_assert_cmpint(grantpt(self->master), ==, 0);
  g_assert_cmpint(unlockpt(self->master), ==, 0);
  self->slave = open(ptsname(self->master), O_RDWR | O_NOCTTY | O_CLOEXEC);
  g_assert_cmpint(self->slave, >=, 0);
  g_assert_cmpint(ioctl(self->slave, TIOCSWINSZ, &size), ==, 0);
  g_assert_cmpint(tcgetattr(self->slave, &self->before), ==, 0);
  come(self);
}

static void
tear_down(Host *self, gconstpointer unused)
{
  if (self->server != NULL)
    go_away(self);
  g_rmdir(self->folder);
  g_free(self->folder);
  g_free(self->path);
  g_string_free(self->screen, TRUE);
  mf_fd_clear(&self->master);
  mf_fd_clear(&self->slave);
}

static void
own_terminal(gpointer unused)
{
  if (setsid() < 0 || ioctl(STDIN_FILENO, TIOCSCTTY, 0) != 0)
    _exit(99);
}

/* @argv: up to NULL, behind "mayfly top". */
static void
start(Host *self, const char *const *argv)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) words = g_ptr_array_new();
  g_auto(GStrv) env = g_environ_setenv(g_get_environ(), "TERM", "xterm", TRUE);
  env = g_environ_setenv(env, "MAYFLY_SOCKET", self->path, TRUE);
  g_ptr_array_add(words, (gpointer)MF_TEST_MAYFLY);
  g_ptr_array_add(words, (gpointer) "top");
  for (; *argv != NULL; argv++)
    g_ptr_array_add(words, (gpointer)*argv);
  g_ptr_array_add(words, NULL);
  g_string_truncate(self->screen, 0);
  gboolean started = g_spawn_async_with_fds(
      NULL, (char **)words->pdata, env, G_SPAWN_DO_NOT_REAP_CHILD, own_terminal, NULL, &self->pid,
      self->slave, self->slave, self->slave, &error);
  g_assert_no_error(error);
  g_assert_true(started);
}

/* One turn of the server, and what the terminal got of it. */
static void
step(Host *self)
{
  char buffer[4096];
  while (g_main_context_iteration(NULL, FALSE))
    continue;
  ssize_t n = read(self->master, buffer, sizeof buffer);
  if (n > 0)
    g_string_append_len(self->screen, buffer, n);
  else if (self->pid != 0 && waitpid(self->pid, &self->status, WNOHANG) == self->pid)
    self->pid = 0;
  else
    g_usleep(500);
}

/* Until @text has come; what is before its end is forgotten. */
static void
await(Host *self, const char *text)
{
  const char *found = NULL;
  while ((found = strstr(self->screen->str, text)) == NULL) {
    if (self->pid == 0)
      g_error("It ended before it showed “%s”: %s", text, self->screen->str);
    step(self);
  }
  g_string_erase(self->screen, 0, found + strlen(text) - self->screen->str);
}

static int
await_end(Host *self)
{
  while (self->pid != 0)
    step(self);
  for (guint quiet = 0; quiet < 3; quiet++)
    step(self);
  g_assert_true(WIFEXITED(self->status));
  return WEXITSTATUS(self->status);
}

static void
press(Host *self, const char *keys)
{
  g_assert_cmpint(write(self->master, keys, strlen(keys)), ==, strlen(keys));
}

static void
assert_restored(Host *self)
{
  struct termios now;
  if (!g_str_has_suffix(self->screen->str, CLOSED))
    g_error("The screen was not closed: %s", self->screen->str);
  g_assert_cmpint(tcgetattr(self->slave, &now), ==, 0);
  g_assert_cmpuint(now.c_lflag, ==, self->before.c_lflag);
  g_assert_cmpuint(now.c_iflag, ==, self->before.c_iflag);
  g_assert_cmpuint(now.c_oflag, ==, self->before.c_oflag);
}

static const char *const no_words[] = {NULL};

/* However it is ended. */
static void
test_restored(Host *self, gconstpointer unused)
{
  static const struct {
    const char *keys;
    int signum, status;
  } ends[] = {{"q", 0, 0},          {"mq", 0, 0},        {"\003", 0, 0},
              {NULL, SIGTERM, 143}, {NULL, SIGHUP, 129}, {NULL, SIGINT, 130}};
  for (gsize i = 0; i < G_N_ELEMENTS(ends); i++) {
    struct termios now;
    start(self, no_words);
    await(self, OPENED);
    await(self, "j1");
    /* Keys come through as they are. */
    do
      g_assert_cmpint(tcgetattr(self->slave, &now), ==, 0);
    while (now.c_lflag & (ICANON | ECHO | ISIG));
    if (ends[i].keys != NULL)
      press(self, ends[i].keys);
    else
      kill(self->pid, ends[i].signum);
    g_assert_cmpint(await_end(self), ==, ends[i].status);
    assert_restored(self);
  }
}

/* Until the line of headings is as wide as that. */
static void
await_headings(Host *self, guint cols)
{
  guint width = 0;
  while (width != cols) {
    await(self, "\033[7m");
    while (strstr(self->screen->str, "\033[m") == NULL)
      step(self);
    gsize length = (gsize)(strstr(self->screen->str, "\033[m") - self->screen->str);
    g_autofree char *headings = g_strndup(self->screen->str, length);
    width = mf_text_columns(headings);
  }
}

static void
test_keys_and_size(Host *self, gconstpointer unused)
{
  struct winsize size = {.ws_row = 8, .ws_col = 33};
  start(self, (const char *const[]){"--sort", "age", NULL});
  await(self, "[age]");
  press(self, "zn");
  await(self, "[network]");
  g_assert_cmpint(ioctl(self->master, TIOCSWINSZ, &size), ==, 0);
  await_headings(self, 33);
  press(self, "q");
  g_assert_cmpint(await_end(self), ==, 0);
  assert_restored(self);
}

static void
test_restart(Host *self, gconstpointer unused)
{
  start(self, (const char *const[]){"-d", "0.5s", NULL});
  await(self, "q quits");
  go_away(self);
  await(self, "mayflyd does not answer: mayflyd is not running");
  await(self, "j1");
  come(self);
  await(self, "q quits");
  await(self, "50.0");
  press(self, "q");
  g_assert_cmpint(await_end(self), ==, 0);
  assert_restored(self);
}

/* Nothing is opened for an error. */
static void
test_refused(Host *self, gconstpointer unused)
{
  self->old = TRUE;
  start(self, no_words);
  g_assert_cmpint(await_end(self), ==, 125);
  g_assert_cmpstr(self->screen->str, ==, "mayfly: There is nothing.\r\n");
  start(self, (const char *const[]){"-d", "0.1", NULL});
  g_assert_cmpint(await_end(self), ==, 125);
  g_assert_nonnull(strstr(self->screen->str, "between 0.5s and 1d"));
}

static void
test_batch(Host *self, gconstpointer unused)
{
  start(self, (const char *const[]){"-b", "-d", "0.5", NULL});
  g_assert_cmpint(await_end(self), ==, 0);
  const char *text = self->screen->str;
  g_assert_null(strchr(text, '\033'));
  g_assert_nonnull(strstr(text, "50.0"));
  const char *headings = strstr(text, "CPU%");
  g_assert_nonnull(headings);
  g_assert_null(strstr(headings + 1, "CPU%"));
  g_assert_cmpuint(self->answers, ==, 2);
}

static void
test_json(Host *self, gconstpointer unused)
{
  start(self, (const char *const[]){"-o", "json", "-d", "0.5", "-n", "2", NULL});
  g_assert_cmpint(await_end(self), ==, 0);
  g_auto(GStrv) lines = g_strsplit(self->screen->str, "\r\n", -1);
  g_assert_cmpuint(g_strv_length(lines), ==, 3);
  for (guint i = 0; i < 2; i++) {
    MfJson *cpu = NULL;
    g_autoptr(MfJson) json = json_tokener_parse(lines[i]);
    g_assert_cmpint(json_pointer_get(json, "/machines/0/rates/cpu", &cpu), ==, 0);
    g_assert_cmpfloat(json_object_get_double(cpu), ==, 50);
  }
}

#define add(name, function)                                                                        \
  g_test_add("/top-terminal/" name, Host, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  add("restored", test_restored);
  add("keys-and-size", test_keys_and_size);
  add("restart", test_restart);
  add("refused", test_refused);
  add("batch", test_batch);
  add("json", test_json);
  return g_test_run();
}
