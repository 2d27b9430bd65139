/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of mayfly-netd: links, guard, state and network XML. The ip program's JSON is
 * Debian 12's. */
#include <glib/gstdio.h>
#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/netd-guard.h"
#include "daemon/netd-links.h"
#include "daemon/netd-run.h"
#include "daemon/netd-state.h"
#include "daemon/network-xml.h"

#define SCHEMA "/usr/share/libvirt/schemas/network.rng"

static char *holes[] = {(char *)"192.168.1.5:443", (char *)"192.168.1.6:5000", NULL};
static char *forwarders[] = {(char *)"9.9.9.9", (char *)"1.1.1.1", NULL};

static MfConfig
config_of(guint ports)
{
  return (MfConfig){.network = (char *)"mayfly0",
                    .subnet = (char *)"10.177.86.0/24",
                    .ports = ports,
                    .filter_directory = (char *)MF_SOURCE_DIR "/filters"};
}

/* --- links --- */

#define TAP_INFO                                                                                   \
  "\"info_kind\":\"tun\",\"info_data\":{\"type\":\"tap\",\"pi\":false,\"vnet_hdr\":true,\"multi_"  \
  "queue\":false,\"persist\":true,\"user\":\"root\"}"
#define TAP(name, flags, master, isolated)                                                         \
  "{\"ifindex\":3,\"ifname\":\"" name "\",\"flags\":[" flags "]," master "\"linkinfo\":{" TAP_INFO \
  ",\"info_slave_kind\":\"bridge\",\"info_slave_data\":{\"state\":\"disabled\","                   \
  "\"isolated\":" isolated "}}}"
#define ON     "\"master\":\"mayfly0\","
#define IDLE   "\"NO-CARRIER\",\"BROADCAST\",\"MULTICAST\",\"UP\""
#define IN_USE "\"BROADCAST\",\"MULTICAST\",\"UP\",\"LOWER_UP\""
#define BRIDGE                                                                                     \
  "{\"ifname\":\"mayfly0\",\"flags\":[" IDLE                                                       \
  "],\"linkinfo\":{\"info_kind\":\"bridge\",\"info_data\":{}}}"
#define ADDRESSES                                                                                  \
  "[{},{\"ifname\":\"lo\",\"addr_info\":[{\"family\":\"inet\",\"local\":\"127.0.0.1\","            \
  "\"prefixlen\":8},"                                                                              \
  "{\"family\":\"inet\",\"local\":\"192.0.2.9\",\"prefixlen\":32}]},{\"ifname\":\"mayfly0\","      \
  "\"addr_info\":[{\"family\":"                                                                    \
  "\"inet\",\"local\":\"10.177.86.1\",\"prefixlen\":24}]},{\"ifname\":\"eth0\",\"addr_info\":[{"   \
  "\"local\":\"192.0.2.9\","                                                                       \
  "\"prefixlen\":24},{\"local\":\"172.16.3.4\",\"prefixlen\":12}]}]"

static char *
plan(const char *links, guint ports, MfNetdTap *ret_first)
{
  MfConfig config = config_of(ports);
  g_autoptr(GError) error = NULL;
  g_autoptr(MfPortTable) table = mf_port_table_new(&config, &error);
  g_autoptr(MfNetdLinks) parsed = mf_netd_links_parse(links, ADDRESSES, &error);
  g_assert_no_error(error);
  if (ret_first != NULL)
    *ret_first = mf_netd_links_tap(parsed, "mayfly0", mf_port_table_get(table, 0));
  return mf_netd_links_plan(parsed, "mayfly0", table);
}

static void
test_plan(void)
{
  static const struct {
    const char *links, *plan;
  } cases[] = {
      {"[" BRIDGE "," TAP("mf0", IDLE, ON, "true") "]", NULL},
      {"[" BRIDGE "," TAP("mf0", IN_USE, ON, "true") "]", NULL},
      {"[" BRIDGE "]",
       "tuntap add dev mf0 mode tap user root vnet_hdr\nlink set dev mf0 addrgenmode none\n"
       "link set dev mf0 master mayfly0\nlink set dev mf0 type bridge_slave isolated on\nlink set "
       "dev mf0 up\n"},
      {"[" BRIDGE "," TAP("mf0", IDLE, ON, "false") "]",
       "link set dev mf0 type bridge_slave isolated on\n"},
      {"[" BRIDGE "," TAP("mf0", "\"BROADCAST\"", ON, "true") "]", "link set dev mf0 up\n"},
      {"[" BRIDGE "," TAP("mf0", IDLE, "", "false") "]",
       "link set dev mf0 master mayfly0\nlink set dev mf0 type bridge_slave isolated on\n"},
      {"[" BRIDGE "," TAP("mf0", IDLE, "\"master\":\"br0\",", "true") "]",
       "link set dev mf0 master mayfly0\nlink set dev mf0 type bridge_slave isolated on\n"},
      /* No bridge yet: the tap waits for it. */
      {"[" TAP("mf0", IDLE, "", "false") "]", NULL},
      /* More than are configured: gone unless in use, and only if they are ours. */
      {"[" BRIDGE "," TAP("mf0", IDLE, ON, "true") "," TAP("mf7", IDLE, ON, "true") "," TAP(
           "mf8", IN_USE, ON, "true") "," TAP("mfx", IDLE, ON,
                                              "true") "," TAP("mf9", IDLE, "\"master\":\"br0\",",
                                                              "true") "]",
       "link del dev mf7\n"},
      /* Somebody else's interface keeps its name. */
      {"[" BRIDGE ",{\"ifname\":\"mf0\",\"flags\":[],\"linkinfo\":{\"info_kind\":\"veth\"}}]",
       NULL},
      {"[" BRIDGE ",{\"ifname\":\"mf0\",\"flags\":[]}]", NULL},
  };
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autofree char *commands = plan(cases[i].links, 1, NULL);
    g_assert_cmpstr(commands, ==, cases[i].plan);
  }
}

static void
test_plan_wrong_tap(void)
{
  static const char *const wrong[] = {"\"user\":\"root\"", "\"persist\":true", "\"vnet_hdr\":true",
                                      "\"multi_queue\":false", "\"type\":\"tap\""};
  static const char *const how[] = {"\"user\":\"mallory\"", "\"persist\":false",
                                    "\"vnet_hdr\":false", "\"multi_queue\":true",
                                    "\"type\":\"tun\""};
  for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
    g_autoptr(GString) idle = g_string_new("[" BRIDGE "," TAP("mf0", IDLE, ON, "true") "]");
    g_autoptr(GString) used = g_string_new("[" BRIDGE "," TAP("mf0", IN_USE, ON, "true") "]");
    g_assert_cmpuint(g_string_replace(idle, wrong[i], how[i], 0), ==, 1);
    g_assert_cmpuint(g_string_replace(used, wrong[i], how[i], 0), ==, 1);
    MfNetdTap tap;
    g_autofree char *remake = plan(idle->str, 1, &tap);
    g_assert_nonnull(tap.problem);
    g_assert_true(g_str_has_prefix(remake, "link del dev mf0\ntuntap add dev mf0 "));
    mf_netd_tap_clear(&tap);
    g_autofree char *leave = plan(used->str, 1, &tap);
    g_assert_nonnull(tap.problem);
    g_assert_true(tap.used);
    g_assert_null(leave);
    mf_netd_tap_clear(&tap);
  }
}

static void
test_tap_and_bridge(void)
{
  MfConfig config = config_of(1);
  g_autoptr(MfPortTable) table = mf_port_table_new(&config, NULL);
  g_autoptr(MfNetdLinks) links =
      mf_netd_links_parse("[" BRIDGE "," TAP("mf0", IDLE, ON, "false") "]", ADDRESSES, NULL);
  MfNetdTap tap = mf_netd_links_tap(links, "mayfly0", mf_port_table_get(table, 0));
  g_assert_cmpstr(tap.problem, ==, "the tap mf0 is not isolated from the other ports");
  g_assert_false(tap.isolated);
  g_assert_false(tap.used);
  mf_netd_tap_clear(&tap);
  g_assert_null(mf_netd_links_bridge_problem(links, "mayfly0", table));
  const char *const *addresses = mf_netd_links_addresses(links);
  g_assert_cmpuint(g_strv_length((char **)addresses), ==, 3); /* no loopback, none twice */
  g_assert_cmpstr(addresses[0], ==, "10.177.86.1");
  g_autofree char *removal = mf_netd_links_plan_removal(links, "mayfly0");
  g_assert_null(removal); /* not isolated: not made by us */

  g_autoptr(MfNetdLinks) none =
      mf_netd_links_parse("[" TAP("mf0", IDLE, "", "false") "]", "[]", NULL);
  g_autofree char *missing = mf_netd_links_bridge_problem(none, "mayfly0", table);
  g_assert_nonnull(strstr(missing, "missing"));
  tap = mf_netd_links_tap(none, "mayfly0", mf_port_table_get(table, 0));
  g_assert_null(tap.problem);
  g_assert_true(tap.isolated);
  g_autofree char *all = mf_netd_links_plan_removal(none, "mayfly0");
  g_assert_cmpstr(all, ==, "link del dev mf0\n");
  g_autoptr(MfNetdLinks) bare = mf_netd_links_parse("[" BRIDGE "]", "[]", NULL);
  g_autofree char *no_address = mf_netd_links_bridge_problem(bare, "mayfly0", table);
  g_assert_nonnull(strstr(no_address, "10.177.86.1/24"));
  g_autoptr(MfNetdLinks) other = mf_netd_links_parse(
      "[{\"ifname\":\"mayfly0\",\"flags\":[\"UP\"],\"linkinfo\":{\"info_kind\":\"dummy\"}}]", "[]",
      NULL);
  g_autofree char *no_bridge = mf_netd_links_bridge_problem(other, "mayfly0", table);
  g_assert_nonnull(strstr(no_bridge, "not a bridge"));
}

static void
test_links_malformed(void)
{
  static const char *const bad[] = {"", "{}", "null", "Usage: ip", "[{\"ifname\":"};
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GError) error = NULL;
    g_assert_null(mf_netd_links_parse(bad[i], "[]", &error));
    g_assert_error(error, MF_ERROR, MF_ERROR_DAMAGED);
    g_clear_error(&error);
    g_assert_null(mf_netd_links_parse("[]", bad[i], &error));
    g_assert_error(error, MF_ERROR, MF_ERROR_DAMAGED);
  }
  g_autoptr(MfNetdLinks) odd =
      mf_netd_links_parse("[1,null,{\"ifname\":7},{\"ifname\":\"x\",\"flags\":3,\"linkinfo\":[]}]",
                          "[{\"addr_info\":[1,{\"local\":\"fe80::1\"}]}]", NULL);
  g_assert_nonnull(odd);
}

/* --- guard --- */

static void
test_guard(void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *guard_template = NULL;
  g_assert_true(
      g_file_get_contents(MF_SOURCE_DIR "/filters/guard.nft.in", &guard_template, NULL, NULL));
  MfConfig config = config_of(2);
  g_autoptr(MfPortTable) table = mf_port_table_new(&config, NULL);
  g_autofree char *bare = mf_netd_guard_format(guard_template, &config, table, &error);
  g_assert_no_error(error);
  g_assert_nonnull(strstr(bare, "elements = { \"mf0\", \"mf1\" }"));
  g_assert_nonnull(strstr(bare, "iifname \"mayfly0\" jump to_host"));
  g_assert_nonnull(strstr(bare, "ip saddr != 10.177.86.1/24 drop"));
  g_autoptr(GRegex) left = g_regex_new("@[A-Z]+@", 0, 0, NULL);
  g_assert_false(g_regex_match(left, bare, 0, NULL));
  config.holes = holes;
  g_autofree char *with_holes = mf_netd_guard_format(guard_template, &config, table, NULL);
  g_assert_nonnull(strstr(with_holes, "elements = { 192.168.1.5 . 443, 192.168.1.6 . 5000 }"));

  char *bad[] = {(char *)"1.2.3.4:5 }; add rule", NULL};
  config.holes = bad;
  g_assert_null(mf_netd_guard_format(guard_template, &config, table, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
  g_clear_error(&error);
  config.holes = NULL;
  config.network = (char *)"x\" accept #";
  g_assert_null(mf_netd_guard_format(guard_template, &config, table, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
}

/* --- state --- */

static void
test_state_round_trip(void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *directory = g_dir_make_tmp("mayfly-test-XXXXXX", NULL);
  g_autofree char *path = g_build_filename(directory, "state.json", NULL);
  g_autoptr(MfNetdState) state = mf_netd_state_new();
  static const char *const addresses[] = {"10.177.86.1", "192.0.2.9", NULL};
  state->addresses = g_strdupv((char **)addresses);
  state->guard_restored = 2;
  MfNetdPortState *good = mf_netd_state_add_port(state, "mf0");
  good->isolated = good->chains = TRUE;
  MfNetdPortState *unbound = mf_netd_state_add_port(state, "mf1");
  unbound->isolated = TRUE;
  unbound->chains_problem = g_strdup("nothing leads there");
  g_auto(GStrv) none = mf_netd_state_problems(state);
  g_assert_cmpuint(g_strv_length(none), ==, 0);
  MfNetdPortState *bad = mf_netd_state_add_port(state, "mf2");
  bad->problem = g_strdup("the tap mf2 is \"gone\"");
  unbound->used = TRUE;
  g_assert_true(mf_netd_state_write(state, path, 1700000000, &error));
  g_auto(GStrv) two = mf_netd_state_problems(state);
  g_assert_cmpuint(g_strv_length(two), ==, 2);

  g_autoptr(MfNetworkState) read = mf_network_state_load(path, &error);
  g_assert_no_error(error);
  g_assert_cmpint(mf_network_state_updated(read), ==, 1700000000);
  g_assert_null(mf_network_state_problem(read));
  g_assert_true(g_strv_equal(mf_network_state_host_addresses(read), addresses));
  g_assert_null(mf_network_state_port_problem(read, "mf0", TRUE));
  g_assert_null(mf_network_state_port_problem(read, "mf1", FALSE));
  g_assert_nonnull(mf_network_state_port_problem(read, "mf1", TRUE));
  g_assert_cmpstr(mf_network_state_port_problem(read, "mf2", FALSE), ==, "the tap mf2 is \"gone\"");

  state->guard_problem = g_strdup("no guard");
  g_assert_true(mf_netd_state_write(state, path, 1700000001, &error));
  g_autoptr(MfNetworkState) again = mf_network_state_load(path, &error);
  g_assert_cmpstr(mf_network_state_problem(again), ==, "no guard");
  g_unlink(path);
  g_assert_cmpint(g_rmdir(directory), ==, 0);
  g_assert_false(mf_netd_state_write(state, path, 1, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_NOT_FOUND);
}

/* --- network --- */

static char *
network_xml(const MfConfig *config, const char *uuid)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfPortTable) table = mf_port_table_new(config, NULL);
  char *xml =
      mf_network_xml_format(MF_SOURCE_DIR "/templates/network.xml", config, table, uuid, &error);
  g_assert_no_error(error);
  return xml;
}

static gboolean
is_valid(const char *xml)
{
  if (!g_file_test(SCHEMA, G_FILE_TEST_EXISTS))
    return TRUE;
  xmlRelaxNGParserCtxt *parser = xmlRelaxNGNewParserCtxt(SCHEMA);
  xmlRelaxNG *schema = xmlRelaxNGParse(parser);
  xmlDoc *doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL, XML_PARSE_NONET);
  xmlRelaxNGValidCtxt *valid = xmlRelaxNGNewValidCtxt(schema);
  gboolean good = xmlRelaxNGValidateDoc(valid, doc) == 0;
  xmlRelaxNGFreeValidCtxt(valid);
  xmlFreeDoc(doc);
  xmlRelaxNGFree(schema);
  xmlRelaxNGFreeParserCtxt(parser);
  return good;
}

static void
test_network(void)
{
  MfConfig config = config_of(2);
  g_autofree char *plain = network_xml(&config, NULL);
  g_assert_true(is_valid(plain));
  g_assert_null(strstr(plain, "forwarder addr"));
  g_assert_nonnull(strstr(plain, "<ip address=\"10.177.86.1\" prefix=\"24\">"));
  g_assert_nonnull(strstr(plain, "<host mac=\"52:54:00:6d:00:01\" ip=\"10.177.86.17\">"));
  g_assert_null(strstr(plain, "<range"));
  g_assert_true(mf_network_xml_is_ours(plain));
  g_autofree char *named = network_xml(&config, "e5850a97-7f9e-4c26-919a-c7cb1617b5ee");
  g_assert_true(is_valid(named));
  g_assert_true(mf_network_xml_same(named, plain));

  config.dns_forwarders = forwarders;
  g_autofree char *dns = network_xml(&config, NULL);
  g_assert_true(is_valid(dns));
  g_assert_nonnull(strstr(dns, "<forwarder addr=\"9.9.9.9\"/><forwarder addr=\"1.1.1.1\"/>"));
  g_assert_false(mf_network_xml_same(dns, plain));
  config.dns_forwarders = NULL;
  config.ports = 3;
  g_autofree char *more = network_xml(&config, NULL);
  g_assert_false(mf_network_xml_same(more, plain));
}

static void
test_network_edited(void)
{
  MfConfig config = config_of(1);
  g_autofree char *plain = network_xml(&config, NULL);
  static const struct {
    const char *from, *to;
  } edits[] = {{"mode=\"nat\"", "mode=\"route\""},
               {"isolated=\"yes\"", "isolated=\"no\""},
               {"10.177.86.16", "10.177.86.99"},
               {"</dhcp>", "<range start=\"10.177.86.100\" end=\"10.177.86.200\"/></dhcp>"},
               {"delay=\"0\" name=\"mayfly0\"", "name=\"virbr9\""},
               {"digest=\"", "digest=\"0"}};
  for (guint i = 0; i < G_N_ELEMENTS(edits); i++) {
    g_autoptr(GString) text = g_string_new(plain);
    g_assert_cmpuint(g_string_replace(text, edits[i].from, edits[i].to, 0), >=, 1);
    g_assert_false(mf_network_xml_same(text->str, plain));
  }
  g_assert_false(mf_network_xml_same("no XML", "no XML"));
  g_assert_false(mf_network_xml_is_ours("<network><name>mayfly0</name></network>"));

  g_autoptr(GError) error = NULL;
  g_autoptr(MfPortTable) table = mf_port_table_new(&config, NULL);
  g_assert_null(mf_network_xml_format(MF_SOURCE_DIR "/filters/no-host-lan.xml", &config, table,
                                      NULL, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_DAMAGED);
  g_clear_error(&error);
  g_assert_null(mf_network_xml_format("/nonexistent", &config, table, NULL, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_DAMAGED);
}

/* --- running --- */

static void
test_run(void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *output = NULL;
  static const char *const cat[] = {"cat", NULL};
  g_assert_true(mf_netd_run(cat, "through\n", &output, &error));
  g_assert_cmpstr(output, ==, "through\n");
  static const char *const missing[] = {"mayfly-no-such-program", NULL};
  g_assert_false(mf_netd_run(missing, NULL, NULL, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE);
  g_clear_error(&error);
  static const char *const fails[] = {"cat", "/nonexistent/file", NULL};
  g_assert_false(mf_netd_run(fails, NULL, NULL, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_FAILED);
  g_assert_nonnull(strstr(error->message, "/nonexistent/file"));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/netd/plan", test_plan);
  g_test_add_func("/netd/plan-wrong-tap", test_plan_wrong_tap);
  g_test_add_func("/netd/tap-and-bridge", test_tap_and_bridge);
  g_test_add_func("/netd/links-malformed", test_links_malformed);
  g_test_add_func("/netd/guard", test_guard);
  g_test_add_func("/netd/state-round-trip", test_state_round_trip);
  g_test_add_func("/netd/network", test_network);
  g_test_add_func("/netd/network-edited", test_network_edited);
  g_test_add_func("/netd/run", test_run);
  return g_test_run();
}
