/* SPDX-License-Identifier: Apache-2.0 */
/* Errors: what a failure asks of its caller, and how HTTP says so. */
#include "daemon/error.h"

#include <gio/gio.h>

G_DEFINE_QUARK(mf-error-quark, mf_error)

static const struct {
  const char *name;
  guint http;
} codes[] = {
    [MF_ERROR_FAILED] = {"failed", 500},
    [MF_ERROR_INVALID] = {"invalid", 400},
    [MF_ERROR_LIMIT] = {"limit", 422},
    [MF_ERROR_NOT_FOUND] = {"not-found", 404},
    [MF_ERROR_FORBIDDEN] = {"forbidden", 403},
    [MF_ERROR_CONFLICT] = {"conflict", 409},
    [MF_ERROR_BUSY] = {"busy", 429},
    [MF_ERROR_UNAVAILABLE] = {"unavailable", 503},
    [MF_ERROR_NO_SPACE] = {"no-space", 507},
    [MF_ERROR_TIMEOUT] = {"timeout", 504},
    [MF_ERROR_CANCELLED] = {"cancelled", 499},
    [MF_ERROR_DAMAGED] = {"damaged", 500},
};
G_STATIC_ASSERT(G_N_ELEMENTS(codes) == MF_ERROR_LAST_);

const char *
mf_error_code_to_string(MfErrorCode code)
{
  g_return_val_if_fail((guint)code < G_N_ELEMENTS(codes), "failed");
  return codes[code].name;
}

guint
mf_error_code_to_http(MfErrorCode code)
{
  g_return_val_if_fail((guint)code < G_N_ELEMENTS(codes), 500);
  return codes[code].http;
}

MfErrorCode
mf_error_code_from_string(const char *name)
{
  for (guint i = 0; i < G_N_ELEMENTS(codes); i++)
    if (g_strcmp0(name, codes[i].name) == 0)
      return (MfErrorCode)i;
  return MF_ERROR_FAILED;
}

MfErrorCode
mf_error_code(const GError *error)
{
  if (error == NULL)
    return MF_ERROR_FAILED;
  if (error->domain == MF_ERROR)
    return (MfErrorCode)error->code;
  if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return MF_ERROR_CANCELLED;
  if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE) ||
      g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOSPC))
    return MF_ERROR_NO_SPACE;
  if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT))
    return MF_ERROR_TIMEOUT;
  if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) ||
      g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT))
    return MF_ERROR_NOT_FOUND;
  return MF_ERROR_FAILED;
}
