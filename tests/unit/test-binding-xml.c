/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "daemon/binding-xml.h"

static const MfPort port = {.tap = "mf3", .mac = "52:54:00:6d:00:03", .ip = "10.177.86.19"};
static const char *const addresses[] = {"10.177.86.1", "192.0.2.7", NULL};
static const char *const gateway = "10.177.86.1";

/* As libvirt 9.0 gives it back: sorted parameters, MAC among them. */
static char *
from_libvirt(const char *owner, const char *ip, const char *host)
{
  return g_strdup_printf("<filterbinding>\n  <owner>\n    <name>%s</name>\n"
                         "    <uuid>d54df46f-1ab5-4a22-8618-4560ef5fac2c</uuid>\n  </owner>\n"
                         "  <portdev name='mf3'/>\n  <mac address='52:54:00:6d:00:03'/>\n"
                         "  <filterref filter='no-host-lan'>\n"
                         "    <parameter name='CTRL_IP_LEARNING' value='none'/>\n"
                         "    <parameter name='GATEWAY' value='10.177.86.1'/>\n"
                         "    <parameter name='HOST_IP' value='%s'/>\n"
                         "    <parameter name='HOST_IP' value='10.177.86.1'/>\n"
                         "    <parameter name='IP' value='%s'/>\n"
                         "    <parameter name='MAC' value='52:54:00:6d:00:03'/>\n"
                         "  </filterref>\n</filterbinding>\n",
                         owner, host, ip);
}

static MfBindingMatch
compare(const char *owner, const char *ip, const char *host)
{
  g_autofree char *xml = from_libvirt(owner, ip, host);
  return mf_binding_xml_compare(xml, &port, gateway, addresses);
}

static void
test_format(void)
{
  g_autofree char *xml = mf_binding_xml_format(&port, gateway, addresses);
  g_autofree char *again = mf_binding_xml_format(&port, gateway, addresses);
  g_assert_cmpstr(xml, ==, again);
  g_assert_nonnull(strstr(xml, "<portdev name=\"mf3\"/><mac address=\"52:54:00:6d:00:03\"/>"));
  g_assert_nonnull(strstr(xml, "<parameter name=\"HOST_IP\" value=\"192.0.2.7\"/>"));
  g_assert_nonnull(strstr(xml, "<parameter name=\"CTRL_IP_LEARNING\" value=\"none\"/>"));
  g_assert_cmpint(mf_binding_xml_compare(xml, &port, gateway, addresses), ==, MF_BINDING_SAME);
  g_assert_true(mf_binding_xml_is_ours(xml));
}

static void
test_compare(void)
{
  g_assert_cmpint(compare("mayfly-port-mf3", "10.177.86.19", "192.0.2.7"), ==, MF_BINDING_SAME);
  g_assert_cmpint(compare("mayfly-port-mf3", "10.177.86.19", "192.0.2.8"), ==, MF_BINDING_HOST);
  g_assert_cmpint(compare("mayfly-port-mf3", "10.177.86.20", "192.0.2.7"), ==, MF_BINDING_OTHER);
  g_assert_cmpint(compare("somebody", "10.177.86.19", "192.0.2.7"), ==, MF_BINDING_FOREIGN);
  g_assert_cmpint(mf_binding_xml_compare("no XML", &port, gateway, addresses), ==,
                  MF_BINDING_FOREIGN);
  g_assert_cmpint(mf_binding_xml_compare(
                      "<filterbinding><owner><name>mayfly-port-x</name></owner></filterbinding>",
                      &port, gateway, addresses),
                  ==, MF_BINDING_OTHER);
  g_assert_false(mf_binding_xml_is_ours("<filterbinding><owner/></filterbinding>"));
  g_assert_false(mf_binding_xml_is_ours(""));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/binding-xml/format", test_format);
  g_test_add_func("/binding-xml/compare", test_compare);
  return g_test_run();
}
