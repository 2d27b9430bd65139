/* SPDX-License-Identifier: Apache-2.0 */
#include <gio/gio.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/json.h"

static void
test_parse(void)
{
  static const char *const bad[] = {
      "",    "   ",        "{",         "{}x",         "[]",          "null",        "1",
      "'a'", "{\"a\":1,}", "{\"a\" 1}", "{\"a\":nan}", "{\"a\":1}{}", "{\"a\":\"\n",
  };
  for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(MfJson) json = mf_json_parse(bad[i], strlen(bad[i]), "the test", &error);
    g_assert_null(json);
    g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
    g_assert_true(g_str_has_prefix(error->message, "the test"));
  }
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJson) nul = mf_json_parse("{}\0{}", 5, "the test", &error);
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
  g_clear_error(&error);
  g_autoptr(MfJson) good = mf_json_parse(" {\"a\":[1]} \r\n", 13, "the test", &error);
  g_assert_no_error(error);
  g_assert_true(mf_json_has(good, "a"));
}

static void
test_depth(void)
{
  g_autoptr(GString) deep = g_string_new("{\"a\":");
  for (int i = 0; i < 100000; i++)
    g_string_append_c(deep, '[');
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJson) json = mf_json_parse(deep->str, deep->len, "the test", &error);
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
}

static MfJson *
example(void)
{
  static const char text[] =
      "{\"s\":\"x\",\"nul\":\"a\\u0000b\",\"b\":true,\"n\":7,\"neg\":-1,\"f\":1.5,"
      "\"l\":[\"p\",\"q\"],\"mixed\":[\"p\",1],\"o\":{\"k\":1},\"z\":null}";
  g_autoptr(GError) error = NULL;
  MfJson *json = mf_json_parse(text, strlen(text), "the test", &error);
  g_assert_no_error(error);
  return json;
}

static void
test_readers(void)
{
  g_autoptr(MfJson) json = example();
  g_autoptr(GError) error = NULL;
  g_autofree char *text = g_strdup("default");
  gboolean flag = FALSE;
  guint64 number = 3;
  g_auto(GStrv) list = NULL;
  MfJson *object = NULL;
  g_assert_true(mf_json_read_string(json, "", "absent", &text, &error));
  g_assert_true(mf_json_read_string(json, "", "z", &text, &error));
  g_assert_cmpstr(text, ==, "default");
  g_assert_true(mf_json_read_string(json, "", "s", &text, &error));
  g_assert_cmpstr(text, ==, "x");
  g_assert_true(mf_json_read_bool(json, "", "b", &flag, &error));
  g_assert_true(flag);
  g_assert_true(mf_json_read_uint(json, "", "n", 0, 7, &number, &error));
  g_assert_cmpuint(number, ==, 7);
  g_assert_true(mf_json_read_strv(json, "", "l", 2, &list, &error));
  g_assert_cmpstr(list[1], ==, "q");
  g_assert_true(mf_json_read_object(json, "", "o", &object, &error));
  g_assert_nonnull(object);
  object = NULL;
  g_assert_true(mf_json_read_array(json, "", "l", &object, &error));
  g_assert_nonnull(object);
}

#define refused(call, wanted)                                                                      \
  do {                                                                                             \
    g_autoptr(GError) e = NULL;                                                                    \
    g_assert_false(call);                                                                          \
    g_assert_error(e, MF_ERROR, MF_ERROR_INVALID);                                                 \
    g_assert_cmpstr(e->message, ==, wanted);                                                       \
  } while (0)

static void
test_refusals(void)
{
  g_autoptr(MfJson) json = example();
  g_autofree char *text = NULL;
  gboolean flag = FALSE;
  guint64 number = 3;
  g_auto(GStrv) list = NULL;
  MfJson *object = NULL;
  static const char *const keys[] = {"s", "nul", NULL};
  refused(mf_json_read_string(json, "a[1]", "n", &text, &e), "\"a[1].n\" must be a string.");
  refused(mf_json_read_string(json, "", "nul", &text, &e), "\"nul\" must not contain a NUL byte.");
  refused(mf_json_read_bool(json, "", "n", &flag, &e), "\"n\" must be true or false.");
  refused(mf_json_read_uint(json, "", "n", 1, 6, &number, &e),
          "\"n\" must be a whole number from 1 to 6.");
  refused(mf_json_read_uint(json, "", "neg", 0, G_MAXUINT64, &number, &e),
          "\"neg\" must be a whole number from 0 to 18446744073709551615.");
  refused(mf_json_read_uint(json, "", "f", 0, 9, &number, &e),
          "\"f\" must be a whole number from 0 to 9.");
  refused(mf_json_read_strv(json, "", "mixed", 9, &list, &e),
          "\"mixed[1]\" must be a string without a NUL byte.");
  refused(mf_json_read_strv(json, "", "l", 1, &list, &e),
          "\"l\" has 2 entries, more than the 1 allowed.");
  refused(mf_json_read_object(json, "", "l", &object, &e), "\"l\" must be an object.");
  refused(mf_json_read_array(json, "", "o", &object, &e), "\"o\" must be an array.");
  refused(mf_json_check_keys(json, "x", keys, &e),
          "\"x.b\" is not a known key; known here: s, nul.");
  g_assert_cmpuint(number, ==, 3);
  g_assert_null(text);
  g_assert_null(list);
}

static void
test_writers(void)
{
  const char *const items[] = {"a", "b", NULL};
  g_autoptr(MfJson) json = json_object_new_object();
  mf_json_add_string(json, "s", NULL);
  mf_json_add_uint(json, "n", G_MAXUINT64);
  mf_json_add_bool(json, "b", TRUE);
  mf_json_add_strv(json, "l", (char *const *)items);
  g_assert_cmpstr(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN), ==,
                  "{\"s\":null,\"n\":18446744073709551615,\"b\":true,\"l\":[\"a\",\"b\"]}");
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/json/parse", test_parse);
  g_test_add_func("/json/depth", test_depth);
  g_test_add_func("/json/readers", test_readers);
  g_test_add_func("/json/refusals", test_refusals);
  g_test_add_func("/json/writers", test_writers);
  return g_test_run();
}
