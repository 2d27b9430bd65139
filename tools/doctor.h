/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What mayfly doctor finds: a list of results, each with what to do about it. doctor-host.c looks
 * at this host, doctor-daemon.c at what mayflyd says of itself; neither changes anything.
 */

#include "daemon/config.h"
#include "tools/client.h"

typedef enum {
  MF_DOCTOR_OK,
  MF_DOCTOR_NOTE,    /* works, but somebody should know */
  MF_DOCTOR_PROBLEM, /* jobs will fail */
} MfDoctorState;

typedef struct MfDoctor MfDoctor;

MfDoctor *mf_doctor_new(void);
void mf_doctor_free(MfDoctor *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MfDoctor, mf_doctor_free)

/* @what: "network"; @found: one line; @advice: (nullable) what to do, or to type. Both are taken.
 */
void mf_doctor_add(MfDoctor *self, const char *what, MfDoctorState state, char *found,
                   char *advice);
/* The same for constant texts. */
void mf_doctor_say(MfDoctor *self, const char *what, MfDoctorState state, const char *found,
                   const char *advice);

gboolean mf_doctor_has_problems(const MfDoctor *self);
/* {"ok":bool,"checks":[{"check","state":"ok"|"note"|"problem","found","advice"}]} (transfer full)
 */
MfJson *mf_doctor_to_json(const MfDoctor *self);
char *mf_doctor_format(const MfDoctor *self); /* for people (transfer full) */

/* doctor-host.c */
void mf_doctor_check_account(MfDoctor *self);
void mf_doctor_check_libvirt(MfDoctor *self);
void mf_doctor_check_kvm(MfDoctor *self, const MfConfig *config);
/* @settling: see mf_doctor_ports_are_fine() */
void mf_doctor_check_network(MfDoctor *self, const MfConfig *config, gboolean settling);
void mf_doctor_check_storage(MfDoctor *self, const MfConfig *config);
void mf_doctor_check_templates(MfDoctor *self, const MfConfig *config);
void mf_doctor_check_programs(MfDoctor *self, const MfConfig *config);

/* doctor-daemon.c: @info: of /v1/info */
/* mayflyd runs and finds no fault with a port: what mayfly-netd does not see yet is on its way.
 * NULL: it does not run. */
gboolean mf_doctor_ports_are_fine(MfJson *info);
void mf_doctor_check_daemon(MfDoctor *self, MfJson *info);
void mf_doctor_check_images(MfDoctor *self, MfClient *client);
