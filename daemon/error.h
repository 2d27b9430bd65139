/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The one GError domain. A code names what the caller can do about it, never which function failed;
 * the message is one sentence for a newcomer: what, where, what to do.
 */

#include <glib.h>

#define MF_ERROR (mf_error_quark())

typedef enum {
  MF_ERROR_FAILED,      /* nothing to decide: report it */
  MF_ERROR_INVALID,     /* what was asked for is malformed: change it */
  MF_ERROR_LIMIT,       /* more was asked for than is allowed: ask for less, or the admin raises the limit */
  MF_ERROR_NOT_FOUND,   /* there is no such thing */
  MF_ERROR_FORBIDDEN,   /* it belongs to somebody else */
  MF_ERROR_CONFLICT,    /* not in this state, or in use: wait or end its use */
  MF_ERROR_BUSY,        /* full for now: try again later */
  MF_ERROR_UNAVAILABLE, /* a service mayfly needs is not there: the admin starts it */
  MF_ERROR_NO_SPACE,    /* the disk is full: free some */
  MF_ERROR_TIMEOUT,     /* it did not come in time */
  MF_ERROR_CANCELLED,   /* somebody asked for it to stop */
  MF_ERROR_DAMAGED,     /* what is on disk is not what was written there: restore or remove it */
  MF_ERROR_LAST_
} MfErrorCode;

GQuark mf_error_quark(void);

/* "invalid", "not-found", …: the last part of a problem document's type, and of log fields. */
const char *mf_error_code_to_string(MfErrorCode code);

/* The HTTP status that says the same, and back again (statuses we do not send give FAILED). */
guint mf_error_code_to_http(MfErrorCode code);
MfErrorCode mf_error_code_from_string(const char *name);

/*
 * mf_error_code() - the decision in any GError: those of MF_ERROR as they are, GIO's mapped
 * (CANCELLED, NO_SPACE, TIMED_OUT, NOT_FOUND), everything else FAILED.
 */
MfErrorCode mf_error_code(const GError *error);
