/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon says of real jobs, and takes as their specification, is what openapi.json
 * describes. */
#include <glib/gstdio.h>
#include <string.h>

#include "daemon/api-private.h"
#include "daemon/error.h"
#include "daemon/frame.h"
#include "daemon/job-private.h"
#include "daemon/json.h"
#include "daemon/record.h"
#include "daemon/scheduler-private.h"
#include "tests/lib/schema.h"

static MfJobSpec *
spec_of(const char *text)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJson) json = mf_json_parse(text, strlen(text), "The test", &error);
  g_assert_no_error(error);
  MfJobSpec *spec = mf_job_spec_from_json(json, &error);
  g_assert_no_error(error);
  return spec;
}

static MfJob *
job_in(const char *directory)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfJobSpec) spec = spec_of("{\"name\":\"n\",\"exec\":{\"argv\":[\"true\"]}}");
  g_autoptr(MfTemplate) template = g_new0(MfTemplate, 1);
  g_autoptr(MfImage) image = g_new0(MfImage, 1);
  g_atomic_ref_count_init(&template->refs);
  g_atomic_ref_count_init(&image->refs);
  template->name = g_strdup("tiny");
  image->name = g_strdup("tiny");
  image->digest = g_strnfill(64, 'a');
  MfGrant grant = {.cpus = 1, .memory = 128 << 20, .disk = 1 << 30, .timeout = 60};
  MfJob *job = mf_job_new("abc", 1000, directory, spec, template, image, &grant);
  g_assert_true(mf_job_create_record(job, &error));
  g_autoptr(MfExec) exec = mf_exec_new(job, 1, spec->exec, 1 << 20, &error);
  g_assert_no_error(error);
  mf_job_add_exec(job, exec);
  return job;
}

static void
test_job(void)
{
  g_autoptr(MfJson) openapi = schema_load();
  g_autofree char *directory = g_dir_make_tmp("mayfly-schema-XXXXXX", NULL);
  static const MfJobState states[] = {MF_JOB_STARTING, MF_JOB_READY, MF_JOB_RUNNING,
                                      MF_JOB_STOPPING, MF_JOB_FINISHED};
  g_autoptr(MfJob) job = job_in(directory);
  for (gsize i = 0; i < G_N_ELEMENTS(states); i++) {
    g_autoptr(MfJson) before = mf_job_to_json(job);
    schema_check(openapi, "Job", before);
    if (states[i] == MF_JOB_STOPPING) {
      mf_exec_take_exit(mf_job_get_exec(job, 1), 3, 0, NULL);
      mf_job_set_result(job, MF_RESULT_SYSTEM_FAILURE, -1, "why");
    }
    for (guint t = 0; t < MF_TIMING_LAST_; t++)
      mf_job_set_timing(job, (MfTiming)t, 0.5);
    mf_job_set_state(job, states[i]);
  }
  job->console_tail = g_strsplit("a\nb", "\n", -1);
  g_autoptr(MfJson) after = mf_job_to_json(job);
  schema_check(openapi, "Job", after);
  g_autoptr(GError) error = NULL;
  g_assert_true(mf_record_remove(job->folder, &error));
  g_rmdir(directory);
}

static void
test_machine(void)
{
  g_autoptr(MfJson) openapi = schema_load();
  g_autofree char *directory = g_dir_make_tmp("mayfly-schema-XXXXXX", NULL);
  g_autoptr(MfJob) job = job_in(directory);
  g_autoptr(MfConfig) config = mf_config_load(NULL, NULL);
  static const MfJobState states[] = {MF_JOB_STARTING, MF_JOB_READY, MF_JOB_RUNNING,
                                      MF_JOB_STOPPING};
  for (gsize i = 0; i < G_N_ELEMENTS(states); i++) {
    mf_job_set_state(job, states[i]);
    g_autoptr(MfJson) json = mf_scheduler_machine_json(job, config);
    g_assert_cmpstr(json_object_get_string(json_object_object_get(json, "id")), ==, "abc");
    g_assert_nonnull(json_object_object_get(json, "since"));
    MfDomainStats stats = {.disk_read_bytes = MF_STATS_UNKNOWN};
    mf_json_add(json, "stats", i == 0 ? NULL : mf_api_stats_to_json(&stats));
    schema_check(openapi, "Machine", json);
  }
  g_autoptr(GError) error = NULL;
  g_assert_true(mf_record_remove(job->folder, &error));
  g_rmdir(directory);
}

static void
test_host(void)
{
  g_autoptr(MfJson) openapi = schema_load();
  MfUsage size = {.cpus = 2, .memory = 4096};
  MfHostMemory memory = {.available = 1024, .has_pressure = TRUE, .some = 1.5};
  for (guint i = 0; i < 3; i++) {
    g_autoptr(MfJson) json = json_object_new_object();
    memory.has_pressure = i == 0;
    mf_json_add(json, "time", json_object_new_double(1.5));
    mf_json_add(json, "host",
                mf_scheduler_host_json(&size, i < 2 ? &memory : NULL, (MfMemoryLevel)i));
    mf_json_add(json, "limits", mf_scheduler_usage_json(&size));
    mf_json_add(json, "used", mf_scheduler_usage_json(&size));
    mf_json_add(json, "machines", json_object_new_array());
    schema_check(openapi, "Machines", json);
  }
}

/* A refusal of an unknown key lists those there are. */
static void
same_keys(MfJson *openapi, const char *schema, GError *error)
{
  MfJson *schemas =
      json_object_object_get(json_object_object_get(openapi, "components"), "schemas");
  MfJson *described = json_object_object_get(json_object_object_get(schemas, schema), "properties");
  const char *list = strstr(error->message, "known here: ");
  g_assert_nonnull(list);
  g_autofree char *names = g_strndup(list + 12, strlen(list + 12) - 1);
  g_auto(GStrv) known = g_strsplit(names, ", ", -1);
  g_assert_cmpint(json_object_object_length(described), ==, g_strv_length(known));
  for (char **name = known; *name != NULL; name++)
    if (!json_object_object_get_ex(described, *name, NULL))
      g_error("%s.%s is not described", schema, *name);
}

static void
test_specs(void)
{
  static const struct {
    const char *text, *schema;
  } cases[] = {{"{\"?\":1}", "JobSpec"},
               {"{\"exec\":{\"?\":1}}", "ExecSpec"},
               {"{\"files\":[{\"?\":1}]}", "File"}};
  g_autoptr(MfJson) openapi = schema_load();
  for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(MfJson) json =
        mf_json_parse(cases[i].text, strlen(cases[i].text), "The test", &error);
    g_autoptr(MfJobSpec) spec = mf_job_spec_from_json(json, &error);
    g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
    same_keys(openapi, cases[i].schema, error);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/api-schema/job", test_job);
  g_test_add_func("/api-schema/machine", test_machine);
  g_test_add_func("/api-schema/host", test_host);
  g_test_add_func("/api-schema/specs", test_specs);
  return g_test_run();
}
