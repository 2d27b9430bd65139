/* SPDX-License-Identifier: Apache-2.0 */
/* The GitLab driver as gitlab-runner calls it, against a played mayflyd. */
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>

#include "tests/unit/gitlab-host.h"
#include "tools/gitlab-job.h"

#define JOB(members) "{\"id\":4711,\"token\":\"one\",\"runner_info\":{\"timeout\":60}" members "}"
#define NAME         "gitlab-4711-7692c3ad3540"
#define SECRET       "s3cr3t"

static void
says(const char *text, const char *part)
{
  if (strstr(text, part) == NULL)
    g_error("“%s” does not say “%s”", text, part);
}

/* The number or text of a posted document. */
static const char *
value(MfJson *json, const char *key)
{
  MfJson *found = NULL;
  return json_object_object_get_ex(json, key, &found) ? json_object_get_string(found) : "none";
}

/* config */

static void
test_config(void)
{
  Host *host = host_new();
  static const char *const argv[] = {"config", NULL};
  g_autoptr(Driver) driver = driver_start(host, "", NULL, argv);
  g_assert_cmpint(driver_wait(driver), ==, 0);
  g_assert_cmpstr(driver->err, ==, "");
  g_assert_cmpint(driver->out[driver->out_length - 1], ==, '}');
  g_autoptr(MfJson) json = json_tokener_parse(driver->out);
  g_assert_cmpstr(value(json, "builds_dir"), ==, "/builds");
  g_assert_cmpstr(value(json, "cache_dir"), ==, "/cache");
  g_assert_cmpstr(value(json, "builds_dir_is_shared"), ==, "false");
  g_autofree char *file = g_build_filename(host->folder, "bad.conf", NULL);
  g_assert_true(g_file_set_contents(file, "[machines]\nmargin=x\n", -1, NULL));
  const char *const env[] = {"MAYFLY_GITLAB_CONFIG", file, NULL};
  g_autoptr(Driver) bad = driver_start(host, "", env, argv);
  g_assert_cmpint(driver_wait(bad), ==, 2);
  g_assert_cmpstr(bad->out, ==, "");
  says(bad->err, "bad.conf:2:");
  host_free(host);
}

/* prepare */

static Driver *
prepare(Host *host, const char *response, int status)
{
  static const char *const argv[] = {"prepare", NULL};
  Driver *driver = driver_start(host, response, NULL, argv);
  if (driver_wait(driver) != status)
    g_error("prepare gave %d: %s%s", driver->status, driver->out, driver->err);
  g_assert_null(strstr(driver->out, SECRET));
  g_assert_null(strstr(driver->err, SECRET));
  return driver;
}

static void
test_prepare(void)
{
  Host *host = host_new();
  g_autoptr(Driver) driver =
      prepare(host,
              JOB(",\"image\":{\"name\":\"tiny\"},\"artifacts\":[{}],\"variables\":["
                  "{\"key\":\"MAYFLY_CPUS\",\"value\":\"2\"},{\"key\":\"MAYFLY_MEMORY\",\"value\":"
                  "\"1GiB\"},"
                  "{\"key\":\"MAYFLY_KEEP_ON_FAILURE\",\"value\":\"2h\"},"
                  "{\"key\":\"X\",\"value\":\"" SECRET "\"}]"),
              0);
  HostJob *job = host_job(host, 0);
  g_assert_cmpstr(job->name, ==, NAME);
  g_assert_cmpstr(value(job->spec, "template"), ==, "tiny");
  g_assert_cmpstr(value(job->spec, "hold"), ==, "true");
  g_assert_cmpstr(value(job->spec, "retryable"), ==, "true");
  g_assert_cmpstr(value(job->spec, "lease"), ==, "600");
  g_assert_cmpstr(value(job->spec, "timeout"), ==, "360");
  g_assert_cmpstr(value(job->spec, "cpus"), ==, "2");
  g_assert_cmpstr(value(job->spec, "memory"), ==, "1073741824");
  g_assert_cmpstr(value(job->spec, "disk"), ==, "none");
  g_assert_cmpstr(value(job->spec, "keep_on_failure"), ==, "3600");
  says(driver->out, "number 2 in the queue");
  says(driver->out, "number 1 in the queue");
  says(driver->out, "Machine j0: image tiny@0123456789ab");
  says(driver->out, "artifacts and cache will be skipped");
  says(driver->out, "so 1h is taken");
  host_free(host);
}

static void
test_prepare_default(void)
{
  Host *host = host_new();
  host->runner = "17.2.0";
  host->drop = "POST /v1/jobs";
  g_autoptr(Driver) driver = prepare(host, JOB(",\"cache\":[{}]"), 0);
  g_assert_cmpuint(host->jobs->len, ==, 1);
  g_assert_cmpstr(value(host_job(host, 0)->spec, "template"), ==, "default");
  says(driver->out, "no room for this host's");
  host_free(host);
}

/* What is told of it is what the machine has. */
static void
test_prepare_runner(void)
{
  Host *host = host_new();
  g_autofree char *path = g_build_filename(host->folder, "gitlab-runner", NULL);
  g_assert_true(g_file_set_contents_full(path, "", 0, G_FILE_SET_CONTENTS_NONE, 0755, NULL));
  g_autoptr(Driver) without = prepare(host, JOB(",\"image\":{\"name\":\"tiny\"}"), 0);
  g_assert_cmpuint(host_job(host, 0)->execs->len, ==, 0);
  host->runner = "17.2.0";
  g_autoptr(Driver) given = prepare(host, JOB(",\"cache\":[{}]"), 0);
  says(given->out, "gitlab-runner 17.2.0 of this host is in the machine");
  host->runner = NULL;
  g_autoptr(Driver) same = prepare(host, JOB(",\"cache\":[{}]"), 0);
  says(same->out, "is that of its image");
  host->own_runner = TRUE;
  g_autoptr(Driver) own = prepare(host, JOB(",\"cache\":[{}]"), 0);
  says(own->out, "is that of its image");
  host->runner = "17.2.0";
  g_autoptr(Driver) other = prepare(host, JOB(",\"cache\":[{}]"), 0);
  says(other->out, "is that of its image");
  g_unlink(path);
  host->runner = NULL;
  host->runner_problem = "user mayfly may not read it";
  g_autoptr(Driver) useless = prepare(host, JOB(",\"cache\":[{}]"), 0);
  says(useless->out, "no gitlab-runner, because user mayfly may not read it (gitlab-runner in");
  host_free(host);
}

/* Of job and margin, a template's limit cuts the margin alone. */
static void
test_prepare_limit(void)
{
  Host *host = host_new();
  host->longest = 100;
  g_autoptr(Driver) cut = prepare(host, JOB(""), 0);
  g_assert_cmpstr(value(host_job(host, 0)->spec, "timeout"), ==, "100");
  host->longest = 50;
  g_autoptr(Driver) whole = prepare(host, JOB(""), 0);
  g_assert_cmpstr(value(host_job(host, 1)->spec, "timeout"), ==, "360");
  host_free(host);
}

static void
test_prepare_keep(void)
{
  static const char *const argv[] = {"prepare", NULL};
  Host *host = host_new();
  g_autofree char *file = g_build_filename(host->folder, "none.conf", NULL);
  g_assert_true(g_file_set_contents(file, "[machines]\nkeep-limit=0\n", -1, NULL));
  const char *const env[] = {"MAYFLY_GITLAB_CONFIG", file, NULL};
  g_autoptr(Driver) driver = driver_start(
      host, JOB(",\"variables\":[{\"key\":\"MAYFLY_KEEP_ON_FAILURE\",\"value\":\"10m\"}]"), env,
      argv);
  g_assert_cmpint(driver_wait(driver), ==, 0);
  says(driver->out, "this host keeps no machines, so MAYFLY_KEEP_ON_FAILURE has no effect");
  g_assert_cmpstr(value(host_job(host, 0)->spec, "keep_on_failure"), ==, "none");
  host_free(host);
}

static void
test_prepare_blame(void)
{
  static const struct {
    const char *members, *said;
  } cases[] = {
      {",\"image\":{\"name\":\"alpine;$(reboot)<x/>\"}", "use one of default, tiny"},
      {",\"services\":[{\"name\":\"postgres\"}]", "services: \"postgres\" cannot be started"},
      {",\"variables\":[{\"key\":\"MAYFLY_CPUS\",\"value\":\"" SECRET "\"}]", "MAYFLY_CPUS"},
      {",\"image\":{\"name\":\"$S\"},\"variables\":[{\"key\":\"S\",\"value\":\"" SECRET "\"}]",
       "\"$S\" is not allowed"},
  };
  Host *host = host_new();
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autofree char *response = g_strdup_printf("{\"id\":1,\"token\":\"t\"%s}", cases[i].members);
    g_autoptr(Driver) driver = prepare(host, response, 1);
    says(driver->err, cases[i].said);
  }
  host->refuse = "limit";
  g_autoptr(Driver) limit = prepare(host, JOB(""), 1);
  says(limit->err, "8 are allowed");
  host->refuse = "no-space";
  g_autoptr(Driver) full = prepare(host, JOB(""), 2);
  g_assert_cmpuint(host->jobs->len, ==, 0);
  host_free(host);
}

static void
test_prepare_again(void)
{
  Host *host = host_new();
  host_add_job(host, NAME, "running");
  host_add_job(host, "gitlab-4711-000000000000", "running");
  g_autoptr(Driver) driver = prepare(host, JOB(""), 0);
  g_assert_cmpstr(host_job(host, 0)->state, ==, "finished");
  g_assert_cmpstr(host_job(host, 1)->state, ==, "running");
  g_assert_cmpstr(host_job(host, 2)->state, ==, "ready");
  says(driver->out, "Ending machine j0");
  host_free(host);
}

static void
test_prepare_fails(void)
{
  Host *host = host_new();
  host->fail_boot = TRUE;
  g_autoptr(Driver) driver = prepare(host, JOB(""), 2);
  says(driver->err, "the machine did not boot");
  says(driver->err, "| Kernel ^[[31mpanic");
  host_free(host);
}

static void
run_until_jobs(Host *host, guint count)
{
  while (host->jobs->len < count)
    g_main_context_iteration(NULL, TRUE);
}

static void
test_prepare_stopped(void)
{
  static const char *const argv[] = {"prepare", NULL};
  Host *host = host_new();
  host->never_ready = TRUE;
  g_autoptr(Driver) driver = driver_start(host, JOB(""), NULL, argv);
  run_until_jobs(host, 1);
  while (host->watchers->len == 0)
    g_main_context_iteration(NULL, TRUE);
  g_subprocess_send_signal(driver->process, SIGTERM);
  g_assert_cmpint(driver_wait(driver), ==, 2);
  g_assert_nonnull(host_job(host, 0)->cancelled);
  host_free(host);
}

/* A host that takes no jobs for now is waited for, which is said once. */
static void
test_prepare_busy(void)
{
  static const char *const argv[] = {"prepare", NULL};
  Host *host = host_new();
  host->busy = 2;
  g_autoptr(Driver) patient = prepare(host, JOB(""), 0);
  const char *told = strstr(patient->out, "Waiting: this host is being drained\n");
  g_assert_nonnull(told);
  g_assert_null(strstr(told + 1, "Waiting: "));
  g_assert_cmpuint(host->jobs->len, ==, 1);
  host->busy = G_MAXUINT;
  g_autoptr(Driver) ended = driver_start(host, JOB(""), NULL, argv);
  while (host->busy == G_MAXUINT)
    g_main_context_iteration(NULL, TRUE);
  g_subprocess_send_signal(ended->process, SIGTERM);
  g_assert_cmpint(driver_wait(ended), ==, 2);
  says(ended->err, "gitlab-runner ended this stage");
  host_free(host);
}

/* run */

static Driver *
start_stage(Host *host, const char *script, gssize length, const char *stage,
            const char *job_status)
{
  g_autofree char *path = g_build_filename(host->folder, "script", NULL);
  g_assert_true(g_file_set_contents(path, script, length, NULL));
  const char *const argv[] = {"run", path, stage, NULL};
  const char *const env[] = {"CUSTOM_ENV_CI_JOB_STATUS", job_status, NULL};
  return driver_start(host, JOB(""), env, argv);
}

static Driver *
named_stage(Host *host, const char *name, const char *script, int status)
{
  Driver *driver = start_stage(host, script, -1, name, "running");
  if (driver_wait(driver) != status)
    g_error("the stage gave %d: %s%s", driver->status, driver->out, driver->err);
  return driver;
}

static Driver *
stage(Host *host, const char *script, int status)
{
  return named_stage(host, "step_script", script, status);
}

static void
code_is(Host *host, const char *wanted)
{
  g_autofree char *path = g_build_filename(host->folder, "code", NULL);
  g_autofree char *text = NULL;
  if (!g_file_get_contents(path, &text, NULL, NULL))
    text = g_strdup("none");
  g_assert_cmpstr(text, ==, wanted);
}

static void
test_run_statuses(void)
{
  static const struct {
    const char *script;
    int status;
    const char *code;
  } cases[] = {
      {"", 0, "none"},       {"exit 1", 1, "1"},          {"exit 42", 1, "42"},
      {"exit 0", 0, "none"}, {"exit 137", 1, "137"},      {"kill -KILL $$", 1, "137"},
      {"exit 2", 1, "2"},    {"kill -SEGV $$", 1, "139"}, {"exit 255", 1, "255"},
  };
  Host *host = host_new();
  host_add_job(host, "gitlab-4711-000000000000", "running");
  host_add_job(host, NAME, "ready");
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(Driver) driver = stage(host, cases[i].script, cases[i].status);
    code_is(host, cases[i].code);
    g_assert_cmpstr(driver->out, ==, "");
  }
  g_assert_cmpuint(host_job(host, 0)->execs->len, ==, 0);
  host_free(host);
}

static void
test_run_output(void)
{
  Host *host = host_new();
  host_add_job(host, NAME, "ready");
  g_autoptr(Driver) mixed = stage(host, "printf 'a\\0\\xff\\033['; printf b >&2", 0);
  g_assert_cmpmem(mixed->out, mixed->out_length, "a\0\xff\033[b", 6);
  g_autoptr(Driver) bulk = stage(host, "head -c 3000000 /dev/zero | tr '\\0' x", 0);
  g_assert_cmpuint(bulk->out_length, ==, 3000000);
  /* Bytes of a script that no JSON text can hold. */
  static const char script[] = "printf '\xff\xfe'\n#\0\n";
  g_autoptr(Driver) bytes = start_stage(host, script, sizeof script - 1, "anything new", "running");
  g_assert_cmpint(driver_wait(bytes), ==, 0);
  g_assert_cmpmem(bytes->out, bytes->out_length, "\xff\xfe", 2);
  host_free(host);
}

static void
test_run_once(void)
{
  Host *host = host_new();
  HostJob *job = host_add_job(host, NAME, "ready");
  host->drop = "POST /v1/jobs/j0/execs";
  g_autoptr(Driver) driver = stage(host, "echo once", 0);
  g_assert_cmpstr(driver->out, ==, "once\n");
  g_assert_cmpuint(job->execs->len, ==, 1);
  host_free(host);
}

static gboolean
on_restart(gpointer host)
{
  host_restart(host);
  return G_SOURCE_REMOVE;
}

static void
test_run_restart(void)
{
  Host *host = host_new();
  host_add_job(host, NAME, "ready");
  g_timeout_add(60, on_restart, host);
  g_autoptr(Driver) driver =
      stage(host, "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.03; done; exit 3", 1);
  g_assert_cmpstr(driver->out, ==, "1\n2\n3\n4\n5\n6\n7\n8\n");
  code_is(host, "3");
  host_free(host);
}

static void
test_run_gone(void)
{
  Host *host = host_new();
  g_autoptr(Driver) never = stage(host, "echo x", 2);
  says(never->err, "the machine of this job is gone");
  HostJob *job = host_add_job(host, NAME, "finished");
  job->result = "system-failure";
  job->reason = "the guest panicked";
  g_autoptr(Driver) dead = stage(host, "echo x", 2);
  says(dead->err, "the guest panicked");
  code_is(host, "none");
  host_free(host);
}

static gboolean
on_die(gpointer data)
{
  Host *host = data;
  HostJob *job = host_job(host, 0);
  if (job->execs->len == 0)
    return G_SOURCE_CONTINUE;
  job->reason = "the guest panicked";
  host_job_change(host, job, "finished", "system-failure");
  return G_SOURCE_REMOVE;
}

static void
test_run_dies(void)
{
  Host *host = host_new();
  host_add_job(host, NAME, "ready");
  g_timeout_add(50, on_die, host);
  g_autoptr(Driver) driver = stage(host, "exec sleep 60", 2);
  says(driver->err, "the guest panicked");
  says(driver->err, "Kernel ^[[31mpanic");
  host_free(host);
}

static void
stop_stage(const char *script, const char *wanted)
{
  Host *host = host_new();
  HostJob *job = host_add_job(host, NAME, "ready");
  g_autoptr(Driver) driver = start_stage(host, script, -1, "build_script", "running");
  while (job->execs->len == 0 || ((HostExec *)job->execs->pdata[0])->output->len == 0)
    g_main_context_iteration(NULL, TRUE);
  g_subprocess_send_signal(driver->process, SIGTERM);
  g_assert_cmpint(driver_wait(driver), ==, 2);
  g_assert_cmpstr(driver->out, ==, wanted);
  g_assert_cmpstr(job->state, ==, "ready");
  HostExec *exec = job->execs->pdata[0];
  g_assert_true(exec->exited);
  host_free(host);
}

static void
test_run_stopped(void)
{
  stop_stage("trap 'echo bye; exit 0' TERM; echo up; sleep 60 & wait", "up\nbye\n");
}

static void
test_run_killed(void)
{
  stop_stage("trap '' TERM; echo up; sleep 60", "up\n");
}

/* cleanup */

static void
cleanup(Host *host, const char *job_status)
{
  static const char *const argv[] = {"cleanup", NULL};
  const char *const env[] = {"CUSTOM_ENV_CI_JOB_STATUS", job_status, NULL};
  g_autoptr(Driver) driver = driver_start(host, JOB(""), env, argv);
  g_assert_cmpint(driver_wait(driver), ==, 0);
  g_assert_cmpstr(driver->err, ==, "");
}

static void
test_cleanup(void)
{
  static const struct {
    const char *state, *status, *end, *result;
  } cases[] = {
      {"ready", "success", "{\"result\":\"succeeded\"}", "succeeded"},
      {"ready", "failed", "{\"result\":\"failed\",\"exit_code\":1}", "failed"},
      {"running", "timedout", "{\"result\":\"timed-out\"}", "timed-out"},
      {"ready", "canceled", NULL, "cancelled"},
      {"ready", "running", NULL, "cancelled"},
      {"ready", "", NULL, "cancelled"},
      {"queued", "failed", NULL, "cancelled"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    Host *host = host_new();
    cleanup(host, cases[i].status);
    HostJob *job = host_add_job(host, NAME, cases[i].state);
    HostJob *other = host_add_job(host, "gitlab-4711-000000000000", "ready");
    cleanup(host, cases[i].status);
    g_assert_cmpstr(job->state, ==, "finished");
    g_assert_cmpstr(job->end, ==, cases[i].end);
    g_assert_cmpstr(job->result, ==, cases[i].result);
    g_assert_cmpstr(other->state, ==, "ready");
    cleanup(host, cases[i].status);
    host_free(host);
  }
}

static void
test_keep(void)
{
  Host *host = host_new();
  g_autoptr(Driver) ready = prepare(
      host, JOB(",\"variables\":[{\"key\":\"MAYFLY_KEEP_ON_FAILURE\",\"value\":\"10m\"}]"), 0);
  HostJob *job = host_job(host, 0);
  g_autoptr(Driver) script = stage(host, "exit 7", 1);
  g_assert_cmpstr(script->out, ==, "");
  g_autoptr(Driver) after = named_stage(host, "after_script", "exit 3", 1);
  g_autoptr(Driver) upload = named_stage(host, "upload_artifacts_on_failure", "exit 4", 1);
  g_autoptr(Driver) last = start_stage(host, "echo end", -1, "cleanup_file_variables", "failed");
  g_assert_cmpint(driver_wait(last), ==, 0);
  says(last->out, "end\n");
  says(last->out, "mayfly exec -it j0 -- sh");
  cleanup(host, "failed");
  g_assert_cmpstr(job->end, ==, "{\"result\":\"failed\",\"exit_code\":7}");
  g_assert_cmpstr(job->state, ==, "ready");
  cleanup(host, "failed");
  g_assert_null(job->cancelled);
  g_autoptr(Driver) late = stage(host, "echo x", 2);
  says(late->err, "is gone");
  host_free(host);
}

/* The runner says “running” to the end of a job that never came to its script. */
static void
test_keep_early(void)
{
  static const char *const stages[] = {"prepare_script", "get_sources"};
  for (guint i = 0; i < G_N_ELEMENTS(stages); i++) {
    Host *host = host_new();
    g_autoptr(Driver) ready = prepare(
        host, JOB(",\"variables\":[{\"key\":\"MAYFLY_KEEP_ON_FAILURE\",\"value\":\"10m\"}]"), 0);
    g_autoptr(Driver) first = named_stage(host, "prepare_script", "exit 0", 0);
    g_autoptr(Driver) failed = named_stage(host, stages[i], "exit 128", 1);
    if (i == 1) {
      g_autoptr(Driver) upload = named_stage(host, "upload_artifacts_on_failure", "exit 0", 0);
      g_autoptr(Driver) last = named_stage(host, "cleanup_file_variables", "exit 0", 0);
      says(last->out, "mayfly exec -it j0 -- sh");
    } else {
      says(failed->out, "mayfly exec -it j0 -- sh");
    }
    cleanup(host, "running");
    g_assert_cmpstr(host_job(host, 0)->end, ==, "{\"result\":\"failed\",\"exit_code\":128}");
    g_assert_cmpstr(host_job(host, 0)->state, ==, "ready");
    host_free(host);
  }
}

/* cleanup beside a script that goes on, in a machine that stays: nobody waits for the script. */
static void
test_keep_beside(void)
{
  Host *host = host_new();
  g_autoptr(Driver) ready = prepare(
      host, JOB(",\"variables\":[{\"key\":\"MAYFLY_KEEP_ON_FAILURE\",\"value\":\"10m\"}]"), 0);
  HostJob *job = host_job(host, 0);
  g_autoptr(Driver) driver =
      start_stage(host, "echo up; exec sleep 60", -1, "build_script", "running");
  while (job->execs->len == 0 || ((HostExec *)job->execs->pdata[0])->output->len == 0)
    g_main_context_iteration(NULL, TRUE);
  gint64 began = g_get_monotonic_time();
  cleanup(host, "failed");
  g_assert_cmpint(driver_wait(driver), ==, 2);
  g_assert_cmpint(g_get_monotonic_time() - began, <, 30 * G_USEC_PER_SEC);
  says(driver->err, "ended before the script did");
  g_assert_cmpstr(job->state, ==, "ready");
  host_free(host);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/gitlab/config", test_config);
  g_test_add_func("/gitlab/prepare", test_prepare);
  g_test_add_func("/gitlab/prepare/default", test_prepare_default);
  g_test_add_func("/gitlab/prepare/runner", test_prepare_runner);
  g_test_add_func("/gitlab/prepare/limit", test_prepare_limit);
  g_test_add_func("/gitlab/prepare/keep", test_prepare_keep);
  g_test_add_func("/gitlab/prepare/blame", test_prepare_blame);
  g_test_add_func("/gitlab/prepare/again", test_prepare_again);
  g_test_add_func("/gitlab/prepare/fails", test_prepare_fails);
  g_test_add_func("/gitlab/prepare/stopped", test_prepare_stopped);
  g_test_add_func("/gitlab/prepare/busy", test_prepare_busy);
  g_test_add_func("/gitlab/run/statuses", test_run_statuses);
  g_test_add_func("/gitlab/run/output", test_run_output);
  g_test_add_func("/gitlab/run/once", test_run_once);
  g_test_add_func("/gitlab/run/restart", test_run_restart);
  g_test_add_func("/gitlab/run/gone", test_run_gone);
  g_test_add_func("/gitlab/run/dies", test_run_dies);
  g_test_add_func("/gitlab/run/stopped", test_run_stopped);
  g_test_add_func("/gitlab/run/killed", test_run_killed);
  g_test_add_func("/gitlab/cleanup", test_cleanup);
  g_test_add_func("/gitlab/keep", test_keep);
  g_test_add_func("/gitlab/keep/early", test_keep_early);
  g_test_add_func("/gitlab/keep/beside", test_keep_beside);
  return g_test_run();
}
