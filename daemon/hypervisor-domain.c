/* SPDX-License-Identifier: Apache-2.0 */
/* Machines as libvirt's domains: ours are those with our name prefix and our metadata. */
#include "daemon/hypervisor-private.h"

#include <libxml/parser.h>

#define ID_MAX 64

gboolean
mf_hypervisor_is_id(const char *id)
{
  if (id == NULL || *id == '\0' || strlen(id) > ID_MAX)
    return FALSE;
  return strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(id);
}

const char *
mf_hypervisor_domain_id(const char *name)
{
  if (name == NULL || !g_str_has_prefix(name, MF_DOMAIN_PREFIX))
    return NULL;
  const char *id = name + strlen(MF_DOMAIN_PREFIX);
  return mf_hypervisor_is_id(id) ? id : NULL;
}

/* Worker. The name alone proves nothing: a domain that an admin called "mayfly-test" is not ours.
 */
static gboolean
is_ours(virDomainPtr domain)
{
  const char *id = mf_hypervisor_domain_id(virDomainGetName(domain));
  if (id == NULL)
    return FALSE;
  char *xml = virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, MF_METADATA_NS, 0);
  if (xml == NULL)
    return FALSE;
  xmlDoc *doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL,
                              XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
  free(xml);
  if (doc == NULL)
    return FALSE;
  xmlChar *claimed = xmlGetNoNsProp(xmlDocGetRootElement(doc), (const xmlChar *)"id");
  gboolean ours = g_strcmp0((const char *)claimed, id) == 0;
  xmlFree(claimed);
  xmlFreeDoc(doc);
  return ours;
}

/* Worker. NULL without @error: there is none of that name. */
static virDomainPtr
look_up_name(virConnectPtr connection, const char *name, GError **error)
{
  g_autoptr(GError) local = NULL;
  virDomainPtr domain = virDomainLookupByName(connection, name);

  if (domain == NULL &&
      mf_hypervisor_take_error(&local, "cannot look for %s", name) != VIR_ERR_NO_DOMAIN)
    g_propagate_error(error, g_steal_pointer(&local));
  return domain;
}

/* Worker. The machine of job @id; NULL without @error: it is not there. CONFLICT: a domain has its
 * name, but is not ours. */
static virDomainPtr
look_up(virConnectPtr connection, const char *id, GError **error)
{
  g_autofree char *name = g_strconcat(MF_DOMAIN_PREFIX, id, NULL);
  g_autoptr(virDomain) domain = look_up_name(connection, name, error);

  if (domain == NULL || is_ours(domain))
    return g_steal_pointer(&domain);
  /* It did not say that it is ours: because it is not, or because it ended in between, or because
   * libvirtd did. */
  g_autoptr(virDomain) again = look_up_name(connection, name, error);
  if (again != NULL)
    g_set_error(error, MF_ERROR, MF_ERROR_CONFLICT,
                "the libvirt domain %s was not made by mayfly: rename or remove it", name);
  return NULL;
}

virDomainPtr
mf_hypervisor_find_domain(virConnectPtr connection, const char *id, GError **error)
{
  g_autoptr(GError) local = NULL;
  virDomainPtr domain = look_up(connection, id, &local);

  if (domain == NULL && local == NULL)
    g_set_error(&local, MF_ERROR, MF_ERROR_NOT_FOUND, "machine %s is not running any more", id);
  if (domain == NULL)
    g_propagate_error(error, g_steal_pointer(&local));
  return domain;
}

/* --- start --- */

static gboolean
start_work(virConnectPtr connection, gpointer data, GCancellable *cancellable, GError **error)
{
  /* Never AUTODESTROY: a restart of the daemon must not end the jobs. */
  g_autoptr(virDomain) domain = virDomainCreateXML(connection, data, VIR_DOMAIN_START_PAUSED);

  if (domain == NULL)
    mf_hypervisor_take_error(error, "libvirt could not start the machine");
  return domain != NULL;
}

void
mf_hypervisor_start_async(MfHypervisor *self, const char *xml, GCancellable *c,
                          GAsyncReadyCallback cb, gpointer data)
{
  mf_hypervisor_call_async(self, MF_CONNECTION_CONTROL, start_work, g_strdup(xml), g_free, c, cb,
                           data);
}

gboolean
mf_hypervisor_start_finish(MfHypervisor *self, GAsyncResult *r, GError **error)
{
  return mf_hypervisor_call_finish(self, r, start_work, error) != NULL;
}

/* --- resume, shutdown --- */

static gboolean
resume_work(virConnectPtr connection, gpointer data, GCancellable *cancellable, GError **error)
{
  const char *id = data;
  g_autoptr(virDomain) domain = mf_hypervisor_find_domain(connection, id, error);

  if (domain == NULL)
    return FALSE;
  if (virDomainResume(domain) < 0) {
    mf_hypervisor_take_error(error, "machine %s cannot be resumed", id);
    return FALSE;
  }
  return TRUE;
}

void
mf_hypervisor_resume_async(MfHypervisor *self, const char *id, GCancellable *c,
                           GAsyncReadyCallback cb, gpointer data)
{
  mf_hypervisor_call_async(self, MF_CONNECTION_CONTROL, resume_work, g_strdup(id), g_free, c, cb,
                           data);
}

gboolean
mf_hypervisor_resume_finish(MfHypervisor *self, GAsyncResult *r, GError **error)
{
  return mf_hypervisor_call_finish(self, r, resume_work, error) != NULL;
}

static gboolean
shutdown_work(virConnectPtr connection, gpointer data, GCancellable *cancellable, GError **error)
{
  const char *id = data;
  g_autoptr(virDomain) domain = mf_hypervisor_find_domain(connection, id, error);

  if (domain == NULL)
    return FALSE;
  if (virDomainShutdownFlags(domain, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN) < 0) {
    mf_hypervisor_take_error(error, "machine %s cannot be asked to shut down", id);
    return FALSE;
  }
  return TRUE;
}

void
mf_hypervisor_shutdown_async(MfHypervisor *self, const char *id, GCancellable *c,
                             GAsyncReadyCallback cb, gpointer data)
{
  mf_hypervisor_call_async(self, MF_CONNECTION_CONTROL, shutdown_work, g_strdup(id), g_free, c, cb,
                           data);
}

gboolean
mf_hypervisor_shutdown_finish(MfHypervisor *self, GAsyncResult *r, GError **error)
{
  return mf_hypervisor_call_finish(self, r, shutdown_work, error) != NULL;
}

/* --- change --- */

typedef struct {
  char *id, *xml;
  guint64 bytes;
} Change;

static void
change_free(gpointer data)
{
  Change *self = data;
  g_free(self->id);
  g_free(self->xml);
  g_free(self);
}

static gboolean
attach_work(virConnectPtr connection, gpointer data, GCancellable *cancellable, GError **error)
{
  const Change *self = data;
  g_autoptr(virDomain) domain = mf_hypervisor_find_domain(connection, self->id, error);

  if (domain == NULL)
    return FALSE;
  if (virDomainAttachDeviceFlags(domain, self->xml, VIR_DOMAIN_AFFECT_LIVE) < 0) {
    mf_hypervisor_take_error(error, "machine %s cannot be given its interface", self->id);
    return FALSE;
  }
  return TRUE;
}

void
mf_hypervisor_attach_async(MfHypervisor *self, const char *id, const char *xml, GCancellable *c,
                           GAsyncReadyCallback cb, gpointer data)
{
  Change *change = g_new0(Change, 1);
  change->id = g_strdup(id);
  change->xml = g_strdup(xml);
  mf_hypervisor_call_async(self, MF_CONNECTION_CONTROL, attach_work, change, change_free, c, cb,
                           data);
}

gboolean
mf_hypervisor_attach_finish(MfHypervisor *self, GAsyncResult *r, GError **error)
{
  return mf_hypervisor_call_finish(self, r, attach_work, error) != NULL;
}

static gboolean
set_memory_work(virConnectPtr connection, gpointer data, GCancellable *cancellable, GError **error)
{
  const Change *self = data;
  g_autoptr(virDomain) domain = mf_hypervisor_find_domain(connection, self->id, error);

  if (domain == NULL)
    return FALSE;
  if (virDomainSetMemoryFlags(domain, (unsigned long)(self->bytes / 1024), VIR_DOMAIN_AFFECT_LIVE) <
      0) {
    mf_hypervisor_take_error(error, "the memory of machine %s cannot be changed", self->id);
    return FALSE;
  }
  return TRUE;
}

void
mf_hypervisor_set_memory_async(MfHypervisor *self, const char *id, guint64 bytes, GCancellable *c,
                               GAsyncReadyCallback cb, gpointer data)
{
  Change *change = g_new0(Change, 1);
  change->id = g_strdup(id);
  change->bytes = bytes;
  mf_hypervisor_call_async(self, MF_CONNECTION_CONTROL, set_memory_work, change, change_free, c, cb,
                           data);
}

gboolean
mf_hypervisor_set_memory_finish(MfHypervisor *self, GAsyncResult *r, GError **error)
{
  return mf_hypervisor_call_finish(self, r, set_memory_work, error) != NULL;
}

/* --- list --- */

static gboolean
list_work(virConnectPtr connection, gpointer data, GCancellable *cancellable, GError **error)
{
  GStrvBuilder *ids = data;
  virDomainPtr *domains = NULL;
  int count = virConnectListAllDomains(connection, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);

  if (count < 0) {
    mf_hypervisor_take_error(error, "cannot list libvirt's domains");
    return FALSE;
  }
  for (int i = 0; i < count; i++) {
    if (is_ours(domains[i]))
      g_strv_builder_add(ids, mf_hypervisor_domain_id(virDomainGetName(domains[i])));
    virDomainFree(domains[i]);
  }
  free(domains);
  return TRUE;
}

static void
unref_builder(gpointer builder)
{
  g_strv_builder_unref(builder);
}

void
mf_hypervisor_list_domains_async(MfHypervisor *self, GCancellable *c, GAsyncReadyCallback cb,
                                 gpointer data)
{
  mf_hypervisor_call_async(self, MF_CONNECTION_CONTROL, list_work, g_strv_builder_new(),
                           unref_builder, c, cb, data);
}

char **
mf_hypervisor_list_domains_finish(MfHypervisor *self, GAsyncResult *r, GError **error)
{
  GStrvBuilder *ids = mf_hypervisor_call_finish(self, r, list_work, error);
  return ids != NULL ? g_strv_builder_end(ids) : NULL;
}
