/* SPDX-License-Identifier: Apache-2.0 */
/* What top makes of two answers. */
#include <string.h>

#include "daemon/error.h"
#include "daemon/json.h"
#include "daemon/text.h"
#include "tools/document.h"
#include "tools/top-view.h"

/* JSON with ' for ". */
static MfJson *
parse(const char *text)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *json = g_strdelimit(g_strdup(text), "'", '"');
  MfJson *document = mf_json_parse(json, strlen(json), "The test", &error);
  g_assert_no_error(error);
  return document;
}

/* An answer with the machines in @list. */
static MfJson *
answer(double time, const char *list)
{
  g_autofree char *text = g_strdup_printf(
      "{'time':%f,'host':{'cpus':2,'memory':8589934592,'memory_available':4294967296,"
      "'pressure':{'some':1.25,'full':0.5}},'limits':{'machines':8,'memory':6442450944,'cpus':8},"
      "'used':{'machines':3,'memory':3221225472,'cpus':4},'machines':[%s]}",
      time, list);
  return parse(text);
}

static MfJson *
machine(MfJson *document, gsize index)
{
  return mf_document_item(mf_document_member(document, "machines"), index);
}

static MfJson *
rates_of(MfJson *document, gsize index)
{
  g_assert_true(json_object_object_get_ex(machine(document, index), "rates", NULL));
  return mf_document_member(machine(document, index), "rates");
}

#define COUNTERS                                                                                   \
  "'cpu_time_ns':%d000000,'disk_read_bytes':0,'disk_written_bytes':%d,'net_rx_bytes':5,"           \
  "'net_tx_bytes':7"

static char *
counted(const char *id, int milliseconds, int written)
{
  return g_strdup_printf("{'id':'%s','stats':{" COUNTERS "}}", id, milliseconds, written);
}

static void
test_rates(void)
{
  g_autofree char *one = counted("a", 1000, 1000);
  g_autofree char *other = counted("a", 4000, 5000);
  g_autoptr(MfJson) before = answer(10, one);
  g_autoptr(MfJson) now = answer(12, other);
  mf_top_add_rates(before, NULL);
  g_assert_null(rates_of(before, 0));
  mf_top_add_rates(now, before);
  MfJson *rates = rates_of(now, 0);
  g_assert_cmpfloat(mf_document_number(rates, "cpu"), ==, 150);
  g_assert_cmpfloat(mf_document_number(rates, "disk_written"), ==, 2000);
  g_assert_true(mf_document_has(rates, "net_rx"));
  g_assert_cmpfloat(mf_document_number(rates, "net_rx"), ==, 0);
  g_autoptr(MfJson) same_time = answer(12, other);
  mf_top_add_rates(same_time, now);
  g_assert_null(rates_of(same_time, 0));
}

/* A new machine, one of another start, one without statistics now, or before. */
static void
test_no_rates(void)
{
  g_autofree char *a = counted("a", 2000, 10), *a_again = counted("a", 1000, 20);
  g_autofree char *b = counted("b", 1000, 10);
  g_autofree char *old = g_strconcat(a, ",{'id':'c','stats':null}", NULL);
  g_autofree char *c = counted("c", 1000, 10);
  g_autofree char *new = g_strconcat(a_again, ",", b, ",", c, NULL);
  g_autoptr(MfJson) before = answer(10, old), now = answer(12, new);
  g_autoptr(MfJson) later = answer(14, "{'id':'a','stats':null},{'job':'no id'},17");
  mf_top_add_rates(now, before);
  for (gsize i = 0; i < 3; i++)
    g_assert_null(rates_of(now, i));
  mf_top_add_rates(later, now);
  g_assert_null(rates_of(later, 0));
}

/* A counter that is not told now is not one that has gone back. */
static void
test_unknown_counter(void)
{
  g_autofree char *one = counted("a", 1000, 1000);
  g_autoptr(MfJson) before = answer(10, one);
  g_autoptr(MfJson) now = answer(11, "{'id':'a','stats':{'cpu_time_ns':1500000000,"
                                     "'disk_written_bytes':null}}");
  g_autoptr(MfJson) later = answer(12, "{'id':'a','stats':{'cpu_time_ns':1500000000,"
                                       "'disk_written_bytes':90000}}");
  mf_top_add_rates(now, before);
  g_assert_cmpfloat(mf_document_number(rates_of(now, 0), "cpu"), ==, 50);
  g_assert_false(mf_document_has(rates_of(now, 0), "disk_written"));
  mf_top_add_rates(later, now);
  g_assert_false(mf_document_has(rates_of(later, 0), "disk_written"));
}

static void
assert_order(MfJson *document, MfTopSort sort, const char *ids)
{
  g_autoptr(GString) order = g_string_new(NULL);
  mf_top_sort(document, sort);
  for (gsize i = 0; i < mf_document_count(mf_document_member(document, "machines")); i++)
    g_string_append(order, mf_document_text(machine(document, i), "id"));
  g_assert_cmpstr(order->str, ==, ids);
}

static void
test_sort(void)
{
  g_autoptr(MfJson) document = answer(
      100, "{'id':'a','memory':9,'since':50,'stats':{'resident':10,'cpu_time_ns':1},"
           "'rates':{'cpu':1,'disk_written':3,'net_rx':1,'net_tx':1}},"
           "{'id':'b','memory':9,'since':40,'stats':{'resident':30,'cpu_time_ns':1},"
           "'rates':{'cpu':5,'disk_written':0,'net_rx':0,'net_tx':9}},"
           "{'id':'d','memory':8,'since':60,'stats':null,'rates':null},"
           "{'id':'c','memory':9,'since':null,'stats':null,'rates':null},"
           "{'id':'e','memory':9,'since':45,'stats':{'resident':30,'cpu_time_ns':7,"
           "'disk_written_bytes':4},'rates':{'cpu':5,'disk_written':0,'net_rx':5,'net_tx':5}}");
  assert_order(document, MF_TOP_CPU, "ebacd");
  assert_order(document, MF_TOP_MEMORY, "beacd");
  assert_order(document, MF_TOP_DISK, "aebcd");
  assert_order(document, MF_TOP_NETWORK, "ebacd");
  assert_order(document, MF_TOP_AGE, "beadc");
}

static void
test_sort_names(void)
{
  g_auto(GStrv) names = g_strsplit(MF_TOP_SORTS, "|", -1);
  g_assert_cmpuint(g_strv_length(names), ==, MF_TOP_SORT_LAST_);
  for (guint i = 0; names[i] != NULL; i++) {
    MfTopSort sort = MF_TOP_SORT_LAST_;
    g_assert_cmpint(mf_top_sort_from_string(names[i]), ==, i);
    g_assert_true(mf_top_sort_from_key(names[i][0], &sort));
    g_assert_cmpint(sort, ==, i);
  }
  MfTopSort sort;
  g_assert_false(mf_top_sort_from_key('q', &sort));
  g_assert_cmpint(mf_top_sort_from_string(NULL), ==, MF_TOP_CPU);
}

static void
test_delay(void)
{
  static const struct {
    const char *text;
    guint ms; /* 0: refused */
  } cases[] = {{"2", 2000},      {"0.5", 500}, {"0.5s", 500},   {"1.25s", 1250}, {"1m", 60000},
               {"1d", 86400000}, {"0.4", 0},   {"0", 0},        {"2d", 0},       {"", 0},
               {".5", 0},        {"1.", 0},    {"1.5m", 0},     {"1e3", 0},      {"-1", 0},
               {"0.5x", 0},      {"inf", 0},   {"9999999.9", 0}};
  for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(GError) error = NULL;
    guint ms = 0;
    gboolean good = mf_top_parse_delay(cases[i].text, &ms, &error);
    g_assert_cmpuint(ms, ==, cases[i].ms);
    g_assert_true(good == (ms > 0));
    if (!good) {
      g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
      g_assert_true(g_str_has_prefix(error->message, "--delay: "));
    }
  }
}

#define GUEST                                                                                      \
  "{'id':'p-m1','job':'j1','name':'a \x1b[31m\xe6\x97\xa5 label that is longer than it may be',"   \
  "'template':'tiny','state':'running','memory':1073741824,'guaranteed':1073741824,'since':60,"    \
  "'stats':{'balloon_current':805306368,'balloon_usable':268435456,'resident':419430400,"          \
  "'disk_written_bytes':1572864},'rates':{'cpu':12.34,'disk_written':0,'net_rx':2048,"             \
  "'net_tx':null}}"
#define WAITING                                                                                    \
  "{'id':'p-m2','job':null,'name':null,'template':'tiny','state':'waiting','memory':1073741824,'"  \
  "guaranteed':1073741824,"                                                                        \
  "'since':null,'stats':null,'rates':null}"

static void
test_table(void)
{
  g_autoptr(MfJson) document = answer(100, GUEST "," WAITING);
  g_autofree char *text = mf_top_format(document);
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  g_assert_true(g_str_has_suffix(lines[0], "machines 3 of 8  cpus 4 of 8 granted, host has 2"));
  g_assert_cmpstr(lines[1], ==,
                  "memory 3.0G of 6.0G granted, 4.0G of 8.0G available  "
                  "pressure 1.2% (full 0.5%)");
  g_assert_cmpstr(lines[2], ==,
                  "ID    NAME                      TEMPLATE  STATE    CPU%   MEM  BALLOON  USED   "
                  "RES  DISK W/s  WRITTEN  NET RX/s  TX/s  AGE");
  g_assert_cmpstr(
      lines[3], ==,
      "j1    a ^[[31m\xe6\x97\xa5 label that i…  tiny      running  12.3  1.0G     768M  "
      "512M  400M         0     1.5M      2.0K     -  40s");
  g_assert_cmpstr(lines[4], ==,
                  "p-m2  -                         tiny      waiting     -  1.0G        -     -   "
                  "  -         -        -         -     -    -");
  g_assert_cmpstr(lines[5], ==, "");
}

/* What a terminal of @cols columns would have in its lines. */
static char **
rendered(const char *screen, guint rows, guint cols)
{
  g_auto(GStrv) parts = g_strsplit(screen, "\x1b", -1);
  char **lines = g_new0(char *, rows + 1);
  guint row = 0;
  for (guint i = 0; i < rows; i++)
    lines[i] = g_strdup("");
  for (char **part = parts; *part != NULL; part++) {
    gsize end = strspn(*part, "[0123456789;");
    if ((*part)[end] == 'H') {
      row = (guint)g_ascii_strtoull(*part + 1, NULL, 10) - 1;
      g_assert_cmpuint(row, <, rows);
    }
    const char *rest = **part == '\0' ? "" : *part + end + 1;
    char *line = g_strconcat(lines[row], rest, NULL);
    g_free(lines[row]);
    lines[row] = line;
    g_assert_cmpuint(mf_text_columns(line), <=, cols);
  }
  return lines;
}

static void
test_screen(void)
{
  g_autoptr(MfJson) document = answer(100, GUEST "," WAITING);
  static const guint sizes[][2] = {{24, 200}, {24, 80}, {24, 17}, {5, 80},
                                   {4, 80},   {2, 10},  {1, 1}};
  for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
    guint rows = sizes[i][0], cols = sizes[i][1];
    g_autofree char *screen = mf_top_screen(document, NULL, MF_TOP_DISK, rows, cols);
    g_auto(GStrv) lines = rendered(screen, rows, cols);
    g_assert_true(rows < 6 || cols < 30 || strstr(lines[2], "[disk]") != NULL);
    g_assert_true(rows < 6 || strncmp(lines[5], "p-m2", MIN(cols, 4)) == 0);
    g_assert_true(rows != 5 || strcmp(lines[4], "(and 2 more)") == 0);
    g_assert_null(strchr(screen, '\n'));
  }
  g_autofree char *narrow = mf_top_screen(document, NULL, MF_TOP_CPU, 24, 80);
  g_assert_nonnull(strstr(narrow, "12.3"));
  g_autofree char *lost = mf_top_screen(document, "gone\x1b[2J", MF_TOP_CPU, 24, 80);
  g_assert_nonnull(strstr(lost, "gone^[[2J"));
  g_assert_null(strstr(lost, "q quits"));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/top/rates", test_rates);
  g_test_add_func("/top/no-rates", test_no_rates);
  g_test_add_func("/top/unknown-counter", test_unknown_counter);
  g_test_add_func("/top/sort", test_sort);
  g_test_add_func("/top/sort-names", test_sort_names);
  g_test_add_func("/top/delay", test_delay);
  g_test_add_func("/top/table", test_table);
  g_test_add_func("/top/screen", test_screen);
  return g_test_run();
}
