/* SPDX-License-Identifier: Apache-2.0 */
/* See serve.h. */
#include "tests/lib/serve.h"

#include <gio/gunixsocketaddress.h>

SoupServer *
serve_at(const char *path, SoupServerCallback callback, gpointer data)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
  SoupServer *server = soup_server_new(NULL, NULL);
  soup_server_add_handler(server, NULL, callback, data, NULL);
  g_assert_true(soup_server_listen(server, address, 0, &error));
  g_assert_no_error(error);
  return server;
}
