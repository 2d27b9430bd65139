/* SPDX-License-Identifier: Apache-2.0 */
#include <glib/gstdio.h>
#include <string.h>

#include "daemon/config.h"
#include "daemon/error.h"

static MfConfig *
parse(const char *text, GError **error)
{
  return mf_config_from_data("mayfly.conf", text, strlen(text), error);
}

static void
test_defaults(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfConfig) config = mf_config_load(NULL, &error);
  g_assert_no_error(error);
  g_assert_cmpstr(config->state_directory, ==, "/var/lib/mayfly");
  g_assert_cmpstr(config->accel, ==, "auto");
  g_assert_cmpuint(config->max_machines, ==, 8);
  g_assert_cmpuint(config->disk_reserve, ==, G_GUINT64_CONSTANT(2) << 30);
  g_assert_cmpuint(config->start_timeout, ==, 180);
  g_assert_cmpuint(config->max_timeout, ==, 86400);
  g_assert_cmpuint(g_strv_length(config->holes), ==, 0);
  g_assert_cmpstr(config->filter_directory, ==, MF_DATADIR "/filters");
}

/* The file that is installed is what the daemon does without one, and says so key for key. */
static void
test_shipped_file(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfConfig) defaults = mf_config_load(NULL, &error);
  g_assert_no_error(error);
  g_autofree char *wanted = mf_config_dump(defaults, TRUE);
  g_autofree char *shipped = NULL;
  g_assert_true(g_file_get_contents(MF_BUILD_TEMPLATES "/mayfly.conf", &shipped, NULL, &error));
  g_assert_cmpstr(shipped, ==, wanted);

  g_autoptr(GRegex) key = g_regex_new("^#([a-z])", G_REGEX_MULTILINE, 0, NULL);
  g_autofree char *uncommented = g_regex_replace(key, shipped, -1, 0, "\\1", 0, NULL);
  g_autoptr(MfConfig) parsed = parse(uncommented, &error);
  g_assert_no_error(error);
  g_autofree char *effective = mf_config_dump(parsed, FALSE);
  g_autofree char *default_dump = mf_config_dump(defaults, FALSE);
  g_assert_cmpstr(effective, ==, default_dump);
  for (guint i = 0; i < mf_config_table()->count; i++) {
    g_autofree char *line = g_strdup_printf("\n%s=", mf_config_table()->keys[i].name);
    g_assert_nonnull(strstr(uncommented, line));
  }
}

static void
test_values(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfConfig) config = parse("; a comment\r\n"
                                     "[machines]\n"
                                     "  max-machines = 3\r\n"
                                     "memory=4GiB\n"
                                     "accel=tcg\n"
                                     "\n"
                                     "[jobs]\n"
                                     "default-timeout=90\n"
                                     "[network]\n"
                                     "holes= 10.0.0.1:443\t10.0.0.2:80 \n"
                                     "[machines]\n"
                                     "cpus=2",
                                     &error);
  g_assert_no_error(error);
  g_assert_cmpuint(config->max_machines, ==, 3);
  g_assert_cmpuint(config->memory, ==, G_GUINT64_CONSTANT(4) << 30);
  g_assert_cmpstr(config->accel, ==, "tcg");
  g_assert_cmpuint(config->default_timeout, ==, 90);
  g_assert_cmpuint(config->cpus, ==, 2);
  g_assert_cmpuint(g_strv_length(config->holes), ==, 2);
  g_assert_cmpstr(config->holes[1], ==, "10.0.0.2:80");
}

/* What is said about each mistake: place, key, and what would be right. */
static const struct {
  const char *text;
  const char *said[4];
} mistakes[] = {
    {"[machine]\n", {"mayfly.conf:1:", "\"machine\"", "[machines]"}},
    {"[machines]\n\nmax-machine=3\n", {"mayfly.conf:3:", "\"max-machine\"", "max-machines"}},
    {"[machines]\nmax-machines=0\n", {":2:", "[machines] max-machines", "from 1 to 1024"}},
    {"[machines]\nmax-machines=-1\n", {":2:", "\"-1\""}},
    {"[machines]\nmax-machines=4 # more\n", {":2:", "whole number"}},
    {"[machines]\nmax-machines=\n", {":2:", "\"\""}},
    {"[machines]\nmax-machines=4294967297\n", {":2:", "from 1 to"}},
    {"[machines]\nmemory=lots\n", {":2:", "\"lots\"", "a size from 0 to 64TiB"}},
    {"[machines]\naccel=xen\n", {":2:", "one of auto, kvm, tcg"}},
    {"[machines]\nemulator=qemu\n", {":2:", "an absolute path"}},
    {"[machines]\ncpus=1\ncpus=2\n", {":3:", "already given in line 2"}},
    {"[jobs]\nmax-timeout=2y\n", {":2:", "a time from 1s to 365d"}},
    {"[daemon]\nadmin-group=a b\n", {":2:", "the name of a group"}},
    {"[network]\nsubnet=10.0.0.1/24\n", {":2:", "10.177.86.0/24"}},
    {"[network]\nsubnet=10.0.0.0/8\n", {":2:", "/16 to /27"}},
    {"[network]\nholes=10.0.0.1\n", {":2:", "192.168.1.10:443"}},
    {"[network]\nholes=10.0.0.1:443 gitlab:443\n", {":2:", "ADDRESS:PORT"}},
    {"[network]\ndns-forwarders=dns\n", {":2:", "IPv4 addresses"}},
    {"[network]\nnetwork=a-name-that-is-too-long\n", {":2:", "15"}},
    {"cpus=1\n", {":1:", "before the first [group]"}},
    {"[machines]\ncpus\n", {":2:", "neither a [group] nor"}},
    {"[machines\n", {":1:", "']'"}},
    {"[", {":1:", "']'"}},
    {"#\n\xff\n", {":2:", "UTF-8"}},
    {"[jobs]\nmax-timeout=30m\n", {"mayfly.conf:2", "default-timeout (the built-in default)"}},
    {"[network]\nports=300\n", {"ports=300 (mayfly.conf:2)", "room for 239"}},
};

static void
test_mistakes(void)
{
  for (guint i = 0; i < G_N_ELEMENTS(mistakes); i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(MfConfig) config = parse(mistakes[i].text, &error);
    g_assert_null(config);
    g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
    for (guint j = 0; j < G_N_ELEMENTS(mistakes[i].said) && mistakes[i].said[j] != NULL; j++)
      if (strstr(error->message, mistakes[i].said[j]) == NULL)
        g_error("\"%s\" does not say \"%s\"", error->message, mistakes[i].said[j]);
  }
}

static void
write_file(const char *folder, const char *name, const char *text)
{
  g_autofree char *path = g_build_filename(folder, name, NULL);
  g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void
test_files(void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *folder = g_dir_make_tmp("mayfly-config-XXXXXX", &error);
  g_autofree char *main_file = g_build_filename(folder, "mayfly.conf", NULL);
  g_autofree char *more = g_strconcat(main_file, ".d", NULL);

  g_autoptr(MfConfig) missing = mf_config_load(main_file, &error);
  g_assert_null(missing);
  g_assert_nonnull(strstr(error->message, main_file));
  g_clear_error(&error);

  write_file(folder, "mayfly.conf", "[machines]\nmax-machines=1\ncpus=7\n");
  g_autoptr(MfConfig) alone = mf_config_load(main_file, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(alone->max_machines, ==, 1);

  g_assert_cmpint(g_mkdir(more, 0755), ==, 0);
  write_file(more, "20-late.conf", "[machines]\nmax-machines=3\n");
  write_file(more, "10-early.conf", "[machines]\nmax-machines=2\nparallel-starts=1\n");
  write_file(more, "README", "not a configuration");
  write_file(more, ".hidden.conf", "nor this");
  g_autoptr(MfConfig) both = mf_config_load(main_file, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(both->max_machines, ==, 3);
  g_assert_cmpuint(both->parallel_starts, ==, 1);
  g_assert_cmpuint(both->cpus, ==, 7);

  write_file(more, "20-late.conf", "[machines]\nmax-machines=many\n");
  g_autoptr(MfConfig) bad = mf_config_load(main_file, &error);
  g_assert_null(bad);
  g_assert_nonnull(strstr(error->message, "20-late.conf:2: [machines] max-machines=\"many\""));

  static const char *const made[] = {"mayfly.conf.d/20-late.conf",
                                     "mayfly.conf.d/10-early.conf",
                                     "mayfly.conf.d/README",
                                     "mayfly.conf.d/.hidden.conf",
                                     "mayfly.conf.d",
                                     "mayfly.conf"};
  for (guint i = 0; i < G_N_ELEMENTS(made); i++) {
    g_autofree char *path = g_build_filename(folder, made[i], NULL);
    g_assert_cmpint(g_remove(path), ==, 0);
  }
  g_assert_cmpint(g_rmdir(folder), ==, 0);
}

int
main(int argc, char **argv)
{
  g_unsetenv("MAYFLY_DATADIR");
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/config/defaults", test_defaults);
  g_test_add_func("/config/shipped-file", test_shipped_file);
  g_test_add_func("/config/values", test_values);
  g_test_add_func("/config/mistakes", test_mistakes);
  g_test_add_func("/config/files", test_files);
  return g_test_run();
}
