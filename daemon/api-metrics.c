/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers for Prometheus: what is, from the scheduler's own account; what was, counted here since
 * the start. */
#include "daemon/api-private.h"

#include <string.h>

#include "daemon/json.h"
#include "daemon/memory-plan.h"
#include "daemon/template.h"

static const double bounds[] = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300};
static const char *const phases[] = {"queue", "prepare", "clone", "wait",         "inject",  "port",
                                     "start", "hello",   "boot",  "first_output", "teardown"};

typedef struct {
  guint64 buckets[G_N_ELEMENTS(bounds)]; /* not cumulative */
  guint64 count;
  double sum;
} Histogram;

struct MfApiMetrics {
  MfScheduler *scheduler; /* not counted: the API holds it */
  guint64 results[MF_RESULT_LAST_];
  Histogram timings[G_N_ELEMENTS(phases)];
  guint64 answers[6]; /* by the status's first digit; 0: none was given */
};

static void
observe(Histogram *self, double value)
{
  for (gsize i = 0; i < G_N_ELEMENTS(bounds); i++) {
    if (value <= bounds[i]) {
      self->buckets[i]++;
      break;
    }
  }
  self->count++;
  self->sum += value;
}

static void
take_finished(MfApiMetrics *self, MfJob *job)
{
  g_autoptr(MfJson) json = mf_job_to_json(job);
  MfJson *timings = json_object_object_get(json, "timings");
  self->results[mf_job_get_result(job)]++;
  for (gsize i = 0; i < G_N_ELEMENTS(phases); i++) {
    MfJson *value = json_object_object_get(timings, phases[i]);
    if (value != NULL)
      observe(&self->timings[i], json_object_get_double(value));
  }
}

/* The event that takes a job to its final state comes once. */
static void
on_event(MfScheduler *scheduler, MfJson *event, gpointer data)
{
  const char *type = json_object_get_string(json_object_object_get(event, "type"));
  const char *id = json_object_get_string(json_object_object_get(event, "job"));
  if (g_strcmp0(type, "job.state") != 0 || id == NULL)
    return;
  g_autoptr(GError) error = NULL;
  MfJob *job = mf_scheduler_find(scheduler, id, &error);
  if (job != NULL && mf_job_get_state(job) == MF_JOB_FINISHED)
    take_finished(data, job);
}

MfApiMetrics *
mf_api_metrics_new(MfScheduler *scheduler)
{
  MfApiMetrics *self = g_new0(MfApiMetrics, 1);
  self->scheduler = scheduler;
  g_signal_connect(scheduler, "event", G_CALLBACK(on_event), self);
  return self;
}

void
mf_api_metrics_free(MfApiMetrics *self)
{
  g_signal_handlers_disconnect_by_data(self->scheduler, self);
  g_free(self);
}

void
mf_api_metrics_count_request(MfApiMetrics *self, guint status)
{
  self->answers[status / 100 < G_N_ELEMENTS(self->answers) ? status / 100 : 0]++;
}

static void
head(GString *out, const char *name, const char *type, const char *help)
{
  g_string_append_printf(out, "# HELP mayfly_%s %s\n# TYPE mayfly_%s %s\n", name, help, name, type);
}

static void
append_number(GString *out, double value)
{
  char text[G_ASCII_DTOSTR_BUF_SIZE];
  g_string_append(out, g_ascii_formatd(text, sizeof(text), "%.15g", value));
  g_string_append_c(out, '\n');
}

/* The number, or truth as 1, at @path of @info, keys separated by dots; nothing if it is not there.
 */
static void
gauge(GString *out, MfJson *info, const char *path, const char *name, const char *help)
{
  g_auto(GStrv) keys = g_strsplit(path, ".", -1);
  MfJson *value = info;
  for (char **key = keys; *key != NULL; key++)
    value = json_object_object_get(value, *key);
  if (value == NULL)
    return;
  head(out, name, "gauge", help);
  g_string_append_printf(out, "mayfly_%s ", name);
  append_number(out, json_object_get_double(value));
}

static const struct {
  const char *path, *name, *help;
} gauges[] = {
    {"accel.kvm", "kvm", "1 if machines run under KVM."},
    {"libvirt.up", "libvirt_up", "1 if libvirtd answers."},
    {"network.ok", "network_ok", "1 if the network, its ports and filters are as they should be."},
    {"draining", "draining", "1 if no new jobs are taken."},
    {"limits.machines", "machines_limit", "Machines that may exist at once."},
    {"limits.memory", "memory_limit_bytes", "Memory that machines may be guaranteed together."},
    {"limits.cpus", "cpus_limit", "Virtual CPUs that machines may have together."},
    {"limits.queue", "queue_limit", "Jobs that may wait."},
    {"used.machines", "machines", "Machines that exist."},
    {"used.memory", "memory_bytes", "Memory that machines are guaranteed."},
    {"used.cpus", "cpus", "Virtual CPUs that machines have."},
    {"used.disk_free", "disk_free_bytes", "Free space where overlays and records are."},
    {"memory.available", "host_memory_available_bytes",
     "The host's memory that can be had without swapping."},
    {"memory.reserve", "host_memory_reserve_bytes",
     "What should be available; with less, machines give back."},
    {"memory.taken", "memory_taken_bytes", "Memory that jobs' machines have given back for now."},
    {"images", "images", "Image versions."},
    {"templates", "templates", "Templates."},
};

static void
write_jobs(MfApiMetrics *self, GString *out)
{
  g_autoptr(GPtrArray) jobs = mf_scheduler_list(self->scheduler);
  guint states[MF_JOB_STATE_LAST_] = {0};
  for (guint i = 0; i < jobs->len; i++)
    states[mf_job_get_state(jobs->pdata[i])]++;
  head(out, "jobs", "gauge", "Jobs by state; finished ones as long as their record is kept.");
  for (guint i = 0; i < MF_JOB_STATE_LAST_; i++)
    g_string_append_printf(out, "mayfly_jobs{state=\"%s\"} %u\n",
                           mf_job_state_to_string((MfJobState)i), states[i]);
  head(out, "jobs_finished_total", "counter", "Jobs finished since the daemon started, by result.");
  for (guint i = MF_RESULT_NONE + 1; i < MF_RESULT_LAST_; i++)
    g_string_append_printf(out, "mayfly_jobs_finished_total{result=\"%s\"} %" G_GUINT64_FORMAT "\n",
                           mf_result_to_string((MfResult)i), self->results[i]);
}

static void
write_memory(MfJson *info, GString *out)
{
  const char *now = json_object_get_string(
      json_object_object_get(json_object_object_get(info, "memory"), "level"));
  if (now == NULL)
    return;
  head(out, "host_memory_level", "gauge", "1 for the level that the host's memory is at.");
  for (guint i = 0; i < MF_MEMORY_LEVEL_LAST_; i++) {
    const char *level = mf_memory_level_to_string((MfMemoryLevel)i);
    g_string_append_printf(out, "mayfly_host_memory_level{level=\"%s\"} %d\n", level,
                           strcmp(level, now) == 0);
  }
}

static void
write_timings(MfApiMetrics *self, GString *out)
{
  head(out, "job_phase_seconds", "histogram", "How long the phases of finished jobs took.");
  for (gsize p = 0; p < G_N_ELEMENTS(phases); p++) {
    const Histogram *h = &self->timings[p];
    guint64 sum = 0;
    for (gsize i = 0; i < G_N_ELEMENTS(bounds); i++) {
      char bound[G_ASCII_DTOSTR_BUF_SIZE];
      sum += h->buckets[i];
      g_string_append_printf(
          out, "mayfly_job_phase_seconds_bucket{phase=\"%s\",le=\"%s\"} %" G_GUINT64_FORMAT "\n",
          phases[p], g_ascii_formatd(bound, sizeof(bound), "%g", bounds[i]), sum);
    }
    g_string_append_printf(
        out, "mayfly_job_phase_seconds_bucket{phase=\"%s\",le=\"+Inf\"} %" G_GUINT64_FORMAT "\n",
        phases[p], h->count);
    g_string_append_printf(out,
                           "mayfly_job_phase_seconds_count{phase=\"%s\"} %" G_GUINT64_FORMAT "\n",
                           phases[p], h->count);
    g_string_append_printf(out, "mayfly_job_phase_seconds_sum{phase=\"%s\"} ", phases[p]);
    append_number(out, h->sum);
  }
}

static void
write_ports(GString *out, MfJson *info)
{
  MfJson *ports = json_object_object_get(json_object_object_get(info, "network"), "ports");
  if (!json_object_is_type(ports, json_type_array))
    return;
  g_autoptr(GHashTable) states = g_hash_table_new(g_str_hash, g_str_equal);
  for (gsize i = 0; i < json_object_array_length(ports); i++) {
    MfJson *state = json_object_object_get(json_object_array_get_idx(ports, i), "state");
    const char *name = state != NULL ? json_object_get_string(state) : "unknown";
    guint n = GPOINTER_TO_UINT(g_hash_table_lookup(states, name));
    g_hash_table_replace(states, (gpointer)name, GUINT_TO_POINTER(n + 1));
  }
  head(out, "ports", "gauge", "Network ports by state.");
  GHashTableIter iter;
  gpointer name, n;
  for (g_hash_table_iter_init(&iter, states); g_hash_table_iter_next(&iter, &name, &n);)
    g_string_append_printf(out, "mayfly_ports{state=\"%s\"} %u\n", (const char *)name,
                           GPOINTER_TO_UINT(n));
}

static const char *
template_of(MfJson *item)
{
  return json_object_get_string(json_object_object_get(item, "template"));
}

/* What each of @list has at @key: a number, 1 for a text, 0 for nothing. */
static void
by_template(GString *out, MfJson *list, const char *key, const char *name, const char *help)
{
  head(out, name, "gauge", help);
  for (gsize i = 0; i < json_object_array_length(list); i++) {
    MfJson *item = json_object_array_get_idx(list, i);
    MfJson *value = json_object_object_get(item, key);
    g_string_append_printf(out, "mayfly_%s{template=\"%s\"} ", name, template_of(item));
    append_number(out,
                  json_object_is_type(value, json_type_string) ? 1 : json_object_get_double(value));
  }
}

static void
write_pools(GString *out, MfScheduler *scheduler)
{
  g_autoptr(MfJson) pools = mf_scheduler_pools(scheduler);
  static const char *const states[] = {"wanted", "ready", "starting"};
  head(out, "pool_machines", "gauge", "Machines that are started ahead, by template.");
  for (gsize i = 0; i < json_object_array_length(pools); i++) {
    MfJson *pool = json_object_array_get_idx(pools, i);
    for (gsize k = 0; k < G_N_ELEMENTS(states); k++)
      g_string_append_printf(
          out, "mayfly_pool_machines{template=\"%s\",state=\"%s\"} %" G_GUINT64_FORMAT "\n",
          template_of(pool), states[k],
          json_object_get_uint64(json_object_object_get(pool, states[k])));
  }
  by_template(out, pools, "problem", "pool_problem",
              "1 while there is a reason that there are not as many as wanted: see mayfly pool "
              "list.");
  by_template(out, pools, "failures", "pool_failures", "Starts that failed, in a row.");
  by_template(out, pools, "retry", "pool_retry_timestamp_seconds",
              "When a start is tried again after a failure; 0: no pause.");
}

/* Those of the templates with fork = yes. (transfer full) */
static MfJson *
memory_images(MfScheduler *scheduler)
{
  MfJson *list = json_object_new_array();
  const MfConfig *config = mf_scheduler_get_config(scheduler);
  g_autoptr(GPtrArray) templates = mf_template_load_good(config->template_directory, NULL, NULL);
  for (guint i = 0; templates != NULL && i < templates->len; i++) {
    const MfTemplate *template = g_ptr_array_index(templates, i);
    MfJson *fork = mf_scheduler_fork(scheduler, template);
    if (fork == NULL)
      continue;
    mf_json_add_string(fork, "template", template->name);
    json_object_array_add(list, fork);
  }
  return list;
}

static void
write_memory_images(GString *out, MfScheduler *scheduler)
{
  static const char *const states[] = {"ready", "making", "none"};
  g_autoptr(MfJson) images = memory_images(scheduler);
  head(out, "memory_image_state", "gauge",
       "1 for the state of the memory image that the template's machines are forked from.");
  for (gsize i = 0; i < json_object_array_length(images); i++) {
    MfJson *image = json_object_array_get_idx(images, i);
    const char *now = json_object_get_string(json_object_object_get(image, "state"));
    for (gsize k = 0; k < G_N_ELEMENTS(states); k++)
      g_string_append_printf(out, "mayfly_memory_image_state{template=\"%s\",state=\"%s\"} %d\n",
                             template_of(image), states[k], g_strcmp0(now, states[k]) == 0);
  }
  by_template(out, images, "size", "memory_image_bytes", "Its size on the host; 0: there is none.");
  by_template(out, images, "problem", "memory_image_problem",
              "1 while there is a reason that there is none, or that the last one was dropped: see "
              "mayfly template inspect.");
  by_template(out, images, "failures", "memory_image_failures",
              "Times in a row that none could be made, or that one was no good.");
  by_template(out, images, "retry", "memory_image_retry_timestamp_seconds",
              "When it is tried again after a failure; 0: no pause.");
}

static void
write_api(MfApi *api, GString *out)
{
  static const char *const classes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
  G_STATIC_ASSERT(G_N_ELEMENTS(classes) == G_N_ELEMENTS(api->metrics->answers));
  head(out, "api_connections", "gauge", "Open connections of the API.");
  g_string_append_printf(out, "mayfly_api_connections %u\n", g_hash_table_size(api->connections));
  head(out, "api_requests_total", "counter", "Requests answered, by class of status.");
  for (gsize i = 0; i < G_N_ELEMENTS(classes); i++)
    g_string_append_printf(out, "mayfly_api_requests_total{status=\"%s\"} %" G_GUINT64_FORMAT "\n",
                           classes[i], api->metrics->answers[i]);
}

void
mf_api_metrics_get(MfApiRequest *request)
{
  MfApiMetrics *self = request->api->metrics;
  g_autoptr(MfJson) info = mf_scheduler_info(self->scheduler);
  GString *out = g_string_new(NULL);
  head(out, "info", "gauge", "The daemon's version.");
  g_string_append(out, "mayfly_info{version=\"" MF_VERSION "\"} 1\n");
  for (gsize i = 0; i < G_N_ELEMENTS(gauges); i++)
    gauge(out, info, gauges[i].path, gauges[i].name, gauges[i].help);
  write_memory(info, out);
  write_jobs(self, out);
  write_timings(self, out);
  write_ports(out, info);
  write_pools(out, self->scheduler);
  write_memory_images(out, self->scheduler);
  write_api(request->api, out);
  mf_api_reply_text(request, "text/plain; version=0.0.4; charset=utf-8", g_string_free(out, FALSE));
}
