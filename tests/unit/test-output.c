/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly as a program whose output cannot be written, or has no reader any more. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <libsoup/soup.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/auto.h"
#include "tests/lib/serve.h"

#define LINE "{\"time\":1,\"type\":\"started\",\"job\":\"j1\"}\n"

/* A mayflyd with little in it. */
typedef struct {
  char *folder, *path;
  SoupServer *server;
  GString *err;
  const char *document; /* the answer to most */
} Host;

static void
on_request(SoupServer *server, SoupServerMessage *message, const char *path, GHashTable *query,
           gpointer data)
{
  Host *self = data;
  g_autoptr(GString) body = g_string_new(NULL);
  if (g_str_has_suffix(path, "/output"))
    g_string_append_len(body, "\1\0\0\0\0\0\0\3out",
                        g_strcmp0(g_hash_table_lookup(query, "offset"), "0") == 0 ? 11 : 0);
  else if (g_str_has_suffix(path, "/events"))
    g_string_append(body, LINE);
  else
    g_string_append(body, self->document);
  soup_server_message_set_status(message, 200, NULL);
  soup_server_message_set_response(message, "application/json", SOUP_MEMORY_COPY, body->str,
                                   body->len);
}

static void
set_up(Host *self, gconstpointer unused)
{
  self->folder = g_dir_make_tmp("mayfly-output-XXXXXX", NULL);
  self->path = g_build_filename(self->folder, "sock", NULL);
  self->err = g_string_new(NULL);
  self->document = "{\"time\":1000,\"jobs\":[],\"machines\":[],\"templates\":[]}";
  self->server = serve_at(self->path, on_request, self);
}

static void
tear_down(Host *self, gconstpointer unused)
{
  soup_server_disconnect(self->server);
  g_clear_object(&self->server);
  g_remove(self->path);
  g_rmdir(self->folder);
  g_free(self->folder);
  g_free(self->path);
  g_string_free(self->err, TRUE);
}

static void
close_stdout(gpointer wanted)
{
  if (wanted != NULL)
    close(STDOUT_FILENO);
}

/* @out: -1: closed. Returns: as waitpid() says; self->err: what it said. */
static int
run(Host *self, const char *line, int out)
{
  g_autoptr(GError) error = NULL;
  g_auto(GStrv) words = g_strsplit(line, " ", -1);
  g_auto(GStrv) env = g_environ_setenv(g_get_environ(), "MAYFLY_SOCKET", self->path, TRUE);
  int err[2], status = 0;
  GPid pid = 0;
  g_free(words[0]);
  words[0] = g_strdup(MF_TEST_MAYFLY);
  g_assert_cmpint(pipe2(err, O_CLOEXEC | O_NONBLOCK), ==, 0);
  gboolean started =
      g_spawn_async_with_fds(NULL, words, env, G_SPAWN_DO_NOT_REAP_CHILD, close_stdout,
                             out < 0 ? self : NULL, &pid, -1, out, err[1], &error);
  g_assert_no_error(error);
  g_assert_true(started);
  close(err[1]);
  while (waitpid(pid, &status, WNOHANG) == 0)
    if (!g_main_context_iteration(NULL, FALSE))
      g_usleep(500);
  char said[4096];
  ssize_t n = read(err[0], said, sizeof said);
  g_string_truncate(self->err, 0);
  g_string_append_len(self->err, said, MAX(n, 0));
  close(err[0]);
  return status;
}

static const char *const lines[] = {
    "mayfly --help",       "mayfly version",       "mayfly list",
    "mayfly list -o json", "mayfly template list", "mayfly logs j1",
};

static void
check(Host *self, int out, int wanted, const char *said)
{
  for (guint i = 0; i < G_N_ELEMENTS(lines); i++) {
    int status = run(self, lines[i], out);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != wanted ||
        strstr(self->err->str, said) == NULL || (*said == '\0' && self->err->len > 0))
      g_error("%s ended with %#x, saying: %s", lines[i], (guint)status, self->err->str);
  }
}

static void
test_full(Host *self, gconstpointer unused)
{
  g_auto(MfFd) full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  g_assert_cmpint(full, >=, 0);
  check(self, full, 125, "written: No space left on device\n");
}

static void
test_closed(Host *self, gconstpointer unused)
{
  check(self, -1, 125, "written: Bad file descriptor\n");
}

/* As cat or ls, but for the shell's message. */
static void
test_abandoned(Host *self, gconstpointer unused)
{
  int ends[2];
  g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
  close(ends[0]);
  check(self, ends[1], 141, "");
  /* They have no end of their own. */
  static const char *const endless[] = {"mayfly events", "mayfly top -b -d 0.5 -n 1000"};
  int status = 0;
  for (guint i = 0; i < G_N_ELEMENTS(endless); i++) {
    status = run(self, endless[i], ends[1]);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 141);
    g_assert_cmpstr(self->err->str, ==, "");
  }
  /* What it tells by its status is worth more. */
  status = run(self, "mayfly no-such", ends[1]);
  g_assert_cmpint(WEXITSTATUS(status), ==, 125);
  close(ends[1]);
}

static void
test_good(Host *self, gconstpointer unused)
{
  g_auto(MfFd) null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  check(self, null, 0, "");
}

/* One wrong file takes nothing from the others. */
static void
test_bad_templates(Host *self, gconstpointer unused)
{
  g_auto(MfFd) null = open("/dev/null", O_WRONLY | O_CLOEXEC);
#define ERRORS "\"errors\":[{\"file\":\"/t/a.conf\",\"error\":\"/t/a.conf:1: no\"}]}"
  self->document = "{\"templates\":[{\"name\":\"good\"}]," ERRORS;
  int status = run(self, "mayfly template list", null);
  g_assert_cmpint(WEXITSTATUS(status), ==, 0);
  g_assert_cmpstr(self->err->str, ==, "mayfly: /t/a.conf:1: no\n");
  status = run(self, "mayfly template list -o json", null);
  g_assert_cmpint(WEXITSTATUS(status), ==, 0);
  g_assert_cmpstr(self->err->str, ==, "");
  self->document = "{\"templates\":[]," ERRORS;
  static const char *const both[] = {"mayfly template list", "mayfly template list -o json"};
  for (guint i = 0; i < G_N_ELEMENTS(both); i++) {
    status = run(self, both[i], null);
    g_assert_cmpint(WEXITSTATUS(status), ==, 125);
    g_assert_cmpstr(self->err->str, ==, "mayfly: /t/a.conf:1: no\n");
  }
}

/* A script's variable that is not set. */
static void
test_empty_names(Host *self, gconstpointer unused)
{
  static const struct {
    const char *line, *said;
  } cases[] = {
      {"mayfly inspect ", "mayfly: the name of a job is empty"},
      {"mayfly exec  true", "mayfly: the name of a job is empty"},
      {"mayfly cancel j1 ", "mayfly: the name of a job is empty"},
      {"mayfly template inspect ", "mayfly: the name of a template is empty"},
      {"mayfly image inspect ", "mayfly: the name of an image is empty"},
      {"mayfly image remove ", "mayfly: the name of an image is empty"},
  };
  g_auto(MfFd) null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    int status = run(self, cases[i].line, null);
    g_assert_cmpint(WEXITSTATUS(status), ==, 125);
    if (!g_str_has_prefix(self->err->str, cases[i].said))
      g_error("%s: %s", cases[i].line, self->err->str);
  }
}

#define add(name, function) g_test_add("/output/" name, Host, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  add("full", test_full);
  add("closed", test_closed);
  add("abandoned", test_abandoned);
  add("good", test_good);
  add("bad-templates", test_bad_templates);
  add("empty-names", test_empty_names);
  return g_test_run();
}
