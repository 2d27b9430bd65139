/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypervisor against a real libvirtd, in a private host. The machines boot from sectors of
 * ours, each of which prints one letter and does one thing, so that a case takes as long as libvirt
 * does.
 */
#include <gio/gio.h>
#include <unistd.h>

#include "daemon/error.h"
#include "tests/lib/hypervisor-rig.h"

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

/* --- cases --- */

static void
test_connect(void)
{
  g_assert_false(mf_hypervisor_is_up(rig_hypervisor));
  g_assert_nonnull(mf_hypervisor_problem(rig_hypervisor));
  g_assert_true(rig_iterate_until(rig_is_up, NULL, RIG_PATIENCE_S));
  g_assert_null(mf_hypervisor_problem(rig_hypervisor));
  g_assert_true(g_str_has_prefix(mf_hypervisor_versions(rig_hypervisor), "libvirt "));
  g_assert_nonnull(mf_hypervisor_label(rig_hypervisor));
  rig_prepare();
  rig_prepare();
}

static void
test_overlay(void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *golden = rig_make_golden("o1", sector_idle);
  g_autofree char *path = rig_create_overlay("o1", golden, &error);
  g_assert_no_error(error);
  g_assert_cmpstr(path, ==, STATE "/overlays/overlay-o1.qcow2");
  rig_assert_owner(path, geteuid(), 0660);
  g_autofree char *command = g_strdup_printf(
      "qemu-img info --output=json %s | tr -d ' \\n' > " DATA "/info; "
      "grep -q '\"compat\":\"1.1\"' " DATA "/info && grep -q '\"virtual-size\":67108864' " DATA
      "/info && grep -q '\"full-backing-filename\":\"%s\"' " DATA
      "/info && grep -q '\"backing-filename-format\":\"qcow2\"' " DATA "/info",
      path, golden);
  rig_as_root(command);

  g_assert_null(rig_create_overlay("o1", golden, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_CONFLICT);
  g_clear_error(&error);
  g_assert_null(rig_create_overlay("../o2", golden, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
  g_clear_error(&error);
  g_assert_null(rig_create_overlay("o3", "/nonexistent", &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_FAILED);

  g_auto(GStrv) before = rig_list_overlays();
  g_assert_cmpuint(g_strv_length(before), ==, 1);
  g_assert_cmpstr(before[0], ==, "o1");
  rig_delete_overlay("o1");
  rig_delete_overlay("o1");
  g_auto(GStrv) after = rig_list_overlays();
  g_assert_cmpuint(g_strv_length(after), ==, 0);
  rig_as_root("rm -f " STATE "/images/o1.qcow2");
}

/* All at once: the same of @id, and nothing that is not there. */
static void
assert_among_all(const char *id, const MfDomainStats *alone)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GAsyncResult) second = NULL;

  mf_hypervisor_all_stats_async(rig_hypervisor, NULL, rig_on_ready, &result);
  mf_hypervisor_all_stats_async(rig_hypervisor, NULL, rig_on_ready, &second);
  g_autoptr(MfHostStats) all =
      mf_hypervisor_all_stats_finish(rig_hypervisor, rig_wait_result(&result), &error);
  g_assert_no_error(error);
  g_autoptr(MfHostStats) shared =
      mf_hypervisor_all_stats_finish(rig_hypervisor, rig_wait_result(&second), &error);
  g_assert_no_error(error);
  g_assert_true(all == shared);
  g_assert_cmpuint(g_hash_table_size(all->machines), ==, 1);
  const MfDomainStats *stats = g_hash_table_lookup(all->machines, id);
  g_assert_nonnull(stats);
  g_assert_cmpuint(stats->balloon_maximum, ==, alone->balloon_maximum);
  g_assert_cmpuint(stats->cpu_time_ns, >=, alone->cpu_time_ns);
  g_assert_cmpuint(stats->disk_allocated, ==, alone->disk_allocated);
  g_assert_cmpuint(stats->disk_written_bytes, ==, alone->disk_written_bytes);
}

static void
test_life(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GAsyncResult) result = NULL;

  rig_start_machine("life", sector_idle);
  rig_assert_owner(STATE "/images/life.qcow2", geteuid(), 0444);
  rig_assert_owner(STATE "/overlays/overlay-life.qcow2", geteuid(), 0660);
  g_assert_cmpint(rig_first_console_byte("life"), ==, 'M');

  mf_hypervisor_stats_async(rig_hypervisor, "life", NULL, rig_on_ready, &result);
  g_autofree MfDomainStats *stats =
      mf_hypervisor_stats_finish(rig_hypervisor, rig_wait_result(&result), &error);
  g_assert_no_error(error);
  g_assert_cmpuint(stats->balloon_maximum, ==, 64 * MIB);
  g_assert_cmpuint(stats->resident, >, MIB);
  g_assert_cmpuint(stats->cpu_time_ns, >, 0);
  g_assert_cmpuint(stats->disk_allocated, >, 0);
  g_assert_cmpuint(stats->disk_allocated, <, 4 * MIB);
  g_assert_cmpuint(stats->balloon_usable, ==, 0);
  g_assert_cmpuint(stats->disk_read_bytes, >, 0);
  g_assert_cmpuint(stats->disk_written_bytes, !=, MF_STATS_UNKNOWN);
  assert_among_all("life", stats);

  gboolean destroyed = rig_destroy("life", &error);
  g_assert_no_error(error);
  g_assert_true(destroyed);
  rig_assert_event("life", MF_DOMAIN_EVENT_DESTROYED);
  rig_assert_owner(STATE "/overlays/overlay-life.qcow2", geteuid(), 0660);
  g_assert_false(rig_resume("life", &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_NOT_FOUND);
  rig_remove_machine("life");
}

/* A QEMU that does not answer holds up nobody who asks for all, and what is known without it is
 * told. */
static void
test_stats_beside_a_stopped_qemu(void)
{
  rig_start_machine("stopped", sector_idle);
  rig_as_root("kill -STOP $(cat /run/libvirt/qemu/mayfly-stopped.pid)");
  for (guint i = 0; i < 3; i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(GAsyncResult) result = NULL;
    mf_hypervisor_all_stats_async(rig_hypervisor, NULL, rig_on_ready, &result);
    g_assert_true(rig_iterate_until(rig_has_result, &result, 20));
    g_autoptr(MfHostStats) all = mf_hypervisor_all_stats_finish(rig_hypervisor, result, &error);
    g_assert_no_error(error);
    const MfDomainStats *stopped = g_hash_table_lookup(all->machines, "stopped");
    g_assert_nonnull(stopped);
    g_assert_cmpuint(stopped->cpu_time_ns, !=, MF_STATS_UNKNOWN);
    g_assert_cmpuint(stopped->balloon_maximum, ==, 64 * MIB);
  }
  rig_as_root("kill -CONT $(cat /run/libvirt/qemu/mayfly-stopped.pid)");
  rig_remove_machine("stopped");
}

/* libvirt hands a domain's kernel and initrd to QEMU's user unless it is told whom QEMU runs as. */
static void
test_image_keeps_its_owner(void)
{
  static const char kernel[] = STATE "/images/owner.kernel";
  g_autofree char *content = g_malloc0(8192);
  g_autoptr(GError) error = NULL;

  /* Kernel enough for QEMU to load an initrd beside it: boot protocol 2.0. */
  memcpy(content + 0x202, "HdrS\0\2", 6);
  g_file_set_contents_full(kernel, content, 8192, G_FILE_SET_CONTENTS_NONE, 0444, &error);
  g_assert_no_error(error);
  rig_start_machine("owner", sector_idle);
  rig_assert_owner(kernel, geteuid(), 0444);
  rig_assert_owner(STATE "/images/owner.qcow2", geteuid(), 0444);
  rig_remove_machine("owner");
  rig_assert_owner(kernel, geteuid(), 0444);
  rig_as_root("rm " STATE "/images/owner.kernel");
}

static void
test_destroyed_from_outside(void)
{
  rig_start_machine("outside", sector_idle);
  rig_resume_machine("outside");
  rig_as_root("virsh -q -c qemu:///system destroy mayfly-outside");
  rig_assert_event("outside", MF_DOMAIN_EVENT_DESTROYED);
  rig_remove_machine("outside");
}

static void
test_qemu_killed(void)
{
  rig_start_machine("killed", sector_idle);
  rig_resume_machine("killed");
  rig_as_root("kill -9 $(cat /run/libvirt/qemu/mayfly-killed.pid)");
  rig_assert_event("killed", MF_DOMAIN_EVENT_CRASHED);
  rig_remove_machine("killed");
}

static void
test_guest_panic(void)
{
  rig_start_machine("panic", sector_panic);
  rig_resume_machine("panic");
  rig_assert_event("panic", MF_DOMAIN_EVENT_PANICKED);
  rig_assert_event("panic", MF_DOMAIN_EVENT_CRASHED);
  rig_remove_machine("panic");
}

static void
test_guest_off(void)
{
  rig_start_machine("off", sector_off);
  rig_resume_machine("off");
  rig_assert_event("off", MF_DOMAIN_EVENT_SHUTDOWN);
  rig_remove_machine("off");
}

static void
test_guest_reset(void)
{
  rig_start_machine("reset", sector_reset);
  rig_resume_machine("reset");
  rig_assert_event("reset", MF_DOMAIN_EVENT_SHUTDOWN);
  rig_remove_machine("reset");
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
    rig_as_root(command);
  }
  g_auto(GStrv) ids = rig_list_domains();
  g_assert_cmpuint(g_strv_length(ids), ==, 0);
  g_assert_false(rig_destroy("foreign", &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_CONFLICT);
  rig_as_root(
      "virsh -q -c qemu:///system destroy mayfly-foreign && virsh -q -c qemu:///system destroy "
      "other");
  while (g_main_context_iteration(NULL, FALSE))
    ;
  g_assert_null(rig_find_event("other", MF_DOMAIN_EVENT_STARTED));
}

static void
test_bad_start_leaves_nothing(void)
{
  g_autoptr(GError) error = NULL;
  rig_make_folder("bad");
  g_autofree char *xml = rig_machine_xml("bad", STATE "/images/none.qcow2", STATE "/overlays/none");
  g_assert_false(rig_start(xml, &error));
  g_assert_nonnull(error);
  g_clear_error(&error);
  g_assert_false(rig_start("<domain", &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
  g_auto(GStrv) ids = rig_list_domains();
  g_assert_cmpuint(g_strv_length(ids), ==, 0);
  rig_as_root("rm -rf " MACHINES "/bad");
}

static void
test_no_space_for_overlay(void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *golden = rig_make_golden("full", sector_idle);
  rig_fill_disk(64 * 1024);
  g_assert_null(rig_create_overlay("full", golden, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_NO_SPACE);
  g_auto(GStrv) ids = rig_list_overlays();
  g_assert_cmpuint(g_strv_length(ids), ==, 0);
  rig_as_root("rm -f " STATE "/overlays/ballast");
  g_clear_error(&error);
  g_autofree char *path = rig_create_overlay("full", golden, &error);
  g_assert_no_error(error);
  g_assert_nonnull(path);
  rig_delete_overlay("full");
  rig_as_root("rm -f " STATE "/images/full.qcow2");
}

static void
test_no_space_while_running(void)
{
  rig_start_machine("enospc", sector_fill);
  rig_fill_disk(2 * MIB);
  rig_resume_machine("enospc");
  rig_assert_event("enospc", MF_DOMAIN_EVENT_IO_ERROR);
  g_assert_cmpstr(rig_find_event("enospc", MF_DOMAIN_EVENT_IO_ERROR)->detail, ==, "enospc");
  rig_as_root("rm -f " STATE "/overlays/ballast");
  rig_remove_machine("enospc");
}

/* More calls than turns: all are answered, and none is lost. */
static void
test_many_calls(void)
{
  GAsyncResult *results[40] = {NULL};

  for (guint i = 0; i < G_N_ELEMENTS(results); i++)
    mf_hypervisor_list_domains_async(rig_hypervisor, NULL, rig_on_ready, &results[i]);
  for (guint i = 0; i < G_N_ELEMENTS(results); i++) {
    g_autoptr(GAsyncResult) result = rig_wait_result(&results[i]);
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) ids = mf_hypervisor_list_domains_finish(rig_hypervisor, result, &error);
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
  mf_hypervisor_list_domains_async(rig_hypervisor, cancellable, rig_on_ready, &result);
  g_assert_null(
      mf_hypervisor_list_domains_finish(rig_hypervisor, rig_wait_result(&result), &error));
  g_assert_cmpint(mf_error_code(error), ==, MF_ERROR_CANCELLED);
}

static void
test_shutdown_is_asked_for(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GAsyncResult) gone = NULL;

  rig_start_machine("acpi", sector_idle);
  rig_resume_machine("acpi");
  mf_hypervisor_shutdown_async(rig_hypervisor, "acpi", NULL, rig_on_ready, &result);
  gboolean asked = mf_hypervisor_shutdown_finish(rig_hypervisor, rig_wait_result(&result), &error);
  g_assert_no_error(error);
  g_assert_true(asked);
  rig_remove_machine("acpi");
  mf_hypervisor_shutdown_async(rig_hypervisor, "acpi", NULL, rig_on_ready, &gone);
  g_assert_false(mf_hypervisor_shutdown_finish(rig_hypervisor, rig_wait_result(&gone), &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_NOT_FOUND);
}

/* The pool follows the state directory, and comes back with it. */
static void
test_state_directory_moves(void)
{
  char *before = rig_config->state_directory;
  rig_config->state_directory = g_strdup(DATA "/moved");
  rig_prepare();
  rig_as_root("virsh -q -c qemu:///system pool-dumpxml mayfly-overlays | grep -q '<path>" DATA
              "/moved/overlays</path>'");
  g_free(rig_config->state_directory);
  rig_config->state_directory = before;
  rig_prepare();
  rig_as_root("virsh -q -c qemu:///system pool-dumpxml mayfly-overlays | grep -q '<path>" STATE
              "/overlays</path>' && rm -rf " DATA "/moved");
}

/* It is there, and does not answer: keepalive tells in 20 s, and what was asked fails instead of
 * waiting for ever. */
static void
test_libvirtd_hangs(void)
{
  g_autoptr(GError) error = NULL;

  rig_as_root("kill -STOP $(pgrep -x libvirtd)");
  g_assert_false(rig_destroy("none", &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE);
  g_assert_true(rig_iterate_until(rig_is_down, NULL, RIG_PATIENCE_S));
  rig_as_root("kill -CONT $(pgrep -x libvirtd)");
  g_assert_true(rig_iterate_until(rig_is_up, NULL, RIG_PATIENCE_S));
}

/* libvirtd dies and comes back: calls fail clearly meanwhile, the machine runs on, and is found
 * again. */
static void
test_libvirtd_restart(void)
{
  g_autoptr(GError) error = NULL;
  rig_start_machine("survivor", sector_idle);
  rig_resume_machine("survivor");
  rig_as_root("kill -9 $(pgrep -x libvirtd)");
  g_assert_true(rig_iterate_until(rig_is_down, NULL, RIG_PATIENCE_S));
  g_assert_false(rig_destroy("survivor", &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_UNAVAILABLE);
  g_assert_cmpstr(error->message, ==, mf_hypervisor_problem(rig_hypervisor));
  g_clear_error(&error);

  rig_start_own_libvirtd();
  g_assert_true(rig_iterate_until(rig_is_up, NULL, RIG_PATIENCE_S));
  rig_prepare();
  g_auto(GStrv) ids = rig_list_domains();
  g_assert_cmpuint(g_strv_length(ids), ==, 1);
  g_assert_cmpstr(ids[0], ==, "survivor");
  rig_as_root("virsh -q -c qemu:///system destroy mayfly-survivor");
  rig_assert_event("survivor", MF_DOMAIN_EVENT_DESTROYED);
  rig_remove_machine("survivor");
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
  rig_set_up(source);
  g_test_add_func("/hypervisor/connect", test_connect);
  g_test_add_func("/hypervisor/overlay", test_overlay);
  g_test_add_func("/hypervisor/life", test_life);
  g_test_add_func("/hypervisor/stats-beside-a-stopped-qemu", test_stats_beside_a_stopped_qemu);
  g_test_add_func("/hypervisor/image-keeps-its-owner", test_image_keeps_its_owner);
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
  g_test_add_func("/hypervisor/shutdown-is-asked-for", test_shutdown_is_asked_for);
  g_test_add_func("/hypervisor/state-directory-moves", test_state_directory_moves);
  g_test_add_func("/hypervisor/libvirtd-hangs", test_libvirtd_hangs);
  g_test_add_func("/hypervisor/libvirtd-restart", test_libvirtd_restart);
  int status = g_test_run();
  rig_tear_down();
  return status;
}
