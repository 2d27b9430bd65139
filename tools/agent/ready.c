/* SPDX-License-Identifier: Apache-2.0 */

/* Readiness levels: see ready.h. */

#include "tools/agent/ready.h"

#include "tools/agent/network-services.h"
#include "tools/agent/util.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define LOOK_MS      100 /* a look costs some system calls; asking systemctl costs a process */
#define ASK_MS       200
#define PLAN_LOOK_MS 10 /* a fork waits for nothing else */
/* How long a fork waits for what the image has for its network. */
#define SERVED_MS 5000
/* How long that in turn waits: until a job has begun. */
#define BEGUN_MS 2000

void
mf_ready_init(MfReady *self)
{
  memset(self, 0, sizeof *self);
  self->answer_fd = self->place = -1;
}

const char *
mf_ready_level_to_string(MfReadyLevel level)
{
  static const char *const names[] = {"none", "agent", "network", "system"};
  return names[level];
}

/* The folder says it, but only some time after systemd has become the first process. */
bool
mf_ready_has_systemd(void)
{
  char program[256];
  ssize_t length = readlink("/proc/1/exe", program, sizeof program - 1);
  program[length > 0 ? length : 0] = '\0';
  const char *name = strrchr(program, '/');
  return access("/run/systemd/system", F_OK) == 0 ||
         (name != NULL && strncmp(name, "/systemd", 8) == 0);
}

static bool
find_gateway(char address[INET_ADDRSTRLEN])
{
  MF_AUTO_FREE char *routes = mf_util_read_file("/proc/net/route", 1 << 20, NULL);
  for (char *line = routes; line != NULL && *line != '\0';) {
    char name[32];
    unsigned destination, gateway, flags, mask;
    if (sscanf(line, "%31s %x %x %x %*d %*d %*d %x", name, &destination, &gateway, &flags, &mask) ==
            5 &&
        destination == 0 && mask == 0) {
      struct in_addr in = {.s_addr = gateway};
      return inet_ntop(AF_INET, &in, address, INET_ADDRSTRLEN) != NULL;
    }
    char *end = strchr(line, '\n');
    line = end != NULL ? end + 1 : NULL;
  }
  return false;
}

static bool
has_global_address(void)
{
  struct ifaddrs *all = NULL;
  if (getifaddrs(&all) != 0)
    return false;
  bool found = false;
  for (struct ifaddrs *one = all; one != NULL; one = one->ifa_next) {
    if (one->ifa_addr == NULL || one->ifa_addr->sa_family != AF_INET ||
        (one->ifa_flags & IFF_LOOPBACK) != 0)
      continue;
    uint32_t address = ntohl(((struct sockaddr_in *)(void *)one->ifa_addr)->sin_addr.s_addr);
    bool link_local = address >> 16 == 0xa9fe;
    found = found || (address != 0 && !link_local);
  }
  freeifaddrs(all);
  return found;
}

/* Does a file of this name under some entry of @folder begin with @prefix? */
static bool
some_entry_says(const char *folder, const char *file, const char *prefix)
{
  DIR *entries = opendir(folder);
  bool found = false;
  for (struct dirent *entry; entries != NULL && !found && (entry = readdir(entries)) != NULL;) {
    if (entry->d_name[0] == '.')
      continue;
    MF_AUTO_FREE char *path = mf_util_printf("%s/%s/%s", folder, entry->d_name, file);
    MF_AUTO_FREE char *text = mf_util_read_file(path, 65536, NULL);
    found = text != NULL && strncmp(text, prefix, strlen(prefix)) == 0;
  }
  if (entries != NULL)
    closedir(entries);
  return found;
}

/* An interface whose driver is not loaded yet is seen on its bus, so "none" is certain at once. */
static bool
has_interface(void)
{
  return some_entry_says("/sys/bus/pci/devices", "class", "0x02") ||
         some_entry_says("/sys/bus/virtio/devices", "device", "0x0001\n") ||
         some_entry_says("/sys/class/net", "device/uevent", "");
}

static void
reach(MfReady *self, MfReadyLevel level)
{
  self->level = level;
  self->reached_ms[level] = mf_util_uptime_ms();
  self->started = self->started || level == MF_READY_SYSTEM;
}

/* --wait lets systemctl sleep until the start is over, instead of us asking again and again. */
static void
ask_systemd(MfReady *self)
{
  int answer[2];
  if (pipe2(answer, O_CLOEXEC) != 0)
    return;
  self->asking = fork();
  if (self->asking == 0) {
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    dup2(nothing, 0);
    dup2(answer[1], 1);
    dup2(nothing, 2);
    const char *wait = self->cannot_wait ? NULL : "--wait";
    execlp("systemctl", "systemctl", "is-system-running", wait, (char *)NULL);
    _exit(127);
  }
  close(answer[1]);
  if (self->asking < 0) {
    self->asking = 0;
    close(answer[0]);
    return;
  }
  fcntl(answer[0], F_SETFL, O_NONBLOCK);
  self->answer_fd = answer[0];
  self->answer_length = 0;
}

void
mf_ready_begin_again(MfReady *self, const MfNetworkPlan *plan)
{
  self->level = MF_READY_NONE;
  self->look_at = 0;
  self->plan = *plan;
  self->plan_since = mf_util_now_ms();
  self->plan_done = self->plan_over = false;
}

/* What the image has for its network comes later, and finds all as it would have set it. */
static bool
carry_out_plan(MfReady *self, bool late)
{
  bool others = !late && mf_network_services_insist();
  if (!self->plan_done && !others && (late || mf_network_is_there(&self->plan)))
    self->plan_done = mf_network_set_up(&self->plan);
  return (self->plan_done || others) && mf_network_is_up(&self->plan);
}

static bool
has_network(MfReady *self, int64_t now)
{
  char gateway[INET_ADDRSTRLEN];
  if (self->plan.mac[0] == '\0')
    return !has_interface() || (find_gateway(gateway) && has_global_address() &&
                                mf_network_services_fill_names(gateway));
  bool late = now >= self->plan_since + SERVED_MS;
  return carry_out_plan(self, late) && find_gateway(gateway) && has_global_address() &&
         (late || mf_network_services_have_names());
}

static void
look(MfReady *self, int64_t now)
{
  self->look_at = now + (self->plan.mac[0] != '\0' ? PLAN_LOOK_MS : LOOK_MS);
  if (self->level == MF_READY_AGENT && has_network(self, now))
    reach(self, MF_READY_NETWORK);
  if (self->level != MF_READY_NETWORK || self->asking != 0)
    return;
  if (self->started || !mf_ready_has_systemd()) {
    reach(self, MF_READY_SYSTEM);
  } else if (access("/run/systemd/private", F_OK) == 0) {
    self->look_at = now + ASK_MS;
    ask_systemd(self);
  }
}

/* Whether or not the interface has come by then. */
static void
end_plan(MfReady *self, MfPoller *poller)
{
  int64_t end = self->plan_since + BEGUN_MS;
  if (self->plan.mac[0] == '\0' || self->plan_over)
    return;
  self->plan_over = poller->now >= end;
  if (self->plan_over)
    mf_network_services_go_on();
  else
    mf_poller_wake_at(poller, end);
}

void
mf_ready_prepare(MfReady *self, MfPoller *poller)
{
  end_plan(self, poller);
  if (self->level == MF_READY_NONE)
    reach(self, MF_READY_AGENT);
  if (self->level == MF_READY_SYSTEM)
    return;
  if (self->asking == 0 && poller->now >= self->look_at)
    look(self, poller->now);
  if (self->asking == 0 && self->level != MF_READY_SYSTEM)
    mf_poller_wake_at(poller, self->look_at);
  self->place = self->answer_fd >= 0 ? mf_poller_add(poller, self->answer_fd, POLLIN) : -1;
}

static void
read_answer(MfReady *self)
{
  size_t room = sizeof self->answer - 1 - self->answer_length;
  ssize_t got = read(self->answer_fd, self->answer + self->answer_length, room);
  if (got < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (got > 0) {
    self->answer_length += (size_t)got;
    return;
  }
  mf_util_close(&self->answer_fd);
  self->answer[self->answer_length] = '\0';
  self->answer[strcspn(self->answer, "\n")] = '\0';
  if (strcmp(self->answer, "running") == 0 || strcmp(self->answer, "degraded") == 0)
    reach(self, MF_READY_SYSTEM);
  else if (self->answer_length == 0)
    self->cannot_wait = true;
}

void
mf_ready_dispatch(MfReady *self, const MfPoller *poller)
{
  if (self->answer_fd >= 0 && mf_poller_got(poller, self->place) != 0)
    read_answer(self);
}

void
mf_ready_reaped(MfReady *self, pid_t pid)
{
  if (self->asking == pid)
    self->asking = 0;
}
