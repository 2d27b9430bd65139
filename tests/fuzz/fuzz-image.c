/* SPDX-License-Identifier: Apache-2.0 */

/*
 * image.json from somebody else's folder. What is accepted must be fit for use: written out and
 * read again it is the same version.
 */

#include "daemon/image-meta.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(gboolean condition)
{
  if (!condition)
    abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  g_autoptr(GError) error = NULL;
  /* A copy of the exact length, so that reading past the end is seen. */
  g_autofree char *text = g_memdup2(data, size);
  g_autoptr(MfImageMeta) meta = mf_image_meta_parse(text, size, &error);
  if (meta == NULL) {
    require(error != NULL && g_utf8_validate(error->message, -1, NULL));
    return 0;
  }
  g_autofree char *json = mf_image_meta_to_json(meta);
  g_autoptr(MfImageMeta) again = mf_image_meta_parse(json, strlen(json), NULL);
  require(again != NULL);
  g_autofree char *digest = mf_image_meta_digest(meta);
  g_autofree char *digest_again = mf_image_meta_digest(again);
  require(strcmp(digest, digest_again) == 0 && meta->created == again->created);
  require(strcmp(meta->name, again->name) == 0 && meta->virtual_size == again->virtual_size);
  return 0;
}
