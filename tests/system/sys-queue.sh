#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Twenty jobs of two people at once on a host that admits three: none lost, fair order, each in a machine of its own.
set -u
# shellcheck source=tests/lib/mayfly-host.sh
. "$(dirname "$(realpath "$0")")/../lib/mayfly-host.sh"
useradd --groups mayfly alice
useradd --groups mayfly bob
mayfly_up '[machines]' max-machines=3

# submit USER NUMBER: a job that prints its number and which machine it is in.
submit() {
  setpriv --reuid="$1" --regid="$1" --init-groups curl -sS --unix-socket /run/mayfly/mayfly.sock http://localhost/v1/jobs \
    -H 'Content-Type: application/json' \
    -d '{"template":"tiny","name":"'"$1-$2"'","lease":0,"exec":{"argv":["sh","-c",
      "echo '"$1-$2"' $(cat /proc/sys/kernel/random/boot_id)"]}}' | jq -r '.id // .detail'
}

work=$(mktemp -d)
# All of alice's stand in the queue before bob's: fair is that he need not wait for the last of hers.
for number in 0 1 2 3 4 5 6 7 8 9; do submit alice $number >"$work/alice-$number"; done
clients=()
for number in 0 1 2 3 4 5 6 7 8 9; do
  submit bob $number >"$work/bob-$number" &
  clients+=($!)
done
wait "${clients[@]}"

most=0
end=$((SECONDS + 900))
while [ "$SECONDS" -lt "$end" ]; do
  jobs=$(api GET '/v1/jobs?state=all')
  busy=$(jq '[.jobs[] | select(.state | IN("starting", "ready", "running", "stopping"))] | length' <<<"$jobs")
  [ "$busy" -le "$most" ] || most=$busy
  [ "$(jq '[.jobs[] | select(.state != "finished")] | length' <<<"$jobs")" != 0 ] || break
  sleep 0.5
done
is "$(jq '.jobs | length' <<<"$jobs")" 20 "twenty jobs"
is "$(jq '[.jobs[] | select(.result == "succeeded")] | length' <<<"$jobs")" 20 "all succeeded"
is "$most" 3 "three at a time"

: >"$work/boots"
wrong=""
for file in "$work"/alice-* "$work"/bob-*; do
  read -r said boot < <(api GET "/v1/jobs/$(cat "$file")/execs/1/output?form=stdout")
  [ "$said" = "${file##*/}" ] || wrong+="${file##*/} said $said; "
  echo "$boot" >>"$work/boots"
done
is "$wrong" "" "each has its own output"
is "$(sort -u "$work/boots" | wc -l)" 20 "each ran in a machine of its own"

# By the time their machines were started; the first three were alice's before bob came.
order=$(jq -r '[.jobs[] | {name, started}] | sort_by(.started) | map(.name) | join(" ")' <<<"$jobs")
note "$order"
is "$(tr ' ' '\n' <<<"$order" | grep alice | tr '\n' ' ')" \
  "$(seq -f 'alice-%g' 0 9 | tr '\n' ' ')" "one owner's jobs start in the order they came"
# shellcheck disable=SC2086
set -- $order
bobs=$(printf '%s\n' "${@:4:12}" | grep -c bob)
ok "bob gets his share of the next twelve: $bobs" test "$bobs" -ge 4 -a "$bobs" -le 8

is "$(setpriv --reuid=bob --regid=bob --init-groups curl -sS --unix-socket /run/mayfly/mayfly.sock \
  "http://localhost/v1/jobs/$(cat "$work/alice-0")" | jq -r .status)" 404 "bob does not see alice's"
for file in "$work"/alice-0 "$work"/bob-9; do
  clean "$(cat "$file")" "${file##*/}"
done
is "$(find /var/lib/mayfly/overlays /run/mayfly/machines -mindepth 1 | wc -l)" 0 "no overlay and no socket is left"
rm -rf "$work"
mayfly_done
