/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that are malformed, oversized or slow, and too many connections. */
#include <string.h>

#include "tests/lib/api-fixture.h"

static guint
status_of(ApiFixture *f, const char *text)
{
  g_autoptr(HttpAnswer) answer = api_talk_raw(f, text, strlen(text));
  return answer->status;
}

static void
test_malformed(ApiFixture *f, gconstpointer unused)
{
  static const struct {
    const char *text, *part;
  } bad[] = {
      {"\r\n\r\n", "must begin with a line"},
      {"GET\r\n\r\n", "must begin with a line"},
      {"GET /v1/info\r\n\r\n", "must begin with a line"},
      {"get /v1/info HTTP/1.1\r\n\r\n", "must begin with a line"},
      {"GET /v1/info HTTP/1.1 \r\n\r\n", "must begin with a line"},
      {"GET /v1/info HTTP/1.1\r\n\r\n", "Host"},
      {"GET /v1/info HTTP/7.9\r\nHost: a\r\n\r\n", "HTTP/1.1"},
      {"GET v1 HTTP/1.1\r\nHost: a\r\n\r\n", "path"},
      {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", "path"},
      {"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "path"},
      {"GET /[ HTTP/1.1\r\nHost: a\r\n\r\n", "path"},
      {"GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n", "path"},
      {"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", "Name: value"},
      {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "Name: value"},
      {"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", "Name: value"},
      {"GET / HTTP/1.1\r\nHost: \x1b[2J\r\n\r\n", "control characters"},
      {"GET / HTTP/1.1\rHost: a\r\n\r\n", "control characters"},
      {"\x16\x03\x01\x02\x01\xfc\x03\x03\r\n\r\n", "control characters"},
      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "Transfer-Encoding"},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", "Content-Length"},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
       "Content-Length"},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
       "cannot be"},
      {"POST / HTTP/1.1\r\nHost: a\r\nExpect: money\r\n\r\n", "100-continue"},
      {"GET / HT", "ends before"},
  };
  for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(HttpAnswer) answer = api_talk_raw(f, bad[i].text, strlen(bad[i].text));
    if (answer->status != 400 || strstr(http_answer_text(answer), bad[i].part) == NULL)
      g_error("%s got %u: %s", bad[i].text, answer->status, http_answer_text(answer));
  }
  g_autoptr(HttpAnswer) nothing = api_talk_raw(f, "", 0);
  g_assert_cmpuint(nothing->status, ==, 0);
  g_assert_cmpuint(g_hash_table_size(f->api->connections), ==, 0);
  g_assert_cmpuint(g_hash_table_size(f->api->requests), ==, 0);
}

static void
test_old_http(ApiFixture *f, gconstpointer unused)
{
  g_assert_cmpuint(status_of(f, "GET /v1/jobs HTTP/1.0\r\n\r\n"), ==, 200);
  g_assert_cmpuint(
      status_of(f, "GET http://mayfly/v1/jobs HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
      ==, 200);
}

static void
test_paths(ApiFixture *f, gconstpointer unused)
{
  api_refused(f, "GET", "/", NULL, 404, "/v1/openapi.json");
  api_refused(f, "GET", "/v1/jobs/", NULL, 404, "job");
  api_refused(f, "GET", "/v1/jobs/a/b/c/d/e/f/g/h/i", NULL, 404, "nothing");
  api_refused(f, "GET", "/v1//jobs", NULL, 404, "nothing");
  api_refused(f, "GET", "/v1/jobs/a%00b", NULL, 400, "escaped");
  api_refused(f, "GET", "/v1/jobs?all=1", NULL, 400, "\"all\" is not known here; known: state");
  api_refused(f, "GET", "/v1/info?a", NULL, 400, "malformed");
  api_refused(f, "GET", "/v1/jobs?state=new", NULL, 400, "one of: active all");
  g_autoptr(HttpAnswer) answer = api_expect(f, "PATCH", "/v1/jobs", NULL, 405);
  g_assert_nonnull(strstr(answer->head, "Allow: GET, POST\r\n"));
}

static void
test_large_body(ApiFixture *f, gconstpointer unused)
{
  f->scheduler->config->max_body = 1000;
  g_autofree char *small = g_strnfill(1000, ' ');
  g_autofree char *large = g_strnfill(1001, ' ');
  api_refused(f, "POST", "/v1/jobs", small, 400, "ends in the middle");
  api_refused(f, "POST", "/v1/jobs", large, 413, "1000 bytes");
  g_autoptr(GString) chunked = g_string_new("POST /v1/jobs HTTP/1.1\r\nHost: a\r\nConnection: "
                                            "close\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (guint i = 0; i < 30; i++)
    g_string_append(chunked, "64\r\n..............................................................."
                             ".....................................\r\n");
  g_string_append(chunked, "0\r\n\r\n");
  g_assert_cmpuint(status_of(f, chunked->str), ==, 413);
  g_assert_cmpuint(
      status_of(
          f, "POST /v1/jobs HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n"
             "Connection: close\r\n\r\n"),
      ==, 413);
  g_assert_cmpuint(
      status_of(
          f,
          "POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\nConnection: close\r\n\r\n"),
      >=, 400);
}

/* Who sends without end is cut off, and holds no memory meanwhile. */
static void
test_endless_body(ApiFixture *f, gconstpointer unused)
{
  f->scheduler->config->max_body = 1000;
  g_autoptr(GString) request =
      g_string_new("POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000000000\r\n\r\n");
  g_autofree char *body = g_strnfill(1 << 20, 'x');
  g_string_append(request, body);
  g_autoptr(HttpAnswer) answer = api_talk_raw(f, request->str, request->len);
  g_assert_cmpuint(answer->status, ==, 0);
  g_assert_cmpuint(g_hash_table_size(f->api->connections), ==, 0);
}

static void
test_large_head(ApiFixture *f, gconstpointer unused)
{
  for (guint size = 15; size <= 200; size += 185) {
    g_autofree char *value = g_strnfill(size << 10, 'x');
    g_autofree char *request =
        g_strdup_printf("GET /v1/jobs HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n", value);
    g_autoptr(HttpAnswer) answer = api_talk_raw(f, request, strlen(request));
    g_assert_cmpuint(answer->status, ==, size == 15 ? 200 : 431);
    g_assert_cmpuint(g_hash_table_size(f->api->connections), ==, 0);
  }
}

/* A head that comes in pieces, and its body with it or after it. */
static void
test_pieces(ApiFixture *f, gconstpointer unused)
{
  static const char text[] =
      "POST /v1/jobs HTTP/1.1\nHost: a\r\nContent-Length: 11\r\n\r\n{\"cpus\": 1}";
  for (gsize step = 1; step < sizeof(text); step += 13) {
    g_autoptr(GSocket) socket = api_open(f);
    g_autoptr(GString) got = g_string_new(NULL);
    for (gsize at = 0; at < strlen(text); at += step) {
      g_autofree char *piece = g_strndup(text + at, step);
      api_say(socket, piece);
      api_settle();
    }
    api_read_to_end(socket, got);
    g_assert_true(g_str_has_prefix(got->str, "HTTP/1.1 201 "));
  }
}

static void
test_slow(ApiFixture *f, gconstpointer unused)
{
  f->scheduler->config->header_timeout = 1;
  g_autoptr(GSocket) half = api_open(f), body = api_open(f);
  g_autoptr(GString) first = g_string_new(NULL), second = g_string_new(NULL);
  api_say(half, "GET /v1/info HTT");
  api_say(body, "POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{");
  api_read_to_end(half, first);
  api_read_to_end(body, second);
  g_assert_true(g_str_has_prefix(first->str, "HTTP/1.1 408 "));
  g_assert_nonnull(strstr(first->str, "within 1 s"));
  g_assert_true(g_str_has_prefix(second->str, "HTTP/1.1 408 "));
  api_settle();
  g_assert_cmpuint(g_hash_table_size(f->api->connections), ==, 0);
}

/* One request a connection: the client is told, so that it does not send another one into the void.
 */
static void
test_one_request(ApiFixture *f, gconstpointer unused)
{
  g_autoptr(GSocket) socket = api_open_get(f, "/v1/jobs");
  g_autoptr(GString) got = g_string_new(NULL);
  api_read_to_end(socket, got);
  g_assert_true(g_str_has_prefix(got->str, "HTTP/1.1 200 "));
  g_assert_nonnull(strstr(got->str, "Connection: close\r\n"));
  g_assert_true(g_str_has_suffix(got->str, "{\"jobs\":[]}\n"));
}

static void
test_too_many(ApiFixture *f, gconstpointer unused)
{
  GSocket *open[12];
  f->scheduler->config->max_connections = 8;
  api_fixture_set_peer(f, 1000, FALSE);
  for (gsize i = 0; i < 6; i++)
    open[i] = api_open(f);
  g_autoptr(GString) half = g_string_new(NULL), all = g_string_new(NULL);
  api_read_to_end(open[4], half);
  g_assert_true(g_str_has_prefix(half->str, "HTTP/1.1 503 "));
  g_assert_nonnull(strstr(half->str, "You already have 4 connections"));
  /* Another user has the other half, and then there are no more. */
  api_fixture_set_peer(f, 1001, FALSE);
  for (gsize i = 6; i < 10; i++)
    open[i] = api_open(f);
  api_settle();
  api_fixture_set_peer(f, 1002, FALSE);
  for (gsize i = 10; i < G_N_ELEMENTS(open); i++)
    open[i] = api_open(f);
  api_read_to_end(open[11], all);
  g_assert_true(g_str_has_prefix(all->str, "HTTP/1.1 503 "));
  g_assert_nonnull(strstr(all->str, "already serves 8 connections"));
  /* Root still gets in. */
  api_fixture_set_peer(f, 0, TRUE);
  g_autoptr(HttpAnswer) answer = api_expect(f, "GET", "/v1/jobs", NULL, 200);
  for (gsize i = 0; i < G_N_ELEMENTS(open); i++)
    g_object_unref(open[i]);
  while (g_hash_table_size(f->api->connections) + g_hash_table_size(f->api->refused) > 0)
    g_main_context_iteration(NULL, FALSE);
  api_fixture_set_peer(f, 1000, FALSE);
  g_autoptr(HttpAnswer) again = api_expect(f, "GET", "/v1/jobs", NULL, 200);
}

#define add(name, function)                                                                        \
  g_test_add("/api-limits/" name, ApiFixture, NULL, api_fixture_set_up, function,                  \
             api_fixture_tear_down)

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  add("malformed", test_malformed);
  add("old-http", test_old_http);
  add("paths", test_paths);
  add("large-body", test_large_body);
  add("endless-body", test_endless_body);
  add("large-head", test_large_head);
  add("pieces", test_pieces);
  add("slow", test_slow);
  add("one-request", test_one_request);
  add("too-many", test_too_many);
  return g_test_run();
}
