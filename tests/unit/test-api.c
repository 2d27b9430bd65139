/* SPDX-License-Identifier: Apache-2.0 */
/* Every route: what it answers, to whom. */
#include <signal.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/image-store.h"
#include "daemon/json.h"
#include "tests/lib/api-fixture.h"
#include "tests/lib/schema.h"

static const char *
text_at(MfJson *json, const char *key)
{
  return json_object_get_string(json_object_object_get(json, key));
}

static guint64
number_at(MfJson *json, const char *key)
{
  return json_object_get_uint64(json_object_object_get(json, key));
}

/* The document, or the first of the list under @key, is what the schema says. */
static void
described(const char *schema, MfJson *json, const char *key)
{
  g_autoptr(MfJson) openapi = schema_load();
  MfJson *list = key != NULL ? json_object_object_get(json, key) : NULL;
  schema_check(openapi, schema, list != NULL ? json_object_array_get_idx(list, 0) : json);
}

static MfJson *
get(ApiFixture *f, const char *path)
{
  g_autoptr(HttpAnswer) answer = api_expect(f, "GET", path, NULL, 200);
  return http_answer_json(answer);
}

static MfJson *
post(ApiFixture *f, const char *path, const char *body, guint status)
{
  g_autoptr(HttpAnswer) answer = api_expect(f, "POST", path, body, status);
  return http_answer_json(answer);
}

static void
test_post_and_look(ApiFixture *f, gconstpointer unused)
{
  api_fixture_set_peer(f, 1000, FALSE);
  g_autoptr(HttpAnswer) answer =
      api_expect(f, "POST", "/v1/jobs", "{\"exec\":{\"argv\":[\"true\"]}}", 201);
  g_assert_nonnull(strstr(answer->head, "Location: /v1/jobs/new0\r\n"));
  g_autoptr(MfJson) job = http_answer_json(answer);
  g_assert_cmpstr(text_at(job, "id"), ==, "new0");
  g_assert_cmpuint(number_at(job, "owner"), ==, 1000);
  fake_scheduler_add(f->scheduler, "done", 1000, MF_JOB_FINISHED);
  g_autoptr(MfJson) active = get(f, "/v1/jobs");
  g_autoptr(MfJson) all = get(f, "/v1/jobs?state=all");
  g_autoptr(MfJson) one = get(f, "/v1/jobs/do");
  g_assert_cmpuint(json_object_array_length(json_object_object_get(active, "jobs")), ==, 1);
  g_assert_cmpuint(json_object_array_length(json_object_object_get(all, "jobs")), ==, 2);
  g_assert_cmpstr(text_at(one, "id"), ==, "done");
  api_refused(f, "POST", "/v1/jobs", "{\"cpus\":\"2\"}", 400, "\"cpus\" must be a whole number");
  api_refused(f, "POST", "/v1/jobs", NULL, 400, "is empty");
  fake_scheduler_add(f->scheduler, "double", 1000, MF_JOB_QUEUED);
  api_refused(f, "GET", "/v1/jobs/do", NULL, 409, "give more of the id");
}

/* Whole and in order, with others served before it is. */
static void
test_long_list(ApiFixture *f, gconstpointer unused)
{
  for (int i = 0; i < 1000; i++) {
    g_autofree char *id = g_strdup_printf("job%03d", i);
    fake_scheduler_add(f->scheduler, id, 1000, MF_JOB_FINISHED);
  }
  g_autoptr(MfJson) all = get(f, "/v1/jobs?state=all");
  MfJson *jobs = json_object_object_get(all, "jobs");
  g_assert_cmpuint(json_object_array_length(jobs), ==, 1000);
  for (guint i = 0; i < 1000; i++) {
    g_autofree char *id = g_strdup_printf("job%03u", i);
    g_assert_cmpstr(text_at(json_object_array_get_idx(jobs, i), "id"), ==, id);
  }

  g_autoptr(GSocket) list = api_open_get(f, "/v1/jobs?state=all");
  g_autoptr(GSocket) other = api_open_get(f, "/v1/jobs/job007");
  g_autoptr(GString) got = g_string_new(NULL);
  api_read_until(other, got, "job007");
  char byte;
  g_assert_cmpint(g_socket_receive(list, &byte, 1, NULL, NULL), ==, -1);
  g_string_truncate(got, 0);
  api_read_to_end(list, got);
  g_assert_nonnull(strstr(got->str, "job999"));

  /* Who hangs up, or whose jobs are forgotten meanwhile, harms nobody. */
  g_autoptr(GSocket) leaves = api_open_get(f, "/v1/jobs?state=all");
  g_autoptr(GSocket) stays = api_open_get(f, "/v1/jobs?state=all");
  g_autoptr(GSocket) third = api_open_get(f, "/v1/jobs/job007");
  g_string_truncate(got, 0);
  api_read_until(third, got, "job007");
  g_socket_close(leaves, NULL);
  g_ptr_array_set_size(f->scheduler->jobs, 0);
  g_string_truncate(got, 0);
  api_read_to_end(stays, got);
  g_assert_nonnull(strstr(got->str, "job999"));
}

static void
test_end(ApiFixture *f, gconstpointer unused)
{
  MfJob *job = fake_scheduler_add(f->scheduler, "a", 7, MF_JOB_RUNNING);
  g_autoptr(HttpAnswer) first =
      api_expect(f, "DELETE", "/v1/jobs/a?reason=no+time%20left", NULL, 202);
  g_assert_cmpstr(job->cancelled, ==, "no time left");
  g_autoptr(HttpAnswer) second = api_expect(f, "DELETE", "/v1/jobs/a", NULL, 202);
  g_assert_cmpstr(job->cancelled, ==, "cancelled by an administrator");
  api_fixture_set_peer(f, 7, FALSE);
  g_autoptr(HttpAnswer) third = api_expect(f, "DELETE", "/v1/jobs/a", NULL, 202);
  g_assert_cmpstr(job->cancelled, ==, "cancelled by its owner");
  api_refused(f, "DELETE", "/v1/jobs/a?reason=%1b%5b2J", NULL, 400, "printable");
}

static void
test_end_by_word(ApiFixture *f, gconstpointer unused)
{
  MfJob *job = fake_scheduler_add(f->scheduler, "a", 0, MF_JOB_READY);
  api_refused(f, "POST", "/v1/jobs/a/end", "{}", 400, "\"result\" must be");
  api_refused(f, "POST", "/v1/jobs/a/end", "{\"result\":\"cancelled\"}", 400, "must be");
  api_refused(f, "POST", "/v1/jobs/a/end", "{\"result\":\"failed\",\"exit_code\":256}", 400,
              "\"exit_code\"");
  g_assert_cmpint(job->ended, ==, MF_RESULT_NONE);
  g_autoptr(MfJson) ended =
      post(f, "/v1/jobs/a/end", "{\"result\":\"failed\",\"exit_code\":42}", 202);
  g_assert_cmpint(job->ended, ==, MF_RESULT_FAILED);
  g_assert_cmpint(job->end_code, ==, 42);
  api_refused(f, "POST", "/v1/jobs/a/end", "{\"result\":\"succeeded\"}", 409, "over");
}

/* Whoever lost the answer asks again, and gets what was made the first time. */
static void
test_keys(ApiFixture *f, gconstpointer unused)
{
  static const char body[] = "{\"key\":\"k1\",\"name\":\"mine\"}";
  api_fixture_set_peer(f, 7, FALSE);
  g_autoptr(MfJson) first = post(f, "/v1/jobs", body, 201);
  g_autoptr(MfJson) again = post(f, "/v1/jobs", body, 200);
  g_assert_cmpstr(text_at(first, "id"), ==, text_at(again, "id"));
  g_autoptr(MfJson) unnamed = post(f, "/v1/jobs", "{}", 201);
  g_autoptr(MfJson) named = get(f, "/v1/jobs?name=mine");
  g_assert_cmpuint(json_object_array_length(json_object_object_get(named, "jobs")), ==, 1);
  g_autofree char *execs = g_strconcat("/v1/jobs/", text_at(first, "id"), "/execs", NULL);
  g_autoptr(MfJson) exec = post(f, execs, "{\"key\":\"e\",\"argv\":[\"x\"]}", 201);
  g_autoptr(MfJson) same = post(f, execs, "{\"key\":\"e\",\"argv\":[\"x\"]}", 200);
  g_autoptr(MfJson) other = post(f, execs, "{\"key\":\"f\",\"argv\":[\"x\"]}", 201);
  g_assert_cmpuint(number_at(same, "number"), ==, 1);
  g_assert_cmpuint(number_at(other, "number"), ==, 2);
  api_refused(f, "POST", "/v1/jobs", "{\"key\":\"a b\"}", 400, "\"key\" must be");
  api_fixture_set_peer(f, 8, FALSE);
  g_autoptr(MfJson) stranger = post(f, "/v1/jobs", body, 201);
  g_assert_cmpstr(text_at(stranger, "id"), !=, text_at(first, "id"));
}

static void
metrics_have(ApiFixture *f, const char *const *lines, gsize count)
{
  g_autoptr(HttpAnswer) answer = api_expect(f, "GET", "/metrics", NULL, 200);
  for (gsize i = 0; i < count; i++)
    if (strstr(http_answer_text(answer), lines[i]) == NULL)
      g_error("No %s in %s", lines[i], http_answer_text(answer));
}

static void
test_pools(ApiFixture *f, gconstpointer unused)
{
  g_autoptr(MfJson) answer = get(f, "/v1/pools");
  described("Pool", answer, "pools");
  static const char *const lines[] = {
      "mayfly_pool_machines{template=\"tiny\",state=\"wanted\"} 2\n",
      "mayfly_pool_problem{template=\"tiny\"} 1\n",
      "mayfly_pool_failures{template=\"tiny\"} 3\n",
      "mayfly_pool_retry_timestamp_seconds{template=\"tiny\"} 1500.5\n",
  };
  metrics_have(f, lines, G_N_ELEMENTS(lines));
}

static void
put_template(ApiFixture *f, const char *name, const char *text)
{
  g_autofree char *path = g_build_filename(f->directory, "templates", name, NULL);
  g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void
test_memory_images(ApiFixture *f, gconstpointer unused)
{
  put_template(f, "boots.conf", "[template]\nimage=tiny\n");
  put_template(f, "forks.conf", "[template]\nimage=tiny\nfork=yes\n");
  /* One with a mistake hides no other. */
  put_template(f, "wrong.conf", "[template]\nnonsense=1\n");
  g_autoptr(MfJson) answer = get(f, "/v1/templates/forks");
  described("Template", answer, NULL);
  static const char *const lines[] = {
      "# TYPE mayfly_memory_image_state gauge\nmayfly_memory_image_state{template=\"forks\","
      "state=\"ready\"} 1\n",
      "mayfly_memory_image_state{template=\"forks\",state=\"making\"} 0\n",
      "mayfly_memory_image_bytes{template=\"forks\"} 4096\n",
      "mayfly_memory_image_problem{template=\"forks\"} 0\n",
      "mayfly_memory_image_failures{template=\"forks\"} 2\n",
      "mayfly_memory_image_retry_timestamp_seconds{template=\"forks\"} 0\n",
  };
  metrics_have(f, lines, G_N_ELEMENTS(lines));
}

static void
test_lease_and_stats(ApiFixture *f, gconstpointer unused)
{
  MfJob *job = fake_scheduler_add(f->scheduler, "a", 0, MF_JOB_RUNNING);
  g_autoptr(MfJson) renewed = post(f, "/v1/jobs/a/lease", "{\"seconds\":90}", 200);
  g_assert_cmpuint(job->renewed, ==, 90);
  api_refused(f, "POST", "/v1/jobs/a/lease", "{}", 400, "\"seconds\" is missing");
  api_refused(f, "POST", "/v1/jobs/a/lease", "{\"seconds\":0}", 400, "\"seconds\"");
  g_autoptr(MfJson) stats = get(f, "/v1/jobs/a/stats");
  g_assert_cmpuint(number_at(stats, "resident"), ==, 4096);
  described("Stats", stats, NULL);
  job->state = MF_JOB_FINISHED;
  api_refused(f, "GET", "/v1/jobs/a/stats", NULL, 409, "is finished");
  api_refused(f, "POST", "/v1/jobs/a/lease", "{\"seconds\":90}", 409, "is over");
}

/* The machine of @id in the list, or NULL. */
static MfJson *
machine_of(MfJson *answer, const char *id)
{
  MfJson *list = json_object_object_get(answer, "machines");
  for (gsize i = 0; i < json_object_array_length(list); i++)
    if (g_strcmp0(text_at(json_object_array_get_idx(list, i), "id"), id) == 0)
      return json_object_array_get_idx(list, i);
  return NULL;
}

static void
test_machines(ApiFixture *f, gconstpointer unused)
{
  fake_scheduler_add(f->scheduler, "a", 1000, MF_JOB_RUNNING);
  fake_scheduler_add(f->scheduler, "b", 1001, MF_JOB_STARTING);
  g_autoptr(MfJson) all = get(f, "/v1/machines");
  described("Machines", all, NULL);
  g_assert_cmpfloat(json_object_get_double(json_object_object_get(all, "time")), ==, 1.5);
  MfJson *stats = json_object_object_get(machine_of(all, "p-a"), "stats");
  g_assert_cmpuint(number_at(stats, "cpu_time_ns"), ==, 7);
  g_assert_null(json_object_object_get(stats, "disk_written_bytes"));
  g_assert_null(json_object_object_get(machine_of(all, "p-b"), "stats"));
  g_assert_nonnull(machine_of(all, "p-waits"));
  api_fixture_set_peer(f, 1000, FALSE);
  g_autoptr(MfJson) own = get(f, "/v1/machines");
  g_assert_nonnull(machine_of(own, "p-a"));
  g_assert_null(machine_of(own, "p-b"));
  g_assert_null(machine_of(own, "p-waits"));
  f->scheduler->hypervisor->is_down = TRUE;
  g_autoptr(MfJson) without = get(f, "/v1/machines");
  described("Machines", without, NULL);
  g_assert_null(json_object_object_get(machine_of(without, "p-a"), "stats"));
}

static void
test_execs(ApiFixture *f, gconstpointer unused)
{
  MfJob *job = fake_scheduler_add(f->scheduler, "a", 0, MF_JOB_RUNNING);
  g_autoptr(HttpAnswer) made = api_expect(f, "POST", "/v1/jobs/a/execs", "{\"argv\":[\"x\"]}", 201);
  g_assert_nonnull(strstr(made->head, "Location: /v1/jobs/a/execs/1\r\n"));
  MfExec *exec = mf_job_get_exec(job, 1);
  g_autoptr(MfJson) json = get(f, "/v1/jobs/a/execs/1");
  g_assert_cmpuint(number_at(json, "number"), ==, 1);
  g_autoptr(MfJson) named = post(f, "/v1/jobs/a/execs/1/signal", "{\"signal\":\"SIGTERM\"}", 200);
  g_assert_cmpint(exec->signum, ==, SIGTERM);
  g_autoptr(MfJson) numbered = post(f, "/v1/jobs/a/execs/1/signal", "{\"signal\":34}", 200);
  g_assert_cmpint(exec->signum, ==, 34);
  g_autoptr(MfJson) size = post(f, "/v1/jobs/a/execs/1/resize", "{\"rows\":5,\"cols\":6}", 200);
  g_assert_cmpuint(exec->rows * 10 + exec->cols, ==, 56);
  g_autoptr(MfJson) input = post(f, "/v1/jobs/a/execs/1/stdin?offset=0", "abc", 200);
  g_assert_cmpuint(number_at(input, "offset"), ==, 3);
  g_autoptr(MfJson) more = post(f, "/v1/jobs/a/execs/1/stdin?offset=1&eof=1", "bcde", 200);
  g_assert_cmpmem(exec->input->data, exec->input->len, "abcde", 5);
  g_assert_true(exec->input_closed);
  api_refused(f, "POST", "/v1/jobs/a/execs/1/stdin?offset=9", "x", 400, "gap");
  api_refused(f, "POST", "/v1/jobs/a/execs/1/stdin?eof=yes", "x", 400, "one of: 0 1");
  api_refused(f, "POST", "/v1/jobs/a/execs/1/signal", "{\"signal\":\"NOPE\"}", 400, "NOPE");
  api_refused(f, "POST", "/v1/jobs/a/execs/1/signal", "{\"signal\":65}", 400, "from 1 to 64");
  api_refused(f, "POST", "/v1/jobs/a/execs/1/signal", "{}", 400, "missing");
  api_refused(f, "POST", "/v1/jobs/a/execs/1/resize", "{\"rows\":5}", 400, "both");
  api_refused(f, "GET", "/v1/jobs/a/execs/2", NULL, 404, "it has 1");
  api_refused(f, "GET", "/v1/jobs/a/execs/-1", NULL, 404, "no exec");
  api_refused(f, "POST", "/v1/jobs/a/execs", "{\"argv\":[]}", 400, "\"argv\"");
  job->state = MF_JOB_FINISHED;
  api_refused(f, "POST", "/v1/jobs/a/execs", "{\"argv\":[\"x\"]}", 409, "finished");
}

/* Every route that names a job, for somebody else's: as if there were none. */
static void
test_ownership(ApiFixture *f, gconstpointer unused)
{
  MfJob *job = fake_scheduler_add(f->scheduler, "secret", 1001, MF_JOB_RUNNING);
  fake_job_add_exec(f->scheduler, job);
  api_fixture_set_peer(f, 1000, FALSE);
  gsize n = 0;
  const MfApiRoute *routes = mf_api_routes(&n);
  for (gsize i = 0; i < n; i++) {
    if (strstr(routes[i].pattern, "{id}") == NULL)
      continue;
    g_autoptr(GString) theirs = g_string_new(routes[i].pattern),
                       none = g_string_new(routes[i].pattern);
    g_string_replace(theirs, "{id}", "secret", 1);
    g_string_replace(theirs, "{n}", "1", 1);
    g_string_replace(none, "{id}", "nobody", 1);
    g_string_replace(none, "{n}", "1", 1);
    g_autoptr(HttpAnswer) seen = api_expect(f, routes[i].method, theirs->str, "{}", 404);
    g_autoptr(HttpAnswer) absent = api_expect(f, routes[i].method, none->str, "{}", 404);
    g_autoptr(GString) same = g_string_new(http_answer_text(absent));
    g_string_replace(same, "nobody", "secret", 0);
    g_assert_cmpstr(http_answer_text(seen), ==, same->str);
  }
  g_autoptr(HttpAnswer) prefix = api_expect(f, "GET", "/v1/jobs/se", NULL, 404);
  g_autoptr(MfJson) list = get(f, "/v1/jobs?state=all");
  g_assert_cmpuint(json_object_array_length(json_object_object_get(list, "jobs")), ==, 0);
  g_assert_null(job->cancelled);
  api_fixture_set_peer(f, 1000, TRUE);
  g_autoptr(HttpAnswer) admin = api_expect(f, "GET", "/v1/jobs/secret", NULL, 200);
}

static void
test_admin_only(ApiFixture *f, gconstpointer unused)
{
  api_fixture_set_peer(f, 1000, FALSE);
  api_refused(f, "POST", "/v1/drain", "{\"drain\":true}", 403, "mayfly-admin");
  api_refused(f, "DELETE", "/v1/images/tiny", NULL, 403, "Only root");
  api_fixture_set_peer(f, 0, TRUE);
  g_autoptr(MfJson) on = post(f, "/v1/drain", "{\"drain\":true}", 200);
  g_assert_true(json_object_get_boolean(json_object_object_get(on, "draining")));
  g_autoptr(HttpAnswer) refused = api_expect(f, "POST", "/v1/jobs", "{}", 429);
  g_assert_nonnull(strstr(refused->head, "Retry-After: 5\r\n"));
  api_refused(f, "POST", "/v1/drain", "{}", 400, "\"drain\" is missing");
  api_refused(f, "POST", "/v1/drain", "{\"drain\":1}", 400, "true or false");
}

/* Without the hook, the kernel is asked: the test's own uid. */
static void
test_kernel_peer(ApiFixture *f, gconstpointer unused)
{
  f->api->peer_hook = NULL;
  g_autoptr(MfJson) first = post(f, "/v1/jobs", "{}", 201);
  g_autoptr(MfJson) second = post(f, "/v1/jobs", "{}", 201);
  g_assert_cmpuint(number_at(first, "owner"), ==, getuid());
  g_assert_cmpuint(number_at(second, "owner"), ==, getuid());
}

static MfImage *
put_image(ApiFixture *f, const char *name)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *images = g_build_filename(f->directory, "images", NULL);
  g_autoptr(MfImageStage) stage = mf_image_stage_new(images, &error);
  g_assert_no_error(error);
  g_autofree char *disk = g_build_filename(mf_image_stage_directory(stage), "disk.qcow2", NULL);
  g_assert_true(g_file_set_contents(disk, "disk", -1, NULL));
  g_autoptr(MfImageMeta) meta = mf_image_meta_new();
  meta->name = g_strdup(name);
  meta->virtual_size = 1 << 20;
  meta->os = g_strdup("Test 1");
  meta->init = g_strdup("systemd");
  meta->root_device = g_strdup("/dev/sda1");
  meta->root_fstype = g_strdup("ext4");
  MfImage *image = mf_image_stage_publish(stage, meta, NULL, NULL, NULL, &error);
  g_assert_no_error(error);
  return image;
}

static void
test_templates(ApiFixture *f, gconstpointer unused)
{
  put_template(f, "one.conf", "[template]\nimage=tiny\n");
  put_template(f, "two.conf", "[template]\nimage=absent\n");
  g_autoptr(MfImage) image = put_image(f, "tiny");
  g_autoptr(MfJson) list = get(f, "/v1/templates");
  g_assert_cmpuint(json_object_array_length(json_object_object_get(list, "templates")), ==, 2);
  g_autoptr(MfJson) one = get(f, "/v1/templates/one"), two = get(f, "/v1/templates/two");
  g_assert_true(json_object_get_boolean(json_object_object_get(one, "image_available")));
  g_assert_false(json_object_get_boolean(json_object_object_get(two, "image_available")));
  g_assert_cmpuint(number_at(one, "memory"), >, 0);
  described("Template", one, NULL);
  described("Template", list, "templates");
  g_assert_cmpuint(json_object_array_length(json_object_object_get(list, "errors")), ==, 0);
  api_refused(f, "GET", "/v1/templates/three", NULL, 404, "one");
  api_refused(f, "GET", "/v1/templates/..%2Fone", NULL, 400, "");
  put_template(f, "bad.conf", "[template]\nimag=tiny\n");
  put_template(f, "worse.conf", "image=tiny\n");
  g_autoptr(MfJson) rest = get(f, "/v1/templates");
  g_assert_cmpuint(json_object_array_length(json_object_object_get(rest, "templates")), ==, 2);
  MfJson *errors = json_object_object_get(rest, "errors"),
         *bad = json_object_array_get_idx(errors, 0);
  g_assert_cmpuint(json_object_array_length(errors), ==, 2);
  g_assert_true(g_str_has_suffix(text_at(bad, "file"), "/templates/bad.conf"));
  g_assert_nonnull(strstr(text_at(bad, "error"), "\"imag\""));
  described("TemplateError", rest, "errors");
}

static void
test_images(ApiFixture *f, gconstpointer unused)
{
  g_autoptr(MfImage) image = put_image(f, "tiny");
  g_autofree char *reference = mf_image_reference(image);
  g_autofree char *path = g_strconcat("/v1/images/", reference, NULL);
  g_autofree char *verify = g_strconcat(path, "/verify", NULL);
  g_autoptr(MfJson) list = get(f, "/v1/images"), one = get(f, path);
  g_assert_cmpuint(json_object_array_length(json_object_object_get(list, "images")), ==, 1);
  g_assert_cmpstr(text_at(one, "ref"), ==, reference);
  g_assert_null(json_object_object_get(one, "kernel"));
  described("Image", one, NULL);
  described("Image", list, "images");
  g_autoptr(MfJson) verified = post(f, verify, NULL, 200);
  g_assert_cmpstr(text_at(verified, "ref"), ==, reference);
  g_assert_false(f->api->verifying);
  f->api->verifying = TRUE;
  api_refused(f, "POST", verify, NULL, 429, "being verified");
  f->api->verifying = FALSE;
  api_refused(f, "GET", "/v1/images/absent", NULL, 404, "absent");
  g_autoptr(HttpAnswer) absent = api_expect(f, "GET", "/v1/images/absent", NULL, 404);
  g_autoptr(MfJson) problem = http_answer_json(absent);
  described("Problem", problem, NULL);
  f->scheduler->used_image = g_strdup(image->digest);
  api_refused(f, "DELETE", path, NULL, 409, "in use by a job");
  g_clear_pointer(&f->scheduler->used_image, g_free);
  put_template(f, "one.conf", "[template]\nimage=tiny\n");
  api_refused(f, "DELETE", path, NULL, 409, "template \"one\"");
  put_template(f, "one.conf", "[template]\nimage=other\n");
  g_autoptr(HttpAnswer) removed = api_expect(f, "DELETE", path, NULL, 200);
  api_refused(f, "GET", path, NULL, 404, "tiny");
}

static void
test_info_hides_others(ApiFixture *f, gconstpointer unused)
{
  fake_scheduler_add(f->scheduler, "mine", 1000, MF_JOB_RUNNING);
  fake_scheduler_add(f->scheduler, "theirs", 1001, MF_JOB_RUNNING);
  api_fixture_set_peer(f, 1000, FALSE);
  g_autoptr(HttpAnswer) mine = api_expect(f, "GET", "/v1/info", NULL, 200);
  g_autoptr(MfJson) info = http_answer_json(mine);
  described("Info", info, NULL);
  g_assert_nonnull(strstr(http_answer_text(mine), "\"mine\""));
  g_assert_null(strstr(http_answer_text(mine), "\"theirs\""));
  api_fixture_set_peer(f, 0, TRUE);
  g_autoptr(HttpAnswer) all = api_expect(f, "GET", "/v1/info", NULL, 200);
  g_assert_nonnull(strstr(http_answer_text(all), "\"theirs\""));
}

static void
test_metrics(ApiFixture *f, gconstpointer unused)
{
  MfJob *job = fake_scheduler_add(f->scheduler, "a", 0, MF_JOB_RUNNING);
  fake_job_set_state(f->scheduler, job, MF_JOB_FINISHED, MF_RESULT_FAILED);
  g_autoptr(HttpAnswer) missed = api_expect(f, "GET", "/nowhere", NULL, 404);
  static const char *const lines[] = {
      "mayfly_info{version=\"" MF_VERSION "\"} 1\n",
      "mayfly_machines 2\n",
      "mayfly_kvm 0\n",
      "mayfly_jobs{state=\"finished\"} 1\n",
      "mayfly_jobs_finished_total{result=\"failed\"} 1\n",
      "mayfly_job_phase_seconds_bucket{phase=\"queue\",le=\"0.025\"} 0\n",
      "mayfly_job_phase_seconds_bucket{phase=\"queue\",le=\"0.05\"} 1\n",
      "mayfly_job_phase_seconds_bucket{phase=\"queue\",le=\"+Inf\"} 1\n",
      "mayfly_job_phase_seconds_sum{phase=\"queue\"} 0.03\n",
      "mayfly_ports{state=\"lent\"} 2\n",
      "mayfly_api_connections 1\n",
      "mayfly_api_requests_total{status=\"4xx\"} 1\n",
  };
  metrics_have(f, lines, G_N_ELEMENTS(lines));
}

static void
check_references(MfJson *json, MfJson *document)
{
  if (json_object_is_type(json, json_type_array))
    for (gsize i = 0; i < json_object_array_length(json); i++)
      check_references(json_object_array_get_idx(json, i), document);
  if (!json_object_is_type(json, json_type_object))
    return;
  json_object_object_foreach(json, key, value)
  {
    MfJson *found = NULL;
    if (strcmp(key, "$ref") != 0)
      check_references(value, document);
    else if (json_pointer_get(document, json_object_get_string(value) + 1, &found) != 0)
      g_error("%s leads nowhere", json_object_get_string(value));
  }
}

static char *
query_names(MfJson *operation)
{
  g_autoptr(GString) names = g_string_new(NULL);
  MfJson *list = json_object_object_get(operation, "parameters");
  gsize n = list != NULL ? json_object_array_length(list) : 0;
  for (gsize i = 0; i < n; i++) {
    MfJson *parameter = json_object_array_get_idx(list, i);
    if (g_strcmp0(text_at(parameter, "in"), "query") == 0)
      g_string_append_printf(names, "%s%s", names->len > 0 ? " " : "", text_at(parameter, "name"));
  }
  return g_string_free(g_steal_pointer(&names), FALSE);
}

/* The description and the table of routes say the same. */
static void
test_openapi(ApiFixture *f, gconstpointer unused)
{
  g_autoptr(MfJson) document = get(f, "/v1/openapi.json");
  MfJson *paths = json_object_object_get(document, "paths");
  gsize n = 0, described = 0;
  const MfApiRoute *routes = mf_api_routes(&n);
  json_object_object_foreach(paths, path, operations)
  {
    (void)path;
    described += (gsize)json_object_object_length(operations);
  }
  g_assert_cmpuint(described, ==, n);
  for (gsize i = 0; i < n; i++) {
    g_autofree char *method = g_ascii_strdown(routes[i].method, -1);
    MfJson *operation =
        json_object_object_get(json_object_object_get(paths, routes[i].pattern), method);
    if (operation == NULL)
      g_error("%s %s is not described", routes[i].method, routes[i].pattern);
    g_autofree char *names = query_names(operation);
    g_assert_cmpstr(names, ==, routes[i].query);
  }
  check_references(document, document);
}

#define add(name, function)                                                                        \
  g_test_add("/api/" name, ApiFixture, NULL, api_fixture_set_up, function, api_fixture_tear_down)

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  add("post-and-look", test_post_and_look);
  add("long-list", test_long_list);
  add("end", test_end);
  add("end-by-word", test_end_by_word);
  add("keys", test_keys);
  add("pools", test_pools);
  add("memory-images", test_memory_images);
  add("lease-and-stats", test_lease_and_stats);
  add("machines", test_machines);
  add("execs", test_execs);
  add("ownership", test_ownership);
  add("admin-only", test_admin_only);
  add("kernel-peer", test_kernel_peer);
  add("templates", test_templates);
  add("images", test_images);
  add("info-hides-others", test_info_hides_others);
  add("metrics", test_metrics);
  add("openapi", test_openapi);
  return g_test_run();
}
