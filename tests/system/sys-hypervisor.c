/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypervisor against a real libvirtd, in a private host (tests/lib/test-host). The machines
 * boot from sectors of ours, each of which prints one letter and does one thing, so that a case
 * takes as long as libvirt does. All of it runs as the user that mayflyd runs as; root is taken
 * back only to play the admin.
 */
#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <grp.h>
#include <pwd.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/domain-xml.h"
#include "daemon/error.h"
#include "daemon/hypervisor.h"

#define PATIENCE_S 90
#define STATE      "/var/lib/mayfly"
#define MACHINES   "/run/mayfly/machines"
#define DATA       "/run/sys-hypervisor"
#define TAP        "mf0"
#define MIB        (1024 * 1024)

/* cli; xor ax,ax; mov ds,ax; mov ss,ax; mov sp,0x7c00; mov dx,0x3f8; mov al,'M'; out dx,al */
#define PROLOGUE                                                                                   \
  0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, 0xba, 0xf8, 0x03, 0xb0, 0x4d, 0xee
/* sti; 1: hlt; jmp 1b */
static const guint8 sector_idle[512] = {PROLOGUE, 0xfb, 0xf4, 0xeb, 0xfc, [510] = 0x55, 0xaa};
/* mov dx,0x505; mov al,1; out dx,al; 1: hlt; jmp 1b - what a guest's pvpanic driver does */
static const guint8 sector_panic[512] = {PROLOGUE, 0xba, 0x05, 0x05, 0xb0,         0x01,
                                         0xee,     0xf4, 0xeb, 0xfd, [510] = 0x55, 0xaa};
/* mov dx,0x604; mov ax,0x2000; out dx,ax; 1: hlt; jmp 1b - ACPI's soft off */
static const guint8 sector_off[512] = {PROLOGUE, 0xba, 0x04, 0x06, 0xb8,         0x00, 0x20,
                                       0xef,     0xf4, 0xeb, 0xfd, [510] = 0x55, 0xaa};
/* mov dx,0xcf9; mov al,6; out dx,al; 1: hlt; jmp 1b */
static const guint8 sector_reset[512] = {PROLOGUE, 0xba, 0xf9, 0x0c, 0xb0,         0x06,
                                         0xee,     0xf4, 0xeb, 0xfd, [510] = 0x55, 0xaa};
/*
 * sti; 2: mov si,packet; mov ax,0x4300; mov dl,0x80; int 0x13; add dword [packet+8],64; jmp 2b
 * packet: 64 sectors from f000:0000 (the BIOS, which is not zeros) to sector 64, and so on
 */
static const guint8 sector_fill[512] = {PROLOGUE, 0xfb, 0xbe, 0x23, 0x7c, 0xb8,         0x00, 0x43,
                                        0xb2,     0x80, 0xcd, 0x13, 0x66, 0x83,         0x06, 0x2b,
                                        0x7c,     0x40, 0xeb, 0xee, 0x10, 0x00,         0x40, 0x00,
                                        0x00,     0x00, 0x00, 0xf0, 0x40, [510] = 0x55, 0xaa};

typedef struct {
  char *job_id;
  MfDomainEvent event;
  char *detail;
} Event;

static MfConfig *config;
static MfHypervisor *hypervisor;
static GPtrArray *events;
static char *template_text;
static struct passwd *user; /* NULL: we run as whom we are */
static GPid own_libvirtd;
static gboolean with_tap;

/* --- being root for a moment, and waiting
 * -------------------------------------------------------------------------- */

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

static void
as_root(const char *command)
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

static gboolean
iterate_until(gboolean (*done)(gconstpointer), gconstpointer data, guint seconds)
{
  gboolean expired = FALSE;
  guint timeout = g_timeout_add_seconds(seconds, on_timeout, &expired);

  while (!done(data) && !expired)
    g_main_context_iteration(NULL, TRUE);
  if (!expired)
    g_source_remove(timeout);
  return done(data);
}

static void
on_ready(GObject *source, GAsyncResult *result, gpointer slot)
{
  *(GAsyncResult **)slot = g_object_ref(result);
}

static gboolean
has_result(gconstpointer slot)
{
  return *(GAsyncResult *const *)slot != NULL;
}

static GAsyncResult *
wait_result(GAsyncResult **slot)
{
  g_assert_true(iterate_until(has_result, slot, PATIENCE_S));
  return *slot;
}

static gboolean
is_up(gconstpointer unused)
{
  return mf_hypervisor_is_up(hypervisor);
}

static gboolean
is_down(gconstpointer unused)
{
  return !mf_hypervisor_is_up(hypervisor);
}

static const Event *
find_event(const char *id, MfDomainEvent event)
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
  return find_event(wanted->job_id, wanted->event) != NULL;
}

static void
assert_event(const char *id, MfDomainEvent event)
{
  Event wanted = {.job_id = (char *)id, .event = event};
  if (!iterate_until(has_event, &wanted, PATIENCE_S))
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

/* --- the calls, one after the other
 * -------------------------------------------------------------------------------- */

static char *
create_overlay(const char *id, const char *golden, GError **error)
{
  g_autoptr(GAsyncResult) result = NULL;
  mf_hypervisor_create_overlay_async(hypervisor, id, golden, 64 * MIB, NULL, on_ready, &result);
  return mf_hypervisor_create_overlay_finish(hypervisor, wait_result(&result), error);
}

static void
delete_overlay(const char *id)
{
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;
  mf_hypervisor_delete_overlay_async(hypervisor, id, NULL, on_ready, &result);
  gboolean done = mf_hypervisor_delete_overlay_finish(hypervisor, wait_result(&result), &error);
  g_assert_no_error(error);
  g_assert_true(done);
}

static gboolean
start(const char *xml, GError **error)
{
  g_autoptr(GAsyncResult) result = NULL;
  mf_hypervisor_start_async(hypervisor, xml, NULL, on_ready, &result);
  return mf_hypervisor_start_finish(hypervisor, wait_result(&result), error);
}

static gboolean
resume(const char *id, GError **error)
{
  g_autoptr(GAsyncResult) result = NULL;
  mf_hypervisor_resume_async(hypervisor, id, NULL, on_ready, &result);
  return mf_hypervisor_resume_finish(hypervisor, wait_result(&result), error);
}

static gboolean
destroy(const char *id, GError **error)
{
  g_autoptr(GAsyncResult) result = NULL;
  mf_hypervisor_destroy_async(hypervisor, id, NULL, on_ready, &result);
  return mf_hypervisor_destroy_finish(hypervisor, wait_result(&result), error);
}

static char **
list_domains(void)
{
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;
  mf_hypervisor_list_domains_async(hypervisor, NULL, on_ready, &result);
  char **ids = mf_hypervisor_list_domains_finish(hypervisor, wait_result(&result), &error);
  g_assert_no_error(error);
  return ids;
}

static char **
list_overlays(void)
{
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;
  mf_hypervisor_list_overlays_async(hypervisor, NULL, on_ready, &result);
  char **ids = mf_hypervisor_list_overlays_finish(hypervisor, wait_result(&result), &error);
  g_assert_no_error(error);
  return ids;
}

static void
prepare(void)
{
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;
  mf_hypervisor_prepare_async(hypervisor, NULL, on_ready, &result);
  gboolean done = mf_hypervisor_prepare_finish(hypervisor, wait_result(&result), &error);
  g_assert_no_error(error);
  g_assert_true(done);
}

/* --- machines
 * ------------------------------------------------------------------------------------------------------
 */

/* A golden whose boot sector is @sector; 0444, as images are. (transfer full) */
static char *
make_golden(const char *name, const guint8 sector[512])
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
  as_root(command);
  return golden;
}

static char *
machine_xml(const char *id, const char *golden, const char *overlay)
{
  g_autofree char *agent = g_strconcat(MACHINES "/", id, "/agent.sock", NULL);
  g_autofree char *console = g_strconcat(MACHINES "/", id, "/console.sock", NULL);
  g_autofree char *uuid = g_uuid_string_random();
  g_autoptr(GError) error = NULL;
  MfImage image = {.name = (char *)"test", .disk = (char *)golden};
  MfPort port = {.tap = TAP, .mac = "52:54:00:6d:00:00"};
  MfDomainSpec spec = {
      .id = id,
      .uuid = uuid,
      .kvm = FALSE,
      .emulator = config->emulator,
      .cpus = 1,
      .memory = 64 * MIB,
      .memory_floor = 48 * MIB,
      .overlay = overlay,
      .image = &image,
      .port = with_tap ? &port : NULL,
      .agent_socket = agent,
      .console_socket = console,
      .label = mf_hypervisor_label(hypervisor),
  };
  char *xml = mf_domain_xml(template_text, &spec, &error);
  g_assert_no_error(error);
  return xml;
}

static void
make_folder(const char *id)
{
  g_autofree char *folder = g_strconcat(MACHINES "/", id, NULL);
  g_assert_no_errno(g_mkdir(folder, 02770));
}

/* A paused machine of job @id over a golden with @sector. */
static void
start_machine(const char *id, const guint8 sector[512])
{
  g_autoptr(GError) error = NULL;
  g_autofree char *golden = make_golden(id, sector);
  g_autofree char *overlay = create_overlay(id, golden, &error);
  g_assert_no_error(error);
  make_folder(id);
  g_autofree char *xml = machine_xml(id, golden, overlay);
  gboolean started = start(xml, &error);
  g_assert_no_error(error);
  g_assert_true(started);
  assert_event(id, MF_DOMAIN_EVENT_STARTED);
}

static void
resume_machine(const char *id)
{
  g_autoptr(GError) error = NULL;
  gboolean resumed = resume(id, &error);
  g_assert_no_error(error);
  g_assert_true(resumed);
}

/* Whatever became of it: nothing of @id is there afterwards. */
static void
remove_machine(const char *id)
{
  g_autoptr(GError) error = NULL;
  gboolean destroyed = destroy(id, &error);
  g_assert_no_error(error);
  g_assert_true(destroyed);
  delete_overlay(id);
  g_autofree char *command =
      g_strdup_printf("rm -rf " MACHINES "/%s " STATE "/images/%s.qcow2", id, id);
  as_root(command);
  g_auto(GStrv) domains = list_domains();
  g_assert_false(g_strv_contains((const char *const *)domains, id));
}

static void
assert_owner(const char *path, uid_t uid, mode_t mode)
{
  struct stat st;
  g_assert_no_errno(stat(path, &st));
  g_assert_cmpuint(st.st_uid, ==, uid);
  g_assert_cmpuint(st.st_mode & 07777, ==, mode);
}

/* --- cases
 * ---------------------------------------------------------------------------------------------------------
 */

static void
test_connect(void)
{
  g_assert_false(mf_hypervisor_is_up(hypervisor));
  g_assert_nonnull(mf_hypervisor_problem(hypervisor));
  g_assert_true(iterate_until(is_up, NULL, PATIENCE_S));
  g_assert_null(mf_hypervisor_problem(hypervisor));
  g_assert_true(g_str_has_prefix(mf_hypervisor_versions(hypervisor), "libvirt "));
  g_assert_nonnull(mf_hypervisor_label(hypervisor));
  prepare();
  prepare();
}

static void
test_overlay(void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *golden = make_golden("o1", sector_idle);
  g_autofree char *path = create_overlay("o1", golden, &error);
  g_assert_no_error(error);
  g_assert_cmpstr(path, ==, STATE "/overlays/overlay-o1.qcow2");
  assert_owner(path, geteuid(), 0660);
  g_autofree char *command = g_strdup_printf(
      "qemu-img info --output=json %s | tr -d ' \\n' > " DATA "/info; "
      "grep -q '\"compat\":\"1.1\"' " DATA "/info && grep -q '\"virtual-size\":67108864' " DATA
      "/info && grep -q '\"full-backing-filename\":\"%s\"' " DATA
      "/info && grep -q '\"backing-filename-format\":\"qcow2\"' " DATA "/info",
      path, golden);
  as_root(command);

  g_assert_null(create_overlay("o1", golden, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_CONFLICT);
  g_clear_error(&error);
  g_assert_null(create_overlay("../o2", golden, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
  g_clear_error(&error);
  g_assert_null(create_overlay("o3", "/nonexistent", &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_FAILED);

  g_auto(GStrv) before = list_overlays();
  g_assert_cmpuint(g_strv_length(before), ==, 1);
  g_assert_cmpstr(before[0], ==, "o1");
  delete_overlay("o1");
  delete_overlay("o1");
  g_auto(GStrv) after = list_overlays();
  g_assert_cmpuint(g_strv_length(after), ==, 0);
  as_root("rm -f " STATE "/images/o1.qcow2");
}

/* Connected while paused: the first byte that the guest prints arrives. */
static char
first_console_byte(const char *id)
{
  g_autofree char *path = g_strconcat(MACHINES "/", id, "/console.sock", NULL);
  g_autoptr(GSocketClient) client = g_socket_client_new();
  g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
  g_autoptr(GError) error = NULL;
  g_autoptr(GSocketConnection) connection =
      g_socket_client_connect(client, G_SOCKET_CONNECTABLE(address), NULL, &error);
  char byte = 0;

  g_assert_no_error(error);
  resume_machine(id);
  while (byte != 'M') {
    gssize n = g_input_stream_read(g_io_stream_get_input_stream(G_IO_STREAM(connection)), &byte, 1,
                                   NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(n, ==, 1);
  }
  return byte;
}

static void
test_life(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GAsyncResult) result = NULL;

  start_machine("life", sector_idle);
  assert_owner(STATE "/images/life.qcow2", geteuid(), 0444);
  assert_owner(STATE "/overlays/overlay-life.qcow2", geteuid(), 0660);
  g_assert_cmpint(first_console_byte("life"), ==, 'M');

  mf_hypervisor_stats_async(hypervisor, "life", NULL, on_ready, &result);
  g_autofree MfDomainStats *stats =
      mf_hypervisor_stats_finish(hypervisor, wait_result(&result), &error);
  g_assert_no_error(error);
  g_assert_cmpuint(stats->balloon_maximum, ==, 64 * MIB);
  g_assert_cmpuint(stats->resident, >, MIB);
  g_assert_cmpuint(stats->cpu_time_ns, >, 0);
  g_assert_cmpuint(stats->disk_allocated, >, 0);
  g_assert_cmpuint(stats->disk_allocated, <, 4 * MIB);
  g_assert_cmpuint(stats->balloon_usable, ==, 0);

  gboolean destroyed = destroy("life", &error);
  g_assert_no_error(error);
  g_assert_true(destroyed);
  assert_event("life", MF_DOMAIN_EVENT_DESTROYED);
  assert_owner(STATE "/overlays/overlay-life.qcow2", geteuid(), 0660);
  g_assert_false(resume("life", &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_NOT_FOUND);
  remove_machine("life");
}

static void
test_destroyed_from_outside(void)
{
  start_machine("outside", sector_idle);
  resume_machine("outside");
  as_root("virsh -q -c qemu:///system destroy mayfly-outside");
  assert_event("outside", MF_DOMAIN_EVENT_DESTROYED);
  remove_machine("outside");
}

static void
test_qemu_killed(void)
{
  start_machine("killed", sector_idle);
  resume_machine("killed");
  as_root("kill -9 $(cat /run/libvirt/qemu/mayfly-killed.pid)");
  assert_event("killed", MF_DOMAIN_EVENT_CRASHED);
  remove_machine("killed");
}

static void
test_guest_panic(void)
{
  start_machine("panic", sector_panic);
  resume_machine("panic");
  assert_event("panic", MF_DOMAIN_EVENT_PANICKED);
  assert_event("panic", MF_DOMAIN_EVENT_CRASHED);
  remove_machine("panic");
}

static void
test_guest_off(void)
{
  start_machine("off", sector_off);
  resume_machine("off");
  assert_event("off", MF_DOMAIN_EVENT_SHUTDOWN);
  remove_machine("off");
}

static void
test_guest_reset(void)
{
  start_machine("reset", sector_reset);
  resume_machine("reset");
  assert_event("reset", MF_DOMAIN_EVENT_SHUTDOWN);
  remove_machine("reset");
}

/* Nobody's but ours: neither listed nor destroyed. */
static void
test_foreign_domains(void)
{
  g_autoptr(GError) error = NULL;
  static const char *const names[] = {"mayfly-foreign", "other"};

  for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
    g_autofree char *command = g_strdup_printf(
        "cat > " DATA "/foreign.xml <<'END'\n<domain type='qemu'><name>%s</name><memory>32768"
        "</memory><os><type arch='x86_64' machine='q35'>hvm</type></os></domain>\nEND\n"
        "virsh -q -c qemu:///system create --paused " DATA "/foreign.xml",
        names[i]);
    as_root(command);
  }
  g_auto(GStrv) ids = list_domains();
  g_assert_cmpuint(g_strv_length(ids), ==, 0);
  g_assert_false(destroy("foreign", &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_CONFLICT);
  as_root("virsh -q -c qemu:///system destroy mayfly-foreign && virsh -q -c qemu:///system destroy "
          "other");
  while (g_main_context_iteration(NULL, FALSE))
    ;
  g_assert_null(find_event("other", MF_DOMAIN_EVENT_STARTED));
}

static void
test_bad_start_leaves_nothing(void)
{
  g_autoptr(GError) error = NULL;
  make_folder("bad");
  g_autofree char *xml = machine_xml("bad", STATE "/images/none.qcow2", STATE "/overlays/none");
  g_assert_false(start(xml, &error));
  g_assert_nonnull(error);
  g_clear_error(&error);
  g_assert_false(start("<domain", &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
  g_auto(GStrv) ids = list_domains();
  g_assert_cmpuint(g_strv_length(ids), ==, 0);
  as_root("rm -rf " MACHINES "/bad");
}

/* Leaves @left bytes free on the overlays' filesystem. */
static void
fill_disk(guint64 left)
{
  struct statvfs st;
  g_assert_no_errno(statvfs(STATE "/overlays", &st));
  guint64 free = (guint64)st.f_bavail * st.f_frsize;
  g_assert_cmpuint(free, >, left);
  g_autofree char *command =
      g_strdup_printf("fallocate -l %" G_GUINT64_FORMAT " " STATE "/overlays/ballast", free - left);
  as_root(command);
}

static void
test_no_space_for_overlay(void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *golden = make_golden("full", sector_idle);
  fill_disk(64 * 1024);
  g_assert_null(create_overlay("full", golden, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_NO_SPACE);
  g_auto(GStrv) ids = list_overlays();
  g_assert_cmpuint(g_strv_length(ids), ==, 0);
  as_root("rm -f " STATE "/overlays/ballast");
  g_clear_error(&error);
  g_autofree char *path = create_overlay("full", golden, &error);
  g_assert_no_error(error);
  g_assert_nonnull(path);
  delete_overlay("full");
  as_root("rm -f " STATE "/images/full.qcow2");
}

static void
test_no_space_while_running(void)
{
  start_machine("enospc", sector_fill);
  fill_disk(2 * MIB);
  resume_machine("enospc");
  assert_event("enospc", MF_DOMAIN_EVENT_IO_ERROR);
  g_assert_cmpstr(find_event("enospc", MF_DOMAIN_EVENT_IO_ERROR)->detail, ==, "enospc");
  as_root("rm -f " STATE "/overlays/ballast");
  remove_machine("enospc");
}

/* More calls than turns: all are answered, and none is lost. */
static void
test_many_calls(void)
{
  GAsyncResult *results[40] = {NULL};

  for (guint i = 0; i < G_N_ELEMENTS(results); i++)
    mf_hypervisor_list_domains_async(hypervisor, NULL, on_ready, &results[i]);
  for (guint i = 0; i < G_N_ELEMENTS(results); i++) {
    g_autoptr(GAsyncResult) result = wait_result(&results[i]);
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) ids = mf_hypervisor_list_domains_finish(hypervisor, result, &error);
    g_assert_no_error(error);
  }
}

static void
test_cancelled_before_its_turn(void)
{
  g_autoptr(GCancellable) cancellable = g_cancellable_new();
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;
  g_cancellable_cancel(cancellable);
  mf_hypervisor_list_domains_async(hypervisor, cancellable, on_ready, &result);
  g_assert_null(mf_hypervisor_list_domains_finish(hypervisor, wait_result(&result), &error));
  g_assert_cmpint(mf_error_code(error), ==, MF_ERROR_CANCELLED);
}

static void
start_own_libvirtd(void)
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

/* libvirtd dies and comes back: calls fail clearly meanwhile, the machine runs on, and is found
 * again. */
static void
test_libvirtd_restart(void)
{
  g_autoptr(GError) error = NULL;
  if (user == NULL) {
    g_test_skip("libvirtd is restarted only in a private host; use tests/lib/test-host");
    return;
  }
  start_machine("survivor", sector_idle);
  resume_machine("survivor");
  as_root("kill -9 $(pgrep -x libvirtd)");
  g_assert_true(iterate_until(is_down, NULL, PATIENCE_S));
  g_assert_false(destroy("survivor", &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE);
  g_assert_cmpstr(error->message, ==, mf_hypervisor_problem(hypervisor));
  g_clear_error(&error);

  start_own_libvirtd();
  g_assert_true(iterate_until(is_up, NULL, PATIENCE_S));
  prepare();
  g_auto(GStrv) ids = list_domains();
  g_assert_cmpuint(g_strv_length(ids), ==, 1);
  g_assert_cmpstr(ids[0], ==, "survivor");
  as_root("virsh -q -c qemu:///system destroy mayfly-survivor");
  assert_event("survivor", MF_DOMAIN_EVENT_DESTROYED);
  remove_machine("survivor");
}

/* --- the private host
 * ---------------------------------------------------------------------------------------------- */

/* What mayflyd is given by its package, where its user can read it, and a small disk for its
 * overlays. */
static void
set_up_host(const char *source)
{
  g_autofree char *copy =
      g_strdup_printf("rm -rf " DATA " && mkdir " DATA " && cp -r %s/templates %s/filters " DATA
                      " && chmod -R a+rX " DATA,
                      source, source);
  as_root(copy);
  as_root("mount -t tmpfs -o size=24M,mode=711,uid=$(id -u mayfly),gid=$(id -g mayfly) tmpfs " STATE
          "/overlays");
  as_root("ip link add name mayfly0 type bridge && ip link set mayfly0 up && "
          "ip tuntap add dev " TAP " mode tap vnet_hdr && ip link set " TAP " master mayfly0 up");
  with_tap = TRUE;
}

static void
drop_root(void)
{
  user = getpwnam("mayfly");
  g_assert_nonnull(user);
  g_assert_no_errno(initgroups(user->pw_name, user->pw_gid));
  as_root("chgrp mayfly " DATA " && chmod 1777 " DATA);
  become_user();
}

static void
load_files(void)
{
  g_autoptr(GError) error = NULL;

  config = mf_config_load(NULL, &error);
  g_assert_no_error(error);
  g_free(config->state_directory);
  config->state_directory = g_strdup(STATE "/");
  g_free(config->filter_directory);
  config->filter_directory = g_strdup(DATA "/filters");
  g_file_get_contents(DATA "/templates/domain.xml", &template_text, NULL, &error);
  g_assert_no_error(error);
}

static void
tear_down(void)
{
  mf_hypervisor_close(hypervisor);
  g_object_unref(hypervisor);
  while (g_main_context_iteration(NULL, FALSE))
    ;
  become_root();
  if (own_libvirtd != 0) {
    kill(own_libvirtd, SIGTERM);
    waitpid(own_libvirtd, NULL, 0);
  }
  umount2(STATE "/overlays", MNT_DETACH);
  mf_config_free(config);
  g_ptr_array_unref(events);
  g_free(template_text);
}

/* libvirt-glib describes every turn of its event loop, and g_test_init() lets that out. */
static void
ignore_log(const char *domain, GLogLevelFlags level, const char *message, gpointer unused)
{
}

int
main(int argc, char **argv)
{
  const char *source = g_getenv("MAYFLY_SOURCE");
  if (g_getenv("MAYFLY_TEST_HOST") == NULL || source == NULL) {
    g_print("1..0 # SKIP needs a private host; MAYFLY_SOURCE=. tests/lib/test-host %s\n", argv[0]);
    return 0;
  }
  g_test_init(&argc, &argv, NULL);
  g_log_set_handler(NULL, G_LOG_LEVEL_DEBUG, ignore_log, NULL);
  set_up_host(source);
  drop_root();
  load_files();
  events = g_ptr_array_new_with_free_func(event_free);
  hypervisor = mf_hypervisor_new(config);
  g_signal_connect(hypervisor, "domain-event", G_CALLBACK(on_domain_event), NULL);
  g_test_add_func("/hypervisor/connect", test_connect);
  g_test_add_func("/hypervisor/overlay", test_overlay);
  g_test_add_func("/hypervisor/life", test_life);
  g_test_add_func("/hypervisor/destroyed-from-outside", test_destroyed_from_outside);
  g_test_add_func("/hypervisor/qemu-killed", test_qemu_killed);
  g_test_add_func("/hypervisor/guest-panic", test_guest_panic);
  g_test_add_func("/hypervisor/guest-off", test_guest_off);
  g_test_add_func("/hypervisor/guest-reset", test_guest_reset);
  g_test_add_func("/hypervisor/foreign-domains", test_foreign_domains);
  g_test_add_func("/hypervisor/bad-start-leaves-nothing", test_bad_start_leaves_nothing);
  g_test_add_func("/hypervisor/no-space-for-overlay", test_no_space_for_overlay);
  g_test_add_func("/hypervisor/no-space-while-running", test_no_space_while_running);
  g_test_add_func("/hypervisor/many-calls", test_many_calls);
  g_test_add_func("/hypervisor/cancelled-before-its-turn", test_cancelled_before_its_turn);
  g_test_add_func("/hypervisor/libvirtd-restart", test_libvirtd_restart);
  int status = g_test_run();
  tear_down();
  return status;
}
