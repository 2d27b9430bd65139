/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/image-meta.h"

#include <string.h>

#include "daemon/auto.h"
#include "daemon/error.h"

#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B64 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static const char good[] =
    "{\"format\":1,\"name\":\"tiny\",\"created\":5,\"virtual_size\":1024,\"os\":\"BusyBox 1.35\","
    "\"init\":\"busybox\",\"root_device\":\"/dev/"
    "sda\",\"root_fstype\":\"ext4\",\"cmdline\":\"quiet\","
    "\"agent_in_initrd\":true,\"files\":{\"disk.qcow2\":{\"sha256\":\"" A64 "\",\"size\":7},"
    "\"kernel\":{\"sha256\":\"" B64 "\",\"size\":8},\"initrd\":{\"sha256\":\"" B64
    "\",\"size\":9}}}";

static MfImageMeta *
parse_good(void)
{
  g_autoptr(GError) error = NULL;
  MfImageMeta *meta = mf_image_meta_parse(good, strlen(good), &error);
  g_assert_no_error(error);
  return meta;
}

static void
test_round_trip(void)
{
  g_autoptr(MfImageMeta) meta = parse_good();
  g_autofree char *json = mf_image_meta_to_json(meta);
  g_autoptr(MfImageMeta) again = mf_image_meta_parse(json, strlen(json), NULL);
  g_assert_nonnull(again);
  g_assert_cmpstr(again->name, ==, "tiny");
  g_assert_cmpint(again->created, ==, 5);
  g_assert_cmpuint(again->virtual_size, ==, 1024);
  g_assert_cmpstr(again->os, ==, "BusyBox 1.35");
  g_assert_cmpstr(again->init, ==, "busybox");
  g_assert_cmpstr(again->root_device, ==, "/dev/sda");
  g_assert_cmpstr(again->root_fstype, ==, "ext4");
  g_assert_cmpstr(again->cmdline, ==, "quiet");
  g_assert_true(again->agent_in_initrd);
  g_assert_cmpstr(again->files[MF_IMAGE_FILE_INITRD].sha256, ==, B64);
  g_assert_cmpuint(again->files[MF_IMAGE_FILE_INITRD].size, ==, 9);
}

/* Every key of the good text, with a value of another type or left out. */
static void
test_every_key_is_checked(void)
{
  g_autoptr(MfJson) root = json_tokener_parse(good);
  g_autoptr(GPtrArray) keys = g_ptr_array_new_with_free_func(g_free);
  json_object_object_foreach(root, name, unused)
  {
    g_assert_nonnull(unused);
    g_ptr_array_add(keys, g_strdup(name));
  }
  for (guint i = 0; i < keys->len; i++) {
    const char *key = keys->pdata[i];
    g_autoptr(GError) error = NULL;
    g_autoptr(MfJson) wrong = json_tokener_parse(good);
    json_object_object_add(wrong, key, json_object_new_double(1.5));
    const char *text = json_object_to_json_string(wrong);
    g_assert_null(mf_image_meta_parse(text, strlen(text), &error));
    g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);

    g_autoptr(MfJson) without = json_tokener_parse(good);
    json_object_object_del(without, key);
    text = json_object_to_json_string(without);
    g_autoptr(MfImageMeta) meta = mf_image_meta_parse(text, strlen(text), NULL);
    gboolean optional = strcmp(key, "cmdline") == 0 || strcmp(key, "agent_in_initrd") == 0 ||
                        strcmp(key, "created") == 0;
    g_assert_cmpint(meta != NULL, ==, optional);
  }
}

static void
refuse(const char *text, const char *word)
{
  g_autoptr(GError) error = NULL;
  g_assert_null(mf_image_meta_parse(text, strlen(text), &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
  if (strstr(error->message, word) == NULL)
    g_error("\"%s\" does not say %s", error->message, word);
}

/* The good text with one piece replaced must be refused, and the message names the place. */
static void
test_refuses(void)
{
  static const struct {
    const char *from, *to, *word;
  } cases[] = {
      {"\"tiny\"", "\"../x\"", "name"},
      {"\"tiny\"", "\"a@b\"", "name"},
      {"\"tiny\"", "\".hidden\"", "name"},
      {"\"tiny\"", "\"t\\u0000\"", "name"},
      {"BusyBox", "\\u001b[31m", "os"},
      {"BusyBox", "\\u202e", "os"},
      {"\"busybox\"", "\"launchd\"", "init"},
      {"/dev/sda", "/etc/passwd", "root_device"},
      {"/dev/sda", "/dev/../etc", "root_device"},
      {"/dev/sda", "/dev/a b", "root_device"},
      {"\"ext4\"", "\"ext4,rw\"", "root_fstype"},
      {"\"quiet\"", "\"a\\nb\"", "cmdline"},
      {"\"created\":5", "\"created\":-5", "created"},
      {"\"virtual_size\":1024", "\"virtual_size\":0", "virtual_size"},
      {"\"format\":1", "\"format\":2", "newer"},
      {"\"created\"", "\"creator\"", "creator"},
      {"\"disk.qcow2\"", "\"disk.raw\"", "disk.raw"},
      {"\"kernel\"", "\"/kernel\"", "/kernel"},
      {"\"sha256\":\"" A64 "\",", "", "sha256"},
      {A64, "xyz", "sha256"},
      {"\"size\":7", "\"size\":-7", "size"},
      {"\"size\":7", "\"bytes\":7", "bytes"},
      {"}}}", "}}", "JSON"},
      {"}}}", "}}} x", "JSON"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(GString) text = g_string_new(good);
    g_assert_cmpuint(g_string_replace(text, cases[i].from, cases[i].to, 1), ==, 1);
    refuse(text->str, cases[i].word);
  }
  refuse("", "empty");
  refuse("[]", "JSON");
  g_autofree char *huge = g_strnfill(70000, ' ');
  refuse(huge, "64 KiB");
}

static void
test_initrd_needs_kernel(void)
{
  g_autoptr(MfImageMeta) meta = parse_good();
  g_autoptr(GError) error = NULL;
  g_clear_pointer(&meta->files[MF_IMAGE_FILE_KERNEL].sha256, g_free);
  g_assert_false(mf_image_meta_check(meta, &error));
  g_clear_error(&error);
  g_clear_pointer(&meta->files[MF_IMAGE_FILE_INITRD].sha256, g_free);
  g_assert_false(mf_image_meta_check(meta, &error));
  meta->agent_in_initrd = FALSE;
  g_clear_error(&error);
  g_assert_true(mf_image_meta_check(meta, &error));
}

static void
test_digest(void)
{
  g_autoptr(MfImageMeta) meta = parse_good();
  g_autofree char *first = mf_image_meta_digest(meta);
  g_assert_cmpuint(strlen(first), ==, 64);
  meta->created++;
  g_autofree char *later = mf_image_meta_digest(meta);
  g_assert_cmpstr(first, ==, later);
  meta->files[MF_IMAGE_FILE_KERNEL].sha256[0] = 'c';
  g_autofree char *kernel = mf_image_meta_digest(meta);
  g_assert_cmpstr(first, !=, kernel);
  meta->cmdline[0] = 'Q';
  g_autofree char *cmdline = mf_image_meta_digest(meta);
  g_assert_cmpstr(kernel, !=, cmdline);
}

static void
test_names(void)
{
  g_autofree char *longest = g_strnfill(63, 'a');
  g_autofree char *longer = g_strnfill(64, 'a');
  g_assert_true(mf_image_name_valid("debian-12"));
  g_assert_true(mf_image_name_valid("A_b.c-9"));
  g_assert_true(mf_image_name_valid(longest));
  g_assert_false(mf_image_name_valid(longer));
  g_assert_false(mf_image_name_valid(""));
  g_assert_false(mf_image_name_valid(NULL));
  g_assert_false(mf_image_name_valid("-rf"));
  g_assert_false(mf_image_name_valid("a/b"));
  g_assert_false(mf_image_name_valid("ä"));
}

static void
test_os_text(void)
{
  g_autofree char *plain = mf_image_os_text("Debian GNU/Linux 12");
  g_assert_cmpstr(plain, ==, "Debian GNU/Linux 12");
  g_autofree char *nasty = mf_image_os_text("\n\033[31mRed\xff Hat \342\200\256");
  g_autoptr(MfImageMeta) meta = parse_good();
  g_free(meta->os);
  meta->os = g_strdup(nasty);
  g_assert_true(mf_image_meta_check(meta, NULL));
  g_autofree char *long_text = g_strnfill(1000, 'x');
  g_autofree char *cut = mf_image_os_text(long_text);
  g_free(meta->os);
  meta->os = g_strdup(cut);
  g_assert_true(mf_image_meta_check(meta, NULL));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/image-meta/round-trip", test_round_trip);
  g_test_add_func("/image-meta/every-key", test_every_key_is_checked);
  g_test_add_func("/image-meta/refuses", test_refuses);
  g_test_add_func("/image-meta/initrd-needs-kernel", test_initrd_needs_kernel);
  g_test_add_func("/image-meta/digest", test_digest);
  g_test_add_func("/image-meta/names", test_names);
  g_test_add_func("/image-meta/os-text", test_os_text);
  return g_test_run();
}
