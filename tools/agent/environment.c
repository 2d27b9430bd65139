/* SPDX-License-Identifier: Apache-2.0 */

/* Environments: see environment.h. */

#include "tools/agent/environment.h"

#include "tools/agent/util.h"

#include <string.h>

static char **
find(const MfEnvironment *self, const char *key, size_t length)
{
  for (size_t i = 0; i < self->count; i++)
    if (strncmp(self->strv[i], key, length) == 0 && self->strv[i][length] == '=')
      return &self->strv[i];
  return NULL;
}

static void
wipe(char *text)
{
  explicit_bzero(text, strlen(text));
  free(text);
}

void
mf_environment_set(MfEnvironment *self, const char *assignment)
{
  size_t length = strcspn(assignment, "=");
  if (length == 0 || assignment[length] == '\0')
    return;
  char **place = find(self, assignment, length);
  if (place != NULL) {
    wipe(*place);
    *place = mf_util_strdup(assignment);
    return;
  }
  if (self->count + 2 > self->room) {
    self->room = self->room == 0 ? 32 : self->room * 2;
    self->strv = mf_util_realloc(self->strv, self->room * sizeof *self->strv);
  }
  self->strv[self->count++] = mf_util_strdup(assignment);
  self->strv[self->count] = NULL;
}

void
mf_environment_set_all(MfEnvironment *self, char *const *strv)
{
  for (size_t i = 0; strv != NULL && strv[i] != NULL; i++)
    mf_environment_set(self, strv[i]);
}

void
mf_environment_set_value(MfEnvironment *self, const char *key, const char *value)
{
  MF_AUTO_FREE char *assignment = mf_util_printf("%s=%s", key, value);
  mf_environment_set(self, assignment);
}

const char *
mf_environment_get(const MfEnvironment *self, const char *key)
{
  char **place = find(self, key, strlen(key));
  return place != NULL ? *place + strlen(key) + 1 : NULL;
}

void
mf_environment_clear(MfEnvironment *self)
{
  for (size_t i = 0; i < self->count; i++)
    wipe(self->strv[i]);
  free(self->strv);
  memset(self, 0, sizeof *self);
}
