/* SPDX-License-Identifier: Apache-2.0 */
/* The routes: one table says all there is, and who may. */
#include "daemon/api-private.h"

#include <string.h>

#include "daemon/error.h"
#include "daemon/text.h"

#define MAX_SEGMENTS 8

static const MfApiRoute routes[] = {
    {"GET", "/metrics", mf_api_metrics_get, "", FALSE},
    {"POST", "/v1/drain", mf_api_info_drain, "", TRUE},
    {"GET", "/v1/events", mf_api_events_all, "", FALSE},
    {"GET", "/v1/images", mf_api_images_list, "", FALSE},
    {"GET", "/v1/images/{ref}", mf_api_images_get, "", FALSE},
    {"DELETE", "/v1/images/{ref}", mf_api_images_remove, "", TRUE},
    {"POST", "/v1/images/{ref}/verify", mf_api_images_verify, "", FALSE},
    {"GET", "/v1/info", mf_api_info_get, "", FALSE},
    {"GET", "/v1/jobs", mf_api_jobs_list, "state name", FALSE},
    {"POST", "/v1/jobs", mf_api_jobs_create, "", FALSE},
    {"GET", "/v1/jobs/{id}", mf_api_jobs_get, "wait timeout", FALSE},
    {"DELETE", "/v1/jobs/{id}", mf_api_jobs_cancel, "reason", FALSE},
    {"GET", "/v1/jobs/{id}/console", mf_api_jobs_console, "offset follow", FALSE},
    {"POST", "/v1/jobs/{id}/end", mf_api_jobs_end, "", FALSE},
    {"GET", "/v1/jobs/{id}/events", mf_api_events_job, "", FALSE},
    {"POST", "/v1/jobs/{id}/execs", mf_api_execs_create, "", FALSE},
    {"GET", "/v1/jobs/{id}/execs/{n}", mf_api_execs_get, "wait timeout", FALSE},
    {"GET", "/v1/jobs/{id}/execs/{n}/output", mf_api_execs_output, "offset follow pace form", FALSE},
    {"POST", "/v1/jobs/{id}/execs/{n}/resize", mf_api_execs_resize, "", FALSE},
    {"POST", "/v1/jobs/{id}/execs/{n}/signal", mf_api_execs_signal, "", FALSE},
    {"POST", "/v1/jobs/{id}/execs/{n}/stdin", mf_api_execs_stdin, "offset eof", FALSE},
    {"POST", "/v1/jobs/{id}/lease", mf_api_jobs_lease, "", FALSE},
    {"GET", "/v1/jobs/{id}/stats", mf_api_jobs_stats, "", FALSE},
    {"GET", "/v1/machines", mf_api_machines_list, "", FALSE},
    {"GET", "/v1/openapi.json", mf_api_info_openapi, "", FALSE},
    {"GET", "/v1/pools", mf_api_pools_list, "", FALSE},
    {"GET", "/v1/templates", mf_api_templates_list, "", FALSE},
    {"GET", "/v1/templates/{name}", mf_api_templates_get, "", FALSE},
};

const MfApiRoute *
mf_api_routes(gsize *ret_n)
{
  *ret_n = G_N_ELEMENTS(routes);
  return routes;
}

/* @segments: of the path, not yet unescaped. Returns TRUE with what {…} stood for in @args
 * (borrowed). */
static gboolean
matches(const MfApiRoute *route, char *const *segments, const char *args[2])
{
  g_auto(GStrv) pattern = g_strsplit(route->pattern, "/", MAX_SEGMENTS);
  guint n = 0, i = 0;
  for (; pattern[i] != NULL && segments[i] != NULL; i++) {
    if (*pattern[i] == '{')
      args[n++] = segments[i];
    else if (strcmp(pattern[i], segments[i]) != 0)
      return FALSE;
  }
  return pattern[i] == NULL && segments[i] == NULL;
}

/* The route, or NULL with @allow holding the methods this path knows (none: the path is unknown).
 */
static const MfApiRoute *
find_route(const char *method, char *const *segments, const char *args[2], GString *allow)
{
  for (gsize i = 0; i < G_N_ELEMENTS(routes); i++) {
    const char *found[2] = {NULL, NULL};
    if (!matches(&routes[i], segments, found))
      continue;
    if (strcmp(routes[i].method, method) == 0) {
      memcpy(args, found, sizeof(found));
      return &routes[i];
    }
    g_string_append_printf(allow, "%s%s", allow->len > 0 ? ", " : "", routes[i].method);
  }
  return NULL;
}

static void
refuse_route(SoupServerMessage *message, const char *path, const GString *allow)
{
  g_autofree char *shown = mf_text_quote(path);
  const char *method = soup_server_message_get_method(message);
  g_autofree char *cut = g_strndup(method, 16);
  if (allow->len == 0) {
    g_autofree char *detail =
        g_strdup_printf("There is nothing at %s: /v1/openapi.json lists what there is.", shown);
    mf_api_problem_set(message, MF_ERROR_NOT_FOUND, 404, detail);
    return;
  }
  g_autofree char *detail = g_strdup_printf("%s does not take %s, but %s.", shown, cut, allow->str);
  mf_api_problem_set(message, MF_ERROR_INVALID, 405, detail);
  soup_message_headers_replace(soup_server_message_get_response_headers(message), "Allow",
                               allow->str);
}

/* @args: taken apart of the path, so still escaped. */
static gboolean
take_args(MfApiRequest *request, const char *const args[2], GError **error)
{
  for (guint i = 0; i < 2 && args[i] != NULL; i++) {
    request->args[i] = g_uri_unescape_segment(args[i], NULL, NULL);
    if (request->args[i] == NULL) {
      g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                  "The path is not properly escaped: %%XX, two hexadecimal digits, and no NUL.");
      return FALSE;
    }
  }
  return TRUE;
}

static gboolean
take_query(MfApiRequest *request, const MfApiRoute *route, const char *text, GError **error)
{
  if (text == NULL)
    return TRUE;
  GUriParamsIter iter;
  char *name = NULL, *value = NULL;
  g_auto(GStrv) known = g_strsplit(route->query, " ", -1);
  g_autoptr(GError) problem = NULL;
  g_uri_params_iter_init(&iter, text, -1, "&", G_URI_PARAMS_WWW_FORM);
  while (g_uri_params_iter_next(&iter, &name, &value, &problem)) {
    if (g_strv_contains((const char *const *)known, name)) {
      g_hash_table_replace(request->query, name, value);
      continue;
    }
    g_autofree char *shown = mf_text_quote(name);
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "The parameter %s is not known here; known: %s.",
                shown, *route->query != '\0' ? route->query : "none");
    g_free(name);
    g_free(value);
    return FALSE;
  }
  if (problem != NULL)
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "The query is malformed: %s.", problem->message);
  return problem == NULL;
}

static gboolean
check_request(MfApiRequest *request, const MfApiRoute *route, const char *const args[2],
              GError **error)
{
  const char *query = g_uri_get_query(soup_server_message_get_uri(request->message));
  if (route->admin_only && !request->peer.admin) {
    g_set_error(error, MF_ERROR, MF_ERROR_FORBIDDEN,
                "Only root and members of group %s may do this: ask one of them.",
                request->api->config->admin_group);
    return FALSE;
  }
  return take_args(request, args, error) && take_query(request, route, query, error);
}

void
mf_api_dispatch(MfApiConnection *connection, SoupServerMessage *message)
{
  const MfConfig *config = connection->api->config;
  /* libsoup keeps a connection open only where it is libsoup that listens: say so. */
  soup_message_headers_replace(soup_server_message_get_response_headers(message), "Connection",
                               "close");
  if (connection->too_large) {
    g_autofree char *detail =
        g_strdup_printf("The body is larger than the %" G_GUINT64_FORMAT
                        " bytes allowed (max-body in [http]): send less, or in pieces.",
                        config->max_body);
    mf_api_problem_set(message, MF_ERROR_LIMIT, 413, detail);
    return;
  }
  const char *path = g_uri_get_path(soup_server_message_get_uri(message));
  const char *args[2] = {NULL, NULL};
  g_auto(GStrv) segments = g_strsplit(path, "/", MAX_SEGMENTS);
  g_autoptr(GString) allow = g_string_new(NULL);
  const MfApiRoute *route =
      find_route(soup_server_message_get_method(message), segments, args, allow);
  if (route == NULL) {
    refuse_route(message, path, allow);
    return;
  }
  g_autoptr(MfApiRequest) request = mf_api_request_new(connection, message);
  g_autoptr(GError) error = NULL;
  if (check_request(request, route, args, &error))
    route->handler(request);
  else
    mf_api_reply_error(request, g_steal_pointer(&error));
}
