/* SPDX-License-Identifier: Apache-2.0 */
/* Templates, images, and the daemon itself: what there is to run jobs on. */
#include "daemon/api-private.h"

#include <string.h>

#include "daemon/error.h"
#include "daemon/image.h"
#include "daemon/json.h"

/* openapi.json, compiled in. */
extern GResource *mf_api_openapi_get_resource(void);
#define OPENAPI_PATH "/dev/mayfly/openapi.json"

static char *
images_directory(MfApi *api)
{
  return g_build_filename(api->config->state_directory, "images", NULL);
}

static void
reply(MfApiRequest *request, MfJson *json, GError *error)
{
  if (json == NULL)
    mf_api_reply_error(request, error);
  else
    mf_api_reply_json(request, 200, json);
}

/* A bad template file is the admin's to repair, not the fault of who asks. */
static GError *
blame_host(GError *error)
{
  if (!g_error_matches(error, MF_ERROR, MF_ERROR_INVALID))
    return error;
  GError *damaged = g_error_new_literal(MF_ERROR, MF_ERROR_DAMAGED, error->message);
  g_error_free(error);
  return damaged;
}

static MfJson *
template_to_json(MfApi *api, const MfTemplate *template)
{
  g_autofree char *images = images_directory(api);
  g_autoptr(MfImage) image = mf_image_find(images, template->image, NULL);
  MfJson *json = json_object_new_object();
  mf_json_add_string(json, "name", template->name);
  mf_json_add_string(json, "description", template->description);
  mf_json_add_string(json, "image", template->image);
  mf_json_add_bool(json, "image_available", image != NULL);
  mf_json_add_string(json, "domain", template->domain);
  mf_json_add_string(json, "ready", mf_ready_to_string(template->ready));
  mf_json_add_uint(json, "pool", template->pool);
  mf_json_add(json, "fork", mf_scheduler_fork(api->scheduler, template));
  mf_json_add_uint(json, "cpus", template->cpus);
  mf_json_add_uint(json, "max_cpus", template->max_cpus);
  mf_json_add_uint(json, "memory", template->memory);
  mf_json_add_uint(json, "max_memory", template->max_memory);
  mf_json_add_uint(json, "memory_floor", template->memory_floor);
  mf_json_add_uint(json, "disk", template->disk);
  mf_json_add_uint(json, "max_disk", template->max_disk);
  mf_json_add_uint(json, "max_timeout", template->max_timeout);
  mf_json_add_uint(json, "start_timeout", template->start_timeout);
  mf_json_add_bool(json, "graceful", template->graceful);
  mf_json_add_uint(json, "grace", template->grace);
  mf_json_add_uint(json, "disk_iops", template->disk_iops);
  mf_json_add_uint(json, "disk_bytes_per_second", template->disk_bytes_per_second);
  mf_json_add_uint(json, "network_bytes_per_second", template->network_bytes_per_second);
  return json;
}

void
mf_api_pools_list(MfApiRequest *request)
{
  MfJson *answer = json_object_new_object();
  mf_json_add(answer, "pools", mf_scheduler_pools(request->api->scheduler));
  mf_api_reply_json(request, 200, answer);
}

/* Of mf_template_load_good(): what is wrong with which file, by name. (transfer full) */
static MfJson *
bad_to_json(const char *directory, GHashTable *bad)
{
  MfJson *list = json_object_new_array();
  g_autoptr(GList) names = g_list_sort(g_hash_table_get_keys(bad), (GCompareFunc)strcmp);
  for (GList *name = names; name != NULL; name = name->next) {
    MfJson *item = json_object_new_object();
    g_autofree char *file = g_strdup_printf("%s/%s.conf", directory, (char *)name->data);
    mf_json_add_string(item, "name", name->data);
    mf_json_add_string(item, "file", file);
    mf_json_add_string(item, "error", g_hash_table_lookup(bad, name->data));
    json_object_array_add(list, item);
  }
  return list;
}

void
mf_api_templates_list(MfApiRequest *request)
{
  GError *error = NULL;
  const char *directory = request->api->config->template_directory;
  g_autoptr(GHashTable) bad = NULL;
  g_autoptr(GPtrArray) templates = mf_template_load_good(directory, &bad, &error);
  if (templates == NULL) {
    mf_api_reply_error(request, blame_host(error));
    return;
  }
  MfJson *list = json_object_new_array();
  for (guint i = 0; i < templates->len; i++)
    json_object_array_add(list, template_to_json(request->api, templates->pdata[i]));
  MfJson *answer = json_object_new_object();
  mf_json_add(answer, "templates", list);
  mf_json_add(answer, "errors", bad_to_json(directory, bad));
  mf_api_reply_json(request, 200, answer);
}

void
mf_api_templates_get(MfApiRequest *request)
{
  GError *error = NULL;
  g_autoptr(MfTemplate) template =
      mf_template_find(request->api->config->template_directory, request->args[0], &error);
  reply(request, template != NULL ? template_to_json(request->api, template) : NULL, error);
}

static MfJson *
image_to_json(MfApi *api, const MfImage *image)
{
  MfJson *json = json_object_new_object();
  g_autofree char *reference = mf_image_reference(image);
  mf_json_add_string(json, "ref", reference);
  mf_json_add_string(json, "name", image->name);
  mf_json_add_string(json, "digest", image->digest);
  mf_json_add_bool(json, "in_use", mf_scheduler_uses_image(api->scheduler, image->digest));
  mf_json_add_string(json, "directory", image->directory);
  mf_json_add_string(json, "disk", image->disk);
  mf_json_add_uint(json, "virtual_size", image->virtual_size);
  mf_json_add_uint(json, "file_size", image->file_size);
  mf_json_add_string(json, "kernel", image->kernel);
  mf_json_add_string(json, "initrd", image->initrd);
  mf_json_add_string(json, "cmdline", image->cmdline);
  mf_json_add_bool(json, "agent_in_initrd", image->agent_in_initrd);
  mf_json_add_string(json, "root_device", image->root_device);
  mf_json_add_string(json, "root_fstype", image->root_fstype);
  mf_json_add_string(json, "init", image->init);
  mf_json_add_string(json, "os", image->os);
  mf_json_add(json, "created", json_object_new_int64(image->created));
  return json;
}

void
mf_api_images_list(MfApiRequest *request)
{
  GError *error = NULL;
  g_autofree char *directory = images_directory(request->api);
  g_autoptr(GPtrArray) images = mf_image_list(directory, &error);
  if (images == NULL) {
    mf_api_reply_error(request, error);
    return;
  }
  MfJson *list = json_object_new_array();
  for (guint i = 0; i < images->len; i++)
    json_object_array_add(list, image_to_json(request->api, images->pdata[i]));
  MfJson *answer = json_object_new_object();
  mf_json_add(answer, "images", list);
  mf_api_reply_json(request, 200, answer);
}

static MfImage *
find_image(MfApiRequest *request, GError **error)
{
  g_autofree char *directory = images_directory(request->api);
  return mf_image_find(directory, request->args[0], error);
}

void
mf_api_images_get(MfApiRequest *request)
{
  GError *error = NULL;
  g_autoptr(MfImage) image = find_image(request, &error);
  reply(request, image != NULL ? image_to_json(request->api, image) : NULL, error);
}

static void
verify(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  GError *error = NULL;
  if (mf_image_verify(data, cancellable, NULL, NULL, &error))
    g_task_return_boolean(task, TRUE);
  else
    g_task_return_error(task, error);
}

static void
on_verified(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfApiRequest) request = data;
  GError *error = NULL;
  gboolean good = g_task_propagate_boolean(G_TASK(result), &error);
  if (request->api != NULL)
    request->api->verifying = FALSE;
  if (!good)
    mf_api_reply_error(request, error);
  else if (request->api != NULL)
    mf_api_reply_json(request, 200,
                      image_to_json(request->api, g_task_get_task_data(G_TASK(result))));
}

static void
run_in_worker(MfApiRequest *request, MfImage *image, GTaskThreadFunc function,
              GAsyncReadyCallback callback)
{
  mf_api_request_hold(request, NULL, NULL);
  g_autoptr(GTask) task =
      g_task_new(NULL, request->cancellable, callback, mf_api_request_ref(request));
  g_task_set_task_data(task, mf_image_ref(image), (GDestroyNotify)mf_image_unref);
  g_task_run_in_thread(task, function);
}

/* Reads everything: one at a time, and not for a client that has left. */
void
mf_api_images_verify(MfApiRequest *request)
{
  GError *error = NULL;
  g_autoptr(MfImage) image = find_image(request, &error);
  if (image != NULL && request->api->verifying)
    g_set_error(&error, MF_ERROR, MF_ERROR_BUSY,
                "Another image is being verified: try again when it is done.");
  if (error != NULL) {
    mf_api_reply_error(request, error);
    return;
  }
  request->api->verifying = TRUE;
  run_in_worker(request, image, verify, on_verified);
}

static gboolean
check_unused(MfApi *api, const MfImage *image, GError **error)
{
  g_autofree char *directory = images_directory(api);
  g_autofree char *reference = mf_image_reference(image);
  if (mf_scheduler_uses_image(api->scheduler, image->digest)) {
    g_set_error(error, MF_ERROR, MF_ERROR_CONFLICT,
                "Image %s is in use by a job: remove it when the job has finished.", reference);
    return FALSE;
  }
  GError *problem = NULL;
  g_autoptr(GPtrArray) templates = mf_template_load_all(api->config->template_directory, &problem);
  if (templates == NULL) {
    g_propagate_error(error, blame_host(problem));
    return FALSE;
  }
  for (guint i = 0; i < templates->len; i++) {
    const MfTemplate *template = templates->pdata[i];
    g_autoptr(MfImage) named = mf_image_find(directory, template->image, NULL);
    if (named == NULL || strcmp(named->digest, image->digest) != 0 ||
        strcmp(named->name, image->name) != 0)
      continue;
    g_set_error(
        error, MF_ERROR, MF_ERROR_CONFLICT,
        "Image %s is what template \"%s\" starts machines from: change or remove %s/%s.conf first.",
        reference, template->name, api->config->template_directory, template->name);
    return FALSE;
  }
  return TRUE;
}

static void
remove_image(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  GError *error = NULL;
  if (mf_image_remove(data, &error))
    g_task_return_boolean(task, TRUE);
  else
    g_task_return_error(task, error);
}

static void
on_removed(GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr(MfApiRequest) request = data;
  MfImage *image = g_task_get_task_data(G_TASK(result));
  GError *error = NULL;
  if (!g_task_propagate_boolean(G_TASK(result), &error)) {
    mf_api_reply_error(request, error);
    return;
  }
  MfJson *json = json_object_new_object();
  g_autofree char *reference = mf_image_reference(image);
  mf_json_add_string(json, "removed", reference);
  mf_api_reply_json(request, 200, json);
}

/* No job can come to use it in between: removing begins in the turn of the main loop that looked.
 */
void
mf_api_images_remove(MfApiRequest *request)
{
  GError *error = NULL;
  g_autoptr(MfImage) image = find_image(request, &error);
  if (image == NULL || !check_unused(request->api, image, &error))
    mf_api_reply_error(request, error);
  else
    run_in_worker(request, image, remove_image, on_removed);
}

/* Whose job is on which port is nobody's business but the owner's. */
static void
hide_jobs(MfApiRequest *request, MfJson *info)
{
  MfJson *network = json_object_object_get(info, "network");
  MfJson *ports = json_object_object_get(network, "ports");
  gsize n = json_object_is_type(ports, json_type_array) ? json_object_array_length(ports) : 0;
  for (gsize i = 0; i < n; i++) {
    MfJson *port = json_object_array_get_idx(ports, i);
    MfJson *id = json_object_object_get(port, "job");
    MfJob *job = id != NULL
                     ? mf_scheduler_find(request->api->scheduler, json_object_get_string(id), NULL)
                     : NULL;
    if (id != NULL && (job == NULL || !mf_api_peer_may_see(&request->peer, job)))
      json_object_object_add(port, "job", NULL);
  }
}

void
mf_api_info_get(MfApiRequest *request)
{
  MfJson *info = mf_scheduler_info(request->api->scheduler);
  hide_jobs(request, info);
  mf_api_reply_json(request, 200, info);
}

void
mf_api_info_openapi(MfApiRequest *request)
{
  g_autoptr(GBytes) text = g_resource_lookup_data(mf_api_openapi_get_resource(), OPENAPI_PATH,
                                                  G_RESOURCE_LOOKUP_FLAGS_NONE, NULL);
  gsize length = 0;
  const char *data = g_bytes_get_data(text, &length);
  mf_api_reply_text(request, "application/json", g_strndup(data, length));
}

void
mf_api_info_drain(MfApiRequest *request)
{
  static const char *const keys[] = {"drain", NULL};
  GError *error = NULL;
  gboolean drain = FALSE;
  g_autoptr(MfJson) json = mf_api_request_json(request, &error);
  if (json == NULL || !mf_json_check_keys(json, "", keys, &error) ||
      !mf_json_read_bool(json, "", "drain", &drain, &error)) {
    mf_api_reply_error(request, error);
    return;
  }
  if (!mf_json_has(json, "drain")) {
    mf_api_reply_error(
        request,
        g_error_new(MF_ERROR, MF_ERROR_INVALID,
                    "\"drain\" is missing: true stops new jobs, false admits them again."));
    return;
  }
  mf_scheduler_set_draining(request->api->scheduler, drain);
  MfJson *answer = json_object_new_object();
  mf_json_add_bool(answer, "draining", mf_scheduler_get_draining(request->api->scheduler));
  mf_api_reply_json(request, 200, answer);
}
