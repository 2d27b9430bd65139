/* SPDX-License-Identifier: Apache-2.0 */
/* The shipped filters: what libvirt accepts, and what its own checks do not see. MF_SOURCE_DIR
 * holds them. */
#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <libxml/xpath.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/filter-set.h"

#define SCHEMA "/usr/share/libvirt/schemas/nwfilter.rng"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)

static MfFilterSet *
load(const char *const *holes, GError **error)
{
  g_auto(GStrv) copy = g_strdupv((char **)holes);
  MfConfig config = {.filter_directory = (char *)MF_SOURCE_DIR "/filters", .holes = copy};
  return mf_filter_set_load(&config, error);
}

static char *
attribute(const xmlNode *node, const char *name)
{
  xmlChar *value = xmlGetNoNsProp(node, BAD_CAST name);
  char *copy = g_strdup((const char *)value);
  xmlFree(value);
  return copy;
}

static void
test_schema(void)
{
  if (!g_file_test(SCHEMA, G_FILE_TEST_EXISTS)) {
    g_test_skip(SCHEMA " is missing; install libvirt-daemon or libvirt-dev's schemas");
    return;
  }
  static const char *const holes[] = {"192.168.1.5:443", NULL};
  g_autoptr(MfFilterSet) set = load(holes, NULL);
  xmlRelaxNGParserCtxt *parser = xmlRelaxNGNewParserCtxt(SCHEMA);
  xmlRelaxNG *schema = xmlRelaxNGParse(parser);
  g_assert_nonnull(schema);
  for (guint i = 0; i < mf_filter_set_size(set); i++) {
    g_autofree char *text = mf_filter_set_format(set, i, "18ee9e3a-9429-44ec-be78-5160df801b0f");
    g_autoptr(xmlDoc) doc = xmlReadMemory(text, (int)strlen(text), NULL, NULL, XML_PARSE_NONET);
    g_assert_nonnull(doc);
    xmlRelaxNGValidCtxt *valid = xmlRelaxNGNewValidCtxt(schema);
    g_assert_cmpint(xmlRelaxNGValidateDoc(valid, doc), ==, 0);
    xmlRelaxNGFreeValidCtxt(valid);
  }
  xmlRelaxNGFree(schema);
  xmlRelaxNGFreeParserCtxt(parser);
}

/* Within one chain and direction libvirt sorts by priority alone, and rules of equal priority in no
 * defined order. */
static void
check_rule(const char *chain, const xmlNode *rule, GHashTable *seen)
{
  g_autofree char *direction = attribute(rule, "direction");
  g_autofree char *priority = attribute(rule, "priority");
  g_assert_nonnull(priority);
  g_assert_cmpint(labs(strtol(priority, NULL, 10)), <=, 1000);
  gboolean both = g_str_equal(direction, "inout");
  if (both || g_str_equal(direction, "in"))
    g_assert_true(g_hash_table_add(seen, g_strdup_printf("%s in %s", chain, priority)));
  if (both || g_str_equal(direction, "out"))
    g_assert_true(g_hash_table_add(seen, g_strdup_printf("%s out %s", chain, priority)));
  for (const xmlNode *match = rule->children; match != NULL; match = match->next) {
    if (match->type != XML_ELEMENT_NODE)
      continue;
    /* Anything else would be a rule for iptables, see no-host-lan.xml. */
    static const char *const ebtables_level[] = {"mac", "arp", "ip", NULL};
    g_assert_true(g_strv_contains(ebtables_level, (const char *)match->name));
    /* libvirt swaps source and destination in one of the two copies. */
    g_assert_true(!both || match->properties == NULL);
  }
}

static void
test_rules(void)
{
  static const char *const holes[] = {"192.168.1.5:443", "192.168.1.6:5000", NULL};
  g_autoptr(MfFilterSet) set = load(holes, NULL);
  g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  g_autoptr(GHashTable) chains = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  for (guint i = 0; i < mf_filter_set_size(set); i++) {
    xmlNode *root = mf_filter_set_root(set, i);
    g_autofree char *chain = attribute(root, "chain");
    g_autofree char *priority = attribute(root, "priority");
    g_assert_nonnull(chain);
    g_assert_cmpuint(strlen(chain), <=, 12);
    const char *other = g_hash_table_lookup(chains, chain);
    g_assert_true(other == NULL || g_str_equal(other, priority));
    g_hash_table_insert(chains, g_strdup(chain), g_strdup(priority != NULL ? priority : ""));
    for (const xmlNode *rule = root->children; rule != NULL; rule = rule->next)
      if (xmlStrEqual(rule->name, BAD_CAST "rule"))
        check_rule(chain, rule, seen);
  }
}

/* The last of the set refers to all others and to nothing else: what an admin has in libvirt is
 * neither needed nor touched. */
static void
test_references(void)
{
  g_autoptr(MfFilterSet) set = load(NULL, NULL);
  guint last = mf_filter_set_size(set) - 1;
  g_assert_cmpstr(mf_filter_set_name(set, last), ==, MF_FILTER_NAME);
  guint references = 0;
  for (const xmlNode *n = mf_filter_set_root(set, last)->children; n != NULL; n = n->next) {
    if (!xmlStrEqual(n->name, BAD_CAST "filterref"))
      continue;
    g_autofree char *name = attribute(n, "filter");
    gboolean found = FALSE;
    for (guint i = 0; i < last; i++)
      found = found || g_str_equal(mf_filter_set_name(set, i), name);
    g_assert_true(found);
    g_assert_true(g_str_has_prefix(name, "mayfly-"));
    references++;
  }
  g_assert_cmpuint(references, ==, last);
}

static void
test_holes(void)
{
  static const char *const holes[] = {"192.168.1.5:443", "10.0.0.1:65535", NULL};
  g_autoptr(GError) error = NULL;
  g_autoptr(MfFilterSet) set = load(holes, &error);
  g_assert_no_error(error);
  g_autofree char *text = mf_filter_set_format(set, 2, NULL);
  g_assert_nonnull(strstr(text, "dstipaddr=\"192.168.1.5\" protocol=\"tcp\" dstportstart=\"443\""));
  g_assert_nonnull(strstr(
      text, "priority=\"201\"><ip dstipaddr=\"10.0.0.1\" protocol=\"tcp\" dstportstart=\"65535\""));

  static const char *const bad[] = {"",
                                    "192.168.1.5",
                                    "192.168.1.5:",
                                    "192.168.1.5:0",
                                    "192.168.1.5:65536",
                                    "host.x:443",
                                    "192.168.1.0/24:1",
                                    "[::1]:443",
                                    ":443",
                                    "1.2.3.4:443'/><rule",
                                    "1.2.3.4: 443"};
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    const char *const one[] = {bad[i], NULL};
    g_assert_null(load(one, &error));
    g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
    g_clear_error(&error);
  }
  g_autoptr(GPtrArray) many = g_ptr_array_new();
  for (guint i = 0; i < 401; i++)
    g_ptr_array_add(many, (gpointer) "192.168.1.5:443");
  g_ptr_array_add(many, NULL);
  g_assert_null(load((const char *const *)many->pdata, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
}

static void
test_matches(void)
{
  g_autoptr(MfFilterSet) set = load(NULL, NULL);
  g_autofree char *uuid = NULL;
  /* As libvirt formats it: other quotes and spaces, no comments, an uuid. */
  g_assert_true(mf_filter_set_matches(
      set, 0,
      "<filter chain='mac' name='mayfly-mac' priority='-800'>\n  <uuid>abc</uuid>\n"
      "  <rule action='return' direction='out' priority='100'>\n"
      "    <mac srcmacaddr='$MAC'/>\n  </rule>\n"
      "  <rule action='drop' direction='out' priority='900'/>\n</filter>\n",
      &uuid));
  g_assert_cmpstr(uuid, ==, "abc");
  g_clear_pointer(&uuid, g_free);
  g_assert_false(
      mf_filter_set_matches(set, 0,
                            "<filter chain='mac' name='mayfly-mac' priority='-800'><uuid>abc</uuid>"
                            "<rule action='return' direction='out' priority='100'/>"
                            "<rule action='drop' direction='out' priority='900'/></filter>",
                            &uuid));
  g_assert_cmpstr(uuid, ==, "abc");
  g_clear_pointer(&uuid, g_free);
  g_assert_false(mf_filter_set_matches(set, 0, "not XML", &uuid));
  g_assert_null(uuid);
  for (guint i = 0; i < mf_filter_set_size(set); i++) {
    g_autofree char *text = mf_filter_set_format(set, i, "u");
    g_autofree char *again = NULL;
    g_assert_true(mf_filter_set_matches(set, i, text, &again));
    g_assert_cmpstr(again, ==, "u");
  }
}

static void
test_missing(void)
{
  MfConfig config = {.filter_directory = (char *)"/nonexistent"};
  g_autoptr(GError) error = NULL;
  g_assert_null(mf_filter_set_load(&config, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_DAMAGED);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/filter-set/schema", test_schema);
  g_test_add_func("/filter-set/rules", test_rules);
  g_test_add_func("/filter-set/references", test_references);
  g_test_add_func("/filter-set/holes", test_holes);
  g_test_add_func("/filter-set/matches", test_matches);
  g_test_add_func("/filter-set/missing", test_missing);
  return g_test_run();
}
