/* SPDX-License-Identifier: Apache-2.0 */
#include <gio/gio.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/frame.h"
#include "daemon/job-spec.h"
#include "daemon/json.h"

static MfJson *
parse(const char *text)
{
  g_autoptr(GError) error = NULL;
  MfJson *json = mf_json_parse(text, strlen(text), "the test", &error);
  g_assert_no_error(error);
  return json;
}

static void
refused(const char *text, const char *part)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJson) json = parse(text);
  g_autoptr(MfJobSpec) spec = mf_job_spec_from_json(json, &error);
  g_assert_null(spec);
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
  if (strstr(error->message, part) == NULL)
    g_error("“%s” does not say “%s”", error->message, part);
  g_assert_cmpuint(strlen(error->message), <, 500);
}

static void
test_whole(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJson) json = parse(
      "{\"template\":\"tiny\",\"name\":\"Straße 1\",\"cpus\":2,\"memory\":1073741824,\"disk\":5,"
      "\"timeout\":60,\"lease\":30,\"keep_on_failure\":9,\"hold\":true,\"retryable\":true,\"env\":{"
      "\"A\":\"1\",\"_b\":"
      "\"x=y\"},"
      "\"files\":[{\"path\":\"/etc/x\",\"mode\":\"0600\",\"content\":\"a\\u0000b\"},"
      "{\"path\":\"/y\",\"content_base64\":\"AP8=\"}],"
      "\"exec\":{\"argv\":[\"sh\",\"-c\",\"\"],\"env\":{\"C\":\"\"},\"cwd\":\"/tmp/"
      "..\",\"user\":\"ci\","
      "\"tty\":true,\"rows\":50,\"cols\":132,\"stdin\":true}}");
  g_autoptr(MfJobSpec) spec = mf_job_spec_from_json(json, &error);
  g_assert_no_error(error);
  g_assert_cmpstr(spec->template, ==, "tiny");
  g_assert_cmpstr(spec->name, ==, "Straße 1");
  g_assert_cmpuint(spec->cpus, ==, 2);
  g_assert_cmpuint(spec->memory, ==, 1 << 30);
  g_assert_cmpuint(spec->disk, ==, 5);
  g_assert_cmpuint(spec->timeout, ==, 60);
  g_assert_cmpuint(spec->lease, ==, 30);
  g_assert_cmpuint(spec->keep, ==, 9);
  g_assert_true(spec->hold);
  g_assert_true(spec->retryable);
  g_assert_cmpstr(spec->env[0], ==, "A=1");
  g_assert_cmpstr(spec->env[1], ==, "_b=x=y");
  g_assert_null(spec->env[2]);
  g_assert_cmpuint(spec->files->len, ==, 2);
  MfFile *first = spec->files->pdata[0], *second = spec->files->pdata[1];
  g_assert_cmpuint(first->mode, ==, 0600);
  g_assert_cmpmem(g_bytes_get_data(first->content, NULL), g_bytes_get_size(first->content), "a\0b",
                  3);
  g_assert_cmpuint(second->mode, ==, 0644);
  g_assert_cmpmem(g_bytes_get_data(second->content, NULL), g_bytes_get_size(second->content),
                  "\0\377", 2);
  g_assert_cmpstr(spec->exec->argv[2], ==, "");
  g_assert_cmpuint(spec->exec->rows, ==, 50);
  g_assert_true(spec->exec->open_stdin);
}

static void
test_defaults(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJson) json = parse("{}");
  g_autoptr(MfJobSpec) spec = mf_job_spec_from_json(json, &error);
  g_assert_no_error(error);
  g_assert_true(spec->hold);
  g_assert_null(spec->exec);
  g_assert_null(spec->template);
  g_assert_null(spec->env);
  g_assert_cmpuint(spec->files->len, ==, 0);
  g_autoptr(MfJson) with = parse("{\"exec\":{\"script\":\"true\"},\"hold\":null}");
  g_autoptr(MfJobSpec) second = mf_job_spec_from_json(with, &error);
  g_assert_no_error(error);
  g_assert_false(second->hold);
  g_assert_cmpuint(second->exec->cols, ==, 80);
}

static void
test_refused(void)
{
  static const struct {
    const char *text, *part;
  } cases[] = {
      {"{\"cpu\":1}", "\"cpu\" is not a known key; known here: template, "},
      {"{\"cpus\":-1}", "\"cpus\""},
      {"{\"cpus\":4294967297}", "\"cpus\""},
      {"{\"memory\":\"1GiB\"}", "\"memory\" must be a whole number"},
      {"{\"timeout\":1e3}", "\"timeout\""},
      {"{\"timeout\":18446744073709551615}", "\"timeout\""},
      {"{\"template\":\"../x\"}", "\"template\""},
      {"{\"template\":\"\"}", "\"template\""},
      {"{\"template\":\"Tiny\"}", "\"template\""},
      {"{\"name\":\"\"}", "\"name\""},
      {"{\"name\":\"a\\u001b[0m\"}", "\"name\""},
      {"{\"name\":\"a\\u202eb\"}", "\"name\""},
      {"{\"name\":\"\xff\"}", "\"name\""},
      {"{\"env\":[]}", "\"env\" must be an object"},
      {"{\"env\":{\"\":\"\"}}", "no name of a variable"},
      {"{\"env\":{\"1A\":\"\"}}", "\"env.1A\""},
      {"{\"env\":{\"A=B\":\"\"}}", "\"env.A=B\""},
      {"{\"env\":{\"A\":\"x\\u0000\"}}", "\"env.A\" must not contain a NUL"},
      {"{\"env\":{\"A\":1}}", "\"env.A\" must be a string"},
      {"{\"env\":{\"A\":null}}", "\"env.A\" must be a string"},
      {"{\"files\":{}}", "\"files\" must be an array"},
      {"{\"files\":[1]}", "\"files[0]\" must be an object"},
      {"{\"files\":[{\"path\":\"/a\",\"content\":\"\"},{\"content\":\"\"}]}",
       "\"files[1].path\" is missing"},
      {"{\"files\":[{\"path\":\"a\",\"content\":\"\"}]}",
       "\"files[0].path\" must be an absolute path"},
      {"{\"files\":[{\"path\":\"/a/../b\",\"content\":\"\"}]}", "\"files[0].path\""},
      {"{\"files\":[{\"path\":\"/\",\"content\":\"\"}]}", "must name a file"},
      {"{\"files\":[{\"path\":\"/a/\",\"content\":\"\"}]}", "must name a file"},
      {"{\"files\":[{\"path\":\"/a\\u0000b\",\"content\":\"\"}]}", "NUL"},
      {"{\"files\":[{\"path\":\"/a\"}]}", "\"files[0].content\" or"},
      {"{\"files\":[{\"path\":\"/a\",\"content\":1}]}", "\"files[0].content\" must be a string"},
      {"{\"files\":[{\"path\":\"/a\",\"content\":\"\",\"content_base64\":\"\"}]}",
       "exclude each other"},
      {"{\"files\":[{\"path\":\"/a\",\"content\":\"\",\"mode\":\"0999\"}]}", "octal"},
      {"{\"files\":[{\"path\":\"/a\",\"content\":\"\",\"mode\":\"-644\"}]}", "octal"},
      {"{\"files\":[{\"path\":\"/a\",\"content\":\"\",\"mode\":\"17777\"}]}", "octal"},
      {"{\"files\":[{\"path\":\"/a\",\"content\":\"\",\"mode\":420}]}",
       "\"files[0].mode\" must be a string"},
      {"{\"files\":[{\"path\":\"/a\",\"content_base64\":\"A\"}]}", "is not base64"},
      {"{\"files\":[{\"path\":\"/a\",\"content_base64\":\"AA=A\"}]}", "is not base64"},
      {"{\"files\":[{\"path\":\"/a\",\"content_base64\":\"AA A\"}]}", "is not base64"},
      {"{\"exec\":[]}", "\"exec\" must be an object"},
      {"{\"exec\":{}}", "\"exec.argv\" or \"script\""},
      {"{\"exec\":{\"argv\":[\"a\"],\"script\":\"b\"}}", "\"exec.argv\" and \"script\" exclude"},
      {"{\"exec\":{\"argv\":[]}}", "\"exec.argv\" must begin with"},
      {"{\"exec\":{\"argv\":[\"\"]}}", "\"exec.argv\" must begin with"},
      {"{\"exec\":{\"argv\":[\"a\",\"b\\u0000\"]}}", "\"exec.argv[1]\""},
      {"{\"exec\":{\"argv\":[\"a\"],\"shell\":[\"sh\"]}}", "\"exec.shell\""},
      {"{\"exec\":{\"script\":\"a\",\"shell\":[]}}", "\"exec.shell\""},
      {"{\"exec\":{\"script\":\"a\",\"cwd\":\"tmp\"}}", "\"exec.cwd\""},
      {"{\"exec\":{\"script\":\"a\",\"user\":\"-x\"}}", "\"exec.user\""},
      {"{\"exec\":{\"script\":\"a\",\"user\":\"a:b\"}}", "\"exec.user\""},
      {"{\"exec\":{\"script\":\"a\",\"rows\":0}}", "\"exec.rows\""},
      {"{\"exec\":{\"script\":\"a\",\"tty\":1}}", "\"exec.tty\""},
  };
  for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
    refused(cases[i].text, cases[i].part);
}

/* @item @n times, each # in it as the running number. */
static char *
many(const char *head, const char *item, guint n, const char *tail)
{
  GString *text = g_string_new(head);
  for (guint i = 0; i < n; i++)
    for (const char *c = item; *c != '\0'; c++)
      if (*c == '#')
        g_string_append_printf(text, "%u", i);
      else
        g_string_append_c(text, *c);
  return g_string_free(g_string_append(text, tail), FALSE);
}

static void
test_bounds(void)
{
  g_autofree char *k128 = g_strnfill(131072, 'x');
  g_autofree char *args = many("{\"exec\":{\"argv\":[\"a\"", ",\"#\"", 4096, "]}}");
  g_autofree char *vars = many("{\"env\":{\"a\":\"\"", ",\"V#\":\"\"", 4096, "}}");
  g_autofree char *files = many("{\"files\":[{}", ",{\"path\":\"/#\"}", 1024, "]}");
  g_autofree char *arg = g_strdup_printf("{\"exec\":{\"argv\":[\"a\",\"%s\"]}}", k128);
  g_autofree char *var = g_strdup_printf("{\"env\":{\"V\":\"%s\"}}", k128);
  g_autofree char *m4 = g_strnfill(4 << 20, '\'');
  g_autofree char *script = g_strdup_printf("{\"exec\":{\"script\":\"%s\"}}", m4);
  /* A million bytes that take six each as JSON: too long for the agent's document. */
  g_autofree char *control = many("{\"exec\":{\"script\":\"", "\\u0001", 1 << 20, "\"}}");
  g_autofree char *file = g_strdup_printf("{\"files\":[{\"path\":\"/a\",\"content\":\"%s\"}]}", m4);
  k128[130000] = '\0';
  g_autofree char *env = g_strdup_printf(
      "{\"env\":{\"A\":\"%s\",\"B\":\"%s\",\"C\":\"%s\",\"D\":\"%s\",\"E\":\"%s\"}}", k128, k128,
      k128, k128, k128);
  refused(args, "4096");
  refused(vars, "4096");
  refused(files, "1024");
  refused(arg, "\"exec.argv[1]\" has 131072 bytes");
  refused(var, "\"env.V\"");
  refused(script, "too large");
  refused(control, "too large");
  refused(file, "4 MiB");
  refused(env, "512 KiB");
}

static void
test_frame(void)
{
  g_autoptr(GError) error = NULL;
  const char *const base[] = {"A=1", "B=2", NULL};
  g_autoptr(MfJson) json =
      parse("{\"script_base64\":\"/"
            "wAK\",\"shell\":[\"bash\",\"sh\"],\"env\":{\"A\":\"3\"},\"cwd\":\"/x\"}");
  g_autoptr(MfExecSpec) spec = mf_exec_spec_from_json(json, &error);
  g_assert_no_error(error);
  g_autoptr(MfJson) frame = mf_exec_spec_to_frame(spec, (char *const *)base);
  g_assert_cmpstr(json_object_to_json_string_ext(frame, JSON_C_TO_STRING_PLAIN), ==,
                  "{\"script\":\"\xff\\u0000\\n\",\"env\":[\"A=1\",\"B=2\",\"A=3\"],"
                  "\"shell\":[\"bash\",\"sh\"],\"cwd\":\"\\/x\",\"user\":\"root\",\"tty\":false,"
                  "\"rows\":24,\"cols\":80,\"stdin\":false}");
  g_autoptr(MfExecSpec) again = mf_exec_spec_ref(spec);
  g_assert_true(again == spec);
}

/* Only of a new one: a job that runs is not lost because what it brought is refused since. */
static void
test_new(void)
{
  static const struct {
    const char *path;
    gboolean good;
  } cases[] = {
      {"/proc/x", FALSE},     {"/run/a/b", FALSE}, {"/dev", FALSE},      {"//sys/x", FALSE},
      {"/var/run/x", FALSE},  {"/runner", TRUE},   {"/srv/run/x", TRUE}, {"/var/running", TRUE},
      {"/var/lock/x", FALSE}, {"/x", TRUE},
  };
  for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strdup_printf(
        "{\"files\":[{\"path\":\"/a\",\"content\":\"\"},{\"path\":\"%s\",\"content\":\"\"}]}",
        cases[i].path);
    g_autoptr(MfJson) json = parse(text);
    g_autoptr(MfJobSpec) spec = mf_job_spec_from_json(json, &error);
    g_assert_no_error(error);
    g_assert_cmpint(mf_job_spec_check_new(spec, &error), ==, cases[i].good);
    if (cases[i].good)
      continue;
    g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
    g_assert_nonnull(
        strstr(error->message, "\"files[1].path\" must not be in /proc, /sys, /dev or /run"));
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/job-spec/whole", test_whole);
  g_test_add_func("/job-spec/defaults", test_defaults);
  g_test_add_func("/job-spec/refused", test_refused);
  g_test_add_func("/job-spec/bounds", test_bounds);
  g_test_add_func("/job-spec/frame", test_frame);
  g_test_add_func("/job-spec/new", test_new);
  return g_test_run();
}
