/* SPDX-License-Identifier: Apache-2.0 */
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/error.h"
#include "daemon/frame.h"
#include "daemon/job-private.h"
#include "daemon/json.h"
#include "daemon/machine.h"
#include "daemon/record.h"
#include "tests/lib/tiny.h"

static char *directory;

static MfJobSpec *
spec_of(const char *text)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJson) json = mf_json_parse(text, strlen(text), "test", &error);
  g_assert_no_error(error);
  MfJobSpec *spec = mf_job_spec_from_json(json, &error);
  g_assert_no_error(error);
  return spec;
}

static MfJob *
new_job(const char *id, const char *text)
{
  g_autoptr(MfJobSpec) spec = spec_of(text);
  g_autoptr(MfTemplate) template = tiny_template();
  g_autoptr(MfImage) image = tiny_image();
  MfGrant grant = {.cpus = 1, .memory = 128 << 20, .disk = 1 << 30, .timeout = 60};
  MfJob *job = mf_job_new(id, 1000, directory, spec, template, image, &grant);
  g_autoptr(GError) error = NULL;
  g_assert_true(mf_job_create_record(job, &error));
  g_assert_no_error(error);
  if (job->spec->exec != NULL) {
    g_autoptr(MfExec) exec = mf_exec_new(job, 1, job->spec->exec, 1 << 20, &error);
    g_assert_no_error(error);
    mf_job_add_exec(job, exec);
  }
  return job;
}

static gboolean
folder_has(MfJob *job, const char *needle)
{
  g_autoptr(GDir) dir = g_dir_open(job->folder, 0, NULL);
  gboolean found = FALSE;
  for (const char *name; (name = g_dir_read_name(dir)) != NULL;) {
    g_autofree char *path = g_build_filename(job->folder, name, NULL);
    g_autofree char *text = NULL;
    gsize length;
    g_assert_true(g_file_get_contents(path, &text, &length, NULL));
    found = found || memmem(text, length, needle, strlen(needle)) != NULL;
  }
  return found;
}

#define SECRET_JOB                                                                                 \
  "{\"env\":{\"TOKEN\":\"s3cr3t\"},\"files\":[{\"path\":\"/k\",\"mode\":\"0600\",\"content\":"     \
  "\"x\"}],\"exec\":{\"argv\":[\"true\"],\"env\":{\"A\":\"b\"}}}"

static void
test_record_and_wipe(void)
{
  g_autoptr(MfJob) job = new_job("jobaaaaaaa", SECRET_JOB);
  struct stat st;
  g_assert_cmpint(stat(job->folder, &st), ==, 0);
  g_assert_cmpint(st.st_mode & 0777, ==, 0700);
  g_assert_true(folder_has(job, "s3cr3t"));
  g_autofree char *record = g_build_filename(job->folder, "record.json", NULL);
  g_autofree char *text = NULL;
  g_assert_true(g_file_get_contents(record, &text, NULL, NULL));
  g_assert_null(strstr(text, "s3cr3t"));
  mf_job_set_state(job, MF_JOB_STOPPING);
  mf_job_wipe(job);
  mf_job_set_state(job, MF_JOB_FINISHED);
  g_assert_false(folder_has(job, "s3cr3t"));
  g_assert_null(job->spec);
}

static void
test_load_running(void)
{
  g_autoptr(MfJob) job = new_job("jobbbbbbbb", SECRET_JOB);
  mf_job_set_state(job, MF_JOB_STARTING);
  mf_job_set_timing(job, MF_TIMING_CLONE, 0.25);
  mf_job_set_timing(job, MF_TIMING_HELLO, 0.5);
  job->agent = g_strdup("0123");
  job->port = g_strdup("mf3");
  mf_job_set_state(job, MF_JOB_READY);
  job->deadline = job->created + 5000000;
  mf_job_set_state(job, MF_JOB_RUNNING);
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJob) again = mf_job_load(job->folder, 1 << 20, &error);
  g_assert_no_error(error);
  g_assert_cmpstr(again->id, ==, job->id);
  g_assert_cmpuint(again->owner, ==, 1000);
  g_assert_cmpint(again->state, ==, MF_JOB_RUNNING);
  g_assert_cmpstr(again->port, ==, "mf3");
  g_assert_cmpstr(again->agent, ==, "0123");
  g_assert_cmpstr(again->uuid, ==, job->uuid);
  g_assert_cmpuint(again->grant.memory, ==, 128 << 20);
  g_assert_cmpint(ABS(again->deadline - job->deadline), <, 1000);
  g_assert_cmpfloat(again->timings[MF_TIMING_CLONE], ==, 0.25);
  g_assert_cmpfloat(again->timings[MF_TIMING_HELLO], ==, 0.5);
  g_assert_cmpfloat(again->timings[MF_TIMING_WAIT], <, 0);
  g_assert_cmpstr(again->spec->env[0], ==, "TOKEN=s3cr3t");
  g_assert_cmpuint(again->execs->len, ==, 1);
  g_assert_nonnull(mf_job_get_exec(again, 1));
  g_assert_null(mf_job_get_exec(again, 2));
}

static MfExec *
add_second(MfJob *job, const char *text)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJson) json = mf_json_parse(text, strlen(text), "test", &error);
  g_autoptr(MfExecSpec) spec = mf_exec_spec_from_json(json, &error);
  g_assert_no_error(error);
  g_autoptr(MfExec) exec = mf_exec_new(job, job->execs->len + 1, spec, 1 << 20, &error);
  g_assert_no_error(error);
  g_assert_true(mf_job_keep_exec(job, exec, &error));
  g_assert_no_error(error);
  mf_job_add_exec(job, exec);
  mf_job_save(job);
  return exec;
}

/* A restarted daemon can start what it had accepted; nothing of it stays on disk once it is over.
 */
static void
test_later_exec(void)
{
  g_autoptr(MfJob) job = new_job("joblaterxx", "{}");
  mf_job_set_state(job, MF_JOB_STARTING);
  mf_job_set_state(job, MF_JOB_READY);
  MfExec *first = add_second(job, "{\"argv\":[\"true\"]}");
  MfExec *second =
      add_second(job, "{\"key\":\"k7\",\"script\":\"echo s3cr3t\",\"shell\":[\"sh\"]}");
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJob) again = mf_job_load(job->folder, 1 << 20, &error);
  g_assert_no_error(error);
  MfExec *found = mf_job_find_exec(again, "k7");
  g_assert_nonnull(found);
  g_assert_cmpuint(found->number, ==, 2);
  gsize length;
  const char *script = g_bytes_get_data(found->spec->script, &length);
  g_assert_cmpmem(script, length, "echo s3cr3t", 11);
  g_assert_null(mf_job_find_exec(again, "k8"));
  mf_exec_take_exit(second, 0, 0, NULL);
  g_assert_false(folder_has(job, "s3cr3t"));
  mf_exec_take_exit(first, 0, 0, NULL);
  MfExec *third = add_second(job, "{\"argv\":[\"echo\",\"s3cr3t\"]}");
  g_assert_cmpuint(third->number, ==, 3);
  mf_job_set_state(job, MF_JOB_STOPPING);
  mf_job_wipe(job);
  g_autofree char *left = g_build_filename(job->folder, "secrets-3.json", NULL);
  g_assert_false(g_file_test(left, G_FILE_TEST_EXISTS));
}

static void
test_load_finished(void)
{
  g_autoptr(MfJob) job = new_job("jobcccccccc", "{\"exec\":{\"argv\":[\"true\"]}}");
  MfExec *exec = mf_job_get_exec(job, 1);
  g_autoptr(GError) error = NULL;
  exec->state = MF_EXEC_RUNNING;
  g_assert_true(mf_exec_take_output(exec, MF_STREAM_STDOUT, 0, "hello", 5, &error));
  mf_exec_take_exit(exec, 3, 0, NULL);
  mf_job_set_result(job, MF_RESULT_FAILED, 3, NULL);
  mf_job_set_result(job, MF_RESULT_CANCELLED, -1, "too late");
  mf_job_set_state(job, MF_JOB_STOPPING);
  mf_job_wipe(job);
  mf_job_set_state(job, MF_JOB_FINISHED);
  g_autoptr(MfJob) again = mf_job_load(job->folder, 1 << 20, &error);
  g_assert_no_error(error);
  g_assert_cmpint(again->result, ==, MF_RESULT_FAILED);
  g_assert_cmpint(again->exit_code, ==, 3);
  g_autoptr(MfJson) before = mf_job_to_json(job);
  g_autoptr(MfJson) after = mf_job_to_json(again);
  g_assert_true(json_object_equal(before, after));
  char buffer[16];
  g_autoptr(MfOutputReader) reader =
      mf_output_reader_new(mf_exec_get_output(mf_job_get_exec(again, 1)), MF_OUTPUT_STDOUT, 0);
  g_assert_cmpint(mf_output_reader_read(reader, buffer, sizeof buffer, NULL), ==, 5);
}

/* What memory lets go of is there again for who asks, however often; what the record lacks stays.
 */
static void
test_filed(void)
{
  g_autoptr(MfJob) job = new_job("jobppppppp", "{\"name\":\"n\",\"exec\":{\"argv\":[\"true\"]}}");
  mf_job_file(job);
  g_assert_false(job->filed);
  mf_exec_take_exit(mf_job_get_exec(job, 1), 3, 0, NULL);
  mf_job_set_result(job, MF_RESULT_SYSTEM_FAILURE, -1, "for a reason");
  mf_job_set_state(job, MF_JOB_STOPPING);
  mf_job_set_state(job, MF_JOB_FINISHED);
  g_autoptr(MfJson) before = mf_job_to_json(job);
  for (int i = 0; i < 3; i++) {
    mf_job_file(job);
    g_assert_null(job->execs);
    g_assert_null(job->reason);
    g_assert_cmpstr(mf_job_get_name(job), ==, "n");
    g_autoptr(MfJson) after = mf_job_to_json(job);
    g_assert_true(json_object_equal(before, after));
    g_assert_null(job->execs);
    g_assert_cmpuint(mf_job_get_execs(job)->len, ==, 1);
    g_assert_cmpint(mf_job_get_exec(job, 1)->exit_code, ==, 3);
  }
  g_autofree char *path = g_build_filename(job->folder, "record.json", NULL);
  g_unlink(path);
  mf_job_file(job);
  g_test_expect_message(NULL, G_LOG_LEVEL_WARNING, "*its record cannot be read*");
  g_assert_cmpuint(mf_job_get_execs(job)->len, ==, 0);
  g_test_assert_expected_messages();
  g_autoptr(MfJson) rest = mf_job_to_json(job);
  g_assert_cmpstr(json_object_get_string(json_object_object_get(rest, "id")), ==, "jobppppppp");
}

/* A job whose last record could not be written is in memory alone. */
static void
test_not_filed(void)
{
  g_autoptr(MfJob) job = new_job("jobqqqqqqq", "{\"exec\":{\"argv\":[\"true\"]}}");
  mf_job_set_state(job, MF_JOB_STOPPING);
  g_autofree char *folder = g_steal_pointer(&job->folder);
  job->folder = g_build_filename(directory, "nowhere", NULL);
  g_test_expect_message(NULL, G_LOG_LEVEL_WARNING, "*its record is behind*");
  mf_job_set_state(job, MF_JOB_FINISHED);
  g_test_assert_expected_messages();
  mf_job_file(job);
  g_assert_false(job->filed);
}

static void
test_damaged_records(void)
{
  static const char *const bad[] = {
      "",
      "{",
      "[]",
      "{}",
      "{\"job\":{\"id\":\"other\",\"state\":\"ready\",\"owner\":1}}",
      "{\"job\":{\"id\":\"jobdamaged\",\"state\":\"dancing\",\"owner\":1}}"};
  g_autofree char *folder = g_build_filename(directory, "jobdamaged", NULL);
  g_autofree char *path = g_build_filename(folder, "record.json", NULL);
  g_assert_cmpint(g_mkdir(folder, 0700), ==, 0);
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GError) error = NULL;
    g_assert_true(g_file_set_contents(path, bad[i], -1, NULL));
    g_assert_null(mf_job_load(folder, 1 << 20, &error));
    g_assert_nonnull(error);
  }
}

static void
test_stdin_window(void)
{
  g_autoptr(MfJob) job = new_job("jobeeeeeee", "{\"exec\":{\"argv\":[\"cat\"],\"stdin\":true}}");
  MfExec *exec = mf_job_get_exec(job, 1);
  g_autofree char *data = g_malloc0(MF_FRAME_WINDOW);
  g_autoptr(GError) error = NULL;
  g_assert_cmpint(mf_exec_write_stdin(exec, 0, data, MF_FRAME_WINDOW - 10, FALSE, &error), ==,
                  MF_FRAME_WINDOW - 10);
  g_assert_cmpint(mf_exec_write_stdin(exec, MF_FRAME_WINDOW - 20, data, 100, TRUE, &error), ==,
                  MF_FRAME_WINDOW);
  g_assert_false(exec->stdin_eof);
  mf_exec_take_stdin_ack(exec, 1000);
  g_assert_cmpint(mf_exec_write_stdin(exec, MF_FRAME_WINDOW, data, 80, TRUE, &error), ==,
                  MF_FRAME_WINDOW + 80);
  g_assert_true(exec->stdin_eof);
  g_assert_cmpint(mf_exec_write_stdin(exec, MF_FRAME_WINDOW + 81, data, 1, FALSE, &error), ==, -1);
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
  g_clear_error(&error);
  /* A hostile agent that acknowledges what was never sent changes nothing. */
  mf_exec_take_stdin_ack(exec, G_MAXUINT64);
  g_assert_cmpuint(exec->stdin_base, ==, 1000);
  mf_exec_take_exit(exec, 0, 0, NULL);
  g_assert_cmpint(mf_exec_write_stdin(exec, 0, data, 1, FALSE, &error), ==, -1);
  g_assert_error(error, MF_ERROR, MF_ERROR_CONFLICT);
}

static void
test_output_overlap_and_gap(void)
{
  g_autoptr(MfJob) job = new_job("jobfffffff", "{\"exec\":{\"argv\":[\"x\"]}}");
  MfExec *exec = mf_job_get_exec(job, 1);
  g_assert_true(mf_exec_take_output(exec, MF_STREAM_STDOUT, 0, "early", 5, NULL));
  g_assert_cmpuint(mf_output_log_taken(exec->output, MF_STREAM_STDOUT), ==, 0);
  exec->state = MF_EXEC_RUNNING;
  g_assert_true(mf_exec_take_output(exec, MF_STREAM_STDOUT, 0, "abcde", 5, NULL));
  g_assert_true(mf_exec_take_output(exec, MF_STREAM_STDOUT, 3, "defg", 4, NULL));
  g_assert_true(mf_exec_take_output(exec, MF_STREAM_STDOUT, 100, "gap", 3, NULL));
  g_assert_true(mf_exec_take_output(exec, MF_STREAM_STDOUT, G_MAXUINT64, "wrap", 4, NULL));
  g_assert_true(mf_exec_has_output(exec, 7, 0));
  g_assert_false(mf_exec_has_output(exec, 8, 0));
  g_assert_false(mf_exec_has_output(exec, 7, 1));
  g_assert_cmpuint(mf_output_log_taken(exec->output, MF_STREAM_STDOUT), ==, 7);
}

/* A running exec of a daemon that was killed: what of its input was taken only the agent knows. */
static void
test_stdin_after_restart(void)
{
  g_autoptr(MfJob) job = new_job("jobggggggg", "{\"exec\":{\"argv\":[\"cat\"],\"stdin\":true}}");
  mf_job_get_exec(job, 1)->state = MF_EXEC_RUNNING;
  mf_job_save(job);
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJob) again = mf_job_load(job->folder, 1 << 20, &error);
  g_assert_no_error(error);
  MfExec *exec = mf_job_get_exec(again, 1);
  g_assert_cmpint(mf_exec_write_stdin(exec, 500, "abc", 3, FALSE, &error), ==, 500);
  g_assert_no_error(error);
  mf_exec_take_stdin_ack(exec, 500);
  g_assert_cmpint(mf_exec_write_stdin(exec, 500, "abc", 3, FALSE, &error), ==, 503);
  g_assert_cmpint(mf_exec_write_stdin(exec, 504, "e", 1, FALSE, &error), ==, -1);
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
}

/* Only the first exec's document is kept: another that had not begun cannot begin any more. */
static void
test_lost_document(void)
{
  g_autoptr(MfJob) job = new_job("jobhhhhhhh", "{\"exec\":{\"argv\":[\"x\"]}}");
  g_autoptr(GError) error = NULL;
  g_autoptr(MfExec) second = mf_exec_new(job, 2, job->spec->exec, 1 << 20, &error);
  g_assert_no_error(error);
  mf_job_add_exec(job, second);
  mf_job_save(job);
  g_autoptr(MfJob) again = mf_job_load(job->folder, 1 << 20, &error);
  g_assert_no_error(error);
  MfExec *exec = mf_job_get_exec(again, 2);
  mf_exec_attach(exec, NULL, NULL);
  g_assert_true(mf_exec_is_done(exec));
  g_assert_cmpint(exec->exit_code, ==, -1);
  g_assert_nonnull(exec->error);
}

static void
test_limit_after_restart(void)
{
  g_autoptr(MfJob) job = new_job("jobiiiiiii", "{\"exec\":{\"argv\":[\"x\"]}}");
  mf_job_get_exec(job, 1)->state = MF_EXEC_RUNNING;
  mf_job_save(job);
  g_autoptr(MfJob) again = mf_job_load(job->folder, 4, NULL);
  MfExec *exec = mf_job_get_exec(again, 1);
  g_assert_true(mf_exec_take_output(exec, MF_STREAM_STDOUT, 0, "abcdefgh", 8, NULL));
  char buffer[16];
  g_autoptr(MfOutputReader) reader = mf_output_reader_new(exec->output, MF_OUTPUT_STDOUT, 0);
  g_assert_cmpint(mf_output_reader_read(reader, buffer, sizeof buffer, NULL), ==, 4);
}

static void
test_console_of_finished(void)
{
  g_autoptr(MfJob) job = new_job("jobjjjjjjj", "{}");
  g_autofree char *path = g_build_filename(job->folder, "console.log", NULL);
  job->console = mf_output_log_open(path, 1 << 20, NULL);
  g_assert_true(mf_output_log_append(job->console, MF_STREAM_STDOUT, "boot", 4, NULL));
  mf_job_set_state(job, MF_JOB_STOPPING);
  mf_job_set_state(job, MF_JOB_FINISHED);
  g_autoptr(MfJob) again = mf_job_load(job->folder, 1 << 20, NULL);
  g_assert_nonnull(mf_job_get_console(again));
  char buffer[16];
  g_autoptr(MfOutputReader) reader =
      mf_output_reader_new(mf_job_get_console(again), MF_OUTPUT_MERGED, 0);
  g_assert_cmpint(mf_output_reader_read(reader, buffer, sizeof buffer, NULL), ==, 4);
}

static void
test_most_execs(void)
{
  g_autoptr(MfJob) job = new_job("jobkkkkkkk", "{\"exec\":{\"argv\":[\"x\"]}}");
  g_autoptr(GError) error = NULL;
  while (job->execs->len < MF_JOB_MOST_EXECS) {
    g_autoptr(MfExec) exec = mf_exec_new(job, job->execs->len + 1, job->spec->exec, 10, &error);
    if (exec == NULL) {
      g_assert_error(error, MF_ERROR, MF_ERROR_LIMIT);
      g_clear_error(&error);
      g_assert_cmpuint(job->execs->len % MF_JOB_MOST_UNFINISHED, ==, 0);
      for (guint i = 0; i < job->execs->len; i++)
        mf_exec_take_exit(g_ptr_array_index(job->execs, i), 0, 0, NULL);
    } else {
      mf_job_add_exec(job, exec);
    }
  }
  for (guint i = 0; i < job->execs->len; i++)
    mf_exec_take_exit(g_ptr_array_index(job->execs, i), 0, 0, NULL);
  g_assert_null(mf_exec_new(job, job->execs->len + 1, job->spec->exec, 10, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_LIMIT);
}

static void
remove_all(void)
{
  g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
  for (const char *name; (name = g_dir_read_name(dir)) != NULL;) {
    g_autofree char *path = g_build_filename(directory, name, NULL);
    g_assert_true(mf_record_remove(path, NULL));
  }
  g_rmdir(directory);
}

/* A file that is within a job's limit may still be too long for one document of the link. */
static void
test_bring(void)
{
  for (guint mib = 2; mib <= 4; mib += 2) {
    g_autofree char *content = g_strnfill((mib << 20) - 16, 'x');
    g_autofree char *text =
        g_strdup_printf("{\"files\":[{\"path\":\"/f\",\"content\":\"%s\"}]}", content);
    g_autoptr(MfJob) job = new_job(mib == 2 ? "brings-2" : "brings-4", text);
    g_assert_cmpint(mf_machine_can_bring(job), ==, mib == 2);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  directory = g_dir_make_tmp("mayfly-job-XXXXXX", NULL);
  g_test_add_func("/job/record-and-wipe", test_record_and_wipe);
  g_test_add_func("/job/load-running", test_load_running);
  g_test_add_func("/job/later-exec", test_later_exec);
  g_test_add_func("/job/load-finished", test_load_finished);
  g_test_add_func("/job/filed", test_filed);
  g_test_add_func("/job/not-filed", test_not_filed);
  g_test_add_func("/job/damaged", test_damaged_records);
  g_test_add_func("/job/stdin-window", test_stdin_window);
  g_test_add_func("/job/output", test_output_overlap_and_gap);
  g_test_add_func("/job/stdin-after-restart", test_stdin_after_restart);
  g_test_add_func("/job/lost-document", test_lost_document);
  g_test_add_func("/job/limit-after-restart", test_limit_after_restart);
  g_test_add_func("/job/console-of-finished", test_console_of_finished);
  g_test_add_func("/job/most-execs", test_most_execs);
  g_test_add_func("/job/bring", test_bring);
  int rc = g_test_run();
  remove_all();
  g_free(directory);
  return rc;
}
