/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly events: what happens, as it happens. */
#include <stdio.h>
#include <string.h>

#include "daemon/text.h"
#include "tools/commands.h"
#include "tools/document.h"
#include "tools/output.h"
#include "tools/watch.h"

typedef struct {
  gboolean json;
  GMainLoop *loop;
  GError *error;
} Events;

/* What is said of an event besides its time, type and job. */
static void
print_rest(MfJson *event)
{
  json_object_object_foreach(event, key, value)
  {
    if (value == NULL || strcmp(key, "time") == 0 || strcmp(key, "type") == 0 ||
        strcmp(key, "job") == 0)
      continue;
    const char *text = json_object_is_type(value, json_type_string)
                           ? json_object_get_string(value)
                           : json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN);
    MfTextVisible visible = {0};
    g_autoptr(GString) shown = g_string_new(NULL);
    mf_text_visible_feed(&visible, text, strlen(text), shown);
    g_string_replace(shown, "\n", "\\n", 0);
    printf("  %s=%s", key, shown->str);
  }
}

static gboolean
on_event(MfJson *event, gpointer data)
{
  const Events *self = data;
  if (self->json) {
    puts(json_object_to_json_string_ext(event, JSON_C_TO_STRING_PLAIN));
  } else {
    g_autofree char *time = mf_document_format_time(mf_document_number(event, "time"));
    const char *type = mf_document_text(event, "type");
    const char *job = mf_document_text(event, "job");
    printf("%s  %-12s %s", time, type != NULL ? type : "", job != NULL ? job : "");
    print_rest(event);
    putchar('\n');
  }
  return mf_output_flush();
}

static void
on_over(GObject *source, GAsyncResult *result, gpointer data)
{
  Events *self = data;
  if (!mf_watch_run_finish(MF_WATCH(source), result, &self->error))
    g_prefix_error(&self->error, "no more events: ");
  g_main_loop_quit(self->loop);
}

int
mf_cmd_events(const MfCommon *common, gconstpointer options, char **argv, GError **error)
{
  g_autoptr(MfClient) client = mf_client_new(common->socket);
  Events events = {.json = mf_command_wants_json(common)};
  if (!mf_client_check(client, error))
    return MF_EXIT_FAILURE;
  events.loop = g_main_loop_new(NULL, FALSE);
  g_autoptr(MfWatch) watch = mf_watch_new(client, "/v1/events", on_event, &events);
  mf_watch_run_async(watch, NULL, on_over, &events);
  g_main_loop_run(events.loop);
  g_main_loop_unref(events.loop);
  if (events.error == NULL)
    return MF_EXIT_OK;
  g_propagate_error(error, events.error);
  return MF_EXIT_FAILURE;
}
