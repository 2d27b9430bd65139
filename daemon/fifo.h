/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * FIFOs between libvirtd and us. libvirtd opens one as it opens a file, and waits for the other end
 * with a domain's lock held: if we are killed just then, and the FIFO removed, it waits for ever,
 * and with it everybody who lists domains. So a FIFO is let go before it is removed, by whoever
 * removes it, and by the next daemon before it asks libvirtd for any domain.
 */

#include <glib.h>

/* A fresh one, 0600, that its maker ends by mf_fifo_done(). FALSE: errno says why. */
gboolean mf_fifo_make(const char *path);
void mf_fifo_done(const char *path);
/* Of one that is no longer with us: whoever waits for the other end goes on, finds nobody, and
 * fails; then @path is removed. That it is not there is success. */
void mf_fifo_remove(const char *path);
/* The process is about to end: waits until all of ours are done, at most @seconds. */
void mf_fifo_wait(guint seconds);
