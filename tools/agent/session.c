/* SPDX-License-Identifier: Apache-2.0 */

/* The conversation with the host, and the loop: see session.h. */

#include "tools/agent/session.h"

#include "tools/agent/file.h"
#include "tools/agent/init.h"
#include "tools/agent/network-services.h"
#include "tools/agent/reseed.h"
#include "tools/agent/ssh-keys.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#define JOB_FILE "/etc/mayfly/job.json"
#define HELLO_AGAIN_MS                                                                             \
  2000 /* not welcomed: the host may have lost our greeting, or we its welcome */

static void
send_document(MfSession *self, uint8_t type, uint32_t exec, MfDocument *document)
{
  const char *text = json_object_to_json_string_ext(document, JSON_C_TO_STRING_PLAIN |
                                                                  JSON_C_TO_STRING_NOSLASHESCAPE);
  size_t left = strlen(text);
  do {
    size_t length = left < MF_FRAME_MAX_PAYLOAD ? left : MF_FRAME_MAX_PAYLOAD;
    left -= length;
    MfFrame frame = {
        .type = type,
        .flags = left > 0 ? MF_FRAME_MORE : 0,
        .exec = exec,
        .length = (uint32_t)length,
        .payload = (const uint8_t *)text,
    };
    mf_link_send(self->link, &frame);
    text += length;
  } while (left > 0);
}

static void
send_error(MfSession *self, uint32_t exec, const char *message)
{
  MF_AUTO_DOCUMENT MfDocument *document = json_object_new_object();
  json_object_object_add(document, "message", json_object_new_string(message));
  send_document(self, MF_FRAME_ERROR, exec, document);
}

static MfDocument *
shells(void)
{
  static const char *const known[] = {"bash", "sh"};
  static const char *const folders[] = {"/bin", "/usr/bin", "/usr/local/bin"};
  MfDocument *array = json_object_new_array();
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    bool found = false;
    for (size_t j = 0; j < sizeof folders / sizeof *folders && !found; j++) {
      MF_AUTO_FREE char *path = mf_util_printf("%s/%s", folders[j], known[i]);
      found = access(path, X_OK) == 0;
    }
    if (found)
      json_object_array_add(array, json_object_new_string(known[i]));
  }
  return array;
}

static void
send_hello(MfSession *self, bool welcomed)
{
  struct utsname names;
  uname(&names);
  MF_AUTO_DOCUMENT MfDocument *hello = json_object_new_object();
  json_object_object_add(hello, "protocol", json_object_new_int(MF_FRAME_PROTOCOL));
  json_object_object_add(hello, "version", json_object_new_string(MF_VERSION));
  json_object_object_add(hello, "instance", json_object_new_string(self->instance));
  json_object_object_add(hello, "welcomed", json_object_new_boolean(welcomed));
  json_object_object_add(hello, "hostname", json_object_new_string(names.nodename));
  json_object_object_add(hello, "kernel", json_object_new_string(names.release));
  json_object_object_add(hello, "init",
                         json_object_new_string(mf_ready_has_systemd() ? "systemd" : "other"));
  json_object_object_add(hello, "shells", shells());
  json_object_object_add(hello, "uptime_ms", json_object_new_int64(mf_util_uptime_ms()));
  if (self->token != NULL)
    json_object_object_add(hello, "token", json_object_new_string(self->token));
  send_document(self, MF_FRAME_HELLO, 0, hello);
}

static void
link_changed(void *owner, bool up)
{
  MfSession *self = owner;
  bool lost_place = up && self->welcomed;
  self->welcomed = false;
  mf_joiner_clear(&self->joiner);
  if (up && (!self->met || lost_place))
    send_hello(self, false);
  self->hello_at = mf_util_now_ms() + HELLO_AGAIN_MS;
}

static void
take_welcome(MfSession *self, MfDocument *document)
{
  self->welcomed = self->met = true;
  self->told = MF_READY_NONE;
  send_hello(self, true);
  mf_exec_resume(&self->execs, document);
}

static void
set_environment(MfSession *self, MfDocument *document)
{
  char **env = mf_document_strv(document, "env");
  mf_environment_clear(&self->environment);
  mf_environment_set_all(&self->environment, env);
  mf_document_strv_free(env);
}

/* Also to the file, so that an agent that is started again knows it. */
static char *
take_config(MfSession *self, MfDocument *document, const void *data, size_t length)
{
  set_environment(self, document);
  if (mf_util_write_file(JOB_FILE, 0600, data, length))
    return NULL;
  return mf_util_printf(JOB_FILE " cannot be written in this machine: %s", strerror(errno));
}

static void
load_job_file(MfSession *self)
{
  size_t length;
  MF_AUTO_FREE char *text = mf_util_read_file(JOB_FILE, MF_FRAME_MAX_DOCUMENT, &length);
  if (text == NULL)
    return;
  MF_AUTO_DOCUMENT MfDocument *document = mf_document_parse(text, length);
  if (document != NULL)
    set_environment(self, document);
  else
    fprintf(stderr, "mayfly-agent: " JOB_FILE " is not a JSON object, ignoring\n");
  explicit_bzero(text, length);
}

static void
make_instance(char out[33])
{
  unsigned char bytes[16];
  /* Early in a boot the kernel may have no randomness yet; then this is still different from one
   * start to the next. */
  if (getrandom(bytes, sizeof bytes, GRND_NONBLOCK) != (ssize_t)sizeof bytes) {
    int64_t parts[2] = {mf_util_uptime_ms(), getpid()};
    memcpy(bytes, parts, sizeof bytes);
  }
  for (size_t i = 0; i < sizeof bytes; i++)
    snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* Another machine: who talked to the one that was saved must not take us for it. */
static void
become_another(MfSession *self, MfDocument *document)
{
  MfNetworkPlan plan;
  MfDocument *network;
  if (!json_object_object_get_ex(document, "network", &network) ||
      !mf_network_plan_read(&plan, network))
    return;
  make_instance(self->instance);
  mf_ready_begin_again(&self->ready, &plan);
  self->told = MF_READY_NONE;
  mf_ssh_keys_make();
}

/* The host's request with @token is done: any error of it was said before. */
static void
acknowledge(MfSession *self, MfDocument *document)
{
  const char *token = mf_document_string(document, "token");
  if (token == NULL)
    return;
  char *copy = mf_util_strdup(token);
  free(self->token);
  self->token = copy;
  send_hello(self, true);
  mf_link_push(self->link);
}

static void
send_file(MfSession *self, uint32_t exec, MfDocument *request)
{
  char *error = NULL;
  MF_AUTO_DOCUMENT MfDocument *answer = mf_file_get(request, &error);
  if (answer != NULL)
    send_document(self, MF_FRAME_PUT, exec, answer);
  else
    send_error(self, exec, error);
  free(error);
}

static void
take_document(MfSession *self, const MfFrame *frame, MfDocument *document, const void *data,
              size_t length)
{
  char *error = NULL;
  switch (frame->type) {
  case MF_FRAME_WELCOME:
    take_welcome(self, document);
    break;
  case MF_FRAME_CONFIG:
    error = take_config(self, document, data, length);
    break;
  case MF_FRAME_EXEC:
    mf_exec_start(&self->execs, frame->exec, document);
    break;
  case MF_FRAME_SIGNAL:
    mf_exec_signal(&self->execs, frame->exec, (int)mf_document_int(document, "signal", 0));
    break;
  case MF_FRAME_RESIZE:
    mf_exec_resize(&self->execs, frame->exec, (int)mf_document_int(document, "rows", 0),
                   (int)mf_document_int(document, "cols", 0));
    break;
  case MF_FRAME_RESEED:
    error = mf_reseed(document);
    become_another(self, document);
    break;
  case MF_FRAME_SETTLE:
    if (mf_document_bool(document, "saved")) {
      mf_ssh_keys_drop();
      mf_network_services_settle();
    }
    mf_reseed_settle();
    break;
  case MF_FRAME_PUT:
    error = mf_file_put(document);
    break;
  case MF_FRAME_GET:
    send_file(self, frame->exec, document);
    break;
  default:
    break;
  }
  if (error != NULL)
    send_error(self, frame->exec, error);
  free(error);
  if (frame->type == MF_FRAME_RESEED || frame->type == MF_FRAME_SETTLE)
    acknowledge(self, document);
}

/* An exec whose document cannot be read must end like any other, or the host would wait for it. */
static void
refuse_document(MfSession *self, const MfFrame *frame, const char *why)
{
  if (frame->type != MF_FRAME_EXEC) {
    send_error(self, frame->exec, why);
    return;
  }
  MF_AUTO_DOCUMENT MfDocument *nothing = json_object_new_object();
  mf_exec_start(&self->execs, frame->exec, nothing);
  mf_exec_refuse(mf_exec_find(&self->execs, frame->exec), 126, mf_util_strdup(why));
}

static void
join_document(MfSession *self, const MfFrame *frame)
{
  const uint8_t *data = NULL;
  size_t length = 0;
  MfJoinerResult result = mf_joiner_add(&self->joiner, frame, &data, &length);
  if (result == MF_JOINER_PARTIAL)
    return;
  if (frame->type == MF_FRAME_EXEC && mf_exec_is_known(&self->execs, frame->exec))
    return;
  MF_AUTO_DOCUMENT MfDocument *document =
      result == MF_JOINER_WHOLE ? mf_document_parse(data, length) : NULL;
  if (document != NULL)
    take_document(self, frame, document, data, length);
  else if (result == MF_JOINER_OVERSIZED)
    refuse_document(self, frame, "the document sent to the agent is larger than 4 MiB");
  else
    refuse_document(self, frame, "the document sent to the agent is not a JSON object");
}

static bool
link_frame(void *owner, const MfFrame *frame)
{
  MfSession *self = owner;
  if (self->boot_fd >= 0)
    return false;
  switch (frame->type) {
  case MF_FRAME_STDIN:
    mf_exec_stdin(&self->execs, frame);
    break;
  case MF_FRAME_EOF:
    mf_exec_eof(&self->execs, frame);
    break;
  case MF_FRAME_ACK:
    mf_exec_ack(&self->execs, frame);
    break;
  case MF_FRAME_PING: {
    MfFrame pong = *frame;
    pong.type = MF_FRAME_PONG;
    mf_link_send(self->link, &pong);
    break;
  }
  case MF_FRAME_WELCOME:
  case MF_FRAME_CONFIG:
  case MF_FRAME_EXEC:
  case MF_FRAME_SIGNAL:
  case MF_FRAME_RESIZE:
  case MF_FRAME_RESEED:
  case MF_FRAME_SETTLE:
  case MF_FRAME_PUT:
  case MF_FRAME_GET:
    join_document(self, frame);
    break;
  default:
    break;
  }
  return true;
}

static bool
send_ready(MfSession *self)
{
  if (self->told >= self->ready.level)
    return false;
  self->told++;
  MF_AUTO_DOCUMENT MfDocument *document = json_object_new_object();
  json_object_object_add(document, "level",
                         json_object_new_string(mf_ready_level_to_string(self->told)));
  json_object_object_add(document, "uptime_ms",
                         json_object_new_int64(self->ready.reached_ms[self->told]));
  send_document(self, MF_FRAME_READY, 0, document);
  return true;
}

static bool
link_ready_to_send(void *owner)
{
  MfSession *self = owner;
  return self->welcomed && (send_ready(self) || mf_exec_send_next(&self->execs));
}

static void
reap(MfSession *self)
{
  struct signalfd_siginfo info;
  while (read(self->child_fd, &info, sizeof info) > 0)
    continue;
  for (pid_t pid; (pid = waitpid(-1, NULL, WNOHANG)) > 0;) {
    mf_exec_reaped(&self->execs, pid);
    mf_ready_reaped(&self->ready, pid);
  }
}

/* The init that we forked from waits with handing over until the port is ours: another agent may
 * start then. */
static void
follow_boot(MfSession *self)
{
  if (!self->port_told && self->link->fd >= 0) {
    self->port_told = true;
    (void)!write(self->boot_fd, "", 1);
  }
  if (mf_poller_got(&self->poller, self->boot_place) == 0)
    return;
  /* First the root comes; then the other end closes, when the image's init has taken over. */
  if (!self->in_root && !mf_init_follow_root(self->boot_fd))
    _exit(1);
  if (!self->in_root) {
    self->in_root = true;
    return;
  }
  mf_util_close(&self->boot_fd);
  load_job_file(self);
}

static void
run_once(MfSession *self)
{
  MfPoller *poller = &self->poller;
  mf_poller_begin(poller);
  self->child_place = mf_poller_add(poller, self->child_fd, POLLIN);
  self->boot_place = mf_poller_add(poller, self->boot_fd, POLLIN);
  mf_exec_prepare(&self->execs, poller);
  if (self->boot_fd < 0)
    mf_ready_prepare(&self->ready, poller);
  if (self->link->up && !self->welcomed) {
    if (poller->now >= self->hello_at) {
      send_hello(self, false);
      self->hello_at = poller->now + HELLO_AGAIN_MS;
    }
    mf_poller_wake_at(poller, self->hello_at);
  }
  mf_link_prepare(self->link, poller);
  if (self->link->gone)
    return;
  mf_poller_wait(poller);

  if (self->boot_fd >= 0)
    follow_boot(self);
  mf_link_dispatch(self->link, poller);
  mf_exec_dispatch(&self->execs, poller);
  mf_ready_dispatch(&self->ready, poller);
  if (mf_poller_got(poller, self->child_place) != 0)
    reap(self);
}

void
mf_session_run(MfLinkKind kind, const char *path, int fd, int boot_fd)
{
  static const MfLinkEvents events = {link_changed, link_frame, link_ready_to_send};
  MfSession *self = mf_util_alloc(sizeof *self);
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  sigprocmask(SIG_BLOCK, &children, NULL);
  self->child_fd = signalfd(-1, &children, SFD_NONBLOCK | SFD_CLOEXEC);
  self->boot_fd = boot_fd;
  make_instance(self->instance);
  mf_ready_init(&self->ready);
  self->link = mf_link_new(kind, path, fd, &events, self);
  self->execs.link = self->link;
  self->execs.environment = &self->environment;
  self->execs.groups = kind == MF_LINK_PORT; /* elsewhere the cgroups are not the agent's to make */
  if (boot_fd < 0)
    load_job_file(self);
  while (!self->link->gone)
    run_once(self);
  mf_link_free(self->link);
  mf_environment_clear(&self->environment);
  free(self->execs.known);
  free(self->token);
  mf_poller_clear(&self->poller);
  mf_util_close(&self->child_fd);
  free(self);
}
