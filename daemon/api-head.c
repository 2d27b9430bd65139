/* SPDX-License-Identifier: Apache-2.0 */
/* A request's head, taken strictly: what is not plainly right is refused. */
#include "daemon/api-head.h"

#include <string.h>

#include "daemon/error.h"

gsize
mf_api_head_find_end(const char *data, gsize length)
{
  for (gsize i = 0; i + 1 < length; i++) {
    if (data[i] != '\n')
      continue;
    if (data[i + 1] == '\n')
      return i + 2;
    if (data[i + 1] == '\r' && i + 2 < length && data[i + 2] == '\n')
      return i + 3;
  }
  return 0;
}

static gboolean
refuse(GError **error, const char *what)
{
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "This is no HTTP request: %s.", what);
  return FALSE;
}

/* The path and query of RFC 3986: what a URI parser takes without a question. */
static gboolean
is_target(const char *text)
{
  if (*text != '/')
    return FALSE;
  for (; *text != '\0'; text++) {
    if (*text == '%' && (!g_ascii_isxdigit(text[1]) || !g_ascii_isxdigit(text[2])))
      return FALSE;
    if (!g_ascii_isalnum(*text) && strchr("-._~!$&'()*+,;=:@/?%", *text) == NULL)
      return FALSE;
  }
  return TRUE;
}

static gboolean
is_method(const char *text)
{
  gsize length = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
  return length >= 1 && length <= 16 && text[length] == '\0';
}

/* "GET /path HTTP/1.1", or with the whole URI for a path, as a client of a proxy says it. */
static gboolean
rewrite_line(const char *line, GString *out, gboolean *ret_old, GError **error)
{
  g_auto(GStrv) parts = g_strsplit(line, " ", 4);
  if (g_strv_length(parts) != 3 || !is_method(parts[0]))
    return refuse(error, "it must begin with a line like \"GET /v1/info HTTP/1.1\"");
  const char *target = parts[1];
  if (g_ascii_strncasecmp(target, "http://", 7) == 0)
    target = strchr(target + 7, '/') != NULL ? strchr(target + 7, '/') : "/";
  if (!is_target(target))
    return refuse(error, "its path must begin with / and have other characters than "
                         "letters, digits and -._~!$&'()*+,;=:@/? escaped as %XX");
  *ret_old = strcmp(parts[2], "HTTP/1.0") == 0;
  if (!*ret_old && strcmp(parts[2], "HTTP/1.1") != 0)
    return refuse(error, "only HTTP/1.0 and HTTP/1.1 are spoken here");
  g_string_append_printf(out, "%s %s %s\r\nHost: mayfly\r\n", parts[0], target, parts[2]);
  return TRUE;
}

typedef struct {
  gboolean host, length, chunked;
} Seen;

static gboolean
is_length(const char *text)
{
  gsize digits = strspn(text, "0123456789");
  return digits >= 1 && digits <= 15 && text[digits] == '\0';
}

static gboolean
take_field(const char *name, const char *value, Seen *seen, GString *out, GError **error)
{
  if (g_ascii_strcasecmp(name, "Host") == 0) {
    seen->host = TRUE;
  } else if (g_ascii_strcasecmp(name, "Content-Length") == 0) {
    if (seen->length || !is_length(value))
      return refuse(error, "its Content-Length must be there once, and a number");
    seen->length = TRUE;
    g_string_append_printf(out, "Content-Length: %s\r\n", value);
  } else if (g_ascii_strcasecmp(name, "Transfer-Encoding") == 0) {
    if (seen->chunked || g_ascii_strcasecmp(value, "chunked") != 0)
      return refuse(error, "the only Transfer-Encoding known here is chunked");
    seen->chunked = TRUE;
    g_string_append(out, "Transfer-Encoding: chunked\r\n");
  } else if (g_ascii_strcasecmp(name, "Expect") == 0) {
    if (g_ascii_strcasecmp(value, "100-continue") != 0)
      return refuse(error, "the only thing to Expect is 100-continue");
    g_string_append(out, "Expect: 100-continue\r\n");
  }
  return TRUE;
}

static gboolean
is_name(const char *text)
{
  for (const char *c = text; *c != '\0'; c++)
    if (!g_ascii_isalnum(*c) && strchr("!#$%&'*+-.^_`|~", *c) == NULL)
      return FALSE;
  return *text != '\0';
}

static gboolean
rewrite_fields(char *const *lines, gboolean old, GString *out, GError **error)
{
  Seen seen = {FALSE, FALSE, FALSE};
  for (; *lines != NULL; lines++) {
    char *line = *lines;
    char *colon = strchr(line, ':');
    if (*line == '\0')
      continue;
    if (colon != NULL)
      *colon = '\0';
    if (colon == NULL || !is_name(line))
      return refuse(error, "each line of its head must be like \"Name: value\"");
    if (!take_field(line, g_strstrip(colon + 1), &seen, out, error))
      return FALSE;
  }
  if (!seen.host && !old)
    return refuse(error, "HTTP/1.1 wants a Host line, whatever it says");
  if (seen.length && seen.chunked)
    return refuse(error, "its body has a Content-Length and is chunked, which cannot be");
  return TRUE;
}

/* Others than those that end lines, and tabs. */
static gboolean
has_controls(const char *data, gsize length)
{
  for (gsize i = 0; i < length; i++) {
    gboolean good = !g_ascii_iscntrl(data[i]) || data[i] == '\t' || data[i] == '\n' ||
                    (data[i] == '\r' && i + 1 < length && data[i + 1] == '\n');
    if (!good)
      return TRUE;
  }
  return FALSE;
}

char *
mf_api_head_rewrite(const char *data, gsize length, GError **error)
{
  gboolean old = FALSE;
  if (has_controls(data, length)) {
    refuse(error, "its head has control characters");
    return NULL;
  }
  g_autofree char *text = g_strndup(data, length);
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  for (char **line = lines; *line != NULL; line++)
    if (g_str_has_suffix(*line, "\r"))
      (*line)[strlen(*line) - 1] = '\0';
  g_autoptr(GString) out = g_string_new(NULL);
  if (lines[0] == NULL || !rewrite_line(lines[0], out, &old, error) ||
      !rewrite_fields(lines + 1, old, out, error))
    return NULL;
  g_string_append(out, "\r\n");
  return g_string_free(g_steal_pointer(&out), FALSE);
}
