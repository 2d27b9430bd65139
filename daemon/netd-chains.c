/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chains: libvirt's way of naming and ordering them, restated. For tap T, traffic from the machine:
 * PREROUTING -i T → libvirt-I-T → by priority I-T-CHAIN and root's own rules; traffic to it:
 * POSTROUTING -o T → libvirt-O-T → O-T-CHAIN. While it rebuilds, the same with J for I and P for O,
 * renamed at the end.
 */
#include "daemon/netd-chains.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/error.h"

/* One rule as far as it is compared: "VALUE VALUE … VERDICT", values sorted; @opaque: nft cannot
 * show all of its matches. */
typedef struct {
  char *values;
  char *verdict;
  gboolean matches; /* anything at all */
  gboolean opaque;
  /* expected rules only: */
  int priority;
  gboolean repeats; /* for each of the host's addresses */
} Rule;

typedef struct {
  GPtrArray *rules;
  guint64 handle;
} Chain;

struct MfNetdChains {
  GHashTable *chains; /* name → Chain */
};

static void
rule_free(gpointer data)
{
  Rule *rule = data;
  g_free(rule->values);
  g_free(rule->verdict);
  g_free(rule);
}

static void
chain_free(gpointer data)
{
  Chain *chain = data;
  g_ptr_array_unref(chain->rules);
  g_free(chain);
}

void
mf_netd_chains_free(MfNetdChains *self)
{
  if (self == NULL)
    return;
  g_hash_table_unref(self->chains);
  g_free(self);
}

void
mf_chains_verdict_clear(MfChainsVerdict *verdict)
{
  g_clear_pointer(&verdict->problem, g_free);
}

static int
compare_text(gconstpointer a, gconstpointer b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static char *
join_sorted(GPtrArray *values)
{
  g_ptr_array_sort(values, compare_text);
  g_autoptr(GString) text = g_string_new(NULL);
  for (guint i = 0; i < values->len; i++)
    g_string_append_printf(text, "%s%s", i > 0 ? " " : "",
                           (const char *)g_ptr_array_index(values, i));
  return g_string_free(g_steal_pointer(&text), FALSE);
}

/* --- what there is --- */

static gboolean
is_address(const char *word)
{
  g_autofree char *address = g_strndup(word, strcspn(word, "/"));
  struct in_addr in;
  return inet_pton(AF_INET, address, &in) == 1;
}

static gboolean
is_mac(const char *word)
{
  return strlen(word) == 17 && strspn(word, "0123456789abcdef:") == 17;
}

/* Addresses, interfaces and ports; names and numbers of protocols, which differ between versions,
 * say nothing the verdicts do not. */
static void
add_word(GPtrArray *values, const char *key, const char *word, gboolean not )
{
  g_autofree char *name = g_strdup(word);
  g_strdelimit(name, "\"", ' ');
  g_strstrip(name);
  const char *bang = not ? "!" : "";
  if (g_str_equal(key, "iifname") || g_str_equal(key, "oifname"))
    g_ptr_array_add(values, g_strdup_printf("%s%s=%s", bang, key, name));
  else if (g_str_equal(key, "sport") || g_str_equal(key, "dport") || is_address(word) ||
           is_mac(word))
    g_ptr_array_add(values, g_strconcat(bang, word, NULL));
}

/* A rule as nft prints it: "ether type ip ip daddr 10.0.0.0/8 counter packets 0 bytes 0 drop #
 * handle 7". */
static Rule *
rule_from_text(char **words)
{
  Rule *rule = g_new0(Rule, 1);
  g_autoptr(GPtrArray) values = g_ptr_array_new_with_free_func(g_free);
  const char *key = "";
  gboolean not = FALSE;
  for (guint i = 0; words[i] != NULL && !g_str_equal(words[i], "#"); i++) {
    const char *word = words[i];
    if (g_str_equal(word, "counter") && words[i + 1] != NULL &&
        g_str_equal(words[i + 1], "packets")) {
      for (int k = 0; k < 4 && words[i + 1] != NULL; k++)
        i++;
    } else if (g_str_equal(word, "accept") || g_str_equal(word, "drop") ||
               g_str_equal(word, "return")) {
      g_free(rule->verdict);
      rule->verdict = g_strdup(word);
    } else if ((g_str_equal(word, "jump") || g_str_equal(word, "goto")) && words[i + 1] != NULL) {
      g_free(rule->verdict);
      rule->verdict = g_strdup_printf("%s %s", word, words[++i]);
    } else if (!g_str_equal(word, "counter")) {
      rule->matches = TRUE;
      rule->opaque = rule->opaque || g_str_equal(word, "xt");
      if (g_str_equal(word, "!=")) {
        not = TRUE;
        continue;
      }
      add_word(values, key, word, not );
      key = word;
      not = FALSE;
    }
  }
  if (rule->verdict == NULL)
    rule->verdict = g_strdup("continue");
  rule->values = join_sorted(values);
  return rule;
}

/* (transfer full) without empty words */
static char **
split(const char *line)
{
  g_auto(GStrv) raw = g_strsplit_set(line, " \t", -1);
  g_autoptr(GStrvBuilder) words = g_strv_builder_new();
  for (guint i = 0; raw[i] != NULL; i++)
    if (raw[i][0] != '\0')
      g_strv_builder_add(words, raw[i]);
  return g_strv_builder_end(words);
}

static Chain *
add_chain(GHashTable *chains, char **words, guint n)
{
  Chain *chain = g_new0(Chain, 1);
  chain->rules = g_ptr_array_new_with_free_func(rule_free);
  if (n >= 2 && g_str_equal(words[n - 2], "handle"))
    chain->handle = g_ascii_strtoull(words[n - 1], NULL, 10);
  g_hash_table_replace(chains, g_strdup(words[1]), chain);
  return chain;
}

MfNetdChains *
mf_netd_chains_parse(const char *listing, GError **error)
{
  g_autoptr(MfNetdChains) self = g_new0(MfNetdChains, 1);
  self->chains = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, chain_free);
  if (listing == NULL)
    return g_steal_pointer(&self);
  Chain *chain = NULL;
  gboolean table = FALSE;
  g_auto(GStrv) lines = g_strsplit(listing, "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++) {
    g_auto(GStrv) words = split(lines[i]);
    guint n = g_strv_length(words);
    if (n == 0 || g_str_equal(words[0], "#"))
      continue;
    if (g_str_equal(words[0], "table"))
      table = TRUE;
    else if (table && n >= 3 && g_str_equal(words[0], "chain"))
      chain = add_chain(self->chains, words, n);
    else if (g_str_equal(words[0], "}"))
      chain = NULL;
    else if (chain != NULL && !g_str_equal(words[0], "type"))
      g_ptr_array_add(chain->rules, rule_from_text(words));
  }
  if (!table) {
    g_set_error_literal(error, MF_ERROR, MF_ERROR_DAMAGED,
                        "\"nft -a list table bridge nat\" did not print a table; mayfly needs "
                        "nftables 1.0 or newer");
    return NULL;
  }
  return g_steal_pointer(&self);
}

/* --- what there has to be --- */

typedef struct {
  const MfPort *port;
  const char *gateway;
  gboolean incoming; /* towards the machine */
} Direction;

static char *
attribute(const xmlNode *node, const char *name)
{
  xmlChar *value = xmlGetNoNsProp(node, BAD_CAST name);
  char *copy = g_strdup((const char *)value);
  xmlFree(value);
  return copy;
}

static int
number(const xmlNode *node, const char *name, int otherwise)
{
  g_autofree char *value = attribute(node, name);
  return value != NULL ? atoi(value) : otherwise;
}

static void
add_expected_value(Rule *rule, GPtrArray *values, const xmlNode *match, const char *name,
                   const Direction *d)
{
  g_autofree char *value = attribute(match, name);
  g_autofree char *not = attribute(match, "match");
  const char *bang = g_strcmp0(not, "no") == 0 ? "!" : "";
  const char *known = value;
  if (g_str_equal(name, "dstipmask") || g_str_equal(name, "srcipmask"))
    return; /* goes with its address */
  if (g_strcmp0(value, "$IP") == 0)
    known = d->port->ip;
  else if (g_strcmp0(value, "$MAC") == 0)
    known = d->port->mac;
  else if (g_strcmp0(value, "$GATEWAY") == 0)
    known = d->gateway;
  else if (g_strcmp0(value, "$HOST_IP") == 0) {
    rule->repeats = TRUE;
    return;
  } else if (strpbrk(value, ".:") == NULL && !g_str_has_suffix(name, "portstart"))
    return;
  const char *mask_name = g_str_equal(name, "dstipaddr") ? "dstipmask" : "srcipmask";
  g_autofree char *mask = g_str_has_suffix(name, "ipaddr") ? attribute(match, mask_name) : NULL;
  g_ptr_array_add(values, mask != NULL ? g_strdup_printf("%s%s/%s", bang, known, mask)
                                       : g_strdup_printf("%s%s", bang, known));
}

static Rule *
expected_rule(const xmlNode *node, const Direction *d)
{
  Rule *rule = g_new0(Rule, 1);
  rule->priority = number(node, "priority", 500);
  rule->verdict = attribute(node, "action");
  g_autoptr(GPtrArray) values = g_ptr_array_new_with_free_func(g_free);
  for (const xmlNode *match = node->children; match != NULL; match = match->next)
    for (const xmlAttr *a = match->type == XML_ELEMENT_NODE ? match->properties : NULL; a != NULL;
         a = a->next)
      if (!xmlStrEqual(a->name, BAD_CAST "match"))
        add_expected_value(rule, values, match, (const char *)a->name, d);
  rule->values = join_sorted(values);
  return rule;
}

static int
compare_priority(gconstpointer a, gconstpointer b)
{
  return (*(const Rule *const *)a)->priority - (*(const Rule *const *)b)->priority;
}

/* The rules of one nwfilter chain, in order, from every filter that adds to it. (transfer full) */
static GPtrArray *
expected_chain(const MfFilterSet *filters, const char *chain, const Direction *d)
{
  GPtrArray *rules = g_ptr_array_new_with_free_func(rule_free);
  for (guint i = 0; i < mf_filter_set_size(filters); i++) {
    const xmlNode *root = mf_filter_set_root(filters, i);
    g_autofree char *name = attribute(root, "chain");
    if (g_strcmp0(name, chain) != 0)
      continue;
    for (const xmlNode *node = root->children; node != NULL; node = node->next) {
      g_autofree char *direction =
          node->type == XML_ELEMENT_NODE ? attribute(node, "direction") : NULL;
      if (direction != NULL && !g_str_equal(direction, d->incoming ? "out" : "in"))
        g_ptr_array_add(rules, expected_rule(node, d));
    }
  }
  g_ptr_array_sort(rules, compare_priority);
  return rules;
}

static char *
chain_name(const Direction *d, const char *chain)
{
  char letter = d->incoming ? 'O' : 'I';
  return chain != NULL ? g_strdup_printf("%c-%s-%s", letter, d->port->tap, chain)
                       : g_strdup_printf("libvirt-%c-%s", letter, d->port->tap);
}

/* --- comparing --- */

/* ebtables ends a chain with its policy as a rule that matches everything. */
static guint
rules_without_policy(const Chain *chain)
{
  guint n = chain->rules->len;
  const Rule *last = n > 0 ? g_ptr_array_index(chain->rules, n - 1) : NULL;
  return last != NULL && !last->matches && g_str_equal(last->verdict, "accept") ? n - 1 : n;
}

static gboolean
rule_fits(const Rule *have, const Rule *want)
{
  if (!g_str_equal(have->verdict, want->verdict))
    return FALSE;
  if (have->opaque)
    return TRUE;
  struct in_addr in;
  return want->repeats ? inet_pton(AF_INET, have->values, &in) == 1
                       : g_str_equal(have->values, want->values);
}

/* @want has at most one rule that stands for several. Returns: how many stand for it, or -1 with
 * @ret_problem. */
static int
compare_chain(const MfNetdChains *self, const char *name, GPtrArray *want, char **ret_problem)
{
  const Chain *have = g_hash_table_lookup(self->chains, name);
  if (have == NULL) {
    *ret_problem = g_strdup_printf("the ebtables chain %s is missing", name);
    return -1;
  }
  guint n = rules_without_policy(have);
  guint repeated =
      n + 1 > want->len ? n + 1 - want->len : 0; /* what is left when all others are there */
  guint at = 0;
  for (guint i = 0; i < want->len; i++) {
    const Rule *rule = g_ptr_array_index(want, i);
    guint times = rule->repeats ? MAX(repeated, 1) : 1;
    for (guint k = 0; k < times; k++, at++) {
      if (at < n && rule_fits(g_ptr_array_index(have->rules, at), rule))
        continue;
      *ret_problem =
          g_strdup_printf("rule %u of the ebtables chain %s is missing or another", at + 1, name);
      return -1;
    }
  }
  if (at != n) {
    *ret_problem = g_strdup_printf("the ebtables chain %s has a rule too many", name);
    return -1;
  }
  return (int)repeated;
}

static gboolean
is_linked(const MfNetdChains *self, const Direction *d, const char *target)
{
  const Chain *base = g_hash_table_lookup(self->chains, d->incoming ? "POSTROUTING" : "PREROUTING");
  g_autofree char *verdict = g_strdup_printf("jump %s", target);
  g_autofree char *value =
      g_strdup_printf("%s=%s", d->incoming ? "oifname" : "iifname", d->port->tap);
  for (guint i = 0; base != NULL && i < base->rules->len; i++) {
    const Rule *rule = g_ptr_array_index(base->rules, i);
    if (g_str_equal(rule->verdict, verdict) && (rule->opaque || g_str_equal(rule->values, value)))
      return TRUE;
    /* Whatever ends a frame's way before it gets to the filter. */
    if (g_str_equal(rule->verdict, "accept") && rule->values[0] == '\0')
      return FALSE;
  }
  return FALSE;
}

static gboolean
has_repeating(GPtrArray *rules)
{
  for (guint i = 0; i < rules->len; i++)
    if (((const Rule *)g_ptr_array_index(rules, i))->repeats)
      return TRUE;
  return FALSE;
}

/* The names of all chains but root, each once. (transfer full) */
static GPtrArray *
sub_chains(const MfFilterSet *filters)
{
  GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
  for (guint i = 0; i < mf_filter_set_size(filters); i++) {
    g_autofree char *name = attribute(mf_filter_set_root(filters, i), "chain");
    if (!g_str_equal(name, "root") &&
        !g_ptr_array_find_with_equal_func(names, name, g_str_equal, NULL))
      g_ptr_array_add(names, g_steal_pointer(&name));
  }
  return names;
}

static int
chain_priority(const MfFilterSet *filters, const char *chain)
{
  for (guint i = 0; i < mf_filter_set_size(filters); i++) {
    const xmlNode *root = mf_filter_set_root(filters, i);
    g_autofree char *name = attribute(root, "chain");
    if (g_strcmp0(name, chain) == 0)
      return number(root, "priority", 0);
  }
  return 0;
}

static char *
direction_problem(const MfNetdChains *self, const MfFilterSet *filters, const Direction *d,
                  MfChainsVerdict *verdict)
{
  char *problem = NULL;
  g_autofree char *root = chain_name(d, NULL);
  if (!is_linked(self, d, root))
    return g_strdup_printf("nothing leads to the ebtables chain %s", root);
  g_autoptr(GPtrArray) root_rules = expected_chain(filters, "root", d);
  g_autoptr(GPtrArray) names = sub_chains(filters);
  for (guint i = 0; i < names->len; i++) {
    g_autofree char *name = chain_name(d, g_ptr_array_index(names, i));
    g_autoptr(GPtrArray) rules = expected_chain(filters, g_ptr_array_index(names, i), d);
    if (rules->len == 0)
      continue;
    Rule *jump = g_new0(Rule, 1);
    jump->priority = chain_priority(filters, g_ptr_array_index(names, i));
    jump->values = g_strdup("");
    jump->verdict = g_strdup_printf("jump %s", name);
    g_ptr_array_add(root_rules, jump);
    int repeated = compare_chain(self, name, rules, &problem);
    if (repeated < 0)
      return problem;
    if (has_repeating(rules)) {
      const Chain *chain = g_hash_table_lookup(self->chains, name);
      verdict->handle = chain->handle;
      verdict->host_addresses = (guint)repeated;
    }
  }
  g_ptr_array_sort(root_rules, compare_priority);
  compare_chain(self, root, root_rules, &problem);
  return problem;
}

/* Whether any chain is named after the port, with one of the letters. */
static gboolean
has_chain(const MfNetdChains *self, const char *tap, const char *letters)
{
  for (const char *letter = letters; *letter != '\0'; letter++) {
    g_autofree char *root = g_strdup_printf("libvirt-%c-%s", *letter, tap);
    g_autofree char *prefix = g_strdup_printf("%c-%s-", *letter, tap);
    GHashTableIter iter;
    gpointer name;
    g_hash_table_iter_init(&iter, self->chains);
    while (g_hash_table_iter_next(&iter, &name, NULL))
      if (g_str_equal(name, root) || g_str_has_prefix(name, prefix))
        return TRUE;
  }
  return FALSE;
}

MfChainsVerdict
mf_netd_chains_judge(const MfNetdChains *self, const MfFilterSet *filters, const MfPort *port,
                     const char *gateway)
{
  MfChainsVerdict verdict = {.state = MF_CHAINS_WHOLE};
  for (int incoming = 0; incoming < 2 && verdict.problem == NULL; incoming++) {
    Direction d = {port, gateway, incoming};
    verdict.problem = direction_problem(self, filters, &d, &verdict);
  }
  if (verdict.problem == NULL)
    return verdict;
  if (has_chain(self, port->tap, "JP"))
    verdict.state = MF_CHAINS_CHANGING;
  else if (has_chain(self, port->tap, "IO"))
    verdict.state = MF_CHAINS_BROKEN;
  else
    verdict.state = MF_CHAINS_NONE;
  return verdict;
}
