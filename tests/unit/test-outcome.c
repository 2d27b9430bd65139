/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "tools/client.h"
#include "tools/doctor.h"
#include "tools/document.h"
#include "tools/outcome.h"
#include "tools/progress.h"
#include "tools/table.h"
#include "daemon/error.h"

static const struct {
  const char *job;
  int status;
  const char *state;
  const char *said; /* NULL: nothing */
} cases[] = {
    {"{'state':'finished','result':'succeeded','execs':[{'number':1,'exit_code':0}]}", 0,
     "succeeded", NULL},
    {"{'state':'finished','result':'failed','exit_code':42,'execs':[{'number':1,'exit_code':42}]}",
     42, "failed (42)", NULL},
    {"{'state':'finished','result':'failed','exit_code':7,'execs':[{'number':1,'exit_code':0},"
     "{'number':2,'exit_code':7}]}",
     7, "failed (7)", NULL},
    {"{'state':'finished','result':'failed','execs':[{'number':1,'exit_code':null,'signal':9}]}",
     137, "failed (137)", NULL},
    {"{'state':'finished','result':'failed','execs':[{'number':1,'exit_code':127,'error':'no "
     "sh\\u001b there'}]}",
     127, "failed (127)", "no sh^[ there"},
    {"{'state':'finished','result':'timed-out','reason':'it ran for 5s'}", 124, "timed-out",
     "the job's time was up: it ran for 5s"},
    {"{'state':'finished','result':'cancelled','reason':'by bob'}", 130, "cancelled",
     "the job was cancelled: by bob"},
    {"{'state':'finished','result':'system-failure','reason':'no "
     "port','console_tail':['a\\u001b[2J','b']}",
     125, "system-failure", "no port\nthe machine's console ended with:\n  | a^[[2J\n  | b"},
    {"{'state':'running'}", 125, "running", "could not"},
    {"{'state':'ready','kept_until':17}", 125, "kept", "could not"},
    {"{}", 125, "?", "could not"},
};

static MfJson *
parse(const char *text)
{
  g_autofree char *json = g_strdelimit(g_strdup(text), "'", '"');
  /* An apostrophe in a sentence is one all the same. */
  g_autoptr(GString) fixed = g_string_new(json);
  g_string_replace(fixed, "job\"s", "job's", 0);
  MfJson *document = json_tokener_parse(fixed->str);
  g_assert_nonnull(document);
  return document;
}

static void
test_outcomes(void)
{
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(MfJson) job = parse(cases[i].job);
    g_assert_cmpint(mf_outcome_of_job(job), ==, cases[i].status);
    g_autofree char *state = mf_outcome_describe_state(job);
    g_assert_cmpstr(state, ==, cases[i].state);
    g_autofree char *said = mf_outcome_explain(job);
    if (cases[i].said == NULL)
      g_assert_null(said);
    else
      g_assert_nonnull(strstr(said, cases[i].said));
  }
}

static void
test_execs(void)
{
  static const struct {
    const char *exec, *said;
    int status;
  } execs[] = {
      {"{'state':'finished','exit_code':3}", "finished with 3", 3},
      {"{'state':'finished','exit_code':null,'signal':15}", "finished with 143", 143},
      {"{'state':'finished','exit_code':127,'error':'no such file'}",
       "finished with 127 (no such file)", 127},
      /* Its machine ended before it did: that is no status of the command's. */
      {"{'state':'finished','exit_code':null,'signal':null,'error':'cancelled by bob'}",
       "did not finish (cancelled by bob)", 125},
      {"{'state':'finished'}", "did not finish", 125},
      {"{'state':'running'}", "running", 125},
  };
  for (guint i = 0; i < G_N_ELEMENTS(execs); i++) {
    g_autoptr(MfJson) exec = parse(execs[i].exec);
    g_autofree char *said = mf_outcome_describe_exec(exec);
    g_assert_cmpstr(said, ==, execs[i].said);
    g_assert_cmpint(mf_outcome_of_exec(exec), ==, execs[i].status);
  }
}

static void
test_commands(void)
{
  static const char *const execs[][2] = {
      {"{'argv':['sh','-c','exit 3'],'key':'a/b'}", "sh -c exit 3"},
      {"{'argv':null,'key':'build_script/0af3'}", "a script, build_script"},
      {"{'argv':[],'key':'0af3'}", "a script"},
      {"{}", "a script"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(execs); i++) {
    g_autoptr(MfJson) exec = parse(execs[i][0]);
    g_autofree char *said = mf_outcome_describe_command(exec);
    g_assert_cmpstr(said, ==, execs[i][1]);
  }
}

static void
test_progress(void)
{
  g_autoptr(MfJson) queued = parse("{'id':'0123456789ab','state':'queued','position':2,'queued_for'"
                                   ":'no memory is left','timings':{}}");
  g_autofree char *waits = mf_progress_format(queued, 3);
  g_assert_cmpstr(waits, ==, "mayfly 01234567: queue 3.00s, number 2: no memory is left");
  g_autoptr(MfJson) starting =
      parse("{'id':'0123456789ab','state':'starting','phase':'boot',"
            "'timings':{'queue':0.5,'clone':0.25,'wait':1.5,'inject':12.34,'port':0,'boot':null}}");
  g_autofree char *boots = mf_progress_format(starting, 61);
  g_assert_cmpstr(boots, ==,
                  "mayfly 01234567: boot 1m01s  after queue 0.50s, clone 0.25s, wait 1.50s, inject "
                  "12.3s");
  g_autoptr(MfJson) running = parse("{'id':'0123456789ab','state':'running'}");
  g_assert_null(mf_progress_format(running, 1));
}

static void
test_table(void)
{
  g_autoptr(MfTable) table = mf_table_new("A", "LONG", "C", NULL);
  mf_table_add(table, "gr\xc3\xbc\xc3\x9f", NULL, "x");
  mf_table_add(table, "1", "a\nb\x1b", "");
  g_autofree char *text = mf_table_format(table);
  g_assert_cmpstr(text, ==,
                  "A     LONG   C\n"
                  "gr\xc3\xbc\xc3\x9f  -      x\n"
                  "1     a b^[  -\n");
  g_assert_cmpuint(mf_table_rows(table), ==, 2);
}

/* Numbers to the right, and characters that are two columns wide. */
static void
test_table_numbers(void)
{
  g_autoptr(MfTable) table = mf_table_new("A", "N", "LONG", NULL);
  mf_table_set_numbers(table, 1);
  mf_table_add(table, "\xe6\x97\xa5\xe6\x9c\xac", "100", "1");
  mf_table_add(table, "x", "7", "22");
  g_autofree char *text = mf_table_format(table);
  g_assert_cmpstr(text, ==,
                  "A       N  LONG\n"
                  "\xe6\x97\xa5\xe6\x9c\xac  100     1\n"
                  "x       7    22\n");
}

static void
test_numbers(void)
{
  g_autofree char *age = mf_document_format_age(1000, 1000 + 7300);
  g_assert_cmpstr(age, ==, "2h");
  g_autofree char *size = mf_document_format_size(1536u << 20);
  g_assert_cmpstr(size, ==, "1.5 GiB");
  g_autofree char *future = mf_document_format_age(2000, 1000);
  g_assert_cmpstr(future, ==, "0s");
}

static void
test_retries(void)
{
  static const struct {
    const char *document, *said;
  } retries[] = {
      {"{'problem':'no room','retry':1039.5}", "no room; again in 40s"},
      {"{'problem':'no room','retry':1000}", "no room"},
      {"{'problem':'no room','retry':null}", "no room"},
      {"{'problem':null,'retry':1090}", "again in 1m30s"},
      {"{}", NULL},
  };
  for (guint i = 0; i < G_N_ELEMENTS(retries); i++) {
    g_autoptr(MfJson) json = parse(retries[i].document);
    g_autofree char *said = mf_document_format_problem(json, 1000);
    g_assert_cmpstr(said, ==, retries[i].said);
  }
}

static void
test_problems(void)
{
  const char *body =
      "{\"type\":\"https://mayfly.dev/problems/limit\",\"title\":\"x\",\"status\":422,"
      "\"detail\":\"too much\"}";
  g_autoptr(GError) error = mf_client_error_from_problem(422, body, strlen(body));
  g_assert_error(error, MF_ERROR, MF_ERROR_LIMIT);
  g_assert_cmpstr(error->message, ==, "too much");
  g_autoptr(GError) other = mf_client_error_from_problem(502, "<html>", 6);
  g_assert_error(other, MF_ERROR, MF_ERROR_FAILED);
  g_assert_nonnull(strstr(other->message, "502"));
}

/* What a user types cannot leave its place in a path. */
static void
test_paths(void)
{
  static const struct {
    const char *name;
    const char *path;
  } names[] = {{"tiny@01", "/v1/images/tiny@01"},
               {"../info", "/v1/images/..%2Finfo"},
               {"..", "/v1/images/%2E%2E"},
               {"a?x=1#y", "/v1/images/a%3Fx%3D1%23y"},
               {"", "/v1/images/%20"},
               {"a b\xff", "/v1/images/a%20b%FF"}};
  for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
    g_autofree char *path = mf_client_path("images", names[i].name, NULL);
    g_assert_cmpstr(path, ==, names[i].path);
  }
}

static void
test_doctor(void)
{
  g_autoptr(MfDoctor) doctor = mf_doctor_new();
  mf_doctor_say(doctor, "storage", MF_DOCTOR_OK, "much", NULL);
  mf_doctor_say(doctor, "speed", MF_DOCTOR_NOTE, "slow", "be patient");
  g_assert_false(mf_doctor_has_problems(doctor));
  mf_doctor_say(doctor, "network", MF_DOCTOR_PROBLEM, "gone\x1b", "bring it back");
  g_assert_true(mf_doctor_has_problems(doctor));
  g_autofree char *text = mf_doctor_format(doctor);
  g_assert_nonnull(
      strstr(text, "problem  network       gone^[\n                       -> bring it back\n"));
  g_autoptr(MfJson) json = mf_doctor_to_json(doctor);
  g_assert_true(mf_document_has(json, "ok") && !mf_document_flag(json, "ok"));
  g_assert_cmpuint(mf_document_count(mf_document_member(json, "checks")), ==, 3);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/outcome/jobs", test_outcomes);
  g_test_add_func("/outcome/execs", test_execs);
  g_test_add_func("/outcome/commands", test_commands);
  g_test_add_func("/outcome/progress", test_progress);
  g_test_add_func("/outcome/table", test_table);
  g_test_add_func("/outcome/table-numbers", test_table_numbers);
  g_test_add_func("/outcome/numbers", test_numbers);
  g_test_add_func("/outcome/retries", test_retries);
  g_test_add_func("/outcome/problems", test_problems);
  g_test_add_func("/outcome/paths", test_paths);
  g_test_add_func("/outcome/doctor", test_doctor);
  return g_test_run();
}
