/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A case that runs in a child, which makes namespaces of its own, as far as this machine lets it.
 */

#include <glib.h>

typedef struct {
  void (*run)(void);
} OwnChild;

/* In the child: goes on only if @can. */
void own_child_need(gboolean can);

/* A GTestDataFunc. @data: an OwnChild; it passes if that returns. */
void own_child_test(gconstpointer data);
