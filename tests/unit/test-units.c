/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/error.h"
#include "daemon/units.h"

static void
test_sizes(void)
{
  static const struct {
    const char *text;
    guint64 bytes;
    const char *shortest;
  } good[] = {
      {"0", 0, "0"},
      {"1000", 1000, "1000"},
      {"1024", 1024, "1KiB"},
      {"512M", 512u << 20, "512MiB"},
      {"1536M", G_GUINT64_CONSTANT(1536) << 20, "1536MiB"},
      {"2048MiB", G_GUINT64_CONSTANT(2) << 30, "2GiB"},
      {"3T", G_GUINT64_CONSTANT(3) << 40, "3TiB"},
      {"18446744073709551615", G_MAXUINT64, "18446744073709551615"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(good); i++) {
    g_autoptr(GError) error = NULL;
    guint64 bytes = 7;
    g_assert_true(mf_size_parse(good[i].text, &bytes, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(bytes, ==, good[i].bytes);
    g_autofree char *text = mf_size_format(bytes);
    g_assert_cmpstr(text, ==, good[i].shortest);
  }
}

static void
test_bad_sizes(void)
{
  static const char *const bad[] = {
      "",
      " ",
      "M",
      "-1",
      "+1",
      "1 M",
      "1m",
      "1MB",
      "1Mi",
      "1.5G",
      "0x10",
      "1MiBs",
      "18446744073709551616",
      "16777216T",
      "1\xff",
      NULL,
  };
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GError) error = NULL;
    guint64 bytes = 7;
    g_assert_false(mf_size_parse(bad[i], &bytes, &error));
    g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
    g_assert_nonnull(g_strstr_len(error->message, -1, "2GiB"));
    g_assert_true(g_utf8_validate(error->message, -1, NULL));
    g_assert_cmpuint(bytes, ==, 7);
  }
}

static void
test_durations(void)
{
  static const struct {
    const char *text;
    guint64 seconds;
    const char *shortest;
  } good[] = {
      {"0", 0, "0s"},       {"90", 90, "1m30s"},
      {"90s", 90, "1m30s"}, {"1h30m", 5400, "1h30m"},
      {"7d", 604800, "7d"}, {"1d1s", 86401, "1d1s"},
      {"60m", 3600, "1h"},  {"1d2h3m4s", 93784, "1d2h3m4s"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(good); i++) {
    g_autoptr(GError) error = NULL;
    guint64 seconds = 7;
    g_assert_true(mf_duration_parse(good[i].text, &seconds, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(seconds, ==, good[i].seconds);
    g_autofree char *text = mf_duration_format(seconds);
    g_assert_cmpstr(text, ==, good[i].shortest);
  }
}

static void
test_bad_durations(void)
{
  static const char *const bad[] = {
      "",
      "s",
      "-1s",
      "1 s",
      "1.5h",
      "1m1h",
      "1h1h",
      "1h30",
      "1hour",
      "1S",
      "18446744073709551616",
      "213503982334602d",
      "1h ",
      NULL,
  };
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GError) error = NULL;
    guint64 seconds = 7;
    g_assert_false(mf_duration_parse(bad[i], &seconds, &error));
    g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
    g_assert_nonnull(g_strstr_len(error->message, -1, "1h30m"));
    g_assert_cmpuint(seconds, ==, 7);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/units/sizes", test_sizes);
  g_test_add_func("/units/bad-sizes", test_bad_sizes);
  g_test_add_func("/units/durations", test_durations);
  g_test_add_func("/units/bad-durations", test_bad_durations);
  return g_test_run();
}
