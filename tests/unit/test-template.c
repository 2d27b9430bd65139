/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "daemon/error.h"
#include "daemon/template.h"

static MfTemplate *
parse(const char *text, GError **error)
{
  return mf_template_from_data("some", text, strlen(text), error);
}

static void
test_shipped(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) all = mf_template_load_all(MF_SOURCE_TEMPLATES, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(all->len, ==, 3);
  static const char *const names[] = {"debian-12", "default", "tiny"};
  for (guint i = 0; i < all->len; i++) {
    const MfTemplate *template = g_ptr_array_index(all, i);
    g_assert_cmpstr(template->name, ==, names[i]);
    g_assert_cmpstr(template->domain, ==, MF_DATADIR "/templates/domain.xml");
    g_assert_cmpuint(template->memory_floor, <, template->memory);
    g_assert_cmpuint(template->max_memory, >, template->memory);
    g_assert_true(template->description[0] != '\0');
  }
  g_autoptr(MfTemplate) tiny = mf_template_find(MF_SOURCE_TEMPLATES, "tiny", &error);
  g_assert_no_error(error);
  g_assert_cmpstr(tiny->image, ==, "tiny");
  g_assert_cmpint(tiny->ready, ==, MF_READY_NETWORK);
}

static void
test_values(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfTemplate) template = parse("[template]\n"
                                         "image=mine@0123456789ab\n"
                                         "domain=/etc/mayfly/mine.xml\n"
                                         "ready=system\n"
                                         "graceful=yes\n"
                                         "grace=1m\n"
                                         "[machine]\n"
                                         "cpus=2\n"
                                         "memory=3GiB\n"
                                         "disk-iops=500\n"
                                         "[limits]\n"
                                         "cpus=4\n"
                                         "timeout=2h\n",
                                         &error);
  g_assert_no_error(error);
  g_assert_cmpstr(template->name, ==, "some");
  g_assert_cmpstr(template->image, ==, "mine@0123456789ab");
  g_assert_cmpstr(template->domain, ==, "/etc/mayfly/mine.xml");
  g_assert_cmpint(template->ready, ==, MF_READY_SYSTEM);
  g_assert_true(template->graceful);
  g_assert_cmpuint(template->grace, ==, 60);
  g_assert_cmpuint(template->disk_iops, ==, 500);
  g_assert_cmpuint(template->max_cpus, ==, 4);
  g_assert_cmpuint(template->max_timeout, ==, 7200);
  /* Without a limit of its own, what every machine gets is the limit. */
  g_assert_cmpuint(template->max_memory, ==, template->memory);
  g_assert_cmpuint(template->max_disk, ==, template->disk);
  g_autoptr(MfTemplate) second = mf_template_ref(template);
  g_assert_true(second == template);
}

static const struct {
  const char *text;
  const char *said[3];
} mistakes[] = {
    {"[template]\n", {"some:", "[template] image is missing"}},
    {"[template]\nimage=\n", {"some:2:", "NAME@DIGEST"}},
    {"[template]\nimage=a\nready=maybe\n", {"some:3:", "one of agent, network, system"}},
    {"[template]\nimage=a\ngraceful=perhaps\n", {"some:3:", "yes or no"}},
    {"[template]\nimage=a\ndomain=x.xml\n", {"some:3:", "an absolute path"}},
    {"[template]\nimage=a\n[machine]\ncpus=4\n[limits]\ncpus=2\n", {"cpus (some:4)", "(some:6)"}},
    {"[template]\nimage=a\n[limits]\nmemory=1M\n", {"memory (the built-in default)", "some:4"}},
    {"[template]\nimage=a\n[machine]\nmemory-floor=2GiB\n", {"memory-floor (some:4)"}},
    {"[template]\nimage=a\n[machine]\nmemory=1M\n", {"some:4:", "from 32MiB"}},
    {"[pool]\n", {"some:1:", "[template], [machine], [limits]"}},
};

static void
test_mistakes(void)
{
  for (guint i = 0; i < G_N_ELEMENTS(mistakes); i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(MfTemplate) template = parse(mistakes[i].text, &error);
    g_assert_null(template);
    g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
    for (guint j = 0; j < G_N_ELEMENTS(mistakes[i].said) && mistakes[i].said[j] != NULL; j++)
      if (strstr(error->message, mistakes[i].said[j]) == NULL)
        g_error("\"%s\" does not say \"%s\"", error->message, mistakes[i].said[j]);
  }
}

static void
test_names(void)
{
  static const char *const bad[] = {
      "",
      ".",
      "..",
      "../tiny",
      "/etc/passwd",
      "Tiny",
      "a b",
      "-x",
      "a\n",
      "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg"};
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(MfTemplate) template = mf_template_find(MF_SOURCE_TEMPLATES, bad[i], &error);
    g_assert_null(template);
    g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
  }
  g_autoptr(GError) error = NULL;
  g_autoptr(MfTemplate) missing = mf_template_find(MF_SOURCE_TEMPLATES, "debian-13", &error);
  g_assert_null(missing);
  g_assert_error(error, MF_ERROR, MF_ERROR_NOT_FOUND);
  g_assert_nonnull(strstr(error->message, "debian-12, default, tiny"));
}

static void
test_ready_names(void)
{
  for (int i = MF_READY_AGENT; i <= MF_READY_SYSTEM; i++) {
    MfReady ready = MF_READY_AGENT;
    g_assert_true(mf_ready_from_string(mf_ready_to_string((MfReady)i), &ready));
    g_assert_cmpint(ready, ==, i);
  }
  MfReady ready;
  g_assert_false(mf_ready_from_string("never", &ready));
}

int
main(int argc, char **argv)
{
  g_unsetenv("MAYFLY_DATADIR");
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/template/shipped", test_shipped);
  g_test_add_func("/template/values", test_values);
  g_test_add_func("/template/mistakes", test_mistakes);
  g_test_add_func("/template/names", test_names);
  g_test_add_func("/template/ready-names", test_ready_names);
  return g_test_run();
}
