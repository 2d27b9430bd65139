/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/background.h"
#include "daemon/json.h"

static double
seconds_left(const MfTries *tries)
{
  return (double)(tries->retry_at - g_get_real_time()) / G_USEC_PER_SEC;
}

static void
test_later_and_later(void)
{
  static const double pauses[] = {5, 10, 20, 40, 80, 160, 300, 300, 300, 300, 300};
  MfTries tries = {0};
  g_assert_true(mf_tries_may(&tries));
  for (guint i = 0; i < G_N_ELEMENTS(pauses); i++) {
    mf_tries_note(&tries, "no room");
    g_assert_false(mf_tries_may(&tries));
    g_assert_cmpuint(tries.failures, ==, i + 1);
    g_assert_cmpfloat_with_epsilon(seconds_left(&tries), pauses[i], 1);
  }
  mf_tries_note(&tries, NULL);
  g_assert_true(mf_tries_may(&tries));
  g_assert_cmpuint(tries.failures, ==, 0);
  g_assert_null(tries.problem);
}

static MfJson *
told(const MfTries *tries)
{
  MfJson *json = json_object_new_object();
  mf_tries_add_to(tries, json);
  return json;
}

/* A time that is over is not told: what is due waits for something else. */
static void
test_what_is_told(void)
{
  MfTries tries = {0};
  g_autoptr(MfJson) nothing = told(&tries);
  g_assert_cmpstr(json_object_to_json_string_ext(nothing, JSON_C_TO_STRING_PLAIN), ==,
                  "{\"problem\":null,\"failures\":0,\"retry\":null}");
  mf_tries_note(&tries, "no room");
  g_autoptr(MfJson) failed = told(&tries);
  double retry = json_object_get_double(json_object_object_get(failed, "retry"));
  g_assert_cmpfloat_with_epsilon(retry, (double)tries.retry_at / G_USEC_PER_SEC, 0.001);
  tries.retry_at = g_get_real_time() - 1;
  mf_tries_set_reason(&tries, g_strdup(MF_BACKGROUND_BUSY));
  g_autoptr(MfJson) due = told(&tries);
  g_assert_cmpstr(json_object_to_json_string_ext(due, JSON_C_TO_STRING_PLAIN), ==,
                  "{\"problem\":\"" MF_BACKGROUND_BUSY "\",\"failures\":1,\"retry\":null}");
  mf_tries_clear(&tries);
}

static void
test_sooner(void)
{
  gint64 now = g_get_real_time(), soon = now + G_USEC_PER_SEC, later = now + 9 * G_USEC_PER_SEC;
  g_assert_cmpint(mf_background_sooner(0, later), ==, later);
  g_assert_cmpint(mf_background_sooner(later, soon), ==, soon);
  g_assert_cmpint(mf_background_sooner(soon, later), ==, soon);
  g_assert_cmpint(mf_background_sooner(soon, now - 1), ==, soon);
  g_assert_cmpint(mf_background_sooner(0, 0), ==, 0);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/background/later-and-later", test_later_and_later);
  g_test_add_func("/background/what-is-told", test_what_is_told);
  g_test_add_func("/background/sooner", test_sooner);
  return g_test_run();
}
