/* SPDX-License-Identifier: Apache-2.0 */
/* What a failure in libvirt asks of our caller. libvirt keeps its last error per thread, so it is
 * taken where the call was made. */
#include "daemon/hypervisor-private.h"

#include <errno.h>

#define MESSAGE_MAX 600

static const struct {
  int number;
  MfErrorCode code;
} decisions[] = {
    {VIR_ERR_NO_DOMAIN, MF_ERROR_NOT_FOUND},
    {VIR_ERR_NO_NETWORK, MF_ERROR_NOT_FOUND},
    {VIR_ERR_NO_NWFILTER, MF_ERROR_NOT_FOUND},
    {VIR_ERR_NO_NWFILTER_BINDING, MF_ERROR_NOT_FOUND},
    {VIR_ERR_NO_STORAGE_POOL, MF_ERROR_NOT_FOUND},
    {VIR_ERR_NO_STORAGE_VOL, MF_ERROR_NOT_FOUND},
    {VIR_ERR_NO_DOMAIN_METADATA, MF_ERROR_NOT_FOUND},
    {VIR_ERR_DOM_EXIST, MF_ERROR_CONFLICT},
    {VIR_ERR_NETWORK_EXIST, MF_ERROR_CONFLICT},
    {VIR_ERR_STORAGE_VOL_EXIST, MF_ERROR_CONFLICT},
    {VIR_ERR_OPERATION_INVALID, MF_ERROR_CONFLICT},
    {VIR_ERR_RESOURCE_BUSY, MF_ERROR_BUSY},
    /* A domain's job lock that was not released in 30 s. */
    {VIR_ERR_OPERATION_TIMEOUT, MF_ERROR_BUSY},
    {VIR_ERR_XML_ERROR, MF_ERROR_INVALID},
    {VIR_ERR_XML_DETAIL, MF_ERROR_INVALID},
    {VIR_ERR_XML_INVALID_SCHEMA, MF_ERROR_INVALID},
    {VIR_ERR_INVALID_ARG, MF_ERROR_INVALID},
    {VIR_ERR_CONFIG_UNSUPPORTED, MF_ERROR_INVALID},
    {VIR_ERR_NO_CONNECT, MF_ERROR_UNAVAILABLE},
    {VIR_ERR_INVALID_CONN, MF_ERROR_UNAVAILABLE},
    {VIR_ERR_AUTH_FAILED, MF_ERROR_UNAVAILABLE},
    {VIR_ERR_AUTH_CANCELLED, MF_ERROR_UNAVAILABLE},
    {VIR_ERR_AUTH_UNAVAILABLE, MF_ERROR_UNAVAILABLE},
    {VIR_ERR_ACCESS_DENIED, MF_ERROR_UNAVAILABLE},
    {VIR_ERR_OPERATION_DENIED, MF_ERROR_UNAVAILABLE},
};

MfErrorCode
mf_hypervisor_error_code(int number, int domain, int os_error)
{
  /* The socket to libvirtd is gone: it says so as an internal, RPC or system error, but always from
   * there. */
  if (domain == VIR_FROM_RPC &&
      (number == VIR_ERR_INTERNAL_ERROR || number == VIR_ERR_RPC || number == VIR_ERR_SYSTEM_ERROR))
    return MF_ERROR_UNAVAILABLE;
  if (number == VIR_ERR_SYSTEM_ERROR && (os_error == ENOSPC || os_error == EDQUOT))
    return MF_ERROR_NO_SPACE;
  if (number == VIR_ERR_SYSTEM_ERROR && os_error == EBUSY)
    return MF_ERROR_BUSY;
  for (guint i = 0; i < G_N_ELEMENTS(decisions); i++)
    if (decisions[i].number == number)
      return decisions[i].code;
  return MF_ERROR_FAILED;
}

/* QEMU's own words come through libvirt with line breaks, and may be long. */
static char *
one_line(const char *message)
{
  g_autofree char *text = g_utf8_make_valid(message != NULL ? message : "no reason given", -1);
  g_strdelimit(text, "\r\n\t", ' ');
  g_strstrip(text);
  if (strlen(text) <= MESSAGE_MAX)
    return g_steal_pointer(&text);
  *g_utf8_find_prev_char(text, text + MESSAGE_MAX) = '\0';
  return g_strconcat(text, "…", NULL);
}

int
mf_hypervisor_take_error(GError **error, const char *format, ...)
{
  virErrorPtr last = virGetLastError();
  int number = last != NULL ? last->code : VIR_ERR_INTERNAL_ERROR;
  MfErrorCode code = mf_hypervisor_error_code(number, last != NULL ? last->domain : VIR_FROM_NONE,
                                              last != NULL ? last->int1 : 0);
  va_list args;
  va_start(args, format);
  g_autofree char *what = g_strdup_vprintf(format, args);
  va_end(args);
  g_autofree char *why = one_line(last != NULL ? last->message : NULL);
  g_set_error(error, MF_ERROR, (int)code, "%s: %s", what, why);
  return number;
}

char *
mf_hypervisor_open_problem(const char *uri)
{
  virErrorPtr last = virGetLastError();
  int number = last != NULL ? last->code : VIR_ERR_NO_CONNECT;
  g_autofree char *why = one_line(last != NULL ? last->message : NULL);
  gboolean refused =
      number == VIR_ERR_AUTH_FAILED || number == VIR_ERR_AUTH_CANCELLED ||
      number == VIR_ERR_AUTH_UNAVAILABLE || number == VIR_ERR_ACCESS_DENIED ||
      number == VIR_ERR_OPERATION_DENIED ||
      (number == VIR_ERR_SYSTEM_ERROR && (last->int1 == EACCES || last->int1 == EPERM));
  if (refused)
    return g_strdup_printf("user %s may not use libvirt at %s (%s): put it into the group libvirt "
                           "and restart mayflyd",
                           g_get_user_name(), uri, why);
  return g_strdup_printf("libvirtd is not running or not reachable at %s: %s; start it with "
                         "systemctl start libvirtd",
                         uri, why);
}
