/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly-inject: one plan from standard input, one disk, then it ends. The caller reads events from
 * standard output. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "daemon/error.h"
#include "daemon/inject-child.h"
#include "daemon/json.h"

enum { PLAN_MAX = 1100 * 1024 * 1024 };

static gint64 started;

void
mf_inject_report(MfJson *object)
{
  mf_json_add_uint(object, "elapsed_ms", (guint64)(g_get_monotonic_time() - started) / 1000);
  puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));
  fflush(stdout);
  json_object_put(object);
}

void
mf_inject_report_phase(const char *phase)
{
  MfJson *object = json_object_new_object();
  mf_json_add_string(object, "event", "phase");
  mf_json_add_string(object, "phase", phase);
  mf_inject_report(object);
}

static void
report_done(void)
{
  MfJson *object = json_object_new_object();
  mf_json_add_string(object, "event", "done");
  mf_inject_report(object);
}

static void
report_error(const GError *error)
{
  MfJson *object = json_object_new_object();
  mf_json_add_string(object, "event", "error");
  mf_json_add_string(object, "code", mf_error_code_to_string(mf_error_code(error)));
  mf_json_add_string(object, "message", error->message);
  mf_inject_report(object);
}

/* A buffer of secrets: wiped whenever it moves and when it goes. */
typedef struct {
  guint8 *data;
  gsize length, size;
} Secret;

static void
secret_clear(Secret *self)
{
  if (self->data != NULL)
    explicit_bzero(self->data, self->size);
  g_free(self->data);
  self->data = NULL;
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Secret, secret_clear)

static void
secret_grow(Secret *self, gsize size)
{
  guint8 *larger = g_malloc(size);
  if (self->length > 0)
    memcpy(larger, self->data, self->length);
  gsize length = self->length;
  secret_clear(self);
  self->data = larger;
  self->length = length;
  self->size = size;
}

/* The plan says in its first line how long it is, so that the input can stay open after it. */
static MfInjectPlan *
read_plan(GError **error)
{
  g_auto(Secret) in = {0};
  gsize total = 0;
  secret_grow(&in, 64 * 1024);
  while (total == 0 || in.length < total) {
    if (in.length == in.size) {
      if (in.size > PLAN_MAX)
        break;
      secret_grow(&in, MAX(in.size * 2, total));
    }
    ssize_t n =
        read(STDIN_FILENO, in.data + in.length, MIN(in.size, MAX(total, in.size)) - in.length);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      break;
    const guint8 *newline = total == 0 ? memchr(in.data + in.length, '\n', (gsize)n) : NULL;
    in.length += (gsize)n;
    if (newline != NULL) {
      total = mf_inject_plan_total((const char *)in.data, (gsize)(newline - in.data));
      if (total == 0)
        break;
    }
  }
  return mf_inject_plan_parse(in.data, in.length, error);
}

/* Nothing is ever written to a tied input: it ends when the caller does, and then this group has no
 * purpose. */
static gpointer
watch_caller(gpointer unused)
{
  char byte;
  while (read(STDIN_FILENO, &byte, 1) < 0 && errno == EINTR)
    continue;
  kill(0, SIGKILL);
  return NULL;
}

static void
guard(const MfInjectPlan *plan)
{
  /* Only as the leader of its own group: else the signal would reach whoever typed the command. */
  if (plan->tied && getpgrp() == getpid())
    g_thread_unref(g_thread_new("caller", watch_caller, NULL));
  if (plan->timeout > 0)
    alarm((guint)MIN(plan->timeout + 5, G_MAXUINT));
}

static int
usage(FILE *to)
{
  fputs("Usage: mayfly-inject < PLAN\n"
        "Write files into a disk that is not running, or with a plan that names no root filesystem "
        "say what\n"
        "system is on it. mayflyd and 'mayfly image import' start it; a plan is one line of JSON\n"
        "  "
        "{\"disk\":PATH,\"root_device\":DEVICE,\"root_fstype\":TYPE,\"accel\":\"kvm\"|\"tcg\","
        "\"cache_dir\":PATH,\n"
        "   "
        "\"files\":[{\"path\",\"mode\",\"uid\",\"gid\",\"length\"}],\"symlinks\":[{\"path\","
        "\"target\"}],\n"
        "   \"remove\":[PATH],\"content\":BYTES}\n"
        "followed by the files' content. Events go to standard output, one JSON object a line.\n"
        "  --help     show this\n"
        "  --version  show the version\n",
        to);
  return to == stdout ? 0 : 2;
}

int
main(int argc, char **argv)
{
  started = g_get_monotonic_time();
  if (argc == 2 && strcmp(argv[1], "--help") == 0)
    return usage(stdout);
  if (argc == 2 && strcmp(argv[1], "--version") == 0) {
    puts("mayfly-inject " MF_VERSION);
    return 0;
  }
  if (argc > 1)
    return usage(stderr);

  /* Plans hold secrets: no core dump, no look into our memory by others of the same user. */
  prctl(PR_SET_DUMPABLE, 0);
  signal(SIGPIPE, SIG_IGN);
  g_autoptr(GError) error = NULL;
  g_autoptr(MfInjectPlan) plan = read_plan(&error);
  gboolean ok = FALSE;
  if (plan != NULL) {
    guard(plan);
    ok =
        plan->root_device != NULL ? mf_inject_apply(plan, &error) : mf_inject_inspect(plan, &error);
  }
  if (!ok)
    report_error(error);
  else
    report_done();
  return ok ? 0 : 1;
}
