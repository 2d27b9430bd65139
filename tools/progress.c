/* SPDX-License-Identifier: Apache-2.0 */
/* Progress: the phases of a start with their times, redrawn a few times a second. */
#include "tools/progress.h"

#include <string.h>
#include <unistd.h>

#include "daemon/text.h"
#include "tools/document.h"
#include "tools/terminal.h"

#define REDRAW_MS 200
#define WIPE      "\r\033[K"

struct MfProgress {
  int fd;
  gboolean live;
  MfJson *job;
  char *phase;
  gint64 phase_since;
  guint timer;
};

static const char *const phases[] = {"queue", "clone", "wait", "inject", "port", "start", "boot"};
/* Seconds below which nothing is said of a wait that mostly is none. */
#define WORTH_TELLING 0.1

/* What the daemon calls it, or the state where it has no name. */
static const char *
phase_of(MfJson *job)
{
  const char *state = mf_document_text(job, "state");
  const char *phase = mf_document_text(job, "phase");
  if (g_strcmp0(state, "queued") == 0)
    return "queue";
  return phase != NULL ? phase : state;
}

static void
append_done(GString *line, MfJson *job, const char *now)
{
  MfJson *timings = mf_document_member(job, "timings");
  const char *before = "  after ";
  for (guint i = 0; i < G_N_ELEMENTS(phases); i++) {
    if (!mf_document_has(timings, phases[i]) || strcmp(phases[i], now) == 0)
      continue;
    double seconds = mf_document_number(timings, phases[i]);
    gboolean rare = strcmp(phases[i], "wait") == 0 || strcmp(phases[i], "port") == 0;
    if (rare && seconds < WORTH_TELLING)
      continue;
    g_autofree char *took = mf_document_format_seconds(seconds);
    g_string_append_printf(line, "%s%s %s", before, phases[i], took);
    before = ", ";
  }
}

char *
mf_progress_format(MfJson *job, double seconds)
{
  const char *phase = phase_of(job);
  if (phase == NULL || strcmp(phase, "running") == 0)
    return NULL;
  g_autoptr(GString) line = g_string_new(NULL);
  g_autofree char *id = g_strndup(mf_document_text(job, "id"), 8);
  g_autofree char *took = mf_document_format_seconds(seconds);
  g_string_append_printf(line, "mayfly %s: %s %s", id != NULL ? id : "", phase, took);
  if (mf_document_has(job, "position"))
    g_string_append_printf(line, ", number %" G_GUINT64_FORMAT, mf_document_uint(job, "position"));
  if (mf_document_text(job, "queued_for") != NULL)
    g_string_append_printf(line, ": %s", mf_document_text(job, "queued_for"));
  append_done(line, job, phase);
  return mf_text_line(line->str);
}

/* A live line is no place to report that the terminal is gone. */
static void
put(MfProgress *self, const char *text, gsize length)
{
  if (write(self->fd, text, length) < 0)
    self->live = FALSE;
}

static void
draw(MfProgress *self)
{
  guint rows, cols;
  double seconds = (double)(g_get_monotonic_time() - self->phase_since) / G_USEC_PER_SEC;
  g_autofree char *line = mf_progress_format(self->job, seconds);
  if (line == NULL || !mf_terminal_get_size(self->fd, &rows, &cols))
    return;
  /* A line that wraps could not be wiped. */
  g_autofree char *fitting = mf_text_cut(line, cols - 1);
  g_autofree char *whole = g_strconcat(WIPE, fitting, NULL);
  put(self, whole, strlen(whole));
}

static gboolean
on_timer(gpointer data)
{
  draw(data);
  return G_SOURCE_CONTINUE;
}

MfProgress *
mf_progress_new(int fd)
{
  MfProgress *self = g_new0(MfProgress, 1);
  self->fd = fd;
  self->live = isatty(fd) && g_strcmp0(g_getenv("TERM"), "dumb") != 0;
  return self;
}

void
mf_progress_update(MfProgress *self, MfJson *job)
{
  if (!self->live)
    return;
  if (g_strcmp0(self->phase, phase_of(job)) != 0) {
    g_free(self->phase);
    self->phase = g_strdup(phase_of(job));
    self->phase_since = g_get_monotonic_time();
  }
  g_clear_pointer(&self->job, json_object_put);
  self->job = json_object_get(job);
  if (self->timer == 0)
    self->timer = g_timeout_add(REDRAW_MS, on_timer, self);
  draw(self);
}

void
mf_progress_end(MfProgress *self)
{
  g_clear_handle_id(&self->timer, g_source_remove);
  if (self->live && self->job != NULL)
    put(self, WIPE, strlen(WIPE));
  self->live = FALSE;
}

void
mf_progress_free(MfProgress *self)
{
  if (self == NULL)
    return;
  mf_progress_end(self);
  g_clear_pointer(&self->job, json_object_put);
  g_free(self->phase);
  g_free(self);
}
