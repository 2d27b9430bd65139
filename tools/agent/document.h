/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Control documents: JSON objects, and joining those that came in pieces (MF_FRAME_MORE). Strings
 * are bytes: what is not UTF-8 passes as it is. Getters answer only for the right type, so a wrong
 * document is one with things missing.
 */

#include <json-c/json.h>

#include "daemon/frame.h"
#include "tools/agent/util.h"

typedef struct json_object MfDocument;

static inline void
mf_document_put_p(MfDocument **document)
{
  json_object_put(*document);
}

#define MF_AUTO_DOCUMENT __attribute__((cleanup(mf_document_put_p)))

/* NULL unless @data is one JSON object and nothing else. */
MfDocument *mf_document_parse(const void *data, size_t length);

/* NULL where there is no such string, or one with a NUL inside. Owned by the document. */
const char *mf_document_string(MfDocument *self, const char *key);
/* With its length, NULs and all. */
const char *mf_document_bytes(MfDocument *self, const char *key, size_t *ret_length);
int64_t mf_document_int(MfDocument *self, const char *key, int64_t otherwise);
bool mf_document_bool(MfDocument *self, const char *key);
/* A NULL-terminated copy (free with mf_document_strv_free) of an array of strings, NULL if it is
   none. An object
   {"K":"V"} becomes "K=V", the second way to write an environment. */
char **mf_document_strv(MfDocument *self, const char *key);
void mf_document_strv_free(char **strv);

/* Pieces of documents, at most one unfinished per frame type and exec id. */
typedef struct MfPiece MfPiece;
typedef struct {
  MfPiece *pieces;
  size_t held; /* bytes, in all */
} MfJoiner;

typedef enum {
  MF_JOINER_WHOLE,    /* *ret_data, *ret_length are the document, valid until the next call */
  MF_JOINER_PARTIAL,  /* more pieces follow */
  MF_JOINER_OVERSIZED /* over MF_FRAME_MAX_DOCUMENT: dropped; told once, with its last piece */
} MfJoinerResult;

MfJoinerResult mf_joiner_add(MfJoiner *self, const MfFrame *frame, const uint8_t **ret_data,
                             size_t *ret_length);
void mf_joiner_clear(MfJoiner *self);
