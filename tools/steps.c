/* SPDX-License-Identifier: Apache-2.0 */
/* Progress for people. */
#include "tools/steps.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "daemon/text.h"

enum { LIVE_MS = 250, PLAIN_SECONDS = 5, WIDTH_MIN = 20, WIDTH_MAX = 200 };

struct MfSteps {
  FILE *to;
  gboolean live;
  guint timer;
  char *step; /* NULL: between steps */
  gint64 began;
  double fraction; /* below 0: not known */
};

static char *
visible(const char *text)
{
  MfTextVisible state = {0};
  GString *out = g_string_new(NULL);
  mf_text_visible_feed(&state, text, strcspn(text, "\n"), out);
  mf_text_visible_end(&state, out);
  return g_string_free(out, FALSE);
}

static double
elapsed(const MfSteps *self)
{
  return (double)(g_get_monotonic_time() - self->began) / G_USEC_PER_SEC;
}

/* "42 %, 3 s", or what is known of it (transfer full). */
static char *
state_of(const MfSteps *self)
{
  if (self->fraction >= 0)
    return g_strdup_printf("%.0f %%, %.0f s", self->fraction * 100, elapsed(self));
  return g_strdup_printf("%.0f s", elapsed(self));
}

static void
draw(const MfSteps *self)
{
  struct winsize size = {0};
  g_autofree char *state = state_of(self);
  glong width =
      ioctl(fileno(self->to), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
  width = CLAMP(width, WIDTH_MIN, WIDTH_MAX) - (glong)strlen(state) - 8;
  g_autofree char *text =
      g_utf8_substring(self->step, 0, CLAMP(width, 1, g_utf8_strlen(self->step, -1)));
  fprintf(self->to, "\r==> %s  %s\033[K", text,
          elapsed(self) >= 1 || self->fraction >= 0 ? state : "");
  fflush(self->to);
}

static gboolean
on_timer(gpointer data)
{
  MfSteps *self = data;
  if (self->step == NULL)
    return G_SOURCE_CONTINUE;
  if (self->live) {
    draw(self);
    return G_SOURCE_CONTINUE;
  }
  g_autofree char *state = state_of(self);
  fprintf(self->to, "    %s\n", state);
  fflush(self->to);
  return G_SOURCE_CONTINUE;
}

MfSteps *
mf_steps_new(FILE *to, gboolean live)
{
  MfSteps *self = g_new0(MfSteps, 1);
  self->to = to;
  self->live = live;
  return self;
}

void
mf_steps_begin(MfSteps *self, const char *text)
{
  mf_steps_end(self, TRUE);
  self->step = visible(text);
  self->began = g_get_monotonic_time();
  self->fraction = -1;
  if (self->live) {
    draw(self);
    self->timer = g_timeout_add(LIVE_MS, on_timer, self);
  } else {
    fprintf(self->to, "==> %s\n", self->step);
    fflush(self->to);
    self->timer = g_timeout_add_seconds(PLAIN_SECONDS, on_timer, self);
  }
}

void
mf_steps_fraction(MfSteps *self, double fraction)
{
  self->fraction = CLAMP(fraction, 0, 1);
}

void
mf_steps_end(MfSteps *self, gboolean succeeded)
{
  g_clear_handle_id(&self->timer, g_source_remove);
  if (self->step == NULL)
    return;
  double seconds = elapsed(self);
  if (self->live && seconds >= 1)
    fprintf(self->to, "\r==> %s  %.0f s\033[K\n", self->step, seconds);
  else if (self->live)
    fprintf(self->to, "\r==> %s\033[K\n", self->step);
  else if (succeeded && seconds >= 1)
    fprintf(self->to, "    done in %.0f s\n", seconds);
  fflush(self->to);
  g_clear_pointer(&self->step, g_free);
}

void
mf_steps_free(MfSteps *self)
{
  if (self == NULL)
    return;
  mf_steps_end(self, FALSE);
  g_free(self);
}
