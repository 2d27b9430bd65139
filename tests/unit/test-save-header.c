/* SPDX-License-Identifier: Apache-2.0 */
/* The front of libvirt's save files: one as libvirt writes it is read and written anew, everything
 * else is refused. */
#include "daemon/save-header.h"

#include <string.h>

#include "daemon/error.h"

#define STREAM "QEVM\0\0\0\3rest of the stream"

enum { VERSION, LENGTH, RUNNING, COMPRESSION, COOKIE };

/* As libvirt 9.0 writes it. @cookie: NULL: none; @padding: zeros after it. */
static GByteArray *
file_new(const char *xml, const char *cookie, guint padding)
{
  guint32 words[19] = {[VERSION] = 2, [RUNNING] = 1};
  GByteArray *file = g_byte_array_new();
  gsize xml_room = strlen(xml) + 1, cookie_room = cookie != NULL ? strlen(cookie) + 1 : 0;
  words[LENGTH] = (guint32)(xml_room + cookie_room + padding);
  words[COOKIE] = cookie != NULL ? (guint32)xml_room : 0;
  g_byte_array_append(file, (const guint8 *)"LibvirtQemudSave", 16);
  for (guint i = 0; i < 19; i++)
    words[i] = GUINT32_TO_LE(words[i]);
  g_byte_array_append(file, (const guint8 *)words, sizeof words);
  g_byte_array_append(file, (const guint8 *)xml, (guint)xml_room);
  if (cookie != NULL)
    g_byte_array_append(file, (const guint8 *)cookie, (guint)cookie_room);
  for (guint i = 0; i < padding; i++)
    g_byte_array_append(file, (const guint8 *)"", 1);
  g_byte_array_append(file, (const guint8 *)STREAM, sizeof STREAM - 1);
  return file;
}

static void
set_word(GByteArray *file, guint word, guint32 value)
{
  value = GUINT32_TO_LE(value);
  memcpy(file->data + 16 + 4 * word, &value, sizeof value);
}

static void
test_read(void)
{
  const struct {
    const char *cookie;
    guint padding;
  } forms[] = {{NULL, 0}, {NULL, 1000}, {"<qemuSaveCookie/>", 0}, {"<qemuSaveCookie/>", 65536}};
  for (guint i = 0; i < G_N_ELEMENTS(forms); i++) {
    g_autoptr(GByteArray) file = file_new("<domain/>", forms[i].cookie, forms[i].padding);
    g_autoptr(GError) error = NULL;
    gsize need = mf_save_header_length(file->data, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(need, <=, file->len);
    g_autoptr(MfSaveHeader) header = mf_save_header_parse(file->data, need, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(header->xml, ==, "<domain/>");
    g_assert_cmpstr(header->cookie, ==, forms[i].cookie);
    g_assert_cmpmem(file->data + header->length, 4, "QEVM", 4);
  }
}

static void
test_rewrite(void)
{
  g_autoptr(GByteArray) file = file_new("<domain/>", "<qemuSaveCookie/>", 7);
  g_autoptr(GError) error = NULL;
  g_autoptr(MfSaveHeader) header = mf_save_header_parse(file->data, file->len, &error);
  g_assert_no_error(error);
  const char *longer = "<domain><name>another, which is longer than the one before</name></domain>";
  g_autoptr(GBytes) front = mf_save_header_build(header, longer);
  g_autoptr(GByteArray) again = g_byte_array_new();
  gsize length;
  const guint8 *data = g_bytes_get_data(front, &length);
  g_byte_array_append(again, data, (guint)length);
  g_byte_array_append(again, file->data + header->length, file->len - (guint)header->length);
  g_autoptr(MfSaveHeader) read = mf_save_header_parse(again->data, again->len, &error);
  g_assert_no_error(error);
  g_assert_cmpstr(read->xml, ==, longer);
  g_assert_cmpstr(read->cookie, ==, "<qemuSaveCookie/>");
  g_assert_cmpuint(read->words[RUNNING], ==, 1);
  g_assert_cmpuint(read->length, ==, length);
}

static void
refused(GByteArray *file, const char *why)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfSaveHeader) header = mf_save_header_parse(file->data, file->len, &error);
  g_assert_null(header);
  g_assert_error(error, MF_ERROR, MF_ERROR_DAMAGED);
  g_assert_nonnull(strstr(error->message, why));
}

static void
test_refuse(void)
{
  const struct {
    guint word;
    guint32 value;
    const char *why;
  } words[] = {
      {VERSION, 3, "version"},     {COMPRESSION, 2, "compressed"},
      {LENGTH, 0, "lengths"},      {LENGTH, 0xffffffff, "lengths"},
      {COOKIE, 0xffff, "lengths"}, {LENGTH, 4000, "too short"},
      {5, 1, "not used"},          {18, 1, "not used"},
      {COOKIE, 3, "not a text"},   {LENGTH, 12, "QEMU"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(words); i++) {
    g_autoptr(GByteArray) file = file_new("<domain/>", NULL, 30);
    set_word(file, words[i].word, words[i].value);
    refused(file, words[i].why);
  }
  g_autoptr(GByteArray) file = file_new("<domain/>", "c", 0);
  memcpy(file->data, "LibvirtQemudPart", 16);
  refused(file, "not finished");
  memcpy(file->data, "LibvirtQemudElse", 16);
  refused(file, "does not begin");
  g_autoptr(GByteArray) latin = file_new("<domain>\xe4</domain>", NULL, 0);
  refused(latin, "not a text");
  for (guint length = 0; length < latin->len; length++) {
    g_autoptr(GByteArray) cut = file_new("<domain/>", NULL, 0);
    g_byte_array_set_size(cut, MIN(length, cut->len - (guint)sizeof STREAM + 8));
    refused(cut, "");
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/save-header/read", test_read);
  g_test_add_func("/save-header/rewrite", test_rewrite);
  g_test_add_func("/save-header/refuse", test_refuse);
  return g_test_run();
}
