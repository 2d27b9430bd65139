/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/hypervisor-rig.h"

#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <grp.h>
#include <pwd.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/domain-xml.h"
#include "daemon/error.h"

#define PATIENCE_S RIG_PATIENCE_S
#define TAP        "mf0"

MfConfig *rig_config;
MfHypervisor *rig_hypervisor;
static GPtrArray *events;
static char *template_text;
static struct passwd *user;
static GPid own_libvirtd;

/* --- being root for a moment, and waiting --- */

static void
become_root(void)
{
  if (user != NULL)
    g_assert_no_errno(setresuid(0, 0, 0));
}

static void
become_user(void)
{
  if (user == NULL)
    return;
  /* Root stays in the saved id alone: libvirt refuses to work in what looks like a setuid program.
   */
  g_assert_no_errno(setresgid(user->pw_gid, user->pw_gid, 0));
  g_assert_no_errno(setresuid(user->pw_uid, user->pw_uid, 0));
}

void
rig_as_root(const char *command)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *output = NULL;
  g_autofree char *said = NULL;
  int status = 0;
  const char *argv[] = {"/bin/bash", "-c", command, NULL};

  become_root();
  gboolean spawned = g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &output,
                                  &said, &status, &error);
  become_user();
  g_assert_no_error(error);
  g_assert_true(spawned);
  if (!g_spawn_check_wait_status(status, &error))
    g_error("%s: %s%s", command, output, said);
}

static gboolean
on_timeout(gpointer expired)
{
  *(gboolean *)expired = TRUE;
  return G_SOURCE_REMOVE;
}

gboolean
rig_iterate_until(gboolean (*done)(gconstpointer), gconstpointer data, guint seconds)
{
  gboolean expired = FALSE;
  guint timeout = g_timeout_add_seconds(seconds, on_timeout, &expired);

  while (!done(data) && !expired)
    g_main_context_iteration(NULL, TRUE);
  if (!expired)
    g_source_remove(timeout);
  return done(data);
}

void
rig_on_ready(GObject *source, GAsyncResult *result, gpointer slot)
{
  *(GAsyncResult **)slot = g_object_ref(result);
}

gboolean
rig_has_result(gconstpointer slot)
{
  return *(GAsyncResult *const *)slot != NULL;
}

GAsyncResult *
rig_wait_result(GAsyncResult **slot)
{
  g_assert_true(rig_iterate_until(rig_has_result, slot, PATIENCE_S));
  return *slot;
}

gboolean
rig_is_up(gconstpointer unused)
{
  return mf_hypervisor_is_up(rig_hypervisor);
}

gboolean
rig_is_down(gconstpointer unused)
{
  return !mf_hypervisor_is_up(rig_hypervisor);
}

const Event *
rig_find_event(const char *id, MfDomainEvent event)
{
  for (guint i = 0; i < events->len; i++) {
    const Event *seen = g_ptr_array_index(events, i);
    if (g_str_equal(seen->job_id, id) && seen->event == event)
      return seen;
  }
  return NULL;
}

static gboolean
has_event(gconstpointer data)
{
  const Event *wanted = data;
  return rig_find_event(wanted->job_id, wanted->event) != NULL;
}

void
rig_assert_event(const char *id, MfDomainEvent event)
{
  Event wanted = {.job_id = (char *)id, .event = event};
  if (!rig_iterate_until(has_event, &wanted, PATIENCE_S))
    g_error("machine %s: no event %s", id, mf_domain_event_to_string(event));
}

static void
on_domain_event(MfHypervisor *self, const char *job_id, int event, const char *detail,
                gpointer unused)
{
  Event *seen = g_new0(Event, 1);
  seen->job_id = g_strdup(job_id);
  seen->event = (MfDomainEvent)event;
  seen->detail = g_strdup(detail);
  g_ptr_array_add(events, seen);
}

static void
event_free(gpointer data)
{
  Event *self = data;
  g_free(self->job_id);
  g_free(self->detail);
  g_free(self);
}

/* --- the calls, one after the other --- */

char *
rig_create_overlay(const char *id, const char *golden, GError **error)
{
  g_autoptr(GAsyncResult) result = NULL;
  mf_hypervisor_create_overlay_async(rig_hypervisor, id, golden, 64 * MIB, NULL, rig_on_ready,
                                     &result);
  return mf_hypervisor_create_overlay_finish(rig_hypervisor, rig_wait_result(&result), error);
}

void
rig_delete_overlay(const char *id)
{
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;
  mf_hypervisor_delete_overlay_async(rig_hypervisor, id, NULL, rig_on_ready, &result);
  gboolean done =
      mf_hypervisor_delete_overlay_finish(rig_hypervisor, rig_wait_result(&result), &error);
  g_assert_no_error(error);
  g_assert_true(done);
}

gboolean
rig_start(const char *xml, GError **error)
{
  g_autoptr(GAsyncResult) result = NULL;
  mf_hypervisor_start_async(rig_hypervisor, xml, NULL, rig_on_ready, &result);
  return mf_hypervisor_start_finish(rig_hypervisor, rig_wait_result(&result), error);
}

gboolean
rig_resume(const char *id, GError **error)
{
  g_autoptr(GAsyncResult) result = NULL;
  mf_hypervisor_resume_async(rig_hypervisor, id, NULL, rig_on_ready, &result);
  return mf_hypervisor_resume_finish(rig_hypervisor, rig_wait_result(&result), error);
}

gboolean
rig_destroy(const char *id, GError **error)
{
  g_autoptr(GAsyncResult) result = NULL;
  mf_hypervisor_destroy_async(rig_hypervisor, id, NULL, rig_on_ready, &result);
  return mf_hypervisor_destroy_finish(rig_hypervisor, rig_wait_result(&result), error);
}

char **
rig_list_domains(void)
{
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;
  mf_hypervisor_list_domains_async(rig_hypervisor, NULL, rig_on_ready, &result);
  char **ids = mf_hypervisor_list_domains_finish(rig_hypervisor, rig_wait_result(&result), &error);
  g_assert_no_error(error);
  return ids;
}

char **
rig_list_overlays(void)
{
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;
  mf_hypervisor_list_overlays_async(rig_hypervisor, NULL, rig_on_ready, &result);
  char **ids = mf_hypervisor_list_overlays_finish(rig_hypervisor, rig_wait_result(&result), &error);
  g_assert_no_error(error);
  return ids;
}

void
rig_prepare(void)
{
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;
  mf_hypervisor_prepare_async(rig_hypervisor, NULL, rig_on_ready, &result);
  gboolean done = mf_hypervisor_prepare_finish(rig_hypervisor, rig_wait_result(&result), &error);
  g_assert_no_error(error);
  g_assert_true(done);
}

/* --- machines --- */

/* A golden whose boot sector is @sector; 0444, as images are. (transfer full) */
char *
rig_make_golden(const char *name, const guint8 sector[512])
{
  g_autofree char *raw = g_strconcat(STATE "/images/", name, ".raw", NULL);
  char *golden = g_strconcat(STATE "/images/", name, ".qcow2", NULL);
  g_autoptr(GError) error = NULL;

  g_file_set_contents(raw, (const char *)sector, 512, &error);
  g_assert_no_error(error);
  g_assert_no_errno(truncate(raw, MIB));
  g_autofree char *command = g_strdup_printf(
      "qemu-img convert -f raw -O qcow2 %s %s && chown --reference=%s %s && chmod 0444 %s && rm %s",
      raw, golden, raw, golden, golden, raw);
  rig_as_root(command);
  return golden;
}

char *
rig_machine_xml(const char *id, const char *golden, const char *overlay)
{
  g_autofree char *agent = g_strconcat(MACHINES "/", id, "/agent.sock", NULL);
  g_autofree char *console = g_strconcat(MACHINES "/", id, "/console.sock", NULL);
  g_autofree char *uuid = g_uuid_string_random();
  g_autoptr(GError) error = NULL;
  g_autofree char *kernel = g_strconcat(STATE "/images/", id, ".kernel", NULL);
  MfImage image = {.name = (char *)"test", .disk = (char *)golden};
  if (g_file_test(kernel, G_FILE_TEST_EXISTS))
    image.kernel = image.initrd = kernel;
  MfPort port = {.tap = TAP, .mac = "52:54:00:6d:00:00"};
  MfDomainSpec spec = {
      .id = id,
      .uuid = uuid,
      .kvm = FALSE,
      .emulator = rig_config->emulator,
      .cpus = 1,
      .memory = 64 * MIB,
      .overlay = overlay,
      .image = &image,
      .port = &port,
      .agent_socket = agent,
      .console_socket = console,
      .label = mf_hypervisor_label(rig_hypervisor),
  };
  char *xml = mf_domain_xml(template_text, &spec, &error);
  g_assert_no_error(error);
  return xml;
}

void
rig_make_folder(const char *id)
{
  g_autofree char *folder = g_strconcat(MACHINES "/", id, NULL);
  g_assert_no_errno(g_mkdir(folder, 02770));
}

/* A paused machine of job @id over a golden with @sector. */
void
rig_start_machine(const char *id, const guint8 sector[512])
{
  g_autoptr(GError) error = NULL;
  g_autofree char *golden = rig_make_golden(id, sector);
  g_autofree char *overlay = rig_create_overlay(id, golden, &error);
  g_assert_no_error(error);
  rig_make_folder(id);
  g_autofree char *xml = rig_machine_xml(id, golden, overlay);
  gboolean started = rig_start(xml, &error);
  g_assert_no_error(error);
  g_assert_true(started);
  rig_assert_event(id, MF_DOMAIN_EVENT_STARTED);
}

void
rig_resume_machine(const char *id)
{
  g_autoptr(GError) error = NULL;
  gboolean resumed = rig_resume(id, &error);
  g_assert_no_error(error);
  g_assert_true(resumed);
}

/* Whatever became of it: nothing of @id is there afterwards. */
void
rig_remove_machine(const char *id)
{
  g_autoptr(GError) error = NULL;
  gboolean destroyed = rig_destroy(id, &error);
  g_assert_no_error(error);
  g_assert_true(destroyed);
  rig_delete_overlay(id);
  g_autofree char *command =
      g_strdup_printf("rm -rf " MACHINES "/%s " STATE "/images/%s.qcow2", id, id);
  rig_as_root(command);
  g_auto(GStrv) domains = rig_list_domains();
  g_assert_false(g_strv_contains((const char *const *)domains, id));
}

void
rig_assert_owner(const char *path, uid_t uid, mode_t mode)
{
  struct stat st;
  g_assert_no_errno(stat(path, &st));
  g_assert_cmpuint(st.st_uid, ==, uid);
  g_assert_cmpuint(st.st_mode & 07777, ==, mode);
}

/* Leaves @left bytes free on the overlays' filesystem. */
void
rig_fill_disk(guint64 left)
{
  struct statvfs st;
  g_assert_no_errno(statvfs(STATE "/overlays", &st));
  guint64 free = (guint64)st.f_bavail * st.f_frsize;
  g_assert_cmpuint(free, >, left);
  g_autofree char *command =
      g_strdup_printf("fallocate -l %" G_GUINT64_FORMAT " " STATE "/overlays/ballast", free - left);
  rig_as_root(command);
}

/* Connected while paused: the first byte that the guest prints arrives. */
char
rig_first_console_byte(const char *id)
{
  g_autofree char *path = g_strconcat(MACHINES "/", id, "/console.sock", NULL);
  g_autoptr(GSocketClient) client = g_socket_client_new();
  g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
  g_autoptr(GError) error = NULL;
  g_autoptr(GSocketConnection) connection =
      g_socket_client_connect(client, G_SOCKET_CONNECTABLE(address), NULL, &error);
  char byte = 0;

  g_assert_no_error(error);
  rig_resume_machine(id);
  while (byte != 'M') {
    gssize n = g_input_stream_read(g_io_stream_get_input_stream(G_IO_STREAM(connection)), &byte, 1,
                                   NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(n, ==, 1);
  }
  return byte;
}

void
rig_start_own_libvirtd(void)
{
  const char *argv[] = {"libvirtd", NULL};
  g_autoptr(GError) error = NULL;

  become_root();
  g_spawn_async(NULL, (char **)argv, NULL,
                G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL |
                    G_SPAWN_STDERR_TO_DEV_NULL,
                NULL, NULL, &own_libvirtd, &error);
  become_user();
  g_assert_no_error(error);
}

/* --- the private host --- */

/* What mayflyd is given by its package, where its user can read it, and a small disk for its
 * overlays. */
static void
set_up_host(const char *source)
{
  g_autofree char *copy =
      g_strdup_printf("rm -rf " DATA " && mkdir " DATA " && cp -r %s/templates %s/filters " DATA
                      " && chmod -R a+rX " DATA,
                      source, source);
  rig_as_root(copy);
  rig_as_root(
      "mount -t tmpfs -o size=24M,mode=711,uid=$(id -u mayfly),gid=$(id -g mayfly) tmpfs " STATE
      "/overlays");
  rig_as_root("ip link add name mayfly0 type bridge && ip link set mayfly0 up && "
              "ip tuntap add dev " TAP " mode tap vnet_hdr && ip link set " TAP
              " master mayfly0 up");
}

static void
drop_root(void)
{
  user = getpwnam("mayfly");
  g_assert_nonnull(user);
  g_assert_no_errno(initgroups(user->pw_name, user->pw_gid));
  rig_as_root("chgrp mayfly " DATA " && chmod 1777 " DATA);
  become_user();
}

static void
load_files(void)
{
  g_autoptr(GError) error = NULL;

  rig_config = mf_config_load(NULL, &error);
  g_assert_no_error(error);
  g_free(rig_config->state_directory);
  rig_config->state_directory = g_strdup(STATE "/");
  g_free(rig_config->filter_directory);
  rig_config->filter_directory = g_strdup(DATA "/filters");
  g_file_get_contents(DATA "/templates/domain.xml", &template_text, NULL, &error);
  g_assert_no_error(error);
}

void
rig_tear_down(void)
{
  mf_hypervisor_close(rig_hypervisor);
  g_object_unref(rig_hypervisor);
  while (g_main_context_iteration(NULL, FALSE))
    ;
  become_root();
  if (own_libvirtd != 0) {
    kill(own_libvirtd, SIGTERM);
    waitpid(own_libvirtd, NULL, 0);
  }
  umount2(STATE "/overlays", MNT_DETACH);
  mf_config_free(rig_config);
  g_ptr_array_unref(events);
  g_free(template_text);
}

/* libvirt-glib describes every turn of its event loop, and g_test_init() lets that out. */
static void
ignore_log(const char *domain, GLogLevelFlags level, const char *message, gpointer unused)
{
}

void
rig_set_up(const char *source)
{
  g_log_set_handler(NULL, G_LOG_LEVEL_DEBUG, ignore_log, NULL);
  set_up_host(source);
  drop_root();
  load_files();
  events = g_ptr_array_new_with_free_func(event_free);
  rig_hypervisor = mf_hypervisor_new(rig_config);
  g_signal_connect(rig_hypervisor, "domain-event", G_CALLBACK(on_domain_event), NULL);
}
