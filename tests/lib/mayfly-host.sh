# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# For system tests in a private host (test-host): installs this build into it, starts mayfly-netd and mayflyd as
# tools/quickstart does without systemd, and asks about jobs. ctest sets MAYFLY_SOURCE and MAYFLY_BUILD.

MAYFLY_SOURCE=${MAYFLY_SOURCE:-$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")}
MAYFLY_BUILD=${MAYFLY_BUILD:-$MAYFLY_SOURCE/.build/dev}
# shellcheck source=tests/lib/tap.sh
. "$MAYFLY_SOURCE/tests/lib/tap.sh"
# shellcheck source=tools/lib/services.sh
. "$MAYFLY_SOURCE/tools/lib/services.sh"

# No systemd runs in there.
have_systemd() { false; }

[ "${MAYFLY_TEST_HOST-}" = 1 ] || { echo "run it by tests/lib/test-host, see tests/README.md" >&2; exit 1; }

# Where what the daemons say is kept for who has to find out; a test folder outlives the private host.
logs=$MAYFLY_BUILD/Testing/system/$(basename "$0" .sh)
# A word that stands in a job's variables: it must be nowhere once the job is over.
secret=s3cr3t-$RANDOM$RANDOM

# Sanitizers of an instrumented build stop a program at its first fault; the logs are read for that at the end.
export ASAN_OPTIONS=abort_on_error=0:exitcode=98 UBSAN_OPTIONS=print_stacktrace=1

# mayfly_up [LINE…]: LINEs go to mayfly.conf.d.
mayfly_up() {
  rm -rf "$logs"
  mkdir -p "$logs" "$by_hand"
  mount --bind "$logs" "$by_hand"
  cmake --install "$MAYFLY_BUILD" >"$logs/install.log" 2>&1 || bail "cannot install the build; see $logs/install.log"
  install -d -o mayfly -g mayfly -m 700 /var/cache/mayfly
  mkdir -p /etc/mayfly/mayfly.conf.d
  {
    printf '[machines]\ndisk-reserve=100MiB\n[network]\nports=6\nport-rest=0s\n'
    printf '%s\n' "$@"
  } >/etc/mayfly/mayfly.conf.d/test.conf
  compgen -G '/var/lib/mayfly/images/tiny@*' >/dev/null || skip_all "the image tiny is not there" "the test image-tiny makes it"
  start_netd >"$logs/start.log" 2>&1 || bail "mayfly-netd does not start: $(cat "$logs/start.log")"
  start_mayflyd >"$logs/start.log" 2>&1 || bail "mayflyd does not start: $(cat "$logs/start.log")"
  until_ok 60 ports_free || bail "no port gets ready: $(api GET /v1/info)"
}

bail() {
  printf 'Bail out! %s\n' "$(tr '\n' ' ' <<<"$*")"
  mayfly_down
  umount -l "$by_hand" 2>/dev/null
  exit 1
}

restart_mayflyd() {
  halt mayflyd
  start_mayflyd
}

# kill_mayflyd: as the kernel does when memory is short, and start another. Its machines and children are not told.
kill_mayflyd() {
  local pid
  read -r pid _ <"$by_hand/mayflyd.pid"
  kill -KILL "$pid"
  until_ok 10 mayflyd_is_dead
  start_mayflyd >/dev/null
}

mayflyd_is_dead() { ! alive mayflyd; }

# libvirtd_again: kills it as the kernel does, and starts another. Its machines are not told.
libvirtd_again() {
  kill -KILL "$(cat /run/libvirtd.pid)"
  until_ok 20 libvirt_is false && start_libvirtd && until_ok 60 libvirt_is true
}

mayfly_down() {
  [ "$tap_failed" = 0 ] || ! alive mayflyd || tell_failures
  halt mayflyd
  halt mayfly-netd
}

netd_down() {
  /usr/libexec/mayfly/mayfly-netd --down || { service_log mayfly-netd; return 1; }
}

# For a test that put a libvirtd of its own into the place of test-host's, after mayfly_down.
down_with_libvirtd() {
  # Its network's dnsmasq goes only if the network goes first.
  ok "mayfly-netd --down" netd_down
  halt libvirtd
  halt virtlogd
}

# What mayflyd says of jobs that were not ended by their own command, for who has to find out why.
tell_failures() {
  note "$(api GET '/v1/jobs?state=all' | jq -r '.jobs[] | select(.result == "system-failure") |
    "job \(.id): \(.reason)", (.timings | tojson), (.console_tail // [] | .[])' 2>&1)"
}

# mayfly_done: ends the daemons, looks for what sanitizers and GLib said, and ends the script.
mayfly_done() {
  mayfly_down
  umount -l "$by_hand" 2>/dev/null
  is "$(grep -lE 'ERROR: (Address|Leak)Sanitizer|runtime error:|-CRITICAL \*\*|assertion failed' "$logs"/*.log)" "" \
    "no daemon complained about itself"
  tap_done
}

# api METHOD PATH [CURL-ARGUMENT…]
api() {
  local method=$1 path=$2
  shift 2
  curl -sS -X "$method" --unix-socket /run/mayfly/mayfly.sock "http://localhost$path" "$@"
}

# post JSON: a new job's id.
post() {
  api POST /v1/jobs -H 'Content-Type: application/json' -d "$1" | jq -r '.id // error(.detail)'
}

# job ID FILTER: of the job's document.
job() {
  api GET "/v1/jobs/$1" | jq -r "$2"
}

wait_for() {
  api GET "/v1/jobs/$1?wait=$2&timeout=${3:-300}" >/dev/null
}

# The newest job's id.
newest() {
  api GET '/v1/jobs?state=all' | jq -r '.jobs | max_by(.created) | .id'
}

# For until_ok, which asks again and again.
newer_than() { [ "$(newest)" != "$1" ]; }
state_is() { [ "$(job "$1" .state)" = "$2" ]; }
libvirt_is() { [ "$(api GET /v1/info | jq .libvirt.up)" = "$1" ]; }

ports_free() {
  [ "$(api GET /v1/info | jq -r '[.network.ports[] | select(.state != "free")] | length')" = 0 ]
}

# left MACHINE: what of it is on the host, one thing a line.
left() {
  virsh -q list --all --name | grep -F "mayfly-$1"
  find /var/lib/mayfly/overlays /run/mayfly/machines -name "*$1*"
  # Not its own command line.
  grep -lsa "guest=mayfly[-]$1" /proc/[0-9]*/cmdline
}
nothing_left() { [ -z "$(left "$1")" ]; }

# What of job $1's machine is on the host, one thing a line.
remains() {
  local machine
  # The second is not the job's own name if it was started again.
  for machine in "$1" "$(job "$1" .machine)"; do
    left "$machine"
  done
  find "/var/lib/mayfly/jobs/$1" -name 'secrets*'
  grep -rlsF -- "$secret" /var/lib/mayfly/jobs "$logs" /run/mayfly /run/libvirt /var/log/libvirt /etc/libvirt
  api GET /v1/info | jq -r --arg id "$1" '.network.ports[] | select(.job == $id or .problem != null) | "port " + .tap'
  for tap in $(api GET /v1/info | jq -r '.network.ports[] | select(.job == null) | .tap'); do
    ! ip -o link show "$tap" | grep -q LOWER_UP || echo "tap $tap has a user"
  done
}

# clean ID HOW: nothing of the job is left, and every port is filtered and free.
clean() {
  wait_for "$1" finished 60
  is "$(job "$1" .state)" finished "$2: the job is finished"
  is "$(remains "$1")" "" "$2: nothing of it is left"
  ok "$2: every port is free" until_ok 60 ports_free
  is "$(virsh -q nwfilter-binding-list | grep -c no-host-lan)" "$(api GET /v1/info | jq '.network.ports | length')" "$2: every port is filtered"
}
