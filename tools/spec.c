/* SPDX-License-Identifier: Apache-2.0 */
/* Specs: variables, files, scripts and arguments put into JSON, whatever bytes they are made of. */
#include "tools/spec.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/error.h"
#include "daemon/text.h"
#include "tools/terminal.h"

/* mayflyd takes no larger request by default, and would say so less clearly. */
#define FILE_LIMIT (24u << 20)

static void
add_text(MfJson *object, const char *key, const char *text)
{
  if (text != NULL)
    json_object_object_add(object, key, json_object_new_string(text));
}

/* As text if it is text, else as base64: people read requests too. */
void
mf_spec_add_content(MfJson *object, const char *key, const char *data, gsize length)
{
  if (g_utf8_validate(data, (gssize)length, NULL)) {
    json_object_object_add(object, key, json_object_new_string_len(data, (int)length));
    return;
  }
  g_autofree char *name = g_strconcat(key, "_base64", NULL);
  g_autofree char *base64 = g_base64_encode((const guchar *)data, length);
  add_text(object, name, base64);
}

static gboolean
read_file(const char *path, char **ret_data, gsize *ret_length, GError **error)
{
  gboolean is_stdin = strcmp(path, "-") == 0;
  if (g_file_test(path, G_FILE_TEST_IS_DIR)) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "%s is a folder, not a file: pack it with tar and unpack it in the job", path);
    return FALSE;
  }
  if (!g_file_get_contents(is_stdin ? "/dev/stdin" : path, ret_data, ret_length, error))
    return FALSE;
  if (*ret_length <= FILE_LIMIT)
    return TRUE;
  g_clear_pointer(ret_data, g_free);
  g_set_error(error, MF_ERROR, MF_ERROR_LIMIT,
              "%s is larger than 24 MiB: let the job fetch it, or put it into the image", path);
  return FALSE;
}

static gboolean
is_variable_name(const char *name)
{
  if (g_ascii_isdigit(name[0]))
    return FALSE;
  for (; *name != '\0'; name++)
    if (!g_ascii_isalnum(*name) && *name != '_')
      return FALSE;
  return TRUE;
}

static gboolean
add_variable(MfJson *env, const char *text, const char *where, GError **error)
{
  const char *equals = strchr(text, '=');
  if (equals == text || text[0] == '\0') {
    g_autofree char *shown = mf_text_quote(text);
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "%s: %s is no NAME=VALUE", where, shown);
    return FALSE;
  }
  g_autofree char *name = g_strndup(text, equals != NULL ? (gsize)(equals - text) : strlen(text));
  if (!is_variable_name(name)) {
    g_autofree char *shown = mf_text_quote(name);
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "%s: %s is no name of a variable: letters, digits and _, not a digit first", where,
                shown);
    return FALSE;
  }
  const char *value = equals != NULL ? equals + 1 : g_getenv(name);
  /* A name alone passes on what is set here, and nothing if nothing is. */
  if (value != NULL)
    json_object_object_add(env, name, json_object_new_string(value));
  return TRUE;
}

static gboolean
add_variables_of_file(MfJson *env, const char *path, GError **error)
{
  g_autofree char *data = NULL;
  gsize length;
  if (!read_file(path, &data, &length, error))
    return FALSE;
  g_auto(GStrv) lines = g_strsplit(data, "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++) {
    char *line = g_strchug(lines[i]);
    gsize size = strlen(line);
    if (size > 0 && line[size - 1] == '\r')
      line[size - 1] = '\0';
    if (line[0] == '\0' || line[0] == '#')
      continue;
    g_autofree char *where = g_strdup_printf("%s:%u", path, i + 1);
    if (!add_variable(env, line, where, error))
      return FALSE;
  }
  return TRUE;
}

MfJson *
mf_spec_env(const MfSpecExec *self, GError **error)
{
  g_autoptr(MfJson) env = json_object_new_object();
  for (guint i = 0; self->env_files != NULL && i < self->env_files->len; i++)
    if (!add_variables_of_file(env, g_ptr_array_index(self->env_files, i), error))
      return NULL;
  for (guint i = 0; self->env != NULL && i < self->env->len; i++)
    if (!add_variable(env, g_ptr_array_index(self->env, i), "--env", error))
      return NULL;
  return g_steal_pointer(&env);
}

/* "SRC:DST": DST begins with '/', so a ':' in SRC does no harm. */
static char *
split_file(const char *text, const char **ret_destination, GError **error)
{
  const char *colon = g_strrstr(text, ":/");
  if (colon != NULL && colon != text) {
    *ret_destination = colon + 1;
    return g_strndup(text, (gsize)(colon - text));
  }
  g_autofree char *shown = mf_text_quote(text);
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
              "--file %s: write FILE:/PATH/IN/THE/MACHINE, an absolute path", shown);
  return NULL;
}

MfJson *
mf_spec_files(GPtrArray *files, GError **error)
{
  g_autoptr(MfJson) array = json_object_new_array();
  for (guint i = 0; files != NULL && i < files->len; i++) {
    const char *destination;
    g_autofree char *data = NULL;
    gsize length;
    GStatBuf info;
    g_autofree char *source = split_file(g_ptr_array_index(files, i), &destination, error);
    if (source == NULL || !read_file(source, &data, &length, error))
      return NULL;
    g_autofree char *mode =
        g_strdup_printf("%04o", g_stat(source, &info) == 0 ? (guint)info.st_mode & 0777 : 0644);
    MfJson *file = json_object_new_object();
    add_text(file, "path", destination);
    add_text(file, "mode", mode);
    mf_spec_add_content(file, "content", data, length);
    json_object_array_add(array, file);
  }
  return g_steal_pointer(&array);
}

static gboolean
add_command(MfJson *exec, const MfSpecExec *self, GError **error)
{
  gboolean has_command = self->argv != NULL && self->argv[0] != NULL;
  if (has_command == (self->script != NULL)) {
    g_set_error_literal(error, MF_ERROR, MF_ERROR_INVALID,
                        has_command ? "there is a command and a --script: give one of them"
                                    : "there is nothing to run: give a command or a --script");
    return FALSE;
  }
  if (has_command) {
    MfJson *argv = json_object_new_array();
    for (char **word = self->argv; *word != NULL; word++)
      json_object_array_add(argv, json_object_new_string(*word));
    json_object_object_add(exec, "argv", argv);
    return TRUE;
  }
  g_autofree char *data = NULL;
  gsize length;
  if (self->interactive && strcmp(self->script, "-") == 0) {
    g_set_error_literal(error, MF_ERROR, MF_ERROR_INVALID,
                        "standard input cannot be both the --script and the command's input (-i)");
    return FALSE;
  }
  if (!read_file(self->script, &data, &length, error))
    return FALSE;
  mf_spec_add_content(exec, "script", data, length);
  return TRUE;
}

MfJson *
mf_spec_exec(const MfSpecExec *self, gboolean with_env, GError **error)
{
  g_autoptr(MfJson) exec = json_object_new_object();
  guint rows, cols;
  if (!add_command(exec, self, error))
    return NULL;
  add_text(exec, "cwd", self->cwd);
  add_text(exec, "user", self->user);
  json_object_object_add(exec, "stdin", json_object_new_boolean(self->interactive));
  json_object_object_add(exec, "tty", json_object_new_boolean(self->tty));
  if (self->tty && mf_terminal_get_size(0, &rows, &cols)) {
    json_object_object_add(exec, "rows", json_object_new_int64(rows));
    json_object_object_add(exec, "cols", json_object_new_int64(cols));
  }
  if (!with_env)
    return g_steal_pointer(&exec);
  MfJson *env = mf_spec_env(self, error);
  if (env == NULL)
    return NULL;
  json_object_object_add(exec, "env", env);
  return g_steal_pointer(&exec);
}
