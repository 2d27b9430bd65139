/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The filters a port is bound with: no-host-lan and its parts as files of the filter directory, and
 * the holes that the configuration adds. Pure but for reading the files. The daemon defines them in
 * libvirt, mayfly-netd derives from them what has to be in the kernel.
 */

#include <glib.h>
#include <libxml/tree.h>

#include "daemon/config.h"

#define MF_FILTER_NAME "no-host-lan"

typedef struct MfFilterSet MfFilterSet;

/* DAMAGED if a file is missing or no filter; INVALID if a hole is not ADDRESS:PORT or there are
 * more than 400. */
MfFilterSet *mf_filter_set_load(const MfConfig *config, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void mf_filter_set_free(MfFilterSet *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfFilterSet, mf_filter_set_free)

/* In the order in which they can be defined: parts before what refers to them. */
guint mf_filter_set_size(const MfFilterSet *self);
const char *mf_filter_set_name(const MfFilterSet *self, guint index);
xmlNode *mf_filter_set_root(const MfFilterSet *self, guint index);
/* The filter as XML; @uuid: what a filter of this name has in libvirt already, or NULL. (transfer
 * full) */
char *mf_filter_set_format(const MfFilterSet *self, guint index, const char *uuid);

/*
 * mf_filter_set_matches() - whether @xml, as libvirt gives it, says the same as filter @index.
 * @ret_uuid: (transfer full) (nullable) (out): its uuid, whether it matches or not.
 */
gboolean mf_filter_set_matches(const MfFilterSet *self, guint index, const char *xml,
                               char **ret_uuid);

/* mf_hole_parse() - "ADDRESS:PORT". INVALID names @text and the form. */
gboolean mf_hole_parse(const char *text, char **ret_address, guint *ret_port,
                       GError **error) G_GNUC_WARN_UNUSED_RESULT;
