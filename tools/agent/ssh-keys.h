/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* ssh host keys that forks must not share: gone before the machine is saved, made by each fork. */

/* Ends sshd and removes its keys, if there are any. */
void mf_ssh_keys_drop(void);
/* In a fork of a machine that had them: makes new ones and starts sshd again if it ran, in the
 * background. */
void mf_ssh_keys_make(void);
