/* SPDX-License-Identifier: Apache-2.0 */

/* PUT and GET: see file.h. */

#include "tools/agent/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* As base64 and with its path this still is a document within MF_FRAME_MAX_DOCUMENT. */
#define GET_LIMIT ((size_t)(MF_FRAME_MAX_DOCUMENT / 4 * 3 - 65536))

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static uint8_t *
decode_base64(const char *text, size_t length, size_t *ret_length)
{
  uint8_t values[256];
  memset(values, 0xff, sizeof values);
  for (uint8_t i = 0; i < 64; i++)
    values[(uint8_t)alphabet[i]] = i;
  while (length > 0 && text[length - 1] == '=')
    length--;
  uint8_t *data = mf_util_alloc(length / 4 * 3 + 3);
  uint32_t bits = 0;
  unsigned count = 0;
  size_t out = 0;
  for (size_t i = 0; i < length; i++) {
    uint8_t value = values[(uint8_t)text[i]];
    if (value == 0xff) {
      free(data);
      return NULL;
    }
    bits = bits << 6 | value;
    count += 6;
    if (count >= 8) {
      count -= 8;
      data[out++] = (uint8_t)(bits >> count);
    }
  }
  *ret_length = out;
  return data;
}

static char *
encode_base64(const uint8_t *data, size_t length)
{
  char *text = mf_util_alloc((length + 2) / 3 * 4 + 1);
  char *out = text;
  for (size_t i = 0; i < length; i += 3) {
    size_t left = length - i;
    uint32_t bits = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                    (left > 2 ? (uint32_t)data[i + 2] : 0);
    *out++ = alphabet[bits >> 18];
    *out++ = alphabet[bits >> 12 & 63];
    *out++ = left > 1 ? alphabet[bits >> 6 & 63] : '=';
    *out++ = left > 2 ? alphabet[bits & 63] : '=';
  }
  return text;
}

/* A mode is a JSON number, or octal digits in a string as in a job's files. */
static mode_t
mode_of(MfDocument *document)
{
  const char *text = mf_document_string(document, "mode");
  int64_t mode =
      text != NULL ? (int64_t)strtoul(text, NULL, 8) : mf_document_int(document, "mode", 0644);
  return (mode_t)(mode & 07777);
}

char *
mf_file_put(MfDocument *document)
{
  const char *path = mf_document_string(document, "path");
  const char *content = mf_document_string(document, "content_base64");
  if (path == NULL || path[0] != '/' || content == NULL)
    return mf_util_strdup("a file to write needs \"path\", absolute, and \"content_base64\"");
  size_t length = 0;
  uint8_t *data = decode_base64(content, strlen(content), &length);
  if (data == NULL)
    return mf_util_printf("the content for \"%s\" is not base64", path);
  bool written = mf_util_write_file(path, mode_of(document), data, length);
  int error = errno;
  explicit_bzero(data, length);
  free(data);
  return written ? NULL
                 : mf_util_printf("\"%s\" cannot be written in this machine: %s", path,
                                  strerror(error));
}

MfDocument *
mf_file_get(MfDocument *document, char **ret_error)
{
  const char *path = mf_document_string(document, "path");
  struct stat status;
  if (path == NULL || path[0] != '/') {
    *ret_error = mf_util_strdup("a file to read needs \"path\", absolute");
    return NULL;
  }
  if (stat(path, &status) != 0) {
    *ret_error = mf_util_printf("\"%s\" cannot be read in this machine: %s", path, strerror(errno));
    return NULL;
  }
  if (!S_ISREG(status.st_mode)) {
    *ret_error = mf_util_printf("\"%s\" is not a regular file", path);
    return NULL;
  }
  size_t length = 0;
  MF_AUTO_FREE char *data = mf_util_read_file(path, GET_LIMIT, &length);
  if (data == NULL) {
    *ret_error =
        errno == EFBIG
            ? mf_util_printf(
                  "\"%s\" is larger than the %zu bytes that can be fetched: read it with an exec",
                  path, GET_LIMIT)
            : mf_util_printf("\"%s\" cannot be read in this machine: %s", path, strerror(errno));
    return NULL;
  }
  MF_AUTO_FREE char *content = encode_base64((const uint8_t *)data, length);
  MfDocument *answer = json_object_new_object();
  json_object_object_add(answer, "path", json_object_new_string(path));
  json_object_object_add(answer, "mode", json_object_new_int((int)(status.st_mode & 07777)));
  json_object_object_add(answer, "content_base64", json_object_new_string(content));
  return answer;
}
