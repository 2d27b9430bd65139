/* SPDX-License-Identifier: Apache-2.0 */
/* See tiny.h. */
#include "tests/lib/tiny.h"

MfTemplate *
tiny_template(void)
{
  MfTemplate *template = g_new0(MfTemplate, 1);
  g_atomic_ref_count_init(&template->refs);
  template->name = g_strdup("tiny");
  return template;
}

MfImage *
tiny_image(void)
{
  MfImage *image = g_new0(MfImage, 1);
  g_atomic_ref_count_init(&image->refs);
  image->name = g_strdup("tiny");
  image->digest = g_strnfill(64, 'a');
  return image;
}
