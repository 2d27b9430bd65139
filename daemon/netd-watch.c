/* SPDX-License-Identifier: Apache-2.0 */
/* Watch: two netlink sockets that only listen. */
#include "daemon/netd-watch.h"

#include <glib-unix.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "daemon/auto.h"
#include "daemon/error.h"

typedef struct {
  int fd;
  guint source;
} Listener;

struct MfNetdWatch {
  void (*changed)(gpointer data);
  gpointer data;
  Listener netfilter;
  Listener route;
};

/* Emptied whatever it holds. ENOBUFS means that more came than fitted, which is a change too. */
static gboolean
on_readable(gint fd, GIOCondition condition, gpointer data)
{
  MfNetdWatch *self = data;
  char buffer[16384];
  for (;;) {
    ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n > 0 || (n < 0 && (errno == EINTR || errno == ENOBUFS)))
      continue;
    break;
  }
  self->changed(self->data);
  return G_SOURCE_CONTINUE;
}

static gboolean
listen_to(MfNetdWatch *self, Listener *listener, int protocol, const int *groups, GError **error)
{
  g_auto(MfFd) fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  struct sockaddr_nl address = {.nl_family = AF_NETLINK};
  gboolean good = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
  for (guint i = 0; good && groups[i] != 0; i++)
    good = setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof groups[i]) == 0;
  if (!good) {
    g_set_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE,
                "the kernel does not tell about changes of the network (netlink protocol %d): %s; "
                "run mayfly-netd as "
                "root and load nf_tables",
                protocol, g_strerror(errno));
    return FALSE;
  }
  listener->source = g_unix_fd_add(fd, G_IO_IN | G_IO_ERR, on_readable, self);
  listener->fd = mf_fd_steal(&fd);
  return TRUE;
}

MfNetdWatch *
mf_netd_watch_new(void (*changed)(gpointer data), gpointer data, GError **error)
{
  static const int netfilter_groups[] = {NFNLGRP_NFTABLES, 0};
  static const int route_groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, 0};
  g_autoptr(MfNetdWatch) self = g_new0(MfNetdWatch, 1);
  self->changed = changed;
  self->data = data;
  self->netfilter.fd = self->route.fd = -1;
  if (!listen_to(self, &self->netfilter, NETLINK_NETFILTER, netfilter_groups, error) ||
      !listen_to(self, &self->route, NETLINK_ROUTE, route_groups, error))
    return NULL;
  return g_steal_pointer(&self);
}

static void
listener_clear(Listener *listener)
{
  g_clear_handle_id(&listener->source, g_source_remove);
  mf_fd_clear(&listener->fd);
}

void
mf_netd_watch_free(MfNetdWatch *self)
{
  if (self == NULL)
    return;
  listener_clear(&self->netfilter);
  listener_clear(&self->route);
  g_free(self);
}
