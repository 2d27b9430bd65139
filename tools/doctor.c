/* SPDX-License-Identifier: Apache-2.0 */
/* Doctor: the list of results, for people and for programs. */
#include "tools/doctor.h"

#include <string.h>

#include "daemon/text.h"

typedef struct {
  char *what;
  MfDoctorState state;
  char *found;
  char *advice;
} Result;

struct MfDoctor {
  GArray *results;
};

static const char *const state_names[] = {
    [MF_DOCTOR_OK] = "ok",
    [MF_DOCTOR_NOTE] = "note",
    [MF_DOCTOR_PROBLEM] = "problem",
};

static void
result_clear(gpointer data)
{
  Result *result = data;
  g_free(result->what);
  g_free(result->found);
  g_free(result->advice);
}

MfDoctor *
mf_doctor_new(void)
{
  MfDoctor *self = g_new0(MfDoctor, 1);
  self->results = g_array_new(FALSE, FALSE, sizeof(Result));
  g_array_set_clear_func(self->results, result_clear);
  return self;
}

void
mf_doctor_free(MfDoctor *self)
{
  if (self == NULL)
    return;
  g_array_unref(self->results);
  g_free(self);
}

void
mf_doctor_add(MfDoctor *self, const char *what, MfDoctorState state, char *found, char *advice)
{
  Result result = {.what = g_strdup(what), .state = state, .found = found, .advice = advice};
  g_array_append_val(self->results, result);
}

void
mf_doctor_say(MfDoctor *self, const char *what, MfDoctorState state, const char *found,
              const char *advice)
{
  mf_doctor_add(self, what, state, g_strdup(found), g_strdup(advice));
}

gboolean
mf_doctor_has_problems(const MfDoctor *self)
{
  for (guint i = 0; i < self->results->len; i++)
    if (g_array_index(self->results, Result, i).state == MF_DOCTOR_PROBLEM)
      return TRUE;
  return FALSE;
}

static MfJson *
string_or_null(const char *text)
{
  return text != NULL ? json_object_new_string(text) : NULL;
}

MfJson *
mf_doctor_to_json(const MfDoctor *self)
{
  MfJson *json = json_object_new_object();
  MfJson *checks = json_object_new_array();
  for (guint i = 0; i < self->results->len; i++) {
    const Result *result = &g_array_index(self->results, Result, i);
    MfJson *check = json_object_new_object();
    json_object_object_add(check, "check", string_or_null(result->what));
    json_object_object_add(check, "state", string_or_null(state_names[result->state]));
    json_object_object_add(check, "found", string_or_null(result->found));
    json_object_object_add(check, "advice", string_or_null(result->advice));
    json_object_array_add(checks, check);
  }
  json_object_object_add(json, "ok", json_object_new_boolean(!mf_doctor_has_problems(self)));
  json_object_object_add(json, "checks", checks);
  return json;
}

char *
mf_doctor_format(const MfDoctor *self)
{
  g_autoptr(GString) text = g_string_new(NULL);
  for (guint i = 0; i < self->results->len; i++) {
    const Result *result = &g_array_index(self->results, Result, i);
    g_string_append_printf(text, "%-8s %-13s %s\n", state_names[result->state], result->what,
                           result->found);
    if (result->advice != NULL)
      g_string_append_printf(text, "%23s-> %s\n", "", result->advice);
  }
  MfTextVisible visible = {0};
  g_autoptr(GString) out = g_string_new(NULL);
  mf_text_visible_feed(&visible, text->str, text->len, out);
  mf_text_visible_end(&visible, out);
  return g_strdup(out->str);
}
