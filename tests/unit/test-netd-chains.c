/* SPDX-License-Identifier: Apache-2.0 */
/*
 * data/bridge-nat-mf0.nft is what nft lists on Debian 12 after libvirt 9.0.0 bound port mf0 with
 * two host addresses; it is changed here as people and programs would change it.
 */
#include <string.h>

#include "daemon/error.h"
#include "daemon/netd-chains.h"

static const MfPort port = {.tap = "mf0", .mac = "52:54:00:6d:00:00", .ip = "10.177.0.16"};
static MfFilterSet *filters;
static char *listing;

static MfChainsVerdict
judge_text(const char *text, const MfPort *of, const char *gateway)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfNetdChains) chains = mf_netd_chains_parse(text, &error);
  g_assert_no_error(error);
  return mf_netd_chains_judge(chains, filters, of, gateway);
}

static MfChainsState
judge(const char *text)
{
  MfChainsVerdict verdict = judge_text(text, &port, "10.177.0.1");
  g_test_message("%s", verdict.problem != NULL ? verdict.problem : "whole");
  MfChainsState state = verdict.state;
  g_assert_true((state == MF_CHAINS_WHOLE) == (verdict.problem == NULL));
  mf_chains_verdict_clear(&verdict);
  return state;
}

/* @text without the @nth rule of @chain, or, with nth -1, without the chain; NULL if there is none.
 */
static char *
without(const char *text, const char *chain, int nth)
{
  g_autofree char *begin = g_strdup_printf("\tchain %s {", chain);
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  g_autoptr(GString) out = g_string_new(NULL);
  gboolean inside = FALSE, done = FALSE;
  int seen = 0;
  for (guint i = 0; lines[i] != NULL; i++) {
    gboolean rule =
        inside && g_str_has_prefix(lines[i], "\t\t") && !g_str_has_prefix(lines[i], "\t\ttype");
    gboolean cut = (inside && nth < 0) || (rule && seen == nth);
    seen += rule ? 1 : 0;
    if (g_str_has_prefix(lines[i], begin)) {
      inside = TRUE;
      cut = nth < 0;
    } else if (g_str_equal(lines[i], "\t}")) {
      inside = FALSE;
    }
    done = done || cut;
    if (!cut)
      g_string_append_printf(out, "%s\n", lines[i]);
  }
  return done ? g_string_free(g_steal_pointer(&out), FALSE) : NULL;
}

static void
test_whole(void)
{
  MfChainsVerdict verdict = judge_text(listing, &port, "10.177.0.1");
  g_assert_cmpstr(verdict.problem, ==, NULL);
  g_assert_cmpint(verdict.state, ==, MF_CHAINS_WHOLE);
  g_assert_cmpuint(verdict.host_addresses, ==, 2);
  g_assert_cmpuint(verdict.handle, ==, 10);
  mf_chains_verdict_clear(&verdict);
}

/* Of the host's addresses one may be missing, as far as one listing can tell; the last rule, the
 * policy, is ebtables' own. */
static void
test_each_rule(void)
{
  static const struct {
    const char *chain;
    int rules;
    gboolean policy;
  } chains[] = {
      {"PREROUTING", 1, FALSE},        {"POSTROUTING", 1, FALSE}, {"libvirt-I-mf0", 4, TRUE},
      {"libvirt-O-mf0", 3, TRUE},      {"I-mf0-mac", 2, TRUE},    {"I-mf0-ipv4-hostlan", 22, TRUE},
      {"O-mf0-ipv4-hostlan", 4, TRUE}, {"I-mf0-arp", 5, TRUE},    {"O-mf0-arp", 2, TRUE}};
  for (guint i = 0; i < G_N_ELEMENTS(chains); i++) {
    for (int nth = 0; nth < chains[i].rules; nth++) {
      g_autofree char *text = without(listing, chains[i].chain, nth);
      g_test_message("without rule %d of %s", nth + 1, chains[i].chain);
      g_assert_nonnull(text);
      gboolean host = g_str_equal(chains[i].chain, "I-mf0-ipv4-hostlan") && (nth == 5 || nth == 6);
      g_assert_cmpint(judge(text), ==, host ? MF_CHAINS_WHOLE : MF_CHAINS_BROKEN);
    }
    g_autofree char *text = without(listing, chains[i].chain, chains[i].rules);
    g_assert_true((text != NULL) == chains[i].policy);
    g_assert_true(text == NULL || judge(text) == MF_CHAINS_WHOLE);
  }
}

static void
test_host_addresses(void)
{
  g_autofree char *one = without(listing, "I-mf0-ipv4-hostlan", 5);
  MfChainsVerdict verdict = judge_text(one, &port, "10.177.0.1");
  g_assert_cmpuint(verdict.host_addresses, ==, 1);
  mf_chains_verdict_clear(&verdict);
  g_autofree char *none = without(one, "I-mf0-ipv4-hostlan", 5);
  g_assert_cmpint(judge(none), ==, MF_CHAINS_BROKEN);
}

static void
test_each_chain(void)
{
  static const char *const chains[] = {"PREROUTING",         "POSTROUTING", "libvirt-I-mf0",
                                       "libvirt-O-mf0",      "I-mf0-mac",   "I-mf0-ipv4-hostlan",
                                       "O-mf0-ipv4-hostlan", "I-mf0-arp",   "O-mf0-arp"};
  g_autofree char *none = g_strdup(listing);
  for (guint i = 0; i < G_N_ELEMENTS(chains); i++) {
    g_autofree char *text = without(listing, chains[i], -1);
    g_assert_cmpint(judge(text), ==, MF_CHAINS_BROKEN);
    char *less = without(none, chains[i], -1);
    g_free(none);
    none = less;
  }
  g_assert_cmpint(judge(none), ==, MF_CHAINS_NONE);
}

static char *
replaced(const char *from, const char *to)
{
  g_autoptr(GString) text = g_string_new(listing);
  g_assert_cmpuint(g_string_replace(text, from, to, 0), >, 0);
  return g_string_free(g_steal_pointer(&text), FALSE);
}

static void
test_changed(void)
{
  static const struct {
    const char *from, *to;
  } changes[] = {
      {"10.177.0.16", "10.177.0.17"}, /* another machine's address */
      {"52:54:00:6d:00:00", "52:54:00:6d:00:01"},
      {"daddr 10.0.0.0/8", "daddr 10.0.0.0/9"},
      {"daddr 10.0.0.0/8", "daddr != 10.0.0.0/8"},
      {"ip daddr 10.0.0.0/8", "ip saddr 1.2.3.4 ip daddr 10.0.0.0/8"},
      {"saddr != 10.177.0.16", "saddr 10.177.0.16"},
      {"drop", "accept"},
      {"dport 53", "dport 22"},
      {"iifname \"mf0\"", "iifname \"mf1\""},
      {"jump I-mf0-mac", "jump I-mf1-mac"},
      {"ip daddr 203.0.113.5 ", ""}, /* would drop everything; not what was written all the same */
      {"I-mf0-arp {", "I-mf0-arp { # handle 4\n\t\tcounter packets 0 bytes 0 accept # handle 5\n"},
      {"I-mf0-mac {", "I-mf0-mac { # handle 4\n\t\tcounter packets 0 bytes 0 accept # handle 5\n"},
      {"libvirt-I-mf0 {",
       "libvirt-I-mf0 { # handle 4\n\t\tcounter packets 0 bytes 0 accept # handle 5\n"},
      {"\t\tiifname", "\t\tcounter packets 0 bytes 0 accept # handle 5\n\t\tiifname"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(changes); i++) {
    g_autofree char *text = replaced(changes[i].from, changes[i].to);
    g_test_message("%s → %s", changes[i].from, changes[i].to);
    g_assert_cmpint(judge(text), ==, MF_CHAINS_BROKEN);
  }
}

static void
test_other_values(void)
{
  MfPort other = port;
  g_strlcpy(other.ip, "10.177.0.99", sizeof other.ip);
  MfChainsVerdict verdict = judge_text(listing, &other, "10.177.0.1");
  g_assert_cmpint(verdict.state, ==, MF_CHAINS_BROKEN);
  mf_chains_verdict_clear(&verdict);
  verdict = judge_text(listing, &port, "10.177.0.2");
  g_assert_cmpint(verdict.state, ==, MF_CHAINS_BROKEN);
  mf_chains_verdict_clear(&verdict);
  g_strlcpy(other.tap, "mf7", sizeof other.tap);
  verdict = judge_text(listing, &other, "10.177.0.1");
  g_assert_cmpint(verdict.state, ==, MF_CHAINS_NONE);
  mf_chains_verdict_clear(&verdict);
}

/* What nft cannot show does not count as missing: verdicts and their order are still compared. */
static void
test_opaque(void)
{
  g_autofree char *text = replaced("ip daddr 10.0.0.0/8", "xt match \"ip\"");
  g_assert_cmpint(judge(text), ==, MF_CHAINS_WHOLE);
  g_autofree char *less = without(text, "I-mf0-ipv4-hostlan", 12);
  g_assert_cmpint(judge(less), ==, MF_CHAINS_BROKEN);
}

/* libvirt builds J and P beside I and O, links them, takes the old away, renames: never are there
 * none. */
static void
test_changing(void)
{
  g_autofree char *renamed = replaced("libvirt-I-mf0", "libvirt-J-mf0");
  g_assert_cmpint(judge(renamed), ==, MF_CHAINS_CHANGING);
  g_autofree char *sub = replaced("chain I-mf0-", "chain J-mf0-");
  g_assert_cmpint(judge(sub), ==, MF_CHAINS_CHANGING);
  /* Beside whole rules, what is being built does not matter. */
  g_autofree char *beside = replaced(
      "\tchain PREROUTING", "\tchain libvirt-J-mf0 { # handle 500\n\t}\n\n\tchain PREROUTING");
  g_assert_cmpint(judge(beside), ==, MF_CHAINS_WHOLE);
}

static void
test_nothing(void)
{
  g_assert_cmpint(judge(NULL), ==, MF_CHAINS_NONE);
  static const char *const bad[] = {"", "{}", "nonsense", "chain x {\n"};
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GError) error = NULL;
    g_assert_null(mf_netd_chains_parse(bad[i], &error));
    g_assert_error(error, MF_ERROR, MF_ERROR_DAMAGED);
  }
  /* Lines cut anywhere. */
  gsize length = (gsize)(strstr(listing, "oifname") - listing);
  for (gsize n = strlen("table x"); n < length; n += 13) {
    g_autofree char *cut = g_strndup(listing, n);
    g_assert_cmpint(judge(cut), !=, MF_CHAINS_WHOLE);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  MfConfig config = {.filter_directory = (char *)MF_SOURCE_DIR "/filters"};
  filters = mf_filter_set_load(&config, NULL);
  g_assert_nonnull(filters);
  g_assert_true(g_file_get_contents(MF_SOURCE_DIR "/tests/unit/data/bridge-nat-mf0.nft", &listing,
                                    NULL, NULL));
  g_test_add_func("/netd-chains/whole", test_whole);
  g_test_add_func("/netd-chains/each-rule", test_each_rule);
  g_test_add_func("/netd-chains/host-addresses", test_host_addresses);
  g_test_add_func("/netd-chains/each-chain", test_each_chain);
  g_test_add_func("/netd-chains/changed", test_changed);
  g_test_add_func("/netd-chains/other-values", test_other_values);
  g_test_add_func("/netd-chains/opaque", test_opaque);
  g_test_add_func("/netd-chains/changing", test_changing);
  g_test_add_func("/netd-chains/nothing", test_nothing);
  int status = g_test_run();
  mf_filter_set_free(filters);
  g_free(listing);
  return status;
}
