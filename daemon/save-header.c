/* SPDX-License-Identifier: Apache-2.0 */
/* The front of libvirt's save files: see save-header.h. */
#include "daemon/save-header.h"

#include <string.h>

#include "daemon/error.h"

#define MAGIC          "LibvirtQemudSave"
#define MAGIC_PARTIAL  "LibvirtQemudPart"
#define MAGIC_LENGTH   16
#define VERSION        2
#define STREAM_MAGIC   "QEVM\0\0\0\3"
#define STREAM_LENGTH  8
#define DATA_ALIGNMENT 1024

enum { WORD_VERSION, WORD_LENGTH, WORD_RUNNING, WORD_COMPRESSION, WORD_COOKIE, WORD_UNUSED };

void
mf_save_header_free(MfSaveHeader *self)
{
  if (self == NULL)
    return;
  g_free(self->xml);
  g_free(self->cookie);
  g_free(self);
}

static void
refuse(GError **error, const char *why)
{
  g_set_error(error, MF_ERROR, MF_ERROR_DAMAGED,
              "libvirt's save file is not one that mayfly knows: %s", why);
}

static gboolean
read_words(const guint8 *front, guint32 words[19], GError **error)
{
  for (guint i = 0; i < 19; i++) {
    guint32 word;
    memcpy(&word, front + MAGIC_LENGTH + i * sizeof word, sizeof word);
    words[i] = GUINT32_FROM_LE(word);
  }
  const char *why = NULL;
  if (memcmp(front, MAGIC_PARTIAL, MAGIC_LENGTH) == 0)
    why = "it was not finished";
  else if (memcmp(front, MAGIC, MAGIC_LENGTH) != 0)
    why = "it does not begin as one";
  else if (words[WORD_VERSION] != VERSION)
    why = "it has another version";
  else if (words[WORD_COMPRESSION] != 0)
    why = "it is compressed (save_image_format in libvirt's qemu.conf has to be raw)";
  else if (words[WORD_LENGTH] < 2 || words[WORD_LENGTH] > MF_SAVE_DATA_MAX ||
           words[WORD_COOKIE] >= words[WORD_LENGTH])
    why = "its lengths make no sense";
  for (guint i = WORD_UNUSED; i < 19 && why == NULL; i++)
    why = words[i] != 0 ? "it uses fields that were not used" : NULL;
  if (why != NULL)
    refuse(error, why);
  return why == NULL;
}

gsize
mf_save_header_length(const guint8 *front, GError **error)
{
  guint32 words[19];
  return read_words(front, words, error) ? MF_SAVE_FRONT + words[WORD_LENGTH] + STREAM_LENGTH : 0;
}

/* A text that ends within @room bytes; after it there is nothing but NUL. (transfer full) */
static char *
take_text(const guint8 *data, gsize room)
{
  const guint8 *end = memchr(data, '\0', room);
  if (end == NULL || end == data || !g_utf8_validate((const char *)data, end - data, NULL))
    return NULL;
  for (const guint8 *rest = end; rest < data + room; rest++)
    if (*rest != '\0')
      return NULL;
  return g_strndup((const char *)data, (gsize)(end - data));
}

MfSaveHeader *
mf_save_header_parse(const guint8 *data, gsize length, GError **error)
{
  g_autoptr(MfSaveHeader) self = g_new0(MfSaveHeader, 1);
  if (length < MF_SAVE_FRONT) {
    refuse(error, "it is too short");
    return NULL;
  }
  if (!read_words(data, self->words, error))
    return NULL;
  gsize all = self->words[WORD_LENGTH], cookie = self->words[WORD_COOKIE];
  self->length = MF_SAVE_FRONT + all;
  if (length < self->length + STREAM_LENGTH) {
    refuse(error, "it is too short");
    return NULL;
  }
  self->xml = take_text(data + MF_SAVE_FRONT, cookie > 0 ? cookie : all);
  if (cookie > 0)
    self->cookie = take_text(data + MF_SAVE_FRONT + cookie, all - cookie);
  if (self->xml == NULL || (cookie > 0 && self->cookie == NULL)) {
    refuse(error, "its description of the domain is not a text");
    return NULL;
  }
  if (memcmp(data + self->length, STREAM_MAGIC, STREAM_LENGTH) != 0) {
    refuse(error, "QEMU's part of it does not begin as it should");
    return NULL;
  }
  return g_steal_pointer(&self);
}

GBytes *
mf_save_header_build(const MfSaveHeader *self, const char *xml)
{
  gsize xml_room = strlen(xml) + 1;
  gsize room = xml_room + (self->cookie != NULL ? strlen(self->cookie) + 1 : 0);
  room = (room + DATA_ALIGNMENT - 1) / DATA_ALIGNMENT * DATA_ALIGNMENT;
  guint8 *data = g_malloc0(MF_SAVE_FRONT + room);
  guint32 words[19];
  memcpy(words, self->words, sizeof words);
  words[WORD_LENGTH] = (guint32)room;
  words[WORD_COOKIE] = self->cookie != NULL ? (guint32)xml_room : 0;
  memcpy(data, MAGIC, MAGIC_LENGTH);
  for (guint i = 0; i < 19; i++) {
    guint32 word = GUINT32_TO_LE(words[i]);
    memcpy(data + MAGIC_LENGTH + i * sizeof word, &word, sizeof word);
  }
  memcpy(data + MF_SAVE_FRONT, xml, xml_room);
  if (self->cookie != NULL)
    memcpy(data + MF_SAVE_FRONT + xml_room, self->cookie, strlen(self->cookie) + 1);
  return g_bytes_new_take(data, MF_SAVE_FRONT + room);
}
