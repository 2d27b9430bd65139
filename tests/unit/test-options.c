/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "daemon/error.h"
#include "tools/options.h"

typedef struct {
  gboolean interactive, tty;
  const char *template;
  const char *form;
  GPtrArray *env;
  guint cpus;
  guint64 memory, timeout;
} Options;

static const MfOption table[] = {
    {"interactive", 'i', MF_OPTION_FLAG, NULL, "keep standard input open",
     G_STRUCT_OFFSET(Options, interactive)},
    {"tty", 't', MF_OPTION_FLAG, NULL, "a terminal", G_STRUCT_OFFSET(Options, tty)},
    {"template", 0, MF_OPTION_TEXT, "NAME", "what", G_STRUCT_OFFSET(Options, template)},
    {"form", 'f', MF_OPTION_TEXT, "long|short", "how", G_STRUCT_OFFSET(Options, form)},
    {"env", 'e', MF_OPTION_LIST, "K=V", "set it", G_STRUCT_OFFSET(Options, env)},
    {"cpus", 'c', MF_OPTION_NUMBER, "N", "how many", G_STRUCT_OFFSET(Options, cpus)},
    {"memory", 'm', MF_OPTION_SIZE, "SIZE", "how much", G_STRUCT_OFFSET(Options, memory)},
    {"a-very-long-name-of-an-option", 0, MF_OPTION_TIME, "TIME", "how long",
     G_STRUCT_OFFSET(Options, timeout)},
    {0},
};

/* @line is split at blanks; what is left over comes back joined. */
static char *
parse(const char *line, gboolean posix, Options *options, char ***ret_words, GError **error)
{
  MfOptionSet sets[] = {{table, options}, {0}};
  memset(options, 0, sizeof *options);
  *ret_words = g_strsplit(line, " ", -1);
  g_autofree char **rest = g_memdup2(*ret_words, (g_strv_length(*ret_words) + 1) * sizeof(char *));
  return mf_options_parse(rest, sets, posix, error) ? g_strjoinv(" ", rest) : NULL;
}

static void
test_forms(void)
{
  g_autoptr(GError) error = NULL;
  g_auto(GStrv) words = NULL;
  Options options;
  g_autofree char *rest =
      parse("job --template=tiny -it -e A=1 -eB=2 --env C=--x -c4 -m 2GiB --form short - more",
            FALSE, &options, &words, &error);
  g_assert_no_error(error);
  g_assert_cmpstr(rest, ==, "job - more");
  g_assert_true(options.interactive && options.tty);
  g_assert_cmpstr(options.template, ==, "tiny");
  g_assert_cmpstr(options.form, ==, "short");
  g_assert_cmpuint(options.cpus, ==, 4);
  g_assert_cmpuint(options.memory, ==, G_GUINT64_CONSTANT(2) << 30);
  g_assert_cmpuint(options.env->len, ==, 3);
  g_assert_cmpstr(g_ptr_array_index(options.env, 1), ==, "B=2");
  g_assert_cmpstr(g_ptr_array_index(options.env, 2), ==, "C=--x");
  mf_options_clear(table, &options);
}

/* What belongs to the command in the machine is not looked at. */
static void
test_where_options_end(void)
{
  static const struct {
    const char *line;
    gboolean posix;
    const char *rest;
  } cases[] = {
      {"-i -- sh -t", FALSE, "sh -t"},
      {"-i sh -t", FALSE, "sh"},
      {"-i sh -t", TRUE, "sh -t"},
      {"-i -- sh -t", TRUE, "sh -t"},
      {"sh -- -t", TRUE, "sh -- -t"},
      {"-i -- -- -t", TRUE, "-- -t"},
      {"sh --nope -zzz", TRUE, "sh --nope -zzz"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) words = NULL;
    Options options;
    g_autofree char *rest = parse(cases[i].line, cases[i].posix, &options, &words, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(rest, ==, cases[i].rest);
  }
}

static void
test_mistakes(void)
{
  static const struct {
    const char *line;
    const char *said;
  } cases[] = {
      {"--nope", "unknown"},
      {"-x", "unknown"},
      {"-ix", "unknown"},
      {"--template", "needs a value"},
      {"-c", "needs a value"},
      {"--tty=yes", "takes no value"},
      {"-c many", "whole number"},
      {"-c -1", "whole number"},
      {"--form tall", "long|short"},
      {"-m lots", "2GiB"},
      {"--templat tiny", "unknown"},
      {"--a-very-long-name-of-an-option=soon", "1h30m"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) words = NULL;
    Options options;
    g_autofree char *rest = parse(cases[i].line, FALSE, &options, &words, &error);
    g_assert_null(rest);
    g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, cases[i].said));
  }
}

static void
test_bytes_pass(void)
{
  g_autoptr(GError) error = NULL;
  g_auto(GStrv) words = NULL;
  Options options;
  g_autofree char *rest = parse("-e A=\xff\xfe -- \xc3", TRUE, &options, &words, &error);
  g_assert_no_error(error);
  g_assert_cmpstr(g_ptr_array_index(options.env, 0), ==, "A=\xff\xfe");
  g_assert_cmpstr(rest, ==, "\xc3");
  mf_options_clear(table, &options);
}

static void
test_help(void)
{
  g_autoptr(GString) out = g_string_new(NULL);
  mf_options_describe(table, out);
  g_assert_nonnull(strstr(out->str, "  -i, --interactive         keep standard input open\n"));
  g_assert_nonnull(strstr(out->str, "      --template NAME       what\n"));
  g_assert_nonnull(strstr(out->str, "-option TIME\n                            how long\n"));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/options/forms", test_forms);
  g_test_add_func("/options/end", test_where_options_end);
  g_test_add_func("/options/mistakes", test_mistakes);
  g_test_add_func("/options/bytes", test_bytes_pass);
  g_test_add_func("/options/help", test_help);
  return g_test_run();
}
