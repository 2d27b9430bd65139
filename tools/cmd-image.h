/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The options of 'image build' and 'image import', which work on the images folder themselves,
 * without mayflyd. */

#include "tools/command.h"

typedef struct {
  const char *name;
  const char *images;
  const char *cache;
  gboolean verbose;
} MfImageBuildOptions;

typedef struct {
  const char *name;
  const char *images;
  const char *root_device;
  const char *root_fstype;
  const char *accel;
} MfImageImportOptions;
