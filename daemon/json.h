/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Reading JSON that somebody else wrote: strict, bounded, and with errors that name the key. Pure.
 *
 * Every reader takes the object, the path that leads to it ("" at the top, "exec", "files[2]") and
 * a key. A key that is absent or null leaves *ret as it is, so a caller presets its default; a key
 * of the wrong type or out of range is MF_ERROR_INVALID and named by its whole path.
 */

#include <glib.h>

#include "daemon/auto.h"

#define MF_JSON_MAX_DEPTH 32

/*
 * mf_json_parse() - one JSON object and nothing after it but white space.
 * @what: names the text in errors: "the request body", a file's path.
 */
MfJson *mf_json_parse(const void *data, gsize length, const char *what,
                      GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* "exec.argv" from "exec" and "argv"; "files[2]" with mf_json_item_path(). (transfer full) */
char *mf_json_key_path(const char *path, const char *key);
char *mf_json_item_path(const char *path, const char *key, gsize index);

/* @allowed: NULL-terminated. The first key that is none of them is the error, with the list of
 * those that are. */
gboolean mf_json_check_keys(MfJson *object, const char *path, const char *const *allowed,
                            GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Is the key there, and not null? */
gboolean mf_json_has(MfJson *object, const char *key);

/* Bytes without a NUL (transfer full). */
gboolean mf_json_read_string(MfJson *object, const char *path, const char *key, char **ret,
                             GError **error) G_GNUC_WARN_UNUSED_RESULT;
gboolean mf_json_read_bool(MfJson *object, const char *path, const char *key, gboolean *ret,
                           GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A whole number from @min to @max. */
gboolean mf_json_read_uint(MfJson *object, const char *path, const char *key, guint64 min,
                           guint64 max, guint64 *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* At most @max strings without NUL (transfer full). */
gboolean mf_json_read_strv(MfJson *object, const char *path, const char *key, gsize max,
                           char ***ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The value itself, checked to be an object or array (borrowed from @object). */
gboolean mf_json_read_object(MfJson *object, const char *path, const char *key, MfJson **ret,
                             GError **error) G_GNUC_WARN_UNUSED_RESULT;
gboolean mf_json_read_array(MfJson *object, const char *path, const char *key, MfJson **ret,
                            GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Writing: NULL text gives null. @object must not have the key yet. */
void mf_json_add_string(MfJson *object, const char *key, const char *text);
void mf_json_add_uint(MfJson *object, const char *key, guint64 value);
void mf_json_add_bool(MfJson *object, const char *key, gboolean value);
void mf_json_add_strv(MfJson *object, const char *key, char *const *items);
/* @value: taken. */
void mf_json_add(MfJson *object, const char *key, MfJson *value);
