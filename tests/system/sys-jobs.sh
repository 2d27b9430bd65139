#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A job from its command to its output: status, streams, timing, bulk, resumption, a reader that stops, and what stands
# around its machine while it runs.
set -u
# shellcheck source=tests/lib/mayfly-host.sh
. "$(dirname "$(realpath "$0")")/../lib/mayfly-host.sh"
mayfly_up

work=$(mktemp -d)
run() {
  mayfly run --template tiny "$@"
}

run -- sh -c 'echo out; echo err >&2; exit 42' >"$work/out" 2>"$work/err" </dev/null
is $? 42 "the command's status"
is "$(cat "$work/out")" out "its standard output, and nothing else"
is "$(cat "$work/err")" err "its standard error, and nothing else"
clean "$(newest)" "exit"

# Lines are stamped as they arrive; the guest sleeps one second between them, so the gaps must be one second.
run -- sh -c 'for i in 1 2 3 4; do echo $i; sleep 1; done' </dev/null |
  while read -r line; do echo "$line ${EPOCHREALTIME/./}"; done >"$work/lines"
is "$(awk '{ printf "%s", $1 }' "$work/lines")" 1234 "four lines in order"
gaps=$(awk 'NR > 1 { gap = ($2 - last) / 1e6; if (gap < 0.7 || gap > 1.3) printf "%.2f ", gap } { last = $2 }' "$work/lines")
is "$gaps" "" "each within 0.3 s of its printing"

# What stands around the machine while its job runs.
id=$(post '{"template":"tiny","disk":1073741824,"env":{"TOKEN":"'"$secret"'"},
  "exec":{"argv":["sh","-c","test -n \"$TOKEN\" && touch /tmp/there; sleep 300"]}}')
wait_for "$id" ready 120
until_ok 60 state_is "$id" running
tap=$(job "$id" .port)
ip=$(job "$id" .ip)
domain=mayfly-$id
like "$(virsh -q list --name)" "$domain" "a domain of the job's name runs"
like "$(virsh nwfilter-binding-dumpxml "$tap")" "<parameter name='IP' value='$ip'/>" "the port's filter binding has its address"
like "$(ebtables -t nat -L)" "libvirt-I-$tap" "ebtables chains for the port"
like "$(bridge -d link show dev "$tap")" "isolated on" "the port is isolated"
like "$(virsh dommemstat "$domain")" "actual [1-9]" "balloon statistics"
overlay=$(find /var/lib/mayfly/overlays -name "*$id*")
info=$(qemu-img info -U --output=json "$overlay")
like "$(jq -r '."full-backing-filename"' <<<"$info")" "^/var/lib/mayfly/images/tiny@" "the overlay lies on the image"
is "$(jq -r '."virtual-size"' <<<"$info")" 1073741824 "its size is the job's quota"
is "$(virsh dumpxml "$domain" | grep -cF "$secret")" 0 "no secret in the domain's XML"
is "$(grep -lsaF -f <(echo "$secret") /proc/[0-9]*/cmdline)" "" "no secret in a process list"
mayfly cancel "$id" >/dev/null 2>&1
clean "$id" "cancel"
is "$(job "$id" .result)" cancelled "its result is cancelled"

# A hundred megabytes, and the guest's own digest of them.
bulk='mkfifo /tmp/f; sha256sum </tmp/f >&2 & head -c 100000000 /dev/urandom | tee /tmp/f; wait'
run -- sh -c "$bulk" >"$work/bulk" 2>"$work/digest" </dev/null
is $? 0 "100 MB come through"
is "$(sha256sum <"$work/bulk")" "$(cat "$work/digest")" "with the digest that the guest computed"

# A follower that is cut off goes on by offset.
id=$(post '{"template":"tiny","exec":{"argv":["sh","-c",
  "mkfifo /tmp/f; sha256sum </tmp/f >&2 & for i in 1 2 3 4 5 6 7 8; do head -c 2000000 /dev/urandom; sleep 0.5; done | tee /tmp/f; wait"]}}')
output=/v1/jobs/$id/execs/1/output
curl -sS -N --unix-socket /run/mayfly/mayfly.sock \
  "http://localhost$output?follow=1&form=stdout" >"$work/part" 2>/dev/null &
follower=$!
until_ok 90 test -s "$work/part"
kill -KILL "$follower"
wait "$follower" 2>/dev/null
first=$(stat -c %s "$work/part")
ok "the follower was cut off before the end" test "$first" -lt 16000000
api GET "$output?follow=1&form=stdout&offset=$first" >>"$work/part"
is "$(stat -c %s "$work/part")" 16000000 "the rest follows from its offset"
wait_for "$id" finished
is "$(sha256sum <"$work/part")" "$(api GET "$output?form=stderr")" "both parts together are what the guest wrote"

# A reader that stops stops the process in the guest; the daemon goes on answering.
run -- sh -c 'i=0; while [ $i -lt 64 ]; do head -c 1000000 /dev/zero; i=$((i + 1)); done' </dev/null 2>/dev/null |
  (until_ok 120 test -e "$work/go"; cat) | wc -c >"$work/count" &
reader=$!
before=$id
until_ok 60 newer_than "$before"
id=$(newest)
wait_for "$id" ready
sleep 8
taken=$(job "$id" '.execs[0].stdout_bytes')
ok "the daemon holds $taken bytes, not all" test "$taken" -lt 40000000
sleep 3
is "$(job "$id" '.execs[0].stdout_bytes')" "$taken" "and takes no more while nobody reads"
is "$(job "$id" .state)" running "the daemon answers, the job runs"
touch "$work/go"
wait "$reader"
is "$(cat "$work/count")" 64000000 "reading again brings the rest"

rm -rf "$work"
mayfly_done
