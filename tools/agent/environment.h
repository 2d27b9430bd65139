/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A set of "K=V" strings in which a later value replaces an earlier one. Values are bytes. */

#include <stddef.h>

typedef struct {
  char **strv; /* NULL-terminated once something was set */
  size_t count, room;
} MfEnvironment;

/* Strings without a name before '=' are left out. */
void mf_environment_set(MfEnvironment *self, const char *assignment);
void mf_environment_set_all(MfEnvironment *self, char *const *strv);
void mf_environment_set_value(MfEnvironment *self, const char *key, const char *value);
const char *mf_environment_get(const MfEnvironment *self, const char *key);
void mf_environment_clear(MfEnvironment *self); /* wipes the values */
