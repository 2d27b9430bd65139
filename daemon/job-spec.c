/* SPDX-License-Identifier: Apache-2.0 */
/* What a client asks for. Every bound on it is here: nothing behind this asks again. */
#include "daemon/job-spec.h"

#include <string.h>

#include "daemon/error.h"
#include "daemon/frame.h"
#include "daemon/json.h"

enum {
  MAX_ARGS = 4096,
  MAX_VARIABLES = 4096,
  MAX_FILES = 1024,
  MAX_SHELLS = 16,
  MAX_TOTAL = 4 << 20, /* contents of all files, or all strings of an exec */
  /* A job's variables go with each of its execs: together they must fit one document of the link.
   */
  MAX_ENV_TOTAL = 512 << 10,
  MAX_EXEC_FRAME = (int)MF_FRAME_MAX_DOCUMENT - MAX_ENV_TOTAL,
  MAX_STRING = 131071, /* Linux's MAX_ARG_STRLEN without the NUL */
  MAX_PATH = 4095,
  MAX_LABEL = 128,
  MAX_KEY = 64,
  MAX_CPUS = 4096,
};
#define MAX_BYTES   (G_GUINT64_CONSTANT(1) << 60)
#define MAX_SECONDS (G_GUINT64_CONSTANT(10) * 365 * 24 * 3600)

static const char *const exec_keys[] = {"key",  "argv",  "script", "script_base64", "shell",
                                        "env",  "cwd",   "user",   "tty",           "rows",
                                        "cols", "stdin", NULL};
static const char *const job_keys[] = {
    "template",        "name", "key",       "cpus", "memory", "disk", "timeout", "lease",
    "keep_on_failure", "hold", "retryable", "env",  "files",  "exec", NULL};
static const char *const file_keys[] = {"path", "mode", "content", "content_base64", NULL};

static gboolean G_GNUC_PRINTF(4, 5)
    refuse(GError **error, const char *path, const char *key, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  g_autofree char *what = g_strdup_vprintf(format, args);
  va_end(args);
  g_autofree char *where = mf_json_key_path(path, key);
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "\"%s\" %s.", where, what);
  return FALSE;
}

/* Secrets: variables and scripts are overwritten before their memory is given back. */

static void
strv_wipe(char **items)
{
  for (char **item = items; item != NULL && *item != NULL; item++)
    explicit_bzero(*item, strlen(*item));
  g_strfreev(items);
}

typedef struct {
  gsize length;
  char data[];
} Secret;

static void
secret_wipe(gpointer data)
{
  Secret *self = data;
  explicit_bzero(self->data, self->length);
  g_free(self);
}

static GBytes *
secret_bytes(const void *data, gsize length)
{
  Secret *self = g_malloc(sizeof(Secret) + length + 1);
  self->length = length;
  if (length > 0)
    memcpy(self->data, data, length);
  return g_bytes_new_with_free_func(self->data, length, secret_wipe, self);
}

static void
file_free(gpointer data)
{
  MfFile *self = data;
  g_free(self->path);
  g_clear_pointer(&self->content, g_bytes_unref);
  g_free(self);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfFile, file_free)

MfExecSpec *
mf_exec_spec_ref(MfExecSpec *self)
{
  g_atomic_ref_count_inc(&self->refs);
  return self;
}

void
mf_exec_spec_unref(MfExecSpec *self)
{
  if (self == NULL || !g_atomic_ref_count_dec(&self->refs))
    return;
  g_free(self->key);
  strv_wipe(self->argv);
  g_clear_pointer(&self->script, g_bytes_unref);
  g_strfreev(self->shell);
  strv_wipe(self->env);
  g_free(self->cwd);
  g_free(self->user);
  g_free(self);
}

MfJobSpec *
mf_job_spec_ref(MfJobSpec *self)
{
  g_atomic_ref_count_inc(&self->refs);
  return self;
}

void
mf_job_spec_unref(MfJobSpec *self)
{
  if (self == NULL || !g_atomic_ref_count_dec(&self->refs))
    return;
  g_free(self->template);
  g_free(self->name);
  g_free(self->key);
  strv_wipe(self->env);
  g_clear_pointer(&self->files, g_ptr_array_unref);
  mf_exec_spec_unref(self->exec);
  g_free(self);
}

/* Canonical base64 only: what decodes to bytes that encode to something else was damaged on its
 * way. */
static GBytes *
bytes_from_base64(const char *text)
{
  gsize length = strlen(text);
  if (length % 4 != 0)
    return NULL;
  gsize padding = length > 0 && text[length - 1] == '=' ? (text[length - 2] == '=' ? 2 : 1) : 0;
  for (gsize i = 0; i < length - padding; i++)
    if (!g_ascii_isalnum(text[i]) && text[i] != '+' && text[i] != '/')
      return NULL;
  gsize decoded = 0;
  guchar *data = g_base64_decode(text, &decoded);
  GBytes *bytes = decoded == length / 4 * 3 - padding ? secret_bytes(data, decoded) : NULL;
  if (data != NULL)
    explicit_bzero(data, decoded);
  g_free(data);
  return bytes;
}

/* @key as text of any bytes, or @key_base64, not both; neither leaves *ret. */
static gboolean
read_content(MfJson *json, const char *path, const char *key, const char *key_base64, GBytes **ret,
             GError **error)
{
  MfJson *plain = json_object_object_get(json, key);
  g_autofree char *encoded = NULL;
  if (plain != NULL && !json_object_is_type(plain, json_type_string))
    return refuse(error, path, key, "must be a string");
  if (!mf_json_read_string(json, path, key_base64, &encoded, error))
    return FALSE;
  if (plain != NULL && encoded != NULL)
    return refuse(error, path, key, "and \"%s\" exclude each other", key_base64);
  if (plain != NULL)
    *ret = secret_bytes(json_object_get_string(plain), (gsize)json_object_get_string_len(plain));
  else if (encoded != NULL && (*ret = bytes_from_base64(encoded)) == NULL)
    return refuse(error, path, key_base64, "is not base64");
  return TRUE;
}

static gboolean
is_variable_name(const char *name)
{
  if (!g_ascii_isalpha(*name) && *name != '_')
    return FALSE;
  for (; *name != '\0'; name++)
    if (!g_ascii_isalnum(*name) && *name != '_')
      return FALSE;
  return TRUE;
}

static gboolean
read_env(MfJson *json, const char *path, char ***ret, gsize *total, GError **error)
{
  MfJson *object = NULL;
  if (!mf_json_read_object(json, path, "env", &object, error))
    return FALSE;
  if (object == NULL)
    return TRUE;
  if ((guint)json_object_object_length(object) > MAX_VARIABLES)
    return refuse(error, path, "env", "has more than the %d variables allowed", MAX_VARIABLES);
  g_autofree char *env_path = mf_json_key_path(path, "env");
  g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
  json_object_object_foreach(object, name, value)
  {
    if (!is_variable_name(name)) {
      g_autofree char *cut = g_strndup(name, 64);
      g_autofree char *shown = g_strescape(cut, NULL);
      return refuse(error, env_path, shown,
                    "is no name of a variable: letters, digits and _, not a digit first");
    }
    g_autofree char *text = NULL;
    if (value == NULL)
      return refuse(error, env_path, name, "must be a string");
    if (!mf_json_read_string(object, env_path, name, &text, error))
      return FALSE;
    gsize length = strlen(name) + 1 + strlen(text);
    g_autofree char *line = g_strconcat(name, "=", text, NULL);
    if (length <= MAX_STRING)
      g_strv_builder_add(builder, line);
    explicit_bzero(text, strlen(text));
    explicit_bzero(line, length);
    if (length > MAX_STRING)
      return refuse(error, env_path, name,
                    "has %" G_GSIZE_FORMAT
                    " bytes with its name; Linux takes at most %d: pass it as a file",
                    length, MAX_STRING);
    *total += length;
  }
  strv_wipe(*ret);
  *ret = g_strv_builder_end(builder);
  return TRUE;
}

static gboolean
check_path(const char *text, gboolean canonical, const char *path, const char *key, GError **error)
{
  if (text == NULL)
    return TRUE;
  if (*text != '/')
    return refuse(error, path, key, "must be an absolute path in the machine");
  if (strlen(text) > MAX_PATH)
    return refuse(error, path, key, "is longer than a path can be, %d bytes", MAX_PATH);
  if (!canonical)
    return TRUE;
  if (g_str_has_suffix(text, "/"))
    return refuse(error, path, key, "must name a file, not a folder");
  g_auto(GStrv) parts = g_strsplit(text + 1, "/", -1);
  for (char **part = parts; *part != NULL; part++)
    if (strcmp(*part, ".") == 0 || strcmp(*part, "..") == 0)
      return refuse(error, path, key, "must not contain \".\" or \"..\"");
  return TRUE;
}

static gboolean
check_user(const char *user, const char *path, GError **error)
{
  if (user == NULL)
    return TRUE;
  gboolean good = *user != '\0' && *user != '-' && strlen(user) <= 256;
  for (const char *c = user; good && *c != '\0'; c++)
    good = g_ascii_isalnum(*c) || strchr("._-$@", *c) != NULL;
  return good || refuse(error, path, "user", "is no name or number of a user");
}

static gboolean
read_key(MfJson *json, const char *path, char **ret, GError **error)
{
  if (!mf_json_read_string(json, path, "key", ret, error))
    return FALSE;
  const char *key = *ret;
  gboolean good = key == NULL || (*key != '\0' && strlen(key) <= MAX_KEY);
  for (; good && key != NULL && *key != '\0'; key++)
    good = g_ascii_isgraph(*key);
  return good || refuse(error, path, "key", "must be 1 to %d letters, digits and signs", MAX_KEY);
}

static gboolean
read_argv(MfJson *json, const char *path, MfExecSpec *spec, gsize *total, GError **error)
{
  if (!mf_json_read_strv(json, path, "argv", MAX_ARGS, &spec->argv, error))
    return FALSE;
  if (spec->argv == NULL)
    return TRUE;
  if (spec->argv[0] == NULL || *spec->argv[0] == '\0')
    return refuse(error, path, "argv", "must begin with the name of a program");
  for (guint i = 0; spec->argv[i] != NULL; i++) {
    gsize length = strlen(spec->argv[i]);
    if (length > MAX_STRING) {
      g_autofree char *item = g_strdup_printf("argv[%d]", i);
      return refuse(error, path, item,
                    "has %" G_GSIZE_FORMAT
                    " bytes; Linux takes at most %d in one argument: pass it as a file",
                    length, MAX_STRING);
    }
    *total += length;
  }
  return TRUE;
}

static gboolean
read_shell(MfJson *json, const char *path, MfExecSpec *spec, GError **error)
{
  if (!mf_json_read_strv(json, path, "shell", MAX_SHELLS, &spec->shell, error))
    return FALSE;
  if (spec->shell == NULL)
    return TRUE;
  if (spec->script == NULL)
    return refuse(error, path, "shell", "goes with a script only");
  if (spec->shell[0] == NULL)
    return refuse(error, path, "shell", "must name at least one shell");
  for (guint i = 0; spec->shell[i] != NULL; i++)
    if (*spec->shell[i] == '\0' || strlen(spec->shell[i]) > MAX_PATH)
      return refuse(error, path, "shell", "must hold names or paths of shells");
  return TRUE;
}

static gboolean
read_terminal(MfJson *json, const char *path, MfExecSpec *spec, GError **error)
{
  guint64 rows = 24, cols = 80;
  if (!mf_json_read_bool(json, path, "tty", &spec->tty, error) ||
      !mf_json_read_bool(json, path, "stdin", &spec->open_stdin, error) ||
      !mf_json_read_uint(json, path, "rows", 1, 65535, &rows, error) ||
      !mf_json_read_uint(json, path, "cols", 1, 65535, &cols, error))
    return FALSE;
  spec->rows = (guint)rows;
  spec->cols = (guint)cols;
  return TRUE;
}

static gboolean
check_exec_size(const MfExecSpec *spec, gsize total, const char *path, GError **error)
{
  gsize framed = 0;
  if (total <= (gsize)MAX_TOTAL) {
    g_autoptr(MfJson) frame = mf_exec_spec_to_frame(spec, NULL);
    (void)json_object_to_json_string_length(frame, JSON_C_TO_STRING_PLAIN, &framed);
  }
  if (total <= (gsize)MAX_TOTAL && framed <= MAX_EXEC_FRAME)
    return TRUE;
  g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
              "%s is too large: command, script and variables may have %d KiB together, as JSON; "
              "pass large data as files.",
              *path == '\0' ? "The exec" : "\"exec\"", MAX_EXEC_FRAME >> 10);
  return FALSE;
}

static MfExecSpec *
exec_from_json(MfJson *json, const char *path, GError **error)
{
  g_autoptr(MfExecSpec) spec = g_new0(MfExecSpec, 1);
  g_atomic_ref_count_init(&spec->refs);
  gsize total = 0;
  if (!mf_json_check_keys(json, path, exec_keys, error) ||
      !read_key(json, path, &spec->key, error) || !read_argv(json, path, spec, &total, error) ||
      !read_content(json, path, "script", "script_base64", &spec->script, error))
    return NULL;
  if ((spec->argv == NULL) == (spec->script == NULL)) {
    refuse(error, path, "argv",
           spec->argv == NULL ? "or \"script\" must say what to run"
                              : "and \"script\" exclude each other");
    return NULL;
  }
  total += spec->script != NULL ? g_bytes_get_size(spec->script) : 0;
  if (!read_shell(json, path, spec, error) || !read_env(json, path, &spec->env, &total, error) ||
      !mf_json_read_string(json, path, "cwd", &spec->cwd, error) ||
      !check_path(spec->cwd, FALSE, path, "cwd", error) ||
      !mf_json_read_string(json, path, "user", &spec->user, error) ||
      !check_user(spec->user, path, error) || !read_terminal(json, path, spec, error) ||
      !check_exec_size(spec, total, path, error))
    return NULL;
  return g_steal_pointer(&spec);
}

MfExecSpec *
mf_exec_spec_from_json(MfJson *json, GError **error)
{
  return exec_from_json(json, "", error);
}

MfJson *
mf_exec_spec_to_frame(const MfExecSpec *self, char *const *base_env)
{
  MfJson *frame = json_object_new_object();
  MfJson *env = json_object_new_array();
  if (self->argv != NULL)
    mf_json_add_strv(frame, "argv", self->argv);
  if (self->script != NULL) {
    gsize length = 0;
    const char *data = g_bytes_get_data(self->script, &length);
    mf_json_add(frame, "script", json_object_new_string_len(data, (int)length));
  }
  for (; base_env != NULL && *base_env != NULL; base_env++)
    json_object_array_add(env, json_object_new_string(*base_env));
  for (char **line = self->env; line != NULL && *line != NULL; line++)
    json_object_array_add(env, json_object_new_string(*line));
  mf_json_add(frame, "env", env);
  if (self->shell != NULL)
    mf_json_add_strv(frame, "shell", self->shell);
  if (self->cwd != NULL)
    mf_json_add_string(frame, "cwd", self->cwd);
  mf_json_add_string(frame, "user", self->user != NULL ? self->user : "root");
  mf_json_add_bool(frame, "tty", self->tty);
  mf_json_add_uint(frame, "rows", self->rows);
  mf_json_add_uint(frame, "cols", self->cols);
  mf_json_add_bool(frame, "stdin", self->open_stdin);
  return frame;
}

static gboolean
parse_mode(const char *text, guint *ret_mode)
{
  gsize length = strlen(text);
  guint64 mode = 0;
  if (length < 3 || length > 4 || !g_ascii_string_to_unsigned(text, 8, 0, 07777, &mode, NULL))
    return FALSE;
  *ret_mode = (guint)mode;
  return TRUE;
}

static MfFile *
file_from_json(MfJson *json, const char *path, GError **error)
{
  g_autoptr(MfFile) file = g_new0(MfFile, 1);
  g_autofree char *mode = g_strdup("0644");
  if (!mf_json_check_keys(json, path, file_keys, error) ||
      !mf_json_read_string(json, path, "path", &file->path, error) ||
      !check_path(file->path, TRUE, path, "path", error) ||
      !mf_json_read_string(json, path, "mode", &mode, error) ||
      !read_content(json, path, "content", "content_base64", &file->content, error))
    return NULL;
  if (file->path == NULL) {
    refuse(error, path, "path", "is missing: where the file goes in the machine");
    return NULL;
  }
  if (!parse_mode(mode, &file->mode)) {
    refuse(error, path, "mode", "must be an octal number in quotes like \"0644\"");
    return NULL;
  }
  if (file->content == NULL) {
    refuse(error, path, "content", "or \"content_base64\" is missing");
    return NULL;
  }
  return g_steal_pointer(&file);
}

static gboolean
read_files(MfJson *json, MfJobSpec *spec, GError **error)
{
  MfJson *array = NULL;
  if (!mf_json_read_array(json, "", "files", &array, error))
    return FALSE;
  gsize n = array != NULL ? json_object_array_length(array) : 0;
  gsize total = 0;
  if (n > MAX_FILES)
    return refuse(error, "", "files", "has more than the %d entries allowed", MAX_FILES);
  for (gsize i = 0; i < n; i++) {
    MfJson *item = json_object_array_get_idx(array, i);
    g_autofree char *path = mf_json_item_path("", "files", i);
    if (!json_object_is_type(item, json_type_object))
      return refuse(error, "", path, "must be an object");
    MfFile *file = file_from_json(item, path, error);
    if (file == NULL)
      return FALSE;
    g_ptr_array_add(spec->files, file);
    total += g_bytes_get_size(file->content) + strlen(file->path);
  }
  if (total > MAX_TOTAL)
    return refuse(error, "", "files",
                  "has %" G_GSIZE_FORMAT " bytes in all, more than the %d MiB allowed", total,
                  MAX_TOTAL >> 20);
  return TRUE;
}

static gboolean
check_label(const char *name, GError **error)
{
  if (name == NULL)
    return TRUE;
  gsize length = strlen(name);
  gboolean good = length > 0 && length <= MAX_LABEL && g_utf8_validate(name, -1, NULL);
  /* Format characters too are refused: they would let a name rewrite the line it is shown in. */
  for (const char *c = name; good && *c != '\0'; c = g_utf8_next_char(c))
    good = g_unichar_isprint(g_utf8_get_char(c));
  return good || refuse(error, "", "name", "must be 1 to %d bytes of printable text", MAX_LABEL);
}

static gboolean
check_template(const char *name, GError **error)
{
  if (name == NULL)
    return TRUE;
  gboolean good = g_ascii_isalnum(*name) && strlen(name) <= 63;
  for (const char *c = name; good && *c != '\0'; c++)
    good = g_ascii_islower(*c) || g_ascii_isdigit(*c) || strchr("._-", *c) != NULL;
  return good ||
         refuse(error, "", "template",
                "is no template's name: small letters, digits, '.', '_' and '-', at most 63");
}

static gboolean
read_numbers(MfJson *json, MfJobSpec *spec, GError **error)
{
  guint64 cpus = 0;
  if (!mf_json_read_uint(json, "", "cpus", 0, MAX_CPUS, &cpus, error) ||
      !mf_json_read_uint(json, "", "memory", 0, MAX_BYTES, &spec->memory, error) ||
      !mf_json_read_uint(json, "", "disk", 0, MAX_BYTES, &spec->disk, error) ||
      !mf_json_read_uint(json, "", "timeout", 0, MAX_SECONDS, &spec->timeout, error) ||
      !mf_json_read_uint(json, "", "lease", 0, MAX_SECONDS, &spec->lease, error) ||
      !mf_json_read_uint(json, "", "keep_on_failure", 0, MAX_SECONDS, &spec->keep, error))
    return FALSE;
  spec->cpus = (guint)cpus;
  return TRUE;
}

static gboolean
check_env_size(const MfJobSpec *spec, GError **error)
{
  gsize length = 0;
  g_autoptr(MfJson) holder = json_object_new_object();
  mf_json_add_strv(holder, "env", spec->env);
  (void)json_object_to_json_string_length(holder, JSON_C_TO_STRING_PLAIN, &length);
  return length <= MAX_ENV_TOTAL ||
         refuse(error, "", "env",
                "has more than %d KiB in all, as JSON; pass large values as files",
                MAX_ENV_TOTAL >> 10);
}

MfJobSpec *
mf_job_spec_from_json(MfJson *json, GError **error)
{
  g_autoptr(MfJobSpec) spec = g_new0(MfJobSpec, 1);
  g_atomic_ref_count_init(&spec->refs);
  spec->files = g_ptr_array_new_with_free_func(file_free);
  MfJson *exec = NULL;
  gsize total = 0;
  if (!mf_json_check_keys(json, "", job_keys, error) ||
      !mf_json_read_string(json, "", "template", &spec->template, error) ||
      !check_template(spec->template, error) ||
      !mf_json_read_string(json, "", "name", &spec->name, error) ||
      !check_label(spec->name, error) || !read_key(json, "", &spec->key, error) ||
      !read_numbers(json, spec, error) ||
      !mf_json_read_bool(json, "", "hold", &spec->hold, error) ||
      !mf_json_read_bool(json, "", "retryable", &spec->retryable, error) ||
      !read_env(json, "", &spec->env, &total, error) || !check_env_size(spec, error) ||
      !read_files(json, spec, error) || !mf_json_read_object(json, "", "exec", &exec, error))
    return NULL;
  if (exec == NULL)
    spec->hold = TRUE;
  else if ((spec->exec = exec_from_json(exec, "exec", error)) == NULL)
    return NULL;
  return g_steal_pointer(&spec);
}

/* Systems mount something there when they start, over what is in the image: a file would be lost in
 * a machine that starts with it and be there in one that runs already, or could not be written. */
static gboolean
is_mounted_over(const char *path)
{
  static const char *const folders[] = {"/proc/", "/sys/",     "/dev/",
                                        "/run/",  "/var/run/", "/var/lock/"};
  /* Two slashes at the beginning would stay. */
  g_autofree char *plain = g_canonicalize_filename(path + strspn(path, "/"), "/");
  g_autofree char *folder = g_strconcat(plain, "/", NULL);
  for (gsize i = 0; i < G_N_ELEMENTS(folders); i++)
    if (g_str_has_prefix(folder, folders[i]))
      return TRUE;
  return FALSE;
}

gboolean
mf_job_spec_check_new(const MfJobSpec *self, GError **error)
{
  for (guint i = 0; i < self->files->len; i++) {
    const MfFile *file = g_ptr_array_index(self->files, i);
    g_autofree char *path = mf_json_item_path("", "files", i);
    if (is_mounted_over(file->path))
      return refuse(error, path, "path",
                    "must not be in /proc, /sys, /dev or /run: the machine makes what is there "
                    "when it starts");
  }
  return TRUE;
}
