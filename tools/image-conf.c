/* SPDX-License-Identifier: Apache-2.0 */
/* What a recipe says of its image. */
#include "tools/image-conf.h"

#include <string.h>

#include "daemon/error.h"
#include "daemon/text.h"

static char **
field_of(MfImageMeta *meta, const char *key)
{
  const struct {
    const char *key;
    char **field;
  } fields[] = {
      {"os", &meta->os},
      {"init", &meta->init},
      {"root-device", &meta->root_device},
      {"root-fstype", &meta->root_fstype},
      {"cmdline", &meta->cmdline},
  };
  for (guint i = 0; i < G_N_ELEMENTS(fields); i++)
    if (strcmp(key, fields[i].key) == 0)
      return fields[i].field;
  return NULL;
}

static gboolean
parse_line(const char *line, guint number, MfImageMeta *meta, GError **error)
{
  const char *equals = strchr(line, '=');
  g_autofree char *key = g_strndup(line, equals != NULL ? (gsize)(equals - line) : strlen(line));
  char **field = field_of(meta, key);

  if (equals != NULL && field != NULL) {
    g_free(*field);
    *field = g_strdup(equals + 1);
    return TRUE;
  }
  if (equals != NULL && strcmp(key, "agent-in-initrd") == 0 &&
      (strcmp(equals + 1, "true") == 0 || strcmp(equals + 1, "false") == 0)) {
    meta->agent_in_initrd = strcmp(equals + 1, "true") == 0;
    return TRUE;
  }
  g_autofree char *shown = mf_text_quote(line);
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
              "image.conf, line %u: %s is not understood; allowed are os=, init=, root-device=, "
              "root-fstype=, cmdline=, "
              "and agent-in-initrd=true or false",
              number, shown);
  return FALSE;
}

gboolean
mf_image_conf_parse(const char *text, MfImageMeta *meta, GError **error)
{
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++) {
    g_strstrip(lines[i]);
    if (*lines[i] != '\0' && *lines[i] != '#' && !parse_line(lines[i], i + 1, meta, error))
      return FALSE;
  }
  const char *missing = meta->os == NULL            ? "os"
                        : meta->init == NULL        ? "init"
                        : meta->root_device == NULL ? "root-device"
                        : meta->root_fstype == NULL ? "root-fstype"
                                                    : NULL;
  if (missing == NULL)
    return TRUE;
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "image.conf: %s= is missing", missing);
  return FALSE;
}
