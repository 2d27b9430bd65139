/* SPDX-License-Identifier: Apache-2.0 */
/* Report: the lines about a machine in the job's log. */
#include "tools/gitlab-report.h"

#include <string.h>

#include "daemon/text.h"
#include "daemon/units.h"
#include "tools/document.h"

#define SILENCE_US (30 * G_USEC_PER_SEC)
#define BOLD       "\033[1m"
#define YELLOW     "\033[33;1m"
#define PLAIN      "\033[0m"

static const struct {
  const char *name; /* as in "timings" */
  const char *done;
  const char *by; /* it grows until this one is there */
} phases[] = {
    {"prepare", "image prepared for its first machine", "prepare"},
    {"clone", "disk made", "clone"},
    {"inject", "disk written to", "inject"},
    {"port", "waited for a network port", "port"},
    {"wait", "waited for others that start", "start"},
    {"start", "machine started", "start"},
    {"boot", "booted", "boot"},
};

/* Only the first machine of an image has it prepared: the others see that it is, in no time. And
 * most wait for nothing. */
static gboolean
is_worth_telling(const char *phase, double seconds)
{
  static const char *const rare[] = {"prepare", "wait", "port", NULL};
  return !g_strv_contains(rare, phase) || seconds >= 0.1;
}

static char *
visible(const char *text)
{
  MfTextVisible state = {0};
  g_autoptr(GString) out = g_string_new(NULL);
  mf_text_visible_feed(&state, text, strlen(text), out);
  mf_text_visible_end(&state, out);
  return g_strdup(out->str);
}

static char *
format_elapsed(gint64 microseconds)
{
  return mf_document_format_seconds((double)microseconds / G_USEC_PER_SEC);
}

/* Queue */

static char *
queue_line(MfGitlabReport *self, MfJson *job, gint64 now)
{
  guint64 position = mf_document_uint(job, "position");
  gboolean moved = position != self->position || !self->waited;
  /* Most jobs do not wait at all: the summary has the time of those. */
  if (position == 0 || (!moved && now - self->spoken_at < SILENCE_US))
    return NULL;
  self->position = position;
  const char *why = mf_document_text(job, "queued_for");
  g_autofree char *elapsed = format_elapsed(now - self->phase_since);
  g_autofree char *since =
      self->waited ? g_strdup_printf(", for %s so far", elapsed) : g_strdup("");
  self->waited = TRUE;
  g_autofree char *line =
      g_strdup_printf("Waiting for a machine: number %" G_GUINT64_FORMAT " in the queue%s%s%s",
                      position, since, why != NULL ? ": " : "", why != NULL ? why : "");
  return visible(line);
}

char *
mf_gitlab_report_refused(const char *why)
{
  g_autofree char *line = g_strconcat("Waiting: ", why, NULL);
  return visible(line);
}

/* Start */

static void
append_line(GString *out, const char *line)
{
  g_string_append_printf(out, "%s%s", out->len > 0 ? "\n" : "", line);
}

static void
append_done(MfGitlabReport *self, MfJson *job, GString *out)
{
  MfJson *timings = mf_document_member(job, "timings");
  if (self->waited && mf_document_has(timings, "queue") && (self->told & 1) == 0) {
    g_autofree char *took = mf_document_format_seconds(mf_document_number(timings, "queue"));
    g_autofree char *line = g_strdup_printf("  waited: %s", took);
    append_line(out, line);
    self->told |= 1;
  }
  for (guint i = 0; i < G_N_ELEMENTS(phases); i++) {
    guint bit = 2u << i;
    if ((self->told & bit) != 0 || !mf_document_has(timings, phases[i].name) ||
        !mf_document_has(timings, phases[i].by))
      continue;
    self->told |= bit;
    double seconds = mf_document_number(timings, phases[i].name);
    if (!is_worth_telling(phases[i].name, seconds))
      continue;
    g_autofree char *took = mf_document_format_seconds(seconds);
    g_autofree char *line = g_strdup_printf("  %s: %s", phases[i].done, took);
    append_line(out, line);
  }
}

static char *
start_lines(MfGitlabReport *self, MfJson *job, gint64 now)
{
  g_autoptr(GString) out = g_string_new(NULL);
  append_done(self, job, out);
  if (out->len == 0 && now - self->spoken_at >= SILENCE_US) {
    g_autofree char *elapsed = format_elapsed(now - self->phase_since);
    g_autofree char *line = g_strdup_printf(
        "  still %s, for %s so far", self->phase != NULL ? self->phase : "starting", elapsed);
    append_line(out, line);
  }
  return out->len > 0 ? visible(out->str) : NULL;
}

char *
mf_gitlab_report_progress(MfGitlabReport *self, MfJson *job, gint64 now)
{
  const char *state = mf_document_text(job, "state");
  gboolean queued = g_strcmp0(state, "queued") == 0;
  const char *phase = g_intern_string(queued ? "queue" : mf_document_text(job, "phase"));
  if (self->spoken_at == 0)
    self->spoken_at = now;
  if (phase != self->phase || self->phase_since == 0)
    self->phase_since = now;
  self->phase = phase;
  char *lines = queued ? queue_line(self, job, now) : start_lines(self, job, now);
  if (lines != NULL)
    self->spoken_at = now;
  return lines;
}

/* Summary */

static void
append_timings(GString *out, MfJson *job)
{
  static const char *const names[] = {"queue",  "prepare", "clone", "wait",
                                      "inject", "port",    "start", "boot"};
  MfJson *timings = mf_document_member(job, "timings");
  g_autoptr(GString) parts = g_string_new(NULL);
  double sum = 0;
  for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
    if (!mf_document_has(timings, names[i]))
      continue;
    double seconds = mf_document_number(timings, names[i]);
    if (!is_worth_telling(names[i], seconds))
      continue;
    g_autofree char *text = mf_document_format_seconds(seconds);
    sum += seconds;
    g_string_append_printf(parts, "%s%s %s", parts->len > 0 ? ", " : "", names[i], text);
  }
  g_autofree char *whole = mf_document_format_seconds(sum);
  if (parts->len > 0)
    g_string_append_printf(out, " in %s (%s)", whole, parts->str);
}

static const char *
how_started(const char *how)
{
  if (g_strcmp0(how, "pool") == 0)
    return "ahead of its job";
  return how != NULL ? how : "somehow";
}

char *
mf_gitlab_report_summary(MfJson *job)
{
  g_autofree char *memory = mf_document_format_size(mf_document_uint(job, "memory"));
  g_autofree char *disk = mf_document_format_size(mf_document_uint(job, "disk"));
  const char *id = mf_document_text(job, "id"), *image = mf_document_text(job, "image");
  const char *how = mf_document_text(job, "how"), *accel = mf_document_text(job, "accel");
  g_autoptr(GString) out = g_string_new(NULL);
  g_string_append_printf(
      out,
      "Machine %s: image %s, %" G_GUINT64_FORMAT " CPU, %s memory, %s disk; started %s with %s",
      id != NULL ? id : "?", image != NULL ? image : "?", mf_document_uint(job, "cpus"), memory,
      disk, how_started(how), accel != NULL ? accel : "?");
  append_timings(out, job);
  g_autofree char *text = visible(out->str);
  return g_strconcat(BOLD, text, PLAIN, NULL);
}

/* The end */

char *
mf_gitlab_report_kept(MfJson *job, const char *when)
{
  const char *id = mf_document_text(job, "id");
  g_autofree char *time = mf_duration_format(mf_document_uint(job, "keep_on_failure"));
  g_autofree char *shown = visible(id != NULL ? id : "?");
  /* Every machine has sh, not every one bash. */
  return g_strdup_printf(BOLD "%s: its machine stays for %s (MAYFLY_KEEP_ON_FAILURE). On its host, "
                              "as gitlab-runner's user or root:" PLAIN
                              "\n  mayfly exec -it %s -- sh      to look inside"
                              "\n  mayfly logs --console %s      what its kernel and init said"
                              "\n  mayfly cancel %s              to end it now",
                         when, time, shown, shown, shown);
}

char *
mf_gitlab_report_warning(const char *text)
{
  g_autofree char *shown = visible(text);
  return g_strconcat(YELLOW "WARNING: ", shown, PLAIN, NULL);
}
