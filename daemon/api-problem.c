/* SPDX-License-Identifier: Apache-2.0 */
/* Errors as problem documents (RFC 9457): the type carries the code, the detail the sentence. */
#include "daemon/api-private.h"

#include "daemon/error.h"
#include "daemon/json.h"

#define CONTENT_TYPE "application/problem+json"

static const char *const titles[] = {
    [MF_ERROR_FAILED] = "It failed",
    [MF_ERROR_INVALID] = "The request is malformed",
    [MF_ERROR_LIMIT] = "More was asked for than is allowed",
    [MF_ERROR_NOT_FOUND] = "There is no such thing",
    [MF_ERROR_FORBIDDEN] = "Not yours to do",
    [MF_ERROR_CONFLICT] = "Not in this state",
    [MF_ERROR_BUSY] = "Full for now",
    [MF_ERROR_UNAVAILABLE] = "A service is not there",
    [MF_ERROR_NO_SPACE] = "The disk is full",
    [MF_ERROR_TIMEOUT] = "It did not come in time",
    [MF_ERROR_CANCELLED] = "It was cancelled",
    [MF_ERROR_DAMAGED] = "Something on disk is damaged",
};
G_STATIC_ASSERT(G_N_ELEMENTS(titles) == MF_ERROR_LAST_);

char *
mf_api_problem_text(MfErrorCode code, guint status, const char *detail)
{
  g_autoptr(MfJson) json = json_object_new_object();
  g_autofree char *type =
      g_strconcat("https://mayfly.dev/problems/", mf_error_code_to_string(code), NULL);
  /* The detail may quote what is not UTF-8; JSON has to be. */
  g_autofree char *text = g_utf8_make_valid(detail, -1);
  mf_json_add_string(json, "type", type);
  mf_json_add_string(json, "title", titles[code]);
  mf_json_add_uint(json, "status", status);
  mf_json_add_string(json, "detail", text);
  return g_strconcat(
      json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
      "\n", NULL);
}

/* HTTP has no phrase for 499. */
static const char *
phrase(guint status)
{
  return status == 499 ? "Cancelled" : soup_status_get_phrase(status);
}

void
mf_api_problem_body(SoupServerMessage *message, MfErrorCode code, guint status, const char *detail)
{
  char *text = mf_api_problem_text(code, status, detail);
  soup_server_message_set_response(message, CONTENT_TYPE, SOUP_MEMORY_TAKE, text, strlen(text));
}

void
mf_api_problem_set(SoupServerMessage *message, MfErrorCode code, guint status, const char *detail)
{
  soup_server_message_set_status(message, status, phrase(status));
  mf_api_problem_body(message, code, status, detail);
  if (code == MF_ERROR_BUSY || code == MF_ERROR_UNAVAILABLE)
    soup_message_headers_replace(soup_server_message_get_response_headers(message), "Retry-After",
                                 "5");
}

char *
mf_api_problem_response(MfErrorCode code, guint status, const char *detail)
{
  g_autofree char *text = mf_api_problem_text(code, status, detail);
  return g_strdup_printf("HTTP/1.1 %u %s\r\nContent-Type: " CONTENT_TYPE
                         "\r\nContent-Length: %" G_GSIZE_FORMAT "\r\nConnection: close\r\n\r\n%s",
                         status, phrase(status), strlen(text), text);
}
