/* SPDX-License-Identifier: Apache-2.0 */
/* Machines as libvirt's domains: ours are those with our name prefix and, where there is one to
 * ask, our metadata. */
#include "daemon/hypervisor-private.h"

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
