#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Machines that wait: a job takes one at once, with all that it brings, and never a second job the same; the place is
# filled again, makes room where room is needed, follows its template, and is told about where it cannot be filled; libvirtd may be away.
set -u
# shellcheck source=tests/lib/mayfly-host.sh
. "$(dirname "$(realpath "$0")")/../lib/mayfly-host.sh"
mayfly_up '[machines]' max-machines=3

template=/etc/mayfly/templates/tiny.conf
# pool N: the template wants N machines ahead. A job that comes makes the daemon look, as its clock does once a minute.
pool() {
  sed -i '/^pool=/d; s/^image=.*/&\npool='"$1"'/' "$template"
  restart_mayflyd >/dev/null
}
pool_of() { api GET /v1/pools | jq -r "[.pools[] | select(.template == \"tiny\")][0] | $1"; }
ready_is() { [ "$(pool_of '.ready // 0')" = "$1" ]; }
idle_machines() { virsh -q list --name | grep -c mayfly-p-; }

pool 2
ok "two machines are made ready" until_ok 180 ready_is 2
is "$(idle_machines)" 2 "they are domains of names of their own"
like "$(mayfly pool list)" "tiny +2 +2 +0" "mayfly pool list shows them"
is "$(api GET /v1/machines | jq '[.machines[] | select(.state == "waiting" and .stats.resident > 0)] | length')" 2 \
  "they are among the machines, with what they use"
is "$(virsh -q nwfilter-binding-list | grep -c no-host-lan)" 6 "their ports are filtered"
like "$(api GET /metrics)" 'mayfly_pool_machines\{template="tiny",state="ready"\} 2' "so do the metrics"

small() {
  api GET /v1/machines | jq -e '[.machines[] | select(.state == "waiting") | .stats.balloon_current] |
    max < 200 * 1024 * 1024' >/dev/null
}
ok "they give back what they do not use" until_ok 60 small

# All that a job brings is there before its first command.
echo "file of the job" >"$logs/file"
said=$(TOKEN=$secret mayfly run --template tiny --env TOKEN --env EMPTY= --file "$logs/file:/srv/deep/file" -- sh -c \
  '[ "$TOKEN" != "" ] && echo token; hostname; cat /srv/deep/file; grep -c . /etc/hosts; stat -c %a /etc/mayfly/job.json; date +%s
  sleep 2; free -m | sed -n "s/^Mem: *[0-9]* *[0-9]* *\([0-9]*\).*/\1/p"' \
  </dev/null 2>"$logs/stderr")
now=$(date +%s)
id=$(newest)
is "$(job "$id" .how)" pool "a job takes a machine that waited"
is "$(sed -n 1p <<<"$said")" token "it has its variables"
is "$(sed -n 2p <<<"$said")" "mayfly-$id" "its host name"
is "$(sed -n 3p <<<"$said")" "file of the job" "and its files"
is "$(sed -n 5p <<<"$said")" 600 "its config is its root's alone"
clock=$(sed -n 6p <<<"$said")
ok "all of its memory is there: $(sed -n 7p <<<"$said") MiB free" test "$(sed -n 7p <<<"$said")" -gt 120
ok "the machine's clock is right" test "$((now - clock))" -le 5 -a "$((clock - now))" -le 5
is "$(job "$id" '.timings | has("boot")')" false "nothing was booted for it"
like "$(job "$id" .machine)" "^p-" "its machine is the one that waited"
is "$(virsh -q list --all --name | grep -cF "$(job "$id" .machine)")" 0 "and is gone"
wait_for "$id" finished
is "$(find "/var/lib/mayfly/jobs/$id" -name 'secrets*')" "" "its secrets are wiped"
like "$(mayfly logs --console "$id" | wc -c)" "^[0-9]+$" "its console can be read"

# Never a second job, and the place is filled again.
ok "the place is filled again" until_ok 180 ready_is 2
for n in 1 2 3; do
  mayfly run --template tiny -- sh -c '[ ! -e /mark ] && touch /mark && cat /proc/sys/kernel/random/boot_id' \
    </dev/null >"$logs/boot-$n" 2>/dev/null
done
is "$(cat "$logs"/boot-? | sort -u | grep -c .)" 3 "three jobs, three machines, nothing left of one in another"

# What asks for more than the template gives is started for itself; the pool makes room.
ok "two wait again" until_ok 180 ready_is 2
id=$(post '{"template":"tiny","memory":402653184,"exec":{"argv":["true"]}}')
wait_for "$id" finished
is "$(job "$id" '"\(.how) \(.result)"')" "cold succeeded" "a job with other wishes is started cold"
is "$(job "$id" '.timings | [has("wait", "port")], .hello > 0, .hello <= .start + .boot + 0.01' | tr -d '[:space:]')" \
  "[true,true]truetrue" "with the times of each step"
ok "two wait again" until_ok 180 ready_is 2
jobs=()
for n in 1 2 3 4; do
  jobs+=("$(post '{"template":"tiny","memory":402653184,"exec":{"argv":["sleep","15"]}}')")
done
says_why() { mayfly pool list | grep -q "jobs wait, which go first"; }
ok "while jobs wait, mayfly pool list says so" until_ok 60 says_why
for id in "${jobs[@]}"; do wait_for "$id" finished; done
for id in "${jobs[@]}"; do is "$(job "$id" .result)" succeeded "the pool makes room for a job"; done

# A machine that dies while it waits is replaced, and a job that comes meanwhile still gets one.
ok "two wait again" until_ok 180 ready_is 2
virsh -q destroy "$(virsh -q list --name | grep mayfly-p- | head -n 1)" >/dev/null
is "$(mayfly run --template tiny -- echo alive </dev/null 2>/dev/null)" alive "a job runs when one has died"
ok "the dead one is replaced" until_ok 180 ready_is 2

# One that hangs while it waits - its QEMU is stopped - is found out when a job is to have it, which gets another.
signal_qemu() { kill -"$1" "$(cat "/run/libvirt/qemu/mayfly-$hung.pid")"; }
# The one that the next job is to have.
hang_next() {
  until_ok 180 ready_is 2
  hung=$(pool_of '[.machines[] | select(.state == "ready")][0].id')
  signal_qemu STOP
}
handing_over() { [ "$(job "$1" .phase)" = "handing the machine over" ]; }
hang_next
is "$(mayfly run --template tiny -- echo alive </dev/null 2>"$logs/stderr")" alive "a job runs when the machine it was to have hangs"
id=$(newest)
is "$(job "$id" '"\(.how) \(.result)"')" "pool succeeded" "in another that waited"
like "$(cat "$by_hand/mayflyd.log")" "job $id: could not take machine $hung: .*has not answered" "the journal tells why"
is "$(left "$hung")" "" "nothing is left of the one that hung"
hang_next
id=$(post '{"template":"tiny","exec":{"argv":["sleep","300"]}}')
ok "a machine that hangs is being handed over" until_ok 5 handing_over "$id"
is "$(job "$id" '"\(.state) \(.machine)"')" "starting $hung" "to a job that is starting"
api DELETE "/v1/jobs/$id" >/dev/null
wait_for "$id" finished 60
is "$(job "$id" .result)" cancelled "which can be cancelled"
is "$(left "$hung")" "" "and leaves nothing"
hang_next
id=$(post '{"template":"tiny","exec":{"argv":["echo","after all"]}}')
ok "another is being handed over" until_ok 5 handing_over "$id"
kill_mayflyd
wait_for "$id" finished
is "$(job "$id" .result)" succeeded "mayflyd killed meanwhile: the job runs"
is "$(api GET "/v1/jobs/$id/execs/1/output?form=stdout")" "after all" "once"
ok "and nothing is left of the one that hung" until_ok 60 nothing_left "$hung"

# One that only takes its time is used, and its clock is right although it was set late.
hang_next
# shellcheck disable=SC2016
clock='read -r line; adjtimex | awk "/tv_sec/ { s = \$2 } /tv_usec/ { u = \$2 } END { printf \"%d%03d\n\", s, u / 1000 }"'
(sleep 5; date +%s%3N >"$logs/before"; echo) | mayfly run --template tiny -i -- sh -c "$clock" >"$logs/clock" 2>"$logs/stderr" &
client=$!
sleep 2
signal_qemu CONT
wait "$client"
after=$(date +%s%3N)
before=$(cat "$logs/before") said=$(cat "$logs/clock")
is "$(job "$(newest)" '"\(.machine) \(.result)"')" "$hung succeeded" "a machine that answers late is used"
ok "its clock is right: $before $said $after" test "$said" -ge $((before - 50)) -a "$said" -le $((after + 50))
ok "two wait again" until_ok 180 ready_is 2
before=$(date +%s%3N)
said=$(echo | mayfly run --template tiny -i -- sh -c "$clock" 2>"$logs/stderr")
after=$(date +%s%3N)
ok "so is the clock of one that answers at once: $before $said $after" \
  test "$said" -ge $((before - 50)) -a "$said" -le $((after + 50))

# A restart: what waited is nobody's, and is made anew.
before=$(virsh -q list --name | grep mayfly-p- | sort)
restart_mayflyd >/dev/null
ok "after a restart two wait" until_ok 180 ready_is 2
is "$(comm -12 <(echo "$before") <(virsh -q list --name | grep mayfly-p- | sort))" "" "others than before"

# A job in a machine that waited survives the daemon.
mayfly run --template tiny -- sh -c 'echo one; sleep 8; echo two; exit 4' </dev/null >"$logs/out" 2>/dev/null &
client=$!
until_ok 60 test -s "$logs/out"
restart_mayflyd >/dev/null
wait "$client"
is $? 4 "a job in such a machine goes on when mayflyd restarts"
is "$(tr '\n' ' ' <"$logs/out")" "one two " "to the last line"

# libvirtd stands still while a job takes a machine, and is killed: the job begins at once and gets all of its memory later.
ok "two wait again" until_ok 180 ready_is 2
ok "and are small" until_ok 60 small
kill -STOP "$(cat /run/libvirtd.pid)"
id=$(post '{"template":"tiny","exec":{"argv":["sh","-c","echo begun; sleep 25"]}}')
begun() { [ "$(api GET "/v1/jobs/$id/execs/1/output?form=stdout")" = begun ]; }
ok "a job begins though libvirtd does not answer" until_ok 20 begun
kill -KILL "$(cat /run/libvirtd.pid)"
until_ok 20 libvirt_is false
start_libvirtd
has_all() { [ "$(api GET "/v1/jobs/$id/stats" | jq '.balloon_current == .memory')" = true ]; }
ok "with libvirtd back it has all of its memory" until_ok 30 has_all
wait_for "$id" finished
is "$(job "$id" .result)" succeeded "and succeeds"
is "$(virsh -q list --all --name | grep -cF "$(job "$id" .machine)")" 0 "and its machine is gone"
ok "two wait again" until_ok 180 ready_is 2

# Starts that fail are tried again later and later, and the reason is told.
sed -i "s#^image=.*#&\ndomain=/etc/mayfly/broken.xml#" "$template"
sed "s/machine='q35'/machine='nosuch'/" /usr/share/mayfly/templates/domain.xml >/etc/mayfly/broken.xml
restart_mayflyd >/dev/null
problem() { [ "$(pool_of '.problem != null and .retry != null')" = true ]; }
ok "a pool that cannot be filled is tried again later" until_ok 120 problem
like "$(mayfly pool list)" "starting the domain.*; again in [0-9]+" "and says why, and when"
like "$(api GET /metrics)" 'mayfly_pool_failures\{template="tiny"\} [1-9]' "so do the metrics"
sed -i '/^domain=/d' "$template"

# A mistake in one template is told of, and is nobody else's.
echo "nonsense=1" >/etc/mayfly/templates/other.conf
ok "two wait although another template is wrong" until_ok 180 ready_is 2
virsh -q destroy "$(virsh -q list --name | grep mayfly-p- | head -n 1)" >/dev/null
ok "and are replaced" until_ok 180 ready_is 2
like "$(cat "$by_hand/mayflyd.log")" "template other: .*nonsense" "the journal says what is wrong with it"
rm /etc/mayfly/templates/other.conf
# What no job could be given goes: of an image that is not there.
sed -i 's/^image=.*/image=nosuch/' "$template"
gone() { [ "$(idle_machines)" = 0 ]; }
ok "machines of an image that is gone go" until_ok 90 gone
sed -i 's/^image=.*/image=tiny/' "$template"

# No pool, no machines.
pool 0
ok "a pool that is not wanted goes" until_ok 60 gone
is "$(find /var/lib/mayfly/overlays /run/mayfly/machines /var/lib/mayfly/pool -mindepth 1 2>/dev/null)" "" "and leaves nothing"
ok "every port is free" until_ok 60 ports_free
mayfly_down
down_with_libvirtd
mayfly_done
