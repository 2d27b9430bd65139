/* SPDX-License-Identifier: Apache-2.0 */
/* The remembered verdict on KVM. A text that does not match in everything counts for nothing:
 * asking again costs a second. */
#include "daemon/accel-cache.h"

#include "daemon/json.h"

#define VERSION 1

void
mf_accel_key_clear(MfAccelKey *self)
{
  g_clear_pointer(&self->kernel, g_free);
  g_clear_pointer(&self->boot, g_free);
  g_clear_pointer(&self->emulator, g_free);
  g_clear_pointer(&self->version, g_free);
}

MfAccel *
mf_accel_new(gboolean kvm, const char *format, ...)
{
  MfAccel *self = g_new0(MfAccel, 1);
  va_list args;

  self->kvm = kvm;
  va_start(args, format);
  self->reason = g_strdup_vprintf(format, args);
  va_end(args);
  return self;
}

void
mf_accel_free(MfAccel *self)
{
  if (self == NULL)
    return;
  g_free(self->reason);
  g_free(self);
}

char *
mf_accel_cache_write(const MfAccelKey *key, const MfAccel *accel)
{
  g_autoptr(MfJson) root = json_object_new_object();

  mf_json_add_uint(root, "version", VERSION);
  mf_json_add_string(root, "kernel", key->kernel);
  mf_json_add_string(root, "boot", key->boot);
  mf_json_add_string(root, "emulator", key->emulator);
  mf_json_add_string(root, "emulator_version", key->version);
  mf_json_add_bool(root, "kvm", accel->kvm);
  mf_json_add_string(root, "reason", accel->reason);
  return g_strconcat(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY |
                                                              JSON_C_TO_STRING_NOSLASHESCAPE),
                     "\n", NULL);
}

static gboolean
same(MfJson *root, const char *key, const char *wanted)
{
  g_autofree char *value = NULL;

  return mf_json_read_string(root, "", key, &value, NULL) && value != NULL &&
         g_strcmp0(value, wanted) == 0;
}

MfAccel *
mf_accel_cache_read(const char *text, gsize length, const MfAccelKey *key)
{
  g_autoptr(MfJson) root = mf_json_parse(text, length, "accel.json", NULL);
  g_autofree char *reason = NULL;
  gboolean kvm = FALSE;
  guint64 version = 0;

  if (root == NULL || !mf_json_read_uint(root, "", "version", 0, G_MAXUINT32, &version, NULL) ||
      version != VERSION || !same(root, "kernel", key->kernel) || !same(root, "boot", key->boot) ||
      !same(root, "emulator", key->emulator) || !same(root, "emulator_version", key->version))
    return NULL;
  if (!mf_json_has(root, "kvm") || !mf_json_read_bool(root, "", "kvm", &kvm, NULL) ||
      !mf_json_read_string(root, "", "reason", &reason, NULL) || reason == NULL)
    return NULL;
  return mf_accel_new(kvm, "%s", reason);
}
