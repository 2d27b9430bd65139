/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One blocking libvirt call: it waits for a turn of its connection, runs on a worker, and answers
 * on the main context. Turns are counted on the main context only, so there is nothing to lock. The
 * workers are our own: GTask's shared ones would be used up by a libvirtd that does not answer, and
 * with them every file operation of the daemon.
 */
#include "daemon/hypervisor-private.h"

typedef struct {
  GTask *task;
  MfConnectionKind kind;
  MfHypervisorWork work;
  virConnectPtr connection; /* own reference: the link may go while the call is out */
  gboolean ok;
  GError *error;
} Call;

static void
call_free(Call *call)
{
  g_clear_error(&call->error);
  g_clear_object(&call->task);
  g_free(call);
}

static void
call_answer(Call *call)
{
  if (call->ok)
    g_task_return_boolean(call->task, TRUE);
  else
    g_task_return_error(call->task, g_steal_pointer(&call->error));
  call_free(call);
}

static gboolean
on_call_done(gpointer user_data)
{
  Call *call = user_data;
  g_autoptr(MfHypervisor) self = g_object_ref(g_task_get_source_object(call->task));
  MfConnectionKind kind = call->kind;

  self->running[kind]--;
  call_answer(call);
  mf_hypervisor_call_dispatch(self, kind);
  return G_SOURCE_REMOVE;
}

static void
run_on_worker(Call *call)
{
  GCancellable *cancellable = g_task_get_cancellable(call->task);

  if (!g_cancellable_set_error_if_cancelled(cancellable, &call->error)) {
    virResetLastError();
    call->ok =
        call->work(call->connection, g_task_get_task_data(call->task), cancellable, &call->error);
    if (!call->ok && call->error == NULL)
      mf_hypervisor_take_error(&call->error, "libvirt");
  }
  virConnectClose(g_steal_pointer(&call->connection));
  g_autoptr(GSource) source = g_idle_source_new();
  g_source_set_priority(source, G_PRIORITY_DEFAULT);
  g_source_set_callback(source, on_call_done, call, NULL);
  g_source_attach(source, NULL);
}

void
mf_hypervisor_call_run(gpointer item, gpointer user_data)
{
  run_on_worker(item);
}

void
mf_hypervisor_call_dispatch(MfHypervisor *self, MfConnectionKind kind)
{
  while (!g_queue_is_empty(&self->waiting[kind]) &&
         (self->link == NULL || self->running[kind] < MF_CONNECTION_MAX_CALLS)) {
    Call *call = g_queue_pop_head(&self->waiting[kind]);
    if (self->link == NULL) {
      g_set_error_literal(&call->error, MF_ERROR, MF_ERROR_UNAVAILABLE, self->problem);
      call_answer(call);
      continue;
    }
    call->connection = mf_link_get_connection(self->link, kind);
    virConnectRef(call->connection);
    self->running[kind]++;
    g_thread_pool_push(self->workers, call, NULL);
  }
}

void
mf_hypervisor_call_async(MfHypervisor *self, MfConnectionKind kind, MfHypervisorWork work,
                         gpointer data, GDestroyNotify destroy, GCancellable *cancellable,
                         GAsyncReadyCallback callback, gpointer user_data)
{
  g_return_if_fail(MF_IS_HYPERVISOR(self) && kind < MF_CONNECTION_LAST_ && data != NULL);
  Call *call = g_new0(Call, 1);
  call->task = g_task_new(self, cancellable, callback, user_data);
  call->kind = kind;
  call->work = work;
  g_task_set_task_data(call->task, data, destroy);
  g_task_set_source_tag(call->task, (gpointer)work);
  /* What was done is told even if it was cancelled meanwhile: the caller has to undo it. */
  g_task_set_check_cancellable(call->task, FALSE);
  g_queue_push_tail(&self->waiting[kind], call);
  mf_hypervisor_call_dispatch(self, kind);
}

gpointer
mf_hypervisor_call_finish(MfHypervisor *self, GAsyncResult *result, MfHypervisorWork work,
                          GError **error)
{
  g_return_val_if_fail(g_task_is_valid(result, self), NULL);
  g_return_val_if_fail(g_async_result_is_tagged(result, (gpointer)work), NULL);
  if (!g_task_propagate_boolean(G_TASK(result), error))
    return NULL;
  return g_task_get_task_data(G_TASK(result));
}
