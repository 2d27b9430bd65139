/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The virtio-serial port MF_FRAME_PORT_NAME: where the guest's kernel has put it. */

#include <stdbool.h>

/* mf_port_open() - Return: the open port (non-blocking), or -1: EBUSY: another process has it;
 * else: not there (yet). */
int mf_port_open(void);
/* The device is still plugged in. */
bool mf_port_is_alive(int fd);
