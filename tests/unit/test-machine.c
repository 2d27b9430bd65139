/* SPDX-License-Identifier: Apache-2.0 */
/* A machine that waited is given to a job; its agent is played here. */
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <string.h>

#include "daemon/frame.h"
#include "daemon/json.h"
#include "daemon/machine-private.h"
#include "daemon/tree.h"
#include "tests/lib/tiny.h"

/* More than a clock may be wrong. */
#define SLOW_US (100 * 1000)

typedef struct {
  char *folder;
  MfConfig config;
  MfAccel accel;
  MfHost host;
  MfPort port;
  MfJob *job;
  MfMachine *machine;
  GSocket *listener, *guest;
  MfFrameDecoder decoder;
  GByteArray *heard; /* not yet in the decoder */
  guint ups;
  char *down;
} Fixture;

static void
on_up(MfMachine *machine, gpointer data)
{
  ((Fixture *)data)->ups++;
}

static void
on_down(MfMachine *machine, const char *reason, gpointer data)
{
  ((Fixture *)data)->down = g_strdup(reason);
}

static void
spin(void)
{
  gint64 until = g_get_monotonic_time() + 5000;
  while (g_get_monotonic_time() < until)
    if (!g_main_context_iteration(NULL, FALSE))
      g_usleep(500);
}

static void
say(Fixture *f, const char *token)
{
  g_autofree char *text = g_strdup_printf(
      "{\"protocol\":1,\"welcomed\":true,\"instance\":\"a\",\"token\":\"%s\"}", token);
  MfFrame frame = {.type = MF_FRAME_HELLO, .length = (guint32)strlen(text)};
  guint8 header[MF_FRAME_HEADER_SIZE];
  mf_frame_put_header(&frame, header);
  g_assert_cmpint(g_socket_send(f->guest, (char *)header, sizeof header, NULL, NULL), ==,
                  sizeof header);
  g_assert_cmpint(g_socket_send(f->guest, text, frame.length, NULL, NULL), ==, frame.length);
  spin();
}

/* The document of the next frame that the host sent, which is of @type. */
static MfJson *
hear(Fixture *f, guint type)
{
  MfFrame frame;
  g_autoptr(GError) error = NULL;
  while (!mf_frame_decoder_next(&f->decoder, &frame)) {
    while (f->heard->len == 0) {
      guint8 buffer[65536];
      spin();
      gssize n = g_socket_receive(f->guest, (char *)buffer, sizeof buffer, NULL, NULL);
      if (n > 0)
        g_byte_array_append(f->heard, buffer, (guint)n);
    }
    gsize taken = mf_frame_decoder_feed(&f->decoder, f->heard->data, f->heard->len);
    g_byte_array_remove_range(f->heard, 0, (guint)taken);
  }
  g_assert_cmpuint(frame.type, ==, type);
  MfJson *json = mf_json_parse((const char *)frame.payload, frame.length, "test", &error);
  g_assert_no_error(error);
  return json;
}

static const char *
member(MfJson *json, const char *name)
{
  return json_object_get_string(json_object_object_get(json, name));
}

static void
listen_as_guest(Fixture *f)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *path = g_build_filename(f->machine->sockets, "agent.sock", NULL);
  g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
  g_assert_cmpint(g_mkdir_with_parents(f->machine->sockets, 0700), ==, 0);
  f->listener = g_socket_new(G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM, 0, &error);
  g_assert_true(g_socket_bind(f->listener, address, FALSE, &error) &&
                g_socket_listen(f->listener, &error));
  g_assert_true(mf_machine_link_open(f->machine, &error));
  f->guest = g_socket_accept(f->listener, NULL, &error);
  g_assert_no_error(error);
  g_socket_set_blocking(f->guest, FALSE);
}

static void
set_up(Fixture *f, gconstpointer data)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfTemplate) template = tiny_template();
  g_autoptr(MfImage) image = tiny_image();
  g_autoptr(MfJson) nothing = json_object_new_object();
  g_autoptr(MfJobSpec) spec = mf_job_spec_from_json(nothing, &error);
  MfGrant grant = {.cpus = 1, .memory = 128 << 20, .disk = 1 << 30, .timeout = 60};
  f->folder = g_dir_make_tmp("mayfly-machine-XXXXXX", &error);
  g_autofree char *console = g_build_filename(f->folder, "p-waits.log", NULL);
  f->config = (MfConfig){.runtime_directory = f->folder, .agent_timeout = 60};
  f->host = (MfHost){.config = &f->config, .accel = &f->accel};
  strcpy(f->port.tap, "mf0");
  f->heard = g_byte_array_new();
  f->job = mf_job_new("job", 1000, f->folder, spec, template, image, &grant);
  g_assert_true(mf_job_create_record(f->job, &error));
  MfMachineSpec waiting = {"p-waits", template, image, grant, console, FALSE};
  f->machine = mf_machine_new_waiting(&f->host, &waiting);
  f->machine->output = mf_output_log_open(console, 1 << 20, &error);
  g_assert_no_error(error);
  f->machine->port = &f->port;
  g_signal_connect(f->machine, "up", G_CALLBACK(on_up), f);
  g_signal_connect(f->machine, "down", G_CALLBACK(on_down), f);
  listen_as_guest(f);
  say(f, "what it was asked for before");
  f->machine->up = TRUE;
  json_object_put(hear(f, MF_FRAME_WELCOME));
}

static void
tear_down(Fixture *f, gconstpointer data)
{
  g_object_unref(f->machine);
  g_object_unref(f->job);
  g_clear_object(&f->guest);
  g_clear_object(&f->listener);
  g_byte_array_unref(f->heard);
  g_assert_true(mf_tree_remove(f->folder));
  g_free(f->folder);
  g_free(f->port.job);
  g_free(f->down);
}

/* The request that begins a hand-over. */
static MfJson *
assign(Fixture *f)
{
  g_autoptr(GError) error = NULL;
  g_assert_true(mf_machine_assign(f->machine, f->job, &error));
  g_assert_no_error(error);
  MfJson *request = hear(f, MF_FRAME_RESEED);
  g_autoptr(MfJson) identity = hear(f, MF_FRAME_RESEED);
  g_assert_cmpstr(member(identity, "hostname"), ==, "mayfly-job");
  json_object_put(hear(f, MF_FRAME_PUT));
  json_object_put(hear(f, MF_FRAME_CONFIG));
  return request;
}

static void
test_answer(Fixture *f, gconstpointer data)
{
  json_object_put(assign(f));
  g_assert_cmpstr(f->job->machine, ==, "p-waits");
  g_assert_cmpstr(f->job->phase, ==, "handing the machine over");
  g_assert_true(mf_machine_was_assigned(f->machine));
  say(f, "of another request");
  g_assert_false(mf_machine_is_up(f->machine));
  /* As slow as this test may be, the clock is set again. */
  for (guint i = 0; f->ups == 0; i++) {
    g_assert_cmpuint(i, <, 10);
    say(f, f->machine->token);
  }
  g_assert_true(mf_machine_is_up(f->machine));
  say(f, f->machine->token);
  g_assert_cmpuint(f->ups, ==, 1);
  g_assert_null(f->down);
}

static void
test_slow_answer(Fixture *f, gconstpointer data)
{
  g_autoptr(MfJson) first = assign(f);
  g_usleep(SLOW_US);
  say(f, member(first, "token"));
  g_assert_cmpuint(f->ups, ==, 0);
  g_autoptr(MfJson) second = hear(f, MF_FRAME_RESEED);
  g_assert_cmpstr(member(second, "token"), !=, member(first, "token"));
  gint64 between = json_object_get_int64(json_object_object_get(second, "time_ns")) -
                   json_object_get_int64(json_object_object_get(first, "time_ns"));
  g_assert_cmpint(between, >=, SLOW_US * 1000);
  /* The same answer again is none to that. */
  say(f, member(first, "token"));
  g_assert_cmpuint(f->ups, ==, 0);
  for (guint i = 0; f->ups == 0; i++) {
    g_assert_cmpuint(i, <, 10);
    say(f, f->machine->token);
  }
}

/* One that is always slow is used all the same. */
static void
test_always_slow(Fixture *f, gconstpointer data)
{
  json_object_put(assign(f));
  guint answers = 0;
  for (; f->ups == 0; answers++) {
    g_assert_cmpuint(answers, <, 10);
    g_usleep(SLOW_US / 2);
    say(f, f->machine->token);
  }
  g_assert_cmpuint(answers, >, 1);
}

static void
test_down_before(Fixture *f, gconstpointer data)
{
  json_object_put(assign(f));
  mf_machine_domain_event(f->machine, MF_DOMAIN_EVENT_DESTROYED, NULL);
  g_assert_cmpuint(f->ups, ==, 0);
  g_assert_cmpstr(f->down, !=, NULL);
  g_assert_true(mf_machine_was_assigned(f->machine));
}

static void
test_of_no_use(Fixture *f, gconstpointer data)
{
  g_autoptr(GError) error = NULL;
  mf_machine_fail(f->machine, "it died");
  g_assert_false(mf_machine_assign(f->machine, f->job, &error));
  g_assert_nonnull(error);
  g_assert_null(f->machine->job);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add("/machine/answer", Fixture, NULL, set_up, test_answer, tear_down);
  g_test_add("/machine/slow-answer", Fixture, NULL, set_up, test_slow_answer, tear_down);
  g_test_add("/machine/always-slow", Fixture, NULL, set_up, test_always_slow, tear_down);
  g_test_add("/machine/down-before", Fixture, NULL, set_up, test_down_before, tear_down);
  g_test_add("/machine/of-no-use", Fixture, NULL, set_up, test_of_no_use, tear_down);
  return g_test_run();
}
