/* SPDX-License-Identifier: Apache-2.0 */

/* JSON documents, whole and in pieces: see document.h. */

#include "tools/agent/document.h"

#include <limits.h>
#include <string.h>

struct MfPiece {
  MfPiece *next;
  uint8_t type;
  uint32_t exec;
  uint8_t *data;
  size_t length;
  bool oversized;
  bool done; /* handed out: goes with the next call */
};

MfDocument *
mf_document_parse(const void *data, size_t length)
{
  if (length > INT_MAX)
    return NULL;
  struct json_tokener *tokener = json_tokener_new_ex(16);
  if (tokener == NULL)
    return NULL;
  MfDocument *document = json_tokener_parse_ex(tokener, data, (int)length);
  size_t end = json_tokener_get_parse_end(tokener);
  while (end < length && strchr(" \t\r\n", ((const char *)data)[end]) != NULL)
    end++;
  bool whole = json_tokener_get_error(tokener) == json_tokener_success && end == length &&
               json_object_is_type(document, json_type_object);
  json_tokener_free(tokener);
  if (whole)
    return document;
  json_object_put(document);
  return NULL;
}

static MfDocument *
member(MfDocument *self, const char *key, json_type type)
{
  MfDocument *value = NULL;
  if (!json_object_object_get_ex(self, key, &value) || !json_object_is_type(value, type))
    return NULL;
  return value;
}

/* A C string cannot say where a NUL inside of it was: such a value is no string here. */
static const char *
plain_string(MfDocument *value)
{
  if (!json_object_is_type(value, json_type_string))
    return NULL;
  const char *text = json_object_get_string(value);
  return strlen(text) == (size_t)json_object_get_string_len(value) ? text : NULL;
}

const char *
mf_document_string(MfDocument *self, const char *key)
{
  MfDocument *value = member(self, key, json_type_string);
  return value != NULL ? plain_string(value) : NULL;
}

const char *
mf_document_bytes(MfDocument *self, const char *key, size_t *ret_length)
{
  MfDocument *value = member(self, key, json_type_string);
  if (value == NULL)
    return NULL;
  *ret_length = (size_t)json_object_get_string_len(value);
  return json_object_get_string(value);
}

int64_t
mf_document_int(MfDocument *self, const char *key, int64_t otherwise)
{
  MfDocument *value = member(self, key, json_type_int);
  return value != NULL ? json_object_get_int64(value) : otherwise;
}

bool
mf_document_bool(MfDocument *self, const char *key)
{
  MfDocument *value = member(self, key, json_type_boolean);
  return value != NULL && json_object_get_boolean(value);
}

static char **
strv_from_object(MfDocument *object)
{
  char **strv = mf_util_alloc(((size_t)json_object_object_length(object) + 1) * sizeof *strv);
  size_t count = 0;
  json_object_object_foreach(object, key, value)
  {
    const char *text = plain_string(value);
    if (text != NULL && key[0] != '\0' && strchr(key, '=') == NULL)
      strv[count++] = mf_util_printf("%s=%s", key, text);
  }
  return strv;
}

char **
mf_document_strv(MfDocument *self, const char *key)
{
  MfDocument *object = member(self, key, json_type_object);
  if (object != NULL)
    return strv_from_object(object);
  MfDocument *array = member(self, key, json_type_array);
  if (array == NULL)
    return NULL;
  size_t length = json_object_array_length(array);
  char **strv = mf_util_alloc((length + 1) * sizeof *strv);
  for (size_t i = 0; i < length; i++) {
    const char *text = plain_string(json_object_array_get_idx(array, i));
    if (text == NULL) {
      mf_document_strv_free(strv);
      return NULL;
    }
    strv[i] = mf_util_strdup(text);
  }
  return strv;
}

void
mf_document_strv_free(char **strv)
{
  for (size_t i = 0; strv != NULL && strv[i] != NULL; i++)
    free(strv[i]);
  free(strv);
}

static void
drop_piece(MfJoiner *self, MfPiece **link)
{
  MfPiece *piece = *link;
  *link = piece->next;
  self->held -= piece->length;
  if (piece->data != NULL)
    explicit_bzero(piece->data, piece->length);
  free(piece->data);
  free(piece);
}

static MfPiece *
find_piece(MfJoiner *self, const MfFrame *frame)
{
  MfPiece *found = NULL;
  for (MfPiece **link = &self->pieces; *link != NULL;) {
    if ((*link)->done) {
      drop_piece(self, link);
      continue;
    }
    if ((*link)->type == frame->type && (*link)->exec == frame->exec)
      found = *link;
    link = &(*link)->next;
  }
  return found;
}

/* The limit holds for all unfinished documents together: nobody can begin one for each exec id. */
static void
append_piece(MfJoiner *self, MfPiece *piece, const MfFrame *frame)
{
  if (piece->oversized || self->held + frame->length > MF_FRAME_MAX_DOCUMENT) {
    piece->oversized = true;
    self->held -= piece->length;
    piece->length = 0;
    free(piece->data);
    piece->data = NULL;
    return;
  }
  piece->data = mf_util_realloc(piece->data, piece->length + frame->length);
  memcpy(piece->data + piece->length, frame->payload, frame->length);
  piece->length += frame->length;
  self->held += frame->length;
}

MfJoinerResult
mf_joiner_add(MfJoiner *self, const MfFrame *frame, const uint8_t **ret_data, size_t *ret_length)
{
  MfPiece *piece = find_piece(self, frame);
  bool more = (frame->flags & MF_FRAME_MORE) != 0;
  if (piece == NULL && !more) {
    *ret_data = frame->payload;
    *ret_length = frame->length;
    return MF_JOINER_WHOLE;
  }
  if (piece == NULL) {
    piece = mf_util_alloc(sizeof *piece);
    piece->type = frame->type;
    piece->exec = frame->exec;
    piece->next = self->pieces;
    self->pieces = piece;
  }
  append_piece(self, piece, frame);
  if (more)
    return MF_JOINER_PARTIAL;
  piece->done = true;
  if (piece->oversized)
    return MF_JOINER_OVERSIZED;
  *ret_data = piece->data;
  *ret_length = piece->length;
  return MF_JOINER_WHOLE;
}

void
mf_joiner_clear(MfJoiner *self)
{
  while (self->pieces != NULL)
    drop_piece(self, &self->pieces);
}
