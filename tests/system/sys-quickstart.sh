#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tools/quickstart on a host without systemd and without a libvirtd: a job's output, nothing left of it, quick when run
# again, and after --stop nothing runs. With systemd, and from bare packages on: tests/lib/bare-host.
set -u
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$(realpath "$0")")/../lib/tap.sh"
cd "$(dirname "$(realpath "$0")")/../.." || exit 1
compgen -G '/var/lib/mayfly/images/tiny@*' >/dev/null || skip_all "the image tiny is not there" "the test image-tiny makes it"

processes() {
  pgrep -af '^(/usr/(s?bin|libexec/mayfly)/)?(tini -s|virtlogd|libvirtd|mayflyd|mayfly-netd|dnsmasq|qemu)'
}
none_left() { [ -z "$(processes)" ]; }

shows() { ok "$2" grep -q "$1" <<<"$output"; }

output=$(tools/quickstart --no-install </dev/null 2>&1)
is $? 0 "quickstart succeeds"
shows "line 3" "it shows the job's output"
shows "inet 10\." "in which the machine has its address"
shows "domains: none" "no domain is left"
shows "overlays: none" "no overlay"
shows "QEMU processes: none" "no QEMU"
note "$output"
ok "the daemons go on" mayfly list

started=$SECONDS
output=$(tools/quickstart --no-install </dev/null 2>&1)
is $? 0 "run again, it succeeds"
ok "and reuses what is there ($((SECONDS - started)) s)" test "$(grep -c 'making' <<<"$output")" = 0
is "$(mayfly list --all --quiet | wc -l)" 2 "the daemon is the same, with both jobs"

tools/quickstart --stop </dev/null >/dev/null 2>&1
is $? 0 "--stop succeeds"
ok "every daemon has ended" until_ok 10 none_left
is "$(processes)" "" "and none is left"
is "$(ip -br link | awk '$1 != "lo" { print $1 }')" "" "nor a network device"
ok "the image stays" compgen -G '/var/lib/mayfly/images/tiny@*'
tap_done
