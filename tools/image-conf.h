/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* image.conf, in which a recipe says what mayfly has to know of its image: KEY=VALUE lines, # comments. Pure. */

#include "daemon/image-meta.h"

/* mf_image_conf_parse() - into @meta. INVALID names the line, and what is allowed or missing. */
gboolean mf_image_conf_parse(const char *text, MfImageMeta *meta, GError **error) G_GNUC_WARN_UNUSED_RESULT;
