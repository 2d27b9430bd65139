/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The daemon's configuration: built-in defaults, then /etc/mayfly/mayfly.conf, then mayfly.conf.d/ *.conf in name order.
 * Immutable once loaded. Pure but for reading the files. One table in config.c says for every key its group, kind,
 * default, range and meaning; parsing, --dump-config and the shipped file come from that table.
 */

#include <glib.h>

#include "daemon/key-table.h"

typedef struct {
  /* [daemon] */
  char *state_directory;   /* images/, jobs/, overlays/ */
  char *runtime_directory; /* mayfly.sock, machines/ */
  char *template_directory;
  char *admin_group;
  /* [libvirt] */
  char *uri;
  /* [machines] */
  char *accel;             /* auto | kvm | tcg */
  char *emulator;          /* qemu-system-x86_64's path */
  guint max_machines;
  guint64 memory;          /* bytes that machines may be guaranteed together; 0 = 80 % of the host's */
  guint overcommit;        /* percent of what it is guaranteed that a machine may use */
  guint64 memory_reserve;  /* bytes that the host should have left; 0 = a tenth of its memory */
  guint cpus;              /* virtual CPUs together; 0 = 4 for each of the host's */
  guint64 disk_reserve;    /* bytes that must stay free on the state directory's filesystem */
  guint64 start_timeout;   /* seconds from resume to ready */
  guint64 inject_timeout;  /* seconds for one run of mayfly-inject */
  guint64 agent_timeout;   /* seconds without a word from a machine's agent until it counts as hung */
  guint parallel_starts;
  guint parallel_injects;
  guint64 pool_age;        /* seconds a machine may wait for a job */
  /* [images] */
  char *gitlab_runner;     /* the host's, which need not be there */
  /* [jobs] */
  guint64 default_timeout; /* seconds */
  guint64 max_timeout;
  guint64 max_keep;        /* seconds a failed machine may be kept */
  guint queue_length;
  guint64 output_limit;    /* bytes of an exec's output that are kept */
  guint64 console_limit;
  guint64 keep_records;    /* seconds a finished job's record and output stay */
  /* [network] */
  char *network;           /* libvirt network and bridge name */
  char *subnet;            /* "10.177.0.0/24"-like; .1 is the gateway */
  guint ports;
  char **holes;            /* "ADDRESS:PORT", NULL-terminated */
  char **dns_forwarders;   /* addresses; empty: the host's resolver */
  guint64 port_rest;       /* seconds between two machines on one port */
  char *network_state;     /* file that mayfly-netd keeps, see port.h */
  char *filter_directory;
  /* [http] */
  guint64 max_body;        /* bytes of a request body */
  guint64 header_timeout;  /* seconds to send a request */
  guint max_connections;
} MfConfig;

/*
 * mf_config_load() - @path and its .d folder. A missing @path is an error, a missing folder is not; NULL gives the defaults.
 * Returns: (transfer full): MF_ERROR_INVALID names file, line, key and what is allowed.
 */
MfConfig *mf_config_load(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The same of one text, @name being what messages call it. (transfer full) */
MfConfig *mf_config_from_data(const char *name, const char *data, gsize length, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Every key there is. (transfer none) */
const MfKeyTable *mf_config_table(void);

/* mf_config_dump() - the effective configuration as a key file; @commented: the shipped form, with meanings. (transfer full) */
char *mf_config_dump(const MfConfig *self, gboolean commented);

/* For who may outlive the owner, on any thread. (transfer full): given back by mf_config_free(). */
MfConfig *mf_config_ref(const MfConfig *self);
void mf_config_free(MfConfig *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfConfig, mf_config_free)
