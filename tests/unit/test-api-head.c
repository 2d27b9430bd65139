/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "daemon/api-head.h"
#include "daemon/error.h"

static void
test_end(void)
{
  g_assert_cmpuint(mf_api_head_find_end("a\r\n\r\nb", 6), ==, 5);
  g_assert_cmpuint(mf_api_head_find_end("a\n\nb", 4), ==, 3);
  g_assert_cmpuint(mf_api_head_find_end("a\r\n\nb", 5), ==, 4);
  g_assert_cmpuint(mf_api_head_find_end("a\r\n\r", 4), ==, 0);
  g_assert_cmpuint(mf_api_head_find_end("a\r\r\r\n", 5), ==, 0);
  g_assert_cmpuint(mf_api_head_find_end("", 0), ==, 0);
}

static void
becomes(const char *text, const char *wanted)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *head = mf_api_head_rewrite(text, strlen(text), &error);
  g_assert_no_error(error);
  g_assert_cmpstr(head, ==, wanted);
}

/* What refuses is in test-api-limits; here, what is left of a head that is taken. */
static void
test_rewrite(void)
{
  becomes("GET /a?b=%20 HTTP/1.1\r\nHost: evil\r\nRange: bytes=0-1\r\nCookie: x\r\nConnection: "
          "keep-alive\r\n\r\n",
          "GET /a?b=%20 HTTP/1.1\r\nHost: mayfly\r\n\r\n");
  becomes("GET / HTTP/1.0\n\n", "GET / HTTP/1.0\r\nHost: mayfly\r\n\r\n");
  becomes("GET http://x:1/y HTTP/1.1\r\nHost: z\r\n\r\n",
          "GET /y HTTP/1.1\r\nHost: mayfly\r\n\r\n");
  becomes("GET HTTP://x HTTP/1.1\r\nHost: z\r\n\r\n", "GET / HTTP/1.1\r\nHost: mayfly\r\n\r\n");
  becomes("POST / HTTP/1.1\r\nhost:\r\ncontent-length:  7 \r\nEXPECT: 100-Continue\r\n\r\n",
          "POST / HTTP/1.1\r\nHost: mayfly\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n");
  becomes("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n",
          "POST / HTTP/1.1\r\nHost: mayfly\r\nTransfer-Encoding: chunked\r\n\r\n");
}

static void
test_nul(void)
{
  g_autoptr(GError) error = NULL;
  static const char text[] = "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n";
  g_autofree char *head = mf_api_head_rewrite(text, sizeof(text) - 1, &error);
  g_assert_null(head);
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/api-head/end", test_end);
  g_test_add_func("/api-head/rewrite", test_rewrite);
  g_test_add_func("/api-head/nul", test_nul);
  return g_test_run();
}
