#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A job that prints nothing for minutes, and one that waits in the queue as long: whoever follows them is still there when
# they speak. A connection on which nothing is said is given up by many an HTTP library after 60 seconds.
set -u
# shellcheck source=tests/lib/mayfly-host.sh
. "$(dirname "$(realpath "$0")")/../lib/mayfly-host.sh"
mayfly_up '[machines]' max-machines=1

mayfly run --template tiny -- sh -c 'sleep 125; echo spoken; exit 3' </dev/null >"$logs/silent" 2>&1 &
silent=$!
one_is_running() { [ "$(api GET /v1/jobs | jq '[.jobs[] | select(.state == "running")] | length')" = 1 ]; }
until_ok 120 one_is_running
mayfly run --template tiny -- echo started </dev/null >"$logs/queued" 2>&1 &
queued=$!

wait "$silent"
is "$? $(cat "$logs/silent")" "3 spoken" "a job that is silent for minutes is followed to its end"
wait "$queued"
is "$? $(cat "$logs/queued")" "0 started" "so is one that waits for it"
mayfly_done
