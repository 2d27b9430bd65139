/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A template and an image of which nothing is on disk, for tests of what only carries them about. */

#include "daemon/image.h"
#include "daemon/template.h"

MfTemplate *tiny_template(void);
MfImage *tiny_image(void);
