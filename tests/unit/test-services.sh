#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Daemons started by hand: what has ended has let go of everything.
set -u
# shellcheck source=tests/lib/tap.sh
. "$MAYFLY_SOURCE/tests/lib/tap.sh"
# shellcheck source=tools/lib/services.sh
. "$MAYFLY_SOURCE/tools/lib/services.sh"

# What is asked of is started by hand here, whatever PID 1 is.
have_systemd() { false; }

by_hand=$(mktemp -d)
trap 'halt last; rm -rf "$by_hand"' EXIT
lock=$by_hand/lock
free() { flock -n "$lock" true; }
held() { ! free; }

launch last "$MAYFLY_BUILD/tests/unit/last-thread" "$lock" 700
ok "it runs" until_ok 10 held
ok "and is known by its name" alive last
halt last
ok "halted, it has let go of its lock, though its first thread ended before the last" free
ok "and is known no more" eval '! alive last'

launch last "$MAYFLY_BUILD/tests/unit/last-thread" "$lock" 0
read -r pid start <"$by_hand/last.pid"
echo "$pid $((start - 1))" >"$by_hand/last.pid"
ok "a process that has the number of an earlier one is not taken for it" eval '! alive last'
echo "$pid $start" >"$by_hand/last.pid"
halt last
tap_done
