/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly image build: run a recipe in a stage of the images folder and publish what it leaves
 * there.
 *
 * The recipe has a process tree and a mount table of its own: when it ends, or is killed with us,
 * nothing it started lives on and nothing it mounted stays, so the stage can be removed whatever
 * happened.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/error.h"
#include "daemon/paths.h"
#include "daemon/text.h"
#include "daemon/tree.h"
#include "tools/cmd-image.h"
#include "tools/commands.h"
#include "tools/image-conf.h"
#include "tools/image-publish.h"

#define RECIPE_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

const MfOption mf_cmd_image_build_options[] = {
    {"name", 0, MF_OPTION_TEXT, "NAME", "the image's name (default: the recipe's)",
     G_STRUCT_OFFSET(MfImageBuildOptions, name)},
    {"images", 0, MF_OPTION_TEXT, "DIR", "the images folder (default: the configured one)",
     G_STRUCT_OFFSET(MfImageBuildOptions, images)},
    {"cache", 0, MF_OPTION_TEXT, "DIR", "where downloads are kept (default: /var/cache/mayfly)",
     G_STRUCT_OFFSET(MfImageBuildOptions, cache)},
    {"verbose", 'v', MF_OPTION_FLAG, NULL, "show all that the recipe says",
     G_STRUCT_OFFSET(MfImageBuildOptions, verbose)},
    {0},
};
const gsize mf_cmd_image_build_options_size = sizeof(MfImageBuildOptions);

static void
add_recipes(const char *folder, GPtrArray *names)
{
  g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
  for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;)
    if (g_str_has_suffix(name, ".recipe"))
      g_ptr_array_add(names, g_strndup(name, strlen(name) - strlen(".recipe")));
}

static gint
compare_names(gconstpointer a, gconstpointer b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "debian-12, tiny" (transfer full). */
static char *
known_recipes(const char *own, const char *shipped)
{
  g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
  g_autoptr(GString) text = g_string_new(NULL);
  add_recipes(own, names);
  add_recipes(shipped, names);
  g_ptr_array_sort(names, compare_names);
  for (guint i = 0; i < names->len; i++)
    if (i == 0 || strcmp(names->pdata[i], names->pdata[i - 1]) != 0)
      g_string_append_printf(text, "%s%s", text->len > 0 ? ", " : "", (char *)names->pdata[i]);
  return g_strdup(text->len > 0 ? text->str : "none");
}

/* The admin's before ours. (transfer full) */
static char *
find_recipe(const char *name, GError **error)
{
  g_autofree char *config = mf_path_config();
  g_autofree char *config_folder = g_path_get_dirname(config);
  g_autofree char *own = g_build_filename(config_folder, "recipes", NULL);
  g_autofree char *shipped = mf_path_data("recipes");
  g_autofree char *file = g_strconcat(name, ".recipe", NULL);
  g_autofree char *first = g_build_filename(own, file, NULL);
  g_autofree char *second = g_build_filename(shipped, file, NULL);

  if (mf_image_name_valid(name) && g_file_test(first, G_FILE_TEST_IS_REGULAR))
    return g_steal_pointer(&first);
  if (mf_image_name_valid(name) && g_file_test(second, G_FILE_TEST_IS_REGULAR))
    return g_steal_pointer(&second);
  g_autofree char *known = known_recipes(own, shipped);
  g_autofree char *shown = mf_text_quote(name);
  g_set_error(error, MF_ERROR, MF_ERROR_NOT_FOUND,
              "there is no recipe %s; there are: %s (in %s and %s)", shown, known, own, shipped);
  return NULL;
}

static char **
recipe_environment(const char *name, const char *out, const char *work, const char *cache)
{
  static const char *const passed[] = {"http_proxy", "https_proxy",   "no_proxy",
                                       "HTTP_PROXY", "HTTPS_PROXY",   "NO_PROXY",
                                       "ftp_proxy",  "DEBIAN_MIRROR", "DEBIAN_SECURITY_MIRROR"};
  g_autofree char *recipes = mf_path_data("recipes");
  g_autofree char *agent = mf_path_libexec("mayfly-agent");
  g_autofree char *mkinitrd = mf_path_libexec("mayfly-mkinitrd");
  char **env = NULL;
  env = g_environ_setenv(env, "PATH", RECIPE_PATH, TRUE);
  env = g_environ_setenv(env, "HOME", "/root", TRUE);
  env = g_environ_setenv(env, "LC_ALL", "C.UTF-8", TRUE);
  env = g_environ_setenv(env, "TMPDIR", work, TRUE);
  env = g_environ_setenv(env, "DEBIAN_FRONTEND", "noninteractive", TRUE);
  env = g_environ_setenv(env, "NAME", name, TRUE);
  env = g_environ_setenv(env, "OUT", out, TRUE);
  env = g_environ_setenv(env, "WORK", work, TRUE);
  env = g_environ_setenv(env, "CACHE", cache, TRUE);
  env = g_environ_setenv(env, "RECIPES", recipes, TRUE);
  env = g_environ_setenv(env, "AGENT", agent, TRUE);
  env = g_environ_setenv(env, "MKINITRD", mkinitrd, TRUE);
  for (guint i = 0; i < G_N_ELEMENTS(passed); i++)
    if (g_getenv(passed[i]) != NULL)
      env = g_environ_setenv(env, passed[i], g_getenv(passed[i]), TRUE);
  return env;
}

typedef struct {
  const MfImageBuildOptions *options;
  const char *recipe; /* path */
  const char *name;   /* of the image */
  MfImageStage *stage;
  MfSteps *progress;
  GCancellable *cancellable;
} Build;

static gboolean
run_recipe(const Build *build, GError **error)
{
  const char *out = mf_image_stage_directory(build->stage);
  g_autofree char *work = g_build_filename(out, "work", NULL);
  g_autofree char *base = g_path_get_basename(build->recipe);
  g_autofree char *cache = g_build_filename(
      build->options->cache != NULL ? build->options->cache : "/var/cache/mayfly", base, NULL);
  if (g_mkdir(work, 0755) != 0 || g_mkdir_with_parents(cache, 0755) != 0) {
    g_set_error(error, MF_ERROR, errno == ENOSPC ? MF_ERROR_NO_SPACE : MF_ERROR_FAILED,
                "cannot make the folders %s and %s: %s", work, cache, g_strerror(errno));
    return FALSE;
  }
  g_autofree char *absolute_cache = g_canonicalize_filename(cache, NULL);
  g_auto(GStrv) environment = recipe_environment(build->name, out, work, absolute_cache);
  g_autofree char *what = g_strdup_printf("the recipe %s", build->recipe);
  g_autoptr(GPtrArray) argv = g_ptr_array_new();
  static const char *const unshare[] = {"unshare", "--fork",       "--pid",
                                        "--mount", "--mount-proc", "--kill-child=KILL"};
  for (guint i = 0; i < G_N_ELEMENTS(unshare); i++)
    g_ptr_array_add(argv, (char *)unshare[i]);
  if (geteuid() != 0)
    g_ptr_array_add(argv, (char *)"--map-root-user");
  g_ptr_array_add(argv, (char *)"--");
  g_ptr_array_add(argv, (char *)"/bin/sh");
  g_ptr_array_add(argv, (char *)build->recipe);
  g_ptr_array_add(argv, NULL);
  MfProcess process = {
      .argv = (char *const *)argv->pdata,
      .environment = environment,
      .directory = work,
      .progress = build->progress,
      .verbose = build->options->verbose ? stderr : NULL,
      .what = what,
  };
  g_autofree char *tail = NULL;
  gboolean ok = mf_process_run(&process, build->cancellable, &tail, error);
  mf_steps_end(build->progress, ok);
  if (!ok && tail != NULL && !build->options->verbose)
    fputs(tail, stderr);
  /* Here, where it is a step that can be seen, and not as a part of publishing. */
  mf_steps_begin(build->progress, "tidying up");
  (void)mf_tree_remove(work);
  mf_steps_end(build->progress, TRUE);
  return ok;
}

/* What the recipe left, as files of an image and a description of it. */
static gboolean
collect(const Build *build, MfImageMeta *meta, GError **error)
{
  const char *out = mf_image_stage_directory(build->stage);
  g_autofree char *conf = g_build_filename(out, "image.conf", NULL);
  g_autofree char *raw = g_build_filename(out, "disk.raw", NULL);
  g_autofree char *disk = g_build_filename(out, "disk.qcow2", NULL);
  g_autofree char *text = NULL;
  g_autoptr(GError) local = NULL;

  if (!g_file_get_contents(conf, &text, NULL, &local)) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID, "the recipe %s left no image.conf: %s",
                build->recipe, local->message);
    return FALSE;
  }
  if (!mf_image_conf_parse(text, meta, error)) {
    g_prefix_error(error, "the recipe %s: ", build->recipe);
    return FALSE;
  }
  if (g_file_test(disk, G_FILE_TEST_IS_REGULAR))
    return TRUE;
  if (!g_file_test(raw, G_FILE_TEST_IS_REGULAR)) {
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "the recipe %s left neither disk.qcow2 nor disk.raw", build->recipe);
    return FALSE;
  }
  mf_steps_begin(build->progress, "converting the disk");
  return mf_image_convert(raw, "raw", disk, build->progress, build->cancellable, error);
}

static gboolean
build_image(Build *build, GError **error)
{
  g_autoptr(MfImageMeta) meta = mf_image_meta_new();
  meta->name = g_strdup(build->name);
  return run_recipe(build, error) && collect(build, meta, error) &&
         mf_image_publish(build->stage, meta, build->progress, build->cancellable, error);
}

int
mf_cmd_image_build(const MfCommon *common, gconstpointer options, char **argv, GError **error)
{
  const MfImageBuildOptions *self = options;
  const char *name = self->name != NULL ? self->name : argv[0];
  g_autofree char *recipe = find_recipe(argv[0], error);
  if (recipe == NULL)
    return MF_EXIT_FAILURE;
  if (!mf_image_name_valid(name)) {
    g_autofree char *shown = mf_text_quote(name);
    g_set_error(error, MF_ERROR, MF_ERROR_INVALID,
                "%s cannot be an image's name: letters, digits, '.', '_' and '-', at most 63",
                shown);
    return MF_EXIT_FAILURE;
  }
  g_autofree char *images = mf_image_folder(self->images, error);
  g_autoptr(MfImageStage) stage = images != NULL ? mf_image_stage_new(images, error) : NULL;
  if (stage == NULL)
    return MF_EXIT_FAILURE;

  g_autoptr(GCancellable) cancellable = g_cancellable_new();
  g_autoptr(MfInterrupt) interrupt = mf_interrupt_new(cancellable);
  g_autoptr(MfSteps) progress = mf_steps_new(stderr, isatty(STDERR_FILENO));
  Build build = {self, recipe, name, stage, progress, cancellable};
  g_autoptr(GError) local = NULL;
  if (build_image(&build, &local))
    return MF_EXIT_OK;
  mf_steps_end(progress, FALSE);
  if (mf_interrupt_happened(interrupt))
    return MF_EXIT_INTERRUPT;
  g_propagate_error(error, g_steal_pointer(&local));
  return MF_EXIT_FAILURE;
}
