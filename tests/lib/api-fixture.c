/* SPDX-License-Identifier: Apache-2.0 */
/* An API to talk to: see the header. */
#include "tests/lib/api-fixture.h"

#include <ftw.h>
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>

#include "daemon/error.h"
#include "daemon/json.h"

static MfApiPeer
tell_peer(gpointer data)
{
  return ((ApiFixture *)data)->peer;
}

void
api_fixture_set_peer(ApiFixture *f, uid_t uid, gboolean admin)
{
  f->peer = (MfApiPeer){uid, admin};
}

static GSocket *
listen_on(const char *path)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
  GSocket *socket = g_socket_new(G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM, 0, &error);
  g_assert_no_error(error);
  g_socket_set_listen_backlog(socket, 512);
  g_assert_true(g_socket_bind(socket, address, FALSE, &error));
  g_assert_true(g_socket_listen(socket, &error));
  return socket;
}

void
api_fixture_set_up(ApiFixture *f, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  f->directory = g_dir_make_tmp("mayfly-api-XXXXXX", &error);
  g_assert_no_error(error);
  f->socket_path = g_build_filename(f->directory, "sock", NULL);
  for (const char *const *name = (const char *const[]){"logs", "images", "templates", NULL};
       *name != NULL; name++) {
    g_autofree char *path = g_build_filename(f->directory, *name, NULL);
    g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
  }
  f->scheduler = fake_scheduler_new(f->directory);
  g_autoptr(GSocket) listener = listen_on(f->socket_path);
  f->api = mf_api_new(f->scheduler, dup(g_socket_get_fd(listener)), &error);
  g_assert_no_error(error);
  f->api->peer_hook = tell_peer;
  f->api->peer_hook_data = f;
  api_fixture_set_peer(f, 0, TRUE);
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
  return remove(path);
}

void
api_fixture_tear_down(ApiFixture *f, gconstpointer unused)
{
  g_clear_pointer(&f->api, mf_api_free);
  api_settle();
  g_object_unref(f->scheduler);
  g_assert_cmpint(nftw(f->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS), ==, 0);
  g_free(f->directory);
  g_free(f->socket_path);
}

void
http_answer_free(HttpAnswer *self)
{
  g_free(self->head);
  g_clear_pointer(&self->body, g_byte_array_unref);
  g_free(self);
}

const char *
http_answer_text(HttpAnswer *self)
{
  g_byte_array_append(self->body, (const guint8 *)"", 1);
  g_byte_array_set_size(self->body, self->body->len - 1);
  return (const char *)self->body->data;
}

MfJson *
http_answer_json(HttpAnswer *self)
{
  g_autoptr(GError) error = NULL;
  g_assert_cmpuint(self->body->len, >, 0);
  g_assert_cmpint(self->body->data[self->body->len - 1], ==, '\n');
  g_assert_true(g_utf8_validate((const char *)self->body->data, self->body->len, NULL));
  MfJson *json = mf_json_parse(self->body->data, self->body->len, "The answer", &error);
  g_assert_no_error(error);
  return json;
}

static GSocket *
connect_to(const char *path)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
  GSocket *socket = g_socket_new(G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM, 0, &error);
  g_assert_no_error(error);
  g_assert_true(g_socket_connect(socket, address, NULL, &error));
  return socket;
}

typedef struct {
  const char *path;
  const char *data;
  gsize length;
  GByteArray *got;
  gint done;
} Talk;

static gpointer
talk_thread(gpointer data)
{
  Talk *talk = data;
  g_autoptr(GSocket) socket = connect_to(talk->path);
  char buffer[65536];
  gssize n = 0;
  for (gsize sent = 0; sent < talk->length && n >= 0; sent += (gsize)MAX(n, 0))
    n = g_socket_send(socket, talk->data + sent, talk->length - sent, NULL, NULL);
  /* As with a pipe into nc: who has said all still gets the answer. */
  g_socket_shutdown(socket, FALSE, TRUE, NULL);
  while ((n = g_socket_receive(socket, buffer, sizeof(buffer), NULL, NULL)) > 0)
    g_byte_array_append(talk->got, (const guint8 *)buffer, (guint)n);
  g_atomic_int_set(&talk->done, 1);
  g_main_context_wakeup(NULL);
  return NULL;
}

static void
join_chunks(HttpAnswer *self, const char *data, gsize length)
{
  while (length > 0) {
    char *end = NULL;
    gsize size = g_ascii_strtoull(data, &end, 16);
    gsize head = (gsize)(end - data) + 2;
    if (end == data || head + size + 2 > length)
      return;
    if (size == 0) {
      self->whole = TRUE;
      return;
    }
    g_byte_array_append(self->body, (const guint8 *)data + head, (guint)size);
    data += head + size + 2;
    length -= head + size + 2;
  }
}

static HttpAnswer *
take_apart(const GByteArray *got)
{
  HttpAnswer *self = g_new0(HttpAnswer, 1);
  self->body = g_byte_array_new();
  const char *data = (const char *)got->data;
  const char *split = got->len > 0 ? memmem(data, got->len, "\r\n\r\n", 4) : NULL;
  self->head = split != NULL ? g_strndup(data, (gsize)(split - data) + 2) : g_strdup("");
  if (split == NULL || sscanf(data, "HTTP/1.%*d %u ", &self->status) != 1)
    return self;
  const char *body = split + 4;
  gsize length = got->len - (gsize)(body - data);
  const char *announced = strstr(self->head, "Content-Length: ");
  if (strstr(self->head, "Transfer-Encoding: chunked") != NULL) {
    join_chunks(self, body, length);
    return self;
  }
  g_byte_array_append(self->body, (const guint8 *)body, (guint)length);
  self->whole = announced == NULL || g_ascii_strtoull(announced + 16, NULL, 10) == length;
  return self;
}

HttpAnswer *
api_talk_raw(ApiFixture *f, const void *data, gsize length)
{
  g_autoptr(GByteArray) got = g_byte_array_new();
  Talk talk = {f->socket_path, data, length, got, 0};
  GThread *thread = g_thread_new("client", talk_thread, &talk);
  while (!g_atomic_int_get(&talk.done))
    g_main_context_iteration(NULL, TRUE);
  g_thread_join(thread);
  api_settle();
  return take_apart(got);
}

HttpAnswer *
api_talk(ApiFixture *f, const char *method, const char *path, const char *body)
{
  g_autofree char *length =
      body != NULL ? g_strdup_printf("Content-Length: %" G_GSIZE_FORMAT "\r\n", strlen(body))
                   : g_strdup("");
  g_autofree char *request =
      g_strdup_printf("%s %s HTTP/1.1\r\nHost: mayfly\r\nConnection: close\r\n%s\r\n%s", method,
                      path, length, body != NULL ? body : "");
  return api_talk_raw(f, request, strlen(request));
}

HttpAnswer *
api_expect(ApiFixture *f, const char *method, const char *path, const char *body, guint status)
{
  HttpAnswer *answer = api_talk(f, method, path, body);
  if (answer->status != status)
    g_error("%s %s: %u instead of %u: %s", method, path, answer->status, status,
            http_answer_text(answer));
  g_assert_true(answer->whole);
  return answer;
}

void
api_refused(ApiFixture *f, const char *method, const char *path, const char *body, guint status,
            const char *part)
{
  g_autoptr(HttpAnswer) answer = api_expect(f, method, path, body, status);
  g_autoptr(MfJson) json = http_answer_json(answer);
  g_assert_nonnull(strstr(answer->head, "Content-Type: application/problem+json"));
  g_assert_cmpint(json_object_get_int(json_object_object_get(json, "status")), ==, status);
  const char *type = json_object_get_string(json_object_object_get(json, "type"));
  g_assert_true(g_str_has_prefix(type, "https://mayfly.dev/problems/"));
  const char *detail = json_object_get_string(json_object_object_get(json, "detail"));
  if (strstr(detail, part) == NULL)
    g_error("%s %s: “%s” does not say “%s”", method, path, detail, part);
}

GSocket *
api_open(ApiFixture *f)
{
  GSocket *socket = connect_to(f->socket_path);
  g_socket_set_blocking(socket, FALSE);
  return socket;
}

void
api_say(GSocket *socket, const char *text)
{
  g_autoptr(GError) error = NULL;
  g_assert_cmpint(g_socket_send(socket, text, strlen(text), NULL, &error), ==, strlen(text));
}

GSocket *
api_open_get(ApiFixture *f, const char *path)
{
  GSocket *socket = api_open(f);
  g_autofree char *request = g_strdup_printf("GET %s HTTP/1.1\r\nHost: mayfly\r\n\r\n", path);
  api_say(socket, request);
  return socket;
}

/* One step of the server, then what the client got of it. FALSE: the server has closed. */
static gboolean
step(GSocket *socket, GString *got)
{
  char buffer[65536];
  g_autoptr(GError) error = NULL;
  g_main_context_iteration(NULL, FALSE);
  gssize n = g_socket_receive(socket, buffer, sizeof(buffer), NULL, &error);
  if (n > 0)
    g_string_append_len(got, buffer, n);
  else if (n == 0 || !g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
    return FALSE;
  else
    g_usleep(100);
  return TRUE;
}

void
api_read_until(GSocket *socket, GString *got, const char *text)
{
  while (memmem(got->str, got->len, text, strlen(text)) == NULL)
    if (!step(socket, got))
      g_error("The server closed before it said “%s”: %s", text, got->str);
}

void
api_read_to_end(GSocket *socket, GString *got)
{
  while (step(socket, got))
    continue;
}

void
api_settle(void)
{
  for (guint quiet = 0; quiet < 3; quiet++)
    while (g_main_context_iteration(NULL, FALSE))
      quiet = 0;
}

void
api_wait_for(const guint *value, guint wanted)
{
  while (*value != wanted)
    if (!g_main_context_iteration(NULL, FALSE))
      g_usleep(100);
}
