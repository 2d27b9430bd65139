#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Machines from saved memory: made once, forked often, each one of its own; where saved memory is of no use a job is
# booted instead; and whatever is killed at whatever step, nothing is left and jobs still start.
set -u
# shellcheck source=tests/lib/mayfly-host.sh
. "$(dirname "$(realpath "$0")")/../lib/mayfly-host.sh"
mayfly_up '[machines]' max-machines=3

template=/etc/mayfly/templates/tiny.conf
forks=/var/lib/mayfly/forks
fork_of() { api GET /v1/templates/tiny | jq -r ".fork.$1"; }
fork_is() { [ "$(fork_of state)" = "$1" ]; }
fork_has_problem() { [ "$(fork_of problem)" != null ]; }
making() { virsh -q list --name | grep mayfly-f-; }
nothing_made() { ! making >/dev/null; }
no_forks() { [ -z "$(find "$forks" -mindepth 1 2>/dev/null)" ]; }
# What waits: a job that ends makes the daemon look.
pool_ready() { [ "$(api GET /v1/pools | jq -r '[.pools[].ready] | add // 0')" = "$1" ]; }
# tiny COMMAND…: a job in tiny; its record is $(newest)'s.
tiny() { mayfly run --template tiny -- "$@" </dev/null 2>"$logs/stderr"; }

is "$(fork_of state)" null "a template that does not fork says nothing of it"
sed -i 's/^image=.*/&\nfork=yes/' "$template"
restart_mayflyd >/dev/null
ok "a memory image is made" until_ok 180 fork_is ready
ok "its size is told" test "$(fork_of size)" -gt 1000000
like "$(mayfly template inspect tiny)" 'fork +.*ready' "mayfly template inspect shows it"
is "$(stat -c '%a %U' "$forks"/tiny-*/memory)" "600 mayfly" "a guest's memory is nobody's business"
is "$(find "$forks" -mindepth 2 -printf '%f\n' | sort | tr '\n' ' ')" "disk.qcow2 memory memory.json " "nothing else is kept"
ok "the machine that was saved is gone" until_ok 20 nothing_made

# Each is one of its own.
# shellcheck disable=SC2016
who='hostname; cat /etc/machine-id; cat /sys/class/net/eth0/address; head -c 16 /dev/urandom | od -An -tx1;
  cat /proc/sys/kernel/random/uuid; ip -4 -o address show dev eth0; cat /etc/mayfly/job.json'
for n in 1 2 3; do
  tiny sh -c "$who" >"$logs/own-$n" &
done
wait_all() { [ "$(api GET '/v1/jobs?state=all' | jq '[.jobs[] | select(.state == "finished")] | length')" = "$1" ]; }
ok "three are forked beside each other" until_ok 60 wait_all 3
is "$(api GET '/v1/jobs?state=all' | jq -r '[.jobs[] | .how + " " + .result] | unique | join(",")')" "fork succeeded" \
  "as their records say"
for line in 1 2 3 4 5 6; do
  is "$(for n in 1 2 3; do sed -n ${line}p "$logs/own-$n"; done | sort -u | grep -c .)" 3 "line $line of what they are differs"
done

# Ten, two at a time. Random numbers are read before anything else can have stirred them. When two are up each is asked for
# its time, three times.
G_MESSAGES_DEBUG=all restart_mayflyd >/dev/null
until_ok 60 fork_is ready
work=$(mktemp -d) asks=() clients=()
# shellcheck disable=SC2016
who='head -c 16 /dev/urandom | od -An -tx1 | tr -d " "; cat /proc/sys/kernel/random/uuid /etc/machine-id; hostname
  cat /sys/class/net/eth0/address; ip -4 -o address show dev eth0 | grep -o "inet [^ ]*"; echo up
  while read -r line; do echo "clock $EPOCHREALTIME"; done'
# begin N: a fork that waits to be asked, through descriptor ${asks[N]}; what it says is in $work/N, each
# line with the time at which it came.
begin() {
  local ask
  mkfifo "$work/in-$1"
  mayfly run --template tiny -i -- sh -c "$who" <"$work/in-$1" 2>"$work/err-$1" |
    while IFS= read -r line; do echo "$EPOCHREALTIME $line"; done >"$work/$1" &
  clients[$1]=$!
  exec {ask}>"$work/in-$1"
  asks[$1]=$ask
}
says() { [ "$(grep -c " $2" "$work/$1")" = "$3" ]; }
ask_time() {
  local round before
  for round in 1 2 3; do
    before=$EPOCHREALTIME
    echo >&"${asks[$1]}"
    until_ok 60 says "$1" clock "$round"
    echo "$1 $before $(grep " clock" "$work/$1" | sed -n "${round}s/\([^ ]*\) clock \(.*\)/\2 \1/p")" >>"$work/clocks"
  done
}
for n in 1 3 5 7 9; do
  begin "$n"
  begin $((n + 1))
  ok "forks $n and $((n + 1)) are up" eval "until_ok 120 says $n up 1 && until_ok 120 says $((n + 1)) up 1"
  for m in "$n" $((n + 1)); do
    virsh -q domuuid "$(sed -n '4s/.* //p' "$work/$m")" >>"$work/uuids"
    ask_time "$m"
  done
  is "$(for m in "$n" $((n + 1)); do sed -n '5,6s/^[^ ]* //p' "$work/$m"; done | sort -u | grep -c .)" 4 \
    "each has its own MAC and address"
  for ask in "${asks[n]}" "${asks[n + 1]}"; do
    exec {ask}>&-
  done
  wait "${clients[n]}" "${clients[n + 1]}"
done
for what in 1:numbers 2:uuid 3:machine-id "4:host name"; do
  is "$(for n in {1..10}; do sed -n "${what%%:*}s/^[^ ]* //p" "$work/$n"; done | sort -u | grep -c .)" 10 \
    "no two of ten have the same ${what#*:}"
done
is "$(grep . "$work/uuids" | sort -u | grep -c .)" 10 "nor the same domain's UUID"
is "$(api GET '/v1/jobs?state=all' | jq -r '.jobs | sort_by(.created)[-10:][] | .how + " " + .result' | sort | uniq -c | xargs)" \
  "10 fork succeeded" "all were forked"
# Where the host is so busy that none of several requests was answered soon, the daemon knows, and says so.
unsure=$(for n in {1..10}; do
  ! grep -q "machine $(sed -n '4s/.*mayfly-//p' "$work/$n"): its clock may be wrong" "$by_hand/mayflyd.log" || echo "$n"
done)
is "$(awk -v unsure=" ${unsure//$'\n'/ } " 'NF == 4 && (index(unsure, " " $1 " ") || ($3 >= $2 - 0.05 && $3 <= $4 + 0.05))' \
  "$work/clocks" | grep -c .)" 30 "their clocks are right within 50 ms${unsure:+, but for those that the host was too busy for}"
note "$(awk '{ d = $3 - ($2 + $4) / 2; printf "fork %s: %+.1f ms, in %.1f ms\n", $1, d * 1000, ($4 - $2) * 1000 }' "$work/clocks")"
rm -rf "$work"

# With all that a job brings, on the network, in time.
echo "file of the job" >"$logs/file"
before=$(date +%s%3N)
# shellcheck disable=SC2016
said=$(TOKEN=$secret mayfly run --template tiny --env TOKEN --file "$logs/file:/srv/file" -- sh -c '
  adjtimex | awk '"'/tv_sec/ { s = \$2 } /tv_usec/ { u = \$2 } END { printf \"%d%03d\\n\", s, u / 1000 }'"'
  hostname; cat /srv/file; echo "$TOKEN" | wc -c
  arping -c 1 -w 5 -I eth0 "$(ip route | sed -n "s/^default via \([^ ]*\).*/\1/p")" | grep -q "^Unicast reply" && echo yes' \
  </dev/null 2>"$logs/stderr")
after=$(date +%s%3N)
id=$(newest)
clock=$(sed -n 1p <<<"$said")
ok "its clock is right: $before $clock $after" test "$clock" -ge $((before - 50)) -a "$clock" -le $((after + 50))
is "$(sed -n 2p <<<"$said")" "mayfly-$id" "it has the job's host name"
is "$(sed -n 3p <<<"$said")" "file of the job" "its files"
is "$(sed -n 4p <<<"$said")" $((${#secret} + 1)) "its variables"
is "$(sed -n 5p <<<"$said")" yes "and its way to the gateway"
is "$(job "$id" '.timings | has("inject")')" false "nothing was injected"
like "$(virsh -q nwfilter-binding-list | grep -c no-host-lan)" 6 "every port has its filter"
wait_for "$id" finished
clean "$id" "a forked job"

# Its network is set up when the job begins, and is the same when what the image has for that has had its turn.
# shellcheck disable=SC2016
tiny sh -c '
  look() { ip -4 -o address show dev eth0 | grep -o "inet [^ ]*"; ip route | grep "^default" | cut -d " " -f 3; cat /etc/resolv.conf; }
  look | sed "s/^/begin: /"; sleep 4; look' >"$logs/out"
id=$(newest)
gateway=$(api GET /v1/info | jq -r .network.gateway)
network="inet $(job "$id" .ip)/24
$gateway
nameserver $gateway"
is "$(sed -n 's/^begin: //p' "$logs/out")" "$network" "it has its address, one way out, and who answers for names"
is "$(sed '/^begin: /d' "$logs/out")" "$network" "and keeps them"

# What asks for something else boots.
mayfly run --template tiny --memory 300MiB -- true </dev/null 2>/dev/null
is "$(job "$(newest)" .how)" cold "a job with other wishes is booted"

# A forked job survives the daemon.
mayfly run --template tiny -- sh -c 'echo one; sleep 6; echo two; exit 4' </dev/null >"$logs/long" 2>/dev/null &
client=$!
until_ok 60 test -s "$logs/long"
restart_mayflyd >/dev/null
wait "$client"
is "$? $(tr '\n' ' ' <"$logs/long")" "4 one two " "a forked job goes on when mayflyd restarts"
ok "the memory image is still there" until_ok 10 fork_is ready

# A pool of forks.
sed -i 's/^fork=.*/&\npool=2/' "$template"
restart_mayflyd >/dev/null
ok "a pool is filled with forks" until_ok 180 pool_ready 2
tiny sh -c 'hostname' >"$logs/out"
id=$(newest)
is "$(job "$id" .how) $(cat "$logs/out")" "pool mayfly-$id" "and a job takes one, with its own host name"
sed -i '/^pool=/d' "$template"
restart_mayflyd >/dev/null
ok "the template has changed: a new memory image is made" until_ok 180 fork_is ready
is "$(find "$forks" -mindepth 1 -maxdepth 1 | grep -c .)" 1 "and the old one is gone"

# Memory that is no good: the job boots instead; when that happens again it is made anew.
memory=$(find "$forks" -name memory)
cp "$memory" "$logs/memory"
spoil() { head -c 3000000 "$logs/memory" >"$memory.new" && cat "$memory.new" >"$memory" && rm "$memory.new"; }
spoil
is "$(tiny echo booted)" booted "a job runs although the saved memory is cut off"
is "$(job "$(newest)" '.how + " " + .result')" "cold succeeded" "because it is booted"
like "$(cat "$by_hand/mayflyd.log")" "could not be forked" "which the journal tells"
is "$(tiny echo booted)" booted "and again"
ok "then a new memory image is made" until_ok 180 fork_is ready
ok "of another file" test "$(stat -c %i "$memory" 2>/dev/null)" != "$(stat -c %i "$logs/memory")"
rm "$logs/memory"
is "$(tiny echo forked) $(job "$(newest)" .how)" "forked fork" "and jobs are forked again"
echo >>"$memory"
made=$(fork_of made)
restart_mayflyd >/dev/null
made_anew() { fork_is ready && [ "$(fork_of made)" -gt "$made" ]; }
ok "one that is not as long as it was saved is not used, but made anew" until_ok 180 made_anew

# Whatever is killed while a memory image is made.
begin_making() {
  echo "# $1" >>"$template"
  sed -i "s/^description=.*/description=killed $1/" "$template"
  restart_mayflyd >/dev/null
  until_ok 60 making >/dev/null
}
begin_making mayflyd
kill_mayflyd
ok "mayflyd killed while it makes one: made anew" until_ok 180 fork_is ready
begin_making qemu
virsh -q destroy "$(making)" >/dev/null 2>&1
ok "its machine killed: the reason is told" until_ok 20 fork_has_problem
ok "and it is made anew" until_ok 180 fork_is ready
# In the middle of being saved: the file grows.
begin_making saving
saving() { compgen -G "$forks/.making-*/memory" >/dev/null; }
until_ok 120 saving
kill_mayflyd
ok "mayflyd killed while memory is saved: made anew" until_ok 180 fork_is ready
is "$(find "$forks" -mindepth 1 -maxdepth 1 | grep -c .)" 1 "and nothing is left of the other"

# Whatever is killed while a machine is forked.
id=$(post '{"template":"tiny","exec":{"argv":["echo","after all"]}}')
starting() { [ "$(job "$id" .state)" = starting ]; }
until_ok 10 starting
kill_mayflyd
wait_for "$id" finished
is "$(job "$id" .result)" succeeded "mayflyd killed while it forks: the job runs"
is "$(job "$id" .how)" fork "and is forked, though it is the first after a restart"
clean "$id" "a fork that was interrupted"

# What makes machines fail as they wake, twice, is not used a third time.
made=$(fork_of made)
# Waking is soon over: who comes too late has killed another thing.
kill_waking() {
  local line
  id=$(post '{"template":"tiny","exec":{"argv":["echo","after all"]}}')
  while read -r line; do
    [[ $line != *'"making the machine its own"'* ]] || { kill -KILL "$(<"/run/libvirt/qemu/mayfly-$id.pid")" && break; }
  done < <(api GET "/v1/jobs/$id/events" -N 2>/dev/null)
  wait_for "$id" finished
  [ "$(job "$id" '"\(.how) \(.result)"')" = "cold succeeded" ]
}
killed=0
for n in {1..10}; do
  if kill_waking; then killed=$((killed + 1)); else note "too late: $(job "$id" '"\(.how) \(.result)"')"; killed=0; fi
  [ "$killed" -lt 2 ] || break
done
is "$killed" 2 "QEMU is killed as a fork wakes, twice: the jobs are booted"
ok "after the second it is made anew" until_ok 180 made_anew
clean "$id" "a job whose fork was killed"

# libvirtd is killed, of which the machines know nothing.
begin_making libvirtd
ok "libvirtd killed while a memory image is made" libvirtd_again
ok "it is made after all" until_ok 180 fork_is ready
begin_making libvirtd-saving
until_ok 120 saving
ok "libvirtd killed while memory is saved" libvirtd_again
ok "it is made after all" until_ok 180 fork_is ready
is "$(find "$forks" -mindepth 1 -maxdepth 1 | grep -c .)" 1 "and nothing is left of the other"
is "$(tiny echo forked) $(job "$(newest)" .how)" "forked fork" "and jobs are forked from it"

# No forks, no memory images.
sed -i '/^fork=/d' "$template"
restart_mayflyd >/dev/null
ok "a template that forks no more keeps no memory image" until_ok 30 no_forks
is "$(find /var/lib/mayfly/overlays /run/mayfly/machines -mindepth 1 2>/dev/null)" "" "nothing is left"
ok "every port is free" until_ok 60 ports_free
mayfly_down
down_with_libvirtd
mayfly_done
