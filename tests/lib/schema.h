/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Documents against the schemas of daemon/openapi.json: as much of JSON Schema as stands there, and
 * stricter in one thing, that an object holds no key which its schema does not name.
 */

#include <glib.h>

#include "daemon/auto.h"

/* The description, as the daemon serves it. */
MfJson *schema_load(void);
/* Fails the test, saying where, unless @document is what #/components/schemas/@name says. */
void schema_check(MfJson *openapi, const char *name, MfJson *document);
