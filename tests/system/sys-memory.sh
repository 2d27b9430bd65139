#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A host that is short of memory: machines give back what they do not use and get it again, no job starts when things
# are bad, and then the newest job that may be tried again ends rather than the host swapping. What is
# available is taken by a file in memory, or said to be too little by what should be.
set -u
# shellcheck source=tests/lib/mayfly-host.sh
. "$(dirname "$(realpath "$0")")/../lib/mayfly-host.sh"
mayfly_up '[machines]' max-machines=6 overcommit=200 memory=1280MiB memory-reserve=16MiB

mib=$((1024 * 1024))
available() { awk '$1 == "MemAvailable:" { print int($2 / 1024) }' /proc/meminfo; }
# reserve PERCENT: should be available, of what is.
reserve() {
  sed -i "s/^memory-reserve=.*/memory-reserve=$(($(available) * $1 / 100))MiB/" /etc/mayfly/mayfly.conf.d/test.conf
  restart_mayflyd >/dev/null
}
level() { api GET /v1/info | jq -r .memory.level; }
level_is() { [ "$(level)" = "$1" ]; }
balloon() { api GET "/v1/jobs/$1/stats" | jq .balloon_current; }
has_at_most() { [ "$(balloon "$1")" -le $(($2 * mib)) ] 2>/dev/null; }
has_at_least() { [ "$(balloon "$1")" -ge $(($2 * mib)) ] 2>/dev/null; }
state_is() { [ "$(job "$1" .state)" = "$2" ]; }
finished() { state_is "$1" finished; }
# begin RETRYABLE: a job of 512 MiB that stays.
begin() {
  local id
  id=$(post '{"template":"tiny","memory":536870912,"retryable":'"$1"',"exec":{"argv":["sleep","3600"]}}')
  until_ok 120 state_is "$id" running
  echo "$id"
}

ok "there is enough at first" until_ok 30 level_is well
old=$(begin true)
is "$(api GET /v1/info | jq '.used.memory')" $((256 * mib)) "with overcommit=200 half of its memory counts"
is "$(api GET /v1/machines | jq '[.machines[] | [.memory, .guaranteed]] | .[0] == [536870912, 268435456]')" true \
  "its machine is guaranteed half of it"
is "$(mayfly run --template tiny --memory 4GiB -- true </dev/null 2>&1 >/dev/null | grep -c 'which counts as 2GiB')" 1 \
  "what would never fit is refused with what it counts as"
is "$(balloon "$old")" $((512 * mib)) "it has all of its memory"

# Something else takes the host's memory, and gives it back.
mkdir "$logs/memory"
mount -t tmpfs -o size=100% none "$logs/memory"
fill() { head -c "$(($(available) * 42 / 100))M" /dev/zero >"$logs/memory/much"; }
reserve 65
is "$(level)" well "less than all should be available"
fill
ok "the host is low on memory" until_ok 30 level_is low
like "$(cat "$by_hand/mayflyd.log")" "short of memory: .* are available, .* should be" "which the journal tells"
ok "its machine gives back what it does not use" until_ok 90 has_at_most "$old" 440
is "$(api GET /v1/info | jq '.memory.taken > 0')" true "and so much is known to be taken"
like "$(api GET /metrics)" 'mayfly_memory_taken_bytes [1-9]' "the metrics tell it, too"
like "$(api GET /metrics)" 'mayfly_host_memory_level\{level="low"\} 1' "and the level"
like "$(mayfly top --batch --delay 1)" "available \(low\)" "mayfly top says that memory is low"
like "$(mayfly doctor 2>&1)" "available, .* should be: machines give back" "and mayfly doctor, too"
is "$(mayfly exec "$old" echo still there </dev/null)" "still there" "commands run in it"
is "$(mayfly run --template tiny -- echo admitted </dev/null 2>/dev/null)" admitted "another job still starts"
rm "$logs/memory/much"
ok "there is enough again" until_ok 30 level_is well
ok "it gets back what it gave" until_ok 60 has_at_least "$old" 512
taken_is_0() { [ "$(api GET /v1/info | jq .memory.taken)" = 0 ]; }
ok "nothing is taken any more" until_ok 30 taken_is_0

reserve 150
ok "the host is low on memory again" until_ok 30 level_is low
ok "its machine gives back" until_ok 90 has_at_most "$old" 490
sed -i 's/^image=.*/&\npool=1/' /etc/mayfly/templates/tiny.conf
reserve 150
until_ok 30 level_is low
why_empty() { api GET /v1/pools | jq -r '.pools[0].problem' | grep -q "short of memory"; }
ok "no machine is started ahead" until_ok 30 why_empty
reserve 1
ok "a daemon that did not take it gives it back" until_ok 60 has_at_least "$old" 512
pool_ready() { [ "$(api GET /v1/pools | jq '[.pools[].ready] | add // 0')" = 1 ]; }
ok "and one is started ahead" until_ok 120 pool_ready

precious=$(begin false)
new=$(begin true)
failed=$(post '{"template":"tiny","keep_on_failure":3600,"exec":{"argv":["false"]}}')
kept() { [ "$(job "$failed" .kept_until)" != null ]; }
ok "a failed job's machine is kept" until_ok 60 kept
reserve 60
ok "a machine waits" until_ok 120 pool_ready
# So little is not left in earnest, which would harm others: the kernel's word is replaced.
sed "s/^MemAvailable:.*/MemAvailable: $(($(available) * 1024 / 10)) kB/" /proc/meminfo >"$logs/meminfo"
mount --bind "$logs/meminfo" /proc/meminfo
ok "memory is critical" until_ok 30 level_is critical
late=$(post '{"template":"tiny","exec":{"argv":["echo","late"]}}')
waits() { job "$late" .queued_for | grep -q "short of memory"; }
ok "no job starts" until_ok 20 waits
none_waits() { [ "$(api GET /v1/machines | jq '[.machines[] | select(.state == "waiting")] | length')" = 0 ]; }
ok "a machine that only waits goes first" until_ok 60 none_waits
ok "before one that was kept" kept
ok "which is next" until_ok 60 finished "$failed"
is "$(job "$failed" '"\(.result) \(.exit_code)"')" "failed 1" "with the result it had"
ok "then the newest job that may be tried again" until_ok 60 finished "$new"
is "$(job "$new" .result)" system-failure "as a failure of the system"
like "$(job "$new" .reason)" "short of memory: .*tried again" "with that reason"
ok "then the one before" until_ok 60 finished "$old"
is "$(job "$precious" .state)" running "one that must not be tried again goes on"
is "$(job "$late" .state)" queued "and nothing has started meanwhile"
umount /proc/meminfo
sed -i '/^pool=/d' /etc/mayfly/templates/tiny.conf
reserve 1
ok "with enough memory the one that waited starts" until_ok 90 finished "$late"
is "$(job "$late" .result)" succeeded "and runs"
mayfly cancel "$precious" >/dev/null
for id in "$old" "$new" "$failed" "$precious"; do clean "$id" "job $id"; done
umount "$logs/memory" && rmdir "$logs/memory"
mayfly_done
