/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Configuration and template files of any content: they are taken or refused with a message that
 * can be shown, and what was taken can be written out and read back to the same.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config.h"
#include "daemon/error.h"
#include "daemon/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(gboolean condition)
{
  if (!condition)
    abort();
}

static void
require_good_message(const GError *error)
{
  require(error != NULL && error->domain == MF_ERROR && error->code == MF_ERROR_INVALID);
  require(g_utf8_validate(error->message, -1, NULL) && strpbrk(error->message, "\n\x1b") == NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MfConfig) config = mf_config_from_data("input", (const char *)data, size, &error);
  if (config == NULL) {
    require_good_message(error);
  } else {
    g_autofree char *once = mf_config_dump(config, FALSE);
    g_autoptr(MfConfig) again = mf_config_from_data("dump", once, strlen(once), NULL);
    require(again != NULL);
    g_autofree char *twice = mf_config_dump(again, FALSE);
    require(strcmp(once, twice) == 0);
  }
  g_clear_error(&error);
  g_autoptr(MfTemplate) template = mf_template_from_data("input", (const char *)data, size, &error);
  if (template == NULL)
    require_good_message(error);
  else
    require(template->image[0] != '\0' && template->max_memory >= template->memory);
  return 0;
}
