/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "daemon/json.h"
#include "tools/gitlab-report.h"

#define SECOND G_USEC_PER_SEC

static MfJson *
document(const char *text)
{
  g_autoptr(GError) error = NULL;
  MfJson *json = mf_json_parse(text, strlen(text), "the test", &error);
  g_assert_no_error(error);
  return json;
}

static void
expect(MfGitlabReport *report, const char *text, gint64 seconds, const char *wanted)
{
  g_autoptr(MfJson) job = document(text);
  g_autofree char *lines = mf_gitlab_report_progress(report, job, (1000 + seconds) * SECOND);
  g_assert_cmpstr(lines, ==, wanted);
}

#define QUEUED(position)                                                                           \
  "{\"state\":\"queued\",\"position\":" position ",\"queued_for\":\"all 8 are \\u001bin use\","    \
  "\"timings\":{}}"

static void
test_queue(void)
{
  MfGitlabReport report = {0};
  expect(&report, QUEUED("3"), 0,
         "Waiting for a machine: number 3 in the queue: all 8 are ^[in use");
  expect(&report, QUEUED("3"), 5, NULL);
  expect(&report, QUEUED("2"), 10,
         "Waiting for a machine: number 2 in the queue, for 10.0s so far: all 8 are ^[in use");
  expect(&report, QUEUED("2"), 39, NULL);
  expect(&report, QUEUED("2"), 40,
         "Waiting for a machine: number 2 in the queue, for 40.0s so far: all 8 are ^[in use");
  expect(&report,
         "{\"state\":\"starting\",\"phase\":\"cloning the disk\",\"timings\":{\"queue\":41.5}}", 41,
         "  waited: 41.5s");
}

static void
test_start(void)
{
  MfGitlabReport report = {0};
  expect(&report, "{\"state\":\"queued\",\"position\":null,\"timings\":{}}", 0, NULL);
  expect(&report,
         "{\"state\":\"starting\",\"phase\":\"injecting\",\"timings\":{\"queue\":0,\"prepare\":0."
         "01,\"clone\":0.12,\"wait\":0.3}}",
         1, "  disk made: 0.12s");
  expect(&report,
         "{\"state\":\"starting\",\"phase\":\"booting\",\"timings\":{\"queue\":0,\"clone\":0.12,"
         "\"wait\":2.5,\"inject\":1.5,\"port\":0.01,\"start\":0.3,\"hello\":0.2}}",
         3,
         "  disk written to: 1.50s\n  waited for others that start: 2.50s\n"
         "  machine started: 0.30s");
  expect(&report, "{\"state\":\"starting\",\"phase\":\"booting\",\"timings\":{\"clone\":0.12}}", 20,
         NULL);
  expect(&report, "{\"state\":\"starting\",\"phase\":\"booting\",\"timings\":{\"clone\":0.12}}", 33,
         "  still booting, for 30.0s so far");
  expect(&report, "{\"state\":\"ready\",\"phase\":null,\"timings\":{\"boot\":31}}", 34,
         "  booted: 31.0s");
}

static void
test_summary(void)
{
  g_autoptr(MfJson) job = document(
      "{\"id\":\"abc\",\"image\":\"debian-12@0123456789ab\",\"cpus\":2,\"memory\":2147483648,"
      "\"disk\":21474836480,\"how\":\"cold\",\"accel\":\"kvm\",\"timings\":{\"queue\":0.5,"
      "\"clone\":0.25,\"wait\":0.05,\"port\":1,\"hello\":3,\"boot\":4,\"first_output\":9}}");
  g_autofree char *line = mf_gitlab_report_summary(job);
  g_assert_cmpstr(line, ==,
                  "\033[1mMachine abc: image debian-12@0123456789ab, 2 CPU, 2.0 GiB memory, "
                  "20.0 GiB disk; started cold with kvm in 5.75s (queue 0.50s, clone 0.25s, port "
                  "1.00s, boot 4.00s)\033[0m");
  g_autoptr(MfJson) waited = document("{\"how\":\"pool\",\"accel\":\"kvm\"}");
  g_autofree char *ahead = mf_gitlab_report_summary(waited);
  g_assert_nonnull(strstr(ahead, "started ahead of its job with kvm"));
  g_autoptr(MfJson) nothing = document("{}");
  g_autofree char *lenient = mf_gitlab_report_summary(nothing);
  g_assert_nonnull(lenient);
}

static void
test_kept(void)
{
  g_autoptr(MfJson) job = document("{\"id\":\"abc\",\"keep_on_failure\":1800}");
  g_autofree char *text = mf_gitlab_report_kept(job, "This job failed");
  g_assert_nonnull(strstr(text, "This job failed: its machine stays for 30m"));
  g_assert_nonnull(strstr(text, "\n  mayfly exec -it abc -- sh "));
  g_assert_nonnull(strstr(text, "\n  mayfly logs --console abc "));
  g_assert_nonnull(strstr(text, "\n  mayfly cancel abc "));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/gitlab-report/queue", test_queue);
  g_test_add_func("/gitlab-report/start", test_start);
  g_test_add_func("/gitlab-report/summary", test_summary);
  g_test_add_func("/gitlab-report/kept", test_kept);
  return g_test_run();
}
