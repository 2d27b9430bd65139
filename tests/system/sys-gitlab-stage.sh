#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A stage by mayfly costs at most a quarter of one by a login with ssh: tests/bench/stage says what each takes.
set -u
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$(realpath "$0")")/../lib/tap.sh"

numbers=$(mktemp)
said=$("$MAYFLY_SOURCE/tests/bench/stage" --count 15 --json "$numbers" 2>&1)
status=$?
[[ $said != *"1..0 # SKIP"* ]] || { grep -F '1..0 # SKIP' <<<"$said"; exit 0; }
note "$said"
is "$status" 0 "the benchmark runs"
is "$(jq ".checks[0].met" "$numbers")" true "a stage by mayfly takes at most a quarter of a login ($(jq ".checks[0].value" "$numbers"))"
rm -f "$numbers"
tap_done
