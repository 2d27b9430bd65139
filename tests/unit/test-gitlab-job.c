/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "daemon/error.h"
#include "tools/gitlab-job.h"

static MfGitlabJob *
parse(const char *text)
{
  g_autoptr(GError) error = NULL;
  MfGitlabJob *job = mf_gitlab_job_parse(text, strlen(text), &error);
  g_assert_no_error(error);
  return job;
}

static void
test_identity(void)
{
  g_autoptr(MfGitlabJob) job = parse("{\"id\":4711,\"token\":\"one\"}");
  g_autoptr(MfGitlabJob) again = parse(
      "{\"token\":\"one\",\"id\":4711,\"variables\":[{\"key\":\"CI_JOB_ID\",\"value\":\"1\"}]}");
  g_autoptr(MfGitlabJob) other = parse("{\"id\":4711,\"token\":\"two\"}");
  /* The first digits of SHA-256 of "one". */
  g_assert_cmpstr(job->name, ==, "gitlab-4711-7692c3ad3540");
  g_assert_cmpstr(again->name, ==, job->name);
  g_assert_cmpstr(other->name, !=, job->name);
  g_autoptr(MfGitlabJob) largest = parse("{\"id\":9223372036854775807,\"token\":\"one\"}");
  g_assert_cmpstr(largest->name, ==, "gitlab-9223372036854775807-7692c3ad3540");
}

static void
test_no_job(void)
{
  static const char *const texts[] = {
      "",
      "[]",
      "{}",
      "{\"id\":1}",
      "{\"id\":1,\"token\":\"\"}",
      "{\"id\":1,\"token\":null}",
      "{\"id\":1,\"token\":\"a\\u0000b\"}",
      "{\"id\":-1,\"token\":\"a\"}",
      "{\"id\":9223372036854775808,\"token\":\"a\"}",
      "{\"id\":\"1\",\"token\":\"a\"}",
      "{\"id\":1,\"token\":\"a\"",
  };
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
    g_autoptr(GError) error = NULL;
    g_assert_null(mf_gitlab_job_parse(texts[i], strlen(texts[i]), &error));
    g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
  }
  g_autoptr(GError) error = NULL;
  g_assert_null(mf_gitlab_job_load(NULL, &error));
  g_assert_nonnull(strstr(error->message, "mayfly gitlab setup"));
}

static MfGitlabWishes *
wishes_of(const char *members, GError **error)
{
  g_autofree char *text = g_strdup_printf("{\"id\":1,\"token\":\"t\"%s}", members);
  g_autoptr(MfGitlabJob) job = parse(text);
  return mf_gitlab_job_get_wishes(job, error);
}

static MfGitlabWishes *
good_wishes_of(const char *members)
{
  g_autoptr(GError) error = NULL;
  MfGitlabWishes *wishes = wishes_of(members, &error);
  g_assert_no_error(error);
  return wishes;
}

static void
test_nothing_asked_for(void)
{
  g_autoptr(MfGitlabWishes) wishes =
      good_wishes_of(",\"image\":{\"name\":\"\"},\"services\":null,\"artifacts\":null,\"cache\":[],"
                     "\"variables\":[{\"key\":\"MAYFLY_CPUS\",\"value\":\"\"}]");
  g_assert_null(wishes->image);
  g_assert_cmpuint(g_strv_length(wishes->services), ==, 0);
  g_assert_cmpuint(wishes->cpus + wishes->memory + wishes->disk + wishes->keep + wishes->timeout,
                   ==, 0);
  g_assert_false(wishes->needs_runner);
}

static void
test_all_asked_for(void)
{
  g_autoptr(MfGitlabWishes) wishes = good_wishes_of(
      ",\"image\":{\"name\":\"debian:12\"},\"runner_info\":{\"timeout\":3600},"
      "\"services\":[{\"name\":\"postgres:16\",\"alias\":\"db\"},{\"name\":\"a\\u001bb\"}],"
      "\"cache\":[{\"key\":\"k\"}],"
      "\"variables\":[{\"key\":\"MAYFLY_CPUS\",\"value\":\"2\"},"
      "{\"key\":\"MAYFLY_MEMORY\",\"value\":\"4GiB\"},{\"key\":\"MAYFLY_DISK\",\"value\":\"50G\"},"
      "{\"key\":\"MAYFLY_KEEP_ON_FAILURE\",\"value\":\" 30m \"},"
      "{\"key\":\"MAYFLY_RETRYABLE\",\"value\":\"no\"},"
      "{\"key\":\"MAYFLY_CPUS\",\"value\":\"4\"}]");
  g_assert_cmpstr(wishes->image, ==, "debian:12");
  g_assert_cmpstr(wishes->image_shown, ==, "\"debian:12\"");
  g_assert_cmpuint(g_strv_length(wishes->services), ==, 2);
  g_assert_cmpstr(wishes->services[0], ==, "\"postgres:16\"");
  g_assert_cmpstr(wishes->services[1], ==, "\"a^[b\"");
  g_assert_cmpuint(wishes->cpus, ==, 4);
  g_assert_cmpuint(wishes->memory, ==, G_GUINT64_CONSTANT(4) << 30);
  g_assert_cmpuint(wishes->disk, ==, G_GUINT64_CONSTANT(50) << 30);
  g_assert_cmpuint(wishes->keep, ==, 1800);
  g_assert_false(wishes->retryable);
  g_assert_cmpuint(wishes->timeout, ==, 3600);
  g_assert_true(wishes->needs_runner);
}

#define VARIABLES                                                                                  \
  ",\"variables\":[{\"key\":\"OS\",\"value\":\"debian\"},{\"key\":\"VERSION\",\"value\":\"12\"},"  \
  "{\"key\":\"BOTH\",\"value\":\"$OS-${VERSION}\"},"                                               \
  "{\"key\":\"RAW\",\"value\":\"$OS\",\"raw\":true},{\"key\":\"LOOP\",\"value\":\"$LOOP\"},"       \
  "{\"key\":\"SECRET\",\"value\":\"s3cr3t\"},{\"key\":\"NUL\",\"value\":\"a\\u0000b\"},"           \
  "{\"key\":\"EMPTY\",\"value\":\"\"},{\"key\":\"TWICE\",\"value\":\"$MANY$MANY\"},"               \
  "{\"key\":\"MANY\",\"value\":\"$W$W$W$W$W$W$W$W$W$W$W$W$W$W$W$W$W$W$W$W$W$W$W$W$W$W$W$W\"},"     \
  "{\"key\":\"W\",\"value\":\"$V$V$V$V$V$V$V$V$V$V$V$V$V$V$V$V$V$V$V$V$V$V$V$V$V$V$V$V\"},"        \
  "{\"key\":\"V\",\"value\":\"\"}]"

static void
test_variables_in_image(void)
{
  static const char *const pairs[][2] = {
      {"$OS-$VERSION", "debian-12"},
      {"${OS}-${VERSION}", "debian-12"},
      {"$BOTH", "debian-12"},
      {"$RAW", "$OS"},
      {"a$", "a$"},
      {"$$OS", "$OS"},
      {"${OS", "${OS"},
      {"$-${}", "$-${}"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(pairs); i++) {
    g_autofree char *members =
        g_strdup_printf(",\"image\":{\"name\":\"%s\"}" VARIABLES, pairs[i][0]);
    g_autoptr(MfGitlabWishes) wishes = good_wishes_of(members);
    g_assert_cmpstr(wishes->image, ==, pairs[i][1]);
    g_autofree char *shown = g_strdup_printf("\"%s\"", pairs[i][0]);
    g_assert_cmpstr(wishes->image_shown, ==, shown);
  }
}

/* What is said about each mistake, and that it says no value. */
static const struct {
  const char *members;
  const char *said;
} mistakes[] = {
    {",\"image\":{\"name\":\"$NONE\"}" VARIABLES, "\"NONE\""},
    {",\"image\":{\"name\":\"$NUL\"}" VARIABLES, "\"NUL\""},
    {",\"image\":{\"name\":\"$LOOP\"}" VARIABLES, "too many others"},
    {",\"image\":{\"name\":\"$TWICE\"}" VARIABLES, "too many others"},
    {",\"image\":{\"name\":\"$EMPTY\"}" VARIABLES, "is empty"},
    {",\"variables\":[{\"key\":\"MAYFLY_CPUS\",\"value\":\"s3cr3t\"}]", "MAYFLY_CPUS must be"},
    {",\"variables\":[{\"key\":\"MAYFLY_CPUS\",\"value\":\"0\"}]", "MAYFLY_CPUS must be"},
    {",\"variables\":[{\"key\":\"MAYFLY_CPUS\",\"value\":\"-1\"}]", "MAYFLY_CPUS must be"},
    {",\"variables\":[{\"key\":\"MAYFLY_CPUS\"}]", "MAYFLY_CPUS has no text"},
    {",\"variables\":[{\"key\":\"MAYFLY_CPUS\",\"value\":\"1\\u00002\"}]", "has no text"},
    {",\"variables\":[{\"key\":\"MAYFLY_CPUS\",\"value\":\"$GONE\"}]", "\"GONE\""},
    {",\"variables\":[{\"key\":\"MAYFLY_MEMORY\",\"value\":\"s3cr3t\"}]", "MAYFLY_MEMORY must be"},
    {",\"variables\":[{\"key\":\"MAYFLY_MEMORY\",\"value\":\"0\"}]", "MAYFLY_MEMORY must be"},
    {",\"variables\":[{\"key\":\"MAYFLY_DISK\",\"value\":\"9999999TiB\"}]", "MAYFLY_DISK must be"},
    {",\"variables\":[{\"key\":\"MAYFLY_KEEP_ON_FAILURE\",\"value\":\"s3cr3t\"}]",
     "MAYFLY_KEEP_ON_FAILURE must be"},
    {",\"variables\":[{\"key\":\"MAYFLY_RETRYABLE\",\"value\":\"maybe\"}]",
     "MAYFLY_RETRYABLE must be"},
};

static void
test_mistakes(void)
{
  for (guint i = 0; i < G_N_ELEMENTS(mistakes); i++) {
    g_autoptr(GError) error = NULL;
    g_assert_null(wishes_of(mistakes[i].members, &error));
    g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
    if (strstr(error->message, mistakes[i].said) == NULL)
      g_error("“%s” does not say “%s”", error->message, mistakes[i].said);
    g_assert_null(strstr(error->message, "s3cr3t"));
  }
}

static void
test_long_image(void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *name = g_strnfill(MF_GITLAB_IMAGE_LIMIT + 1, 'a');
  g_autofree char *members = g_strdup_printf(",\"image\":{\"name\":\"%s\"}", name);
  g_assert_null(wishes_of(members, &error));
  g_assert_nonnull(strstr(error->message, "too long"));
  g_assert_cmpuint(strlen(error->message), <, 200);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/gitlab-job/identity", test_identity);
  g_test_add_func("/gitlab-job/no-job", test_no_job);
  g_test_add_func("/gitlab-job/nothing", test_nothing_asked_for);
  g_test_add_func("/gitlab-job/all", test_all_asked_for);
  g_test_add_func("/gitlab-job/variables", test_variables_in_image);
  g_test_add_func("/gitlab-job/mistakes", test_mistakes);
  g_test_add_func("/gitlab-job/long-image", test_long_image);
  return g_test_run();
}
