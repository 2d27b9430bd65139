/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "daemon/text.h"

static const struct {
  const char *bytes;
  gsize length;
  const char *shown;
} cases[] = {
    {"plain\n\ttext", 11, "plain\n\ttext"},
    {"\x1b[31mred\x1b[0m", 12, "^[[31mred^[[0m"},
    {"\0\x07\x7f", 3, "^@^G^?"},
    {"a\r\nb\rc\r\r\nd", 10, "a\nb^Mc^M\nd"},
    {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\xa6\x9f", 15,
     "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\xa6\x9f"},
    {"\xc2\x9b"
     "31m",
     5, "\\xc2\\x9b31m"},
    {"\x9b"
     "31m",
     4, "\\x9b31m"},
    {"\xff\xfe\xc3(", 4, "\\xff\\xfe\\xc3("},
    {"\xc0\xaf\xed\xa0\x80", 5, "\\xc0\\xaf\\xed\\xa0\\x80"},
    {"\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80"},
    {"\xe2\x80\xae", 3, "\\u{202e}"},
    {"end\xe2\x82", 5, "end\\xe2\\x82"},
    {"end\r", 4, "end^M"},
};

/* However the stream is cut, the result is the same. */
static void
test_visible(void)
{
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++)
    for (gsize piece = 1; piece <= cases[i].length; piece++) {
      MfTextVisible visible = {0};
      g_autoptr(GString) out = g_string_new(NULL);
      for (gsize at = 0; at < cases[i].length; at += piece)
        mf_text_visible_feed(&visible, cases[i].bytes + at, MIN(piece, cases[i].length - at), out);
      mf_text_visible_end(&visible, out);
      g_assert_cmpstr(out->str, ==, cases[i].shown);
    }
}

static void
test_random_bytes_stay_harmless(void)
{
  for (guint round = 0; round < 200; round++) {
    guint8 bytes[257];
    MfTextVisible visible = {0};
    g_autoptr(GString) out = g_string_new(NULL);
    for (guint i = 0; i < sizeof bytes; i++)
      bytes[i] = (guint8)g_test_rand_int_range(0, 256);
    gsize cut = (gsize)g_test_rand_int_range(0, sizeof bytes);
    mf_text_visible_feed(&visible, bytes, cut, out);
    mf_text_visible_feed(&visible, bytes + cut, sizeof bytes - cut, out);
    mf_text_visible_end(&visible, out);
    g_assert_true(g_utf8_validate(out->str, (gssize)out->len, NULL));
    for (const char *p = out->str; *p != '\0'; p = g_utf8_next_char(p)) {
      gunichar c = g_utf8_get_char(p);
      g_assert_true(c == '\n' || c == '\t' || (c >= 0x20 && c < 0x7f) || c >= 0xa0);
    }
  }
}

static void
test_quote(void)
{
  g_autofree char *plain = mf_text_quote("tiny");
  g_assert_cmpstr(plain, ==, "\"tiny\"");
  g_autofree char *nothing = mf_text_quote(NULL);
  g_assert_cmpstr(nothing, ==, "nothing");
  g_autofree char *lines = mf_text_quote("a\nb\x1b");
  g_assert_cmpstr(lines, ==, "\"a\\nb^[\"");
  g_autofree char *many = g_strnfill(500, 'x');
  g_autofree char *cut = mf_text_quote(many);
  g_assert_cmpuint(strlen(cut), <, 90);
  g_assert_true(g_str_has_suffix(cut, "…\""));
}

static void
test_line(void)
{
  g_autofree char *line = mf_text_line("a\nb\tc\x1b");
  g_assert_cmpstr(line, ==, "a b c^[");
  g_autofree char *nothing = mf_text_line(NULL);
  g_assert_cmpstr(nothing, ==, "");
}

/* One column, two, and none for an accent of its own. */
static void
test_columns(void)
{
  static const char text[] = "g\xc3\xbc\xe6\x97\xa5\xe6\x9c\xac"
                             "e\xcc\x81x";
  static const struct {
    guint columns;
    const char *fits;
  } pieces[] = {{0, ""},
                {2, "g\xc3\xbc"},
                {3, "g\xc3\xbc"},
                {4, "g\xc3\xbc\xe6\x97\xa5"},
                {7, "g\xc3\xbc\xe6\x97\xa5\xe6\x9c\xac"
                    "e\xcc\x81"},
                {8, text},
                {G_MAXUINT, text}};
  g_assert_cmpuint(mf_text_columns(text), ==, 8);
  for (gsize i = 0; i < G_N_ELEMENTS(pieces); i++) {
    g_autofree char *cut = mf_text_cut(text, pieces[i].columns);
    g_assert_cmpstr(cut, ==, pieces[i].fits);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/text/visible", test_visible);
  g_test_add_func("/text/random", test_random_bytes_stay_harmless);
  g_test_add_func("/text/quote", test_quote);
  g_test_add_func("/text/line", test_line);
  g_test_add_func("/text/columns", test_columns);
  return g_test_run();
}
