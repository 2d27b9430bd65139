/* SPDX-License-Identifier: Apache-2.0 */
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/error.h"
#include "daemon/port.h"

static char *directory;

static MfNetworkState *
load(const char *text, GError **error)
{
  g_autofree char *path = g_build_filename(directory, "state.json", NULL);
  g_assert_true(g_file_set_contents(path, text, -1, NULL));
  MfNetworkState *state = mf_network_state_load(path, error);
  g_assert_cmpint(g_unlink(path), ==, 0);
  return state;
}

#define GOOD_HEAD "{\"version\":1,\"updated\":1700000000,\"network\":{\"ok\":true},"
#define GOOD_REST                                                                                  \
  "\"guard\":{\"ok\":true,\"restored\":0},\"host_addresses\":[\"192.0.2.1\",\"10.177.0.1\"],"      \
  "\"ports\":["
#define PORT(tap, ok, isolated, chains)                                                            \
  "{\"tap\":\"" tap "\",\"ok\":" ok ",\"isolated\":" isolated ",\"chains\":" chains "}"

static void
test_good(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfNetworkState) state = load(
      GOOD_HEAD GOOD_REST
          PORT("mf0", "true", "true", "true") "," PORT("mf1", "true", "true", "false") "," PORT(
              "mf2", "true", "false",
              "true") ","
                      "{\"tap\":\"mf3\",\"ok\":false,\"problem\":\"it is down\",\"isolated\":false,"
                      "\"chains\":false}]}",
      &error);
  g_assert_no_error(error);
  g_assert_cmpint(mf_network_state_updated(state), ==, 1700000000);
  g_assert_null(mf_network_state_problem(state));
  const char *const *addresses = mf_network_state_host_addresses(state);
  g_assert_cmpstr(addresses[0], ==, "192.0.2.1");
  g_assert_cmpstr(addresses[1], ==, "10.177.0.1");
  g_assert_null(addresses[2]);
  g_assert_null(mf_network_state_port_problem(state, "mf0", TRUE));
  g_assert_null(mf_network_state_port_problem(state, "mf1", FALSE));
  g_assert_nonnull(mf_network_state_port_problem(state, "mf1", TRUE));
  g_assert_nonnull(mf_network_state_port_problem(state, "mf2", FALSE));
  g_assert_cmpstr(mf_network_state_port_problem(state, "mf3", FALSE), ==, "it is down");
  g_assert_nonnull(mf_network_state_port_problem(state, "mf4", FALSE));
}

static void
test_problems(void)
{
  g_autoptr(MfNetworkState) network =
      load("{\"version\":1,\"updated\":1,\"network\":{\"ok\":false,\"problem\":\"no bridge\"},"
           "\"guard\":{\"ok\":false,\"problem\":\"no guard\"},\"host_addresses\":[],\"ports\":[]}",
           NULL);
  g_assert_cmpstr(mf_network_state_problem(network), ==, "no bridge");
  g_autoptr(MfNetworkState) guard =
      load("{\"version\":1,\"updated\":1,\"network\":{\"ok\":true,\"problem\":\"ignored\"},"
           "\"guard\":{\"ok\":false},\"host_addresses\":[],\"ports\":[]}",
           NULL);
  g_assert_nonnull(mf_network_state_problem(guard));

  g_autofree char *many = g_strnfill(100000, 'x');
  g_autofree char *text =
      g_strdup_printf("{\"version\":1,\"updated\":1,\"network\":{\"ok\":false,\"problem\":\"%s\"},"
                      "\"guard\":{\"ok\":true},\"host_addresses\":[],\"ports\":[]}",
                      many);
  g_autoptr(MfNetworkState) bounded = load(text, NULL);
  g_assert_cmpuint(strlen(mf_network_state_problem(bounded)), <=, 1000);
}

static void
test_malformed(void)
{
  static const char *const bad[] = {
      "",
      "null",
      "[]",
      "{",
      "{}",
      GOOD_HEAD GOOD_REST "]} trailing",
      "{\"version\":\"1\"}",
      "{\"version\":1}",
      GOOD_HEAD "\"host_addresses\":[],\"ports\":[]}",
      GOOD_HEAD "\"guard\":{\"ok\":1},\"host_addresses\":[],\"ports\":[]}",
      GOOD_HEAD "\"guard\":[],\"host_addresses\":[],\"ports\":[]}",
      GOOD_HEAD "\"guard\":{\"ok\":true},\"ports\":[]}",
      GOOD_HEAD "\"guard\":{\"ok\":true},\"host_addresses\":{},\"ports\":[]}",
      GOOD_HEAD "\"guard\":{\"ok\":true},\"host_addresses\":[1],\"ports\":[]}",
      GOOD_HEAD "\"guard\":{\"ok\":true},\"host_addresses\":[\"1.2.3\"],\"ports\":[]}",
      GOOD_HEAD "\"guard\":{\"ok\":true},\"host_addresses\":[\"'/><rule/>\"],\"ports\":[]}",
      GOOD_HEAD "\"guard\":{\"ok\":true},\"host_addresses\":[]}",
      GOOD_HEAD GOOD_REST "null]}",
      GOOD_HEAD GOOD_REST "{}]}",
      GOOD_HEAD GOOD_REST "{\"tap\":\"mf0\",\"ok\":true,\"isolated\":true}]}",
      GOOD_HEAD GOOD_REST PORT("mf0", "true", "true", "\"true\"") "]}",
      GOOD_HEAD GOOD_REST PORT("mf0", "true", "null", "true") "]}",
      "{\"version\":1,\"updated\":\"now\",\"network\":{\"ok\":true},\"guard\":{\"ok\":true},\"host_"
      "addresses\":[],"
      "\"ports\":[]}",
      "{\"version\":1,\"updated\":1,\"network\":{\"ok\":true},\"guard\":{\"ok\":true},\"host_"
      "addresses\":[[[[[[[[[[]]]]]]]"
      "]]],\"ports\":[]}",
      "{\"version\":1,\"updated\":1,\"network\":{\"ok\":false,\"problem\":\"\xff\xfe\"},\"guard\":{"
      "\"ok\":true},"
      "\"host_addresses\":[],\"ports\":[]}",
  };
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GError) error = NULL;
    g_test_message("%s", bad[i]);
    g_assert_null(load(bad[i], &error));
    g_assert_error(error, MF_ERROR, MF_ERROR_DAMAGED);
    g_assert_nonnull(strstr(error->message, "state.json"));
  }
}

static void
test_other_version(void)
{
  g_autoptr(GError) error = NULL;
  g_assert_null(load("{\"version\":2}", &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
  g_assert_nonnull(strstr(error->message, "mayfly-netd"));
}

static void
test_not_a_file(void)
{
  g_autoptr(GError) error = NULL;
  g_assert_null(mf_network_state_load("/nonexistent/state.json", &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE);
  g_clear_error(&error);
  g_assert_null(mf_network_state_load(directory, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_DAMAGED);
  g_clear_error(&error);

  g_autofree char *fifo = g_build_filename(directory, "fifo", NULL);
  g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
  g_assert_null(mf_network_state_load(fifo, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_DAMAGED);
  g_clear_error(&error);
  g_unlink(fifo);

  g_autofree char *large = g_build_filename(directory, "large", NULL);
  g_assert_true(g_file_set_contents(large, "", 0, NULL));
  g_assert_cmpint(truncate(large, 64 << 20), ==, 0);
  g_assert_null(mf_network_state_load(large, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_DAMAGED);
  g_unlink(large);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  directory = g_dir_make_tmp("mayfly-test-XXXXXX", NULL);
  g_assert_nonnull(directory);
  g_test_add_func("/network-state/good", test_good);
  g_test_add_func("/network-state/problems", test_problems);
  g_test_add_func("/network-state/malformed", test_malformed);
  g_test_add_func("/network-state/other-version", test_other_version);
  g_test_add_func("/network-state/not-a-file", test_not_a_file);
  int status = g_test_run();
  g_rmdir(directory);
  g_free(directory);
  return status;
}
