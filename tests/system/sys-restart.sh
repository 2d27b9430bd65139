#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# mayflyd and libvirtd end and come again, politely or not, in every state of a job: what runs goes on, to the byte, and
# what had not begun begins again.
set -u
# shellcheck source=tests/lib/mayfly-host.sh
. "$(dirname "$(realpath "$0")")/../lib/mayfly-host.sh"
mayfly_up '[machines]' max-machines=2

work=$(mktemp -d)

# in_phase ID PHASE: the job's machine is being started, and that far.
in_phase() {
  [ "$(job "$1" '.state + ":" + (.phase // "")')" = "starting:$2" ]
}

# A command that is followed by its client through both ways to end.
mayfly run --template tiny -- sh -c 'i=0; while [ $i -lt 3000 ]; do i=$((i + 1)); echo "line $i"; [ $((i % 100)) != 0 ] || sleep 1
  done; echo done >&2; exit 7' >"$work/out" 2>"$work/err" </dev/null &
client=$!
until_ok 120 test -s "$work/out"
id=$(newest)
restart_mayflyd >/dev/null
sleep 3
kill_mayflyd
wait "$client"
is $? 7 "the command's status comes through two restarts"
is "$(cat "$work/out")" "$(seq -f 'line %g' 3000)" "every line once"
is "$(cat "$work/err")" "done" "standard error apart from it"
clean "$id" "restarts while it ran"

# Posted, and then the daemon is gone: the first is being started, the second in the queue behind another.
first=$(post '{"template":"tiny","exec":{"argv":["echo","first"]}}')
second=$(post '{"template":"tiny","exec":{"argv":["echo","second"]}}')
third=$(post '{"template":"tiny","env":{"TOKEN":"'"$secret"'"},"exec":{"argv":["sh","-c","test -n \"$TOKEN\" && echo third"]}}')
ok "one is being written to" until_ok 60 in_phase "$first" "injecting the job's config"
is "$(job "$third" .state)" queued "one waits"
kill_mayflyd
for each in "$first:first" "$second:second" "$third:third"; do
  wait_for "${each%:*}" finished
  is "$(job "${each%:*}" .result)" succeeded "the ${each#*:} succeeds after the daemon was killed"
  is "$(api GET "/v1/jobs/${each%:*}/execs/1/output")" "${each#*:}" "its output is its own"
done
clean "$first" "killed while it started"
clean "$third" "killed while it was queued"

# Killed in between a job's variables and its record: nobody was told of it, and nothing of it stays.
install -d -o mayfly -g mayfly -m 700 /var/lib/mayfly/jobs/begun
echo "{\"env\":{\"TOKEN\":\"$secret\"}}" >/var/lib/mayfly/jobs/begun/secrets.json
chown mayfly:mayfly /var/lib/mayfly/jobs/begun/secrets.json
restart_mayflyd >/dev/null
ok "what was not recorded is wiped" until_ok 20 test ! -e /var/lib/mayfly/jobs/begun

# While it boots, with a polite end.
id=$(post '{"template":"tiny","exec":{"argv":["echo","again"]}}')
ok "it boots" until_ok 60 in_phase "$id" booting
restart_mayflyd >/dev/null
wait_for "$id" finished
is "$(job "$id" .result)" succeeded "a machine that was booting is made anew"
is "$(api GET "/v1/jobs/$id/execs/1/output")" again "and its command runs once"
clean "$id" "restarted while it booted"

# A held machine: a command that was accepted, and is not the first, is run by the next daemon.
id=$(post '{"template":"tiny","hold":true,"keep_on_failure":60}')
wait_for "$id" ready
one=$(api POST "/v1/jobs/$id/execs" -d '{"script":"SECRET='"$secret"'; sleep 5; echo one","shell":["sh"]}' | jq .number)
two=$(api POST "/v1/jobs/$id/execs" -d '{"argv":["sh","-c","cat; echo two"],"stdin":true}' | jq .number)
kill_mayflyd
until_ok 20 mayfly_answers
api POST "/v1/jobs/$id/execs/$two/stdin?offset=0&eof=1" -d 'in ' >/dev/null
api GET "/v1/jobs/$id/execs/$one?wait=finished&timeout=60" >/dev/null
is "$(api GET "/v1/jobs/$id/execs/$one/output?form=stdout")" one "a command that ran goes on"
api GET "/v1/jobs/$id/execs/$two?wait=finished&timeout=60" >/dev/null
is "$(api GET "/v1/jobs/$id/execs/$two/output?form=stdout")" "in two" "a command that waited for its input gets it"
is "$(find "/var/lib/mayfly/jobs/$id" -name 'secrets-*')" "" "what they asked for is wiped when they are over"

# libvirtd goes and comes: the machine does not notice.
kill "$(cat /run/libvirtd.pid 2>/dev/null || pgrep -x libvirtd)"
ok "mayflyd notices" until_ok 20 libvirt_is false
three=$(api POST "/v1/jobs/$id/execs" -d '{"argv":["echo","three"]}' | jq .number)
api GET "/v1/jobs/$id/execs/$three?wait=finished&timeout=60" >/dev/null
is "$(api GET "/v1/jobs/$id/execs/$three/output")" three "commands run while libvirtd is away"
ok "another libvirtd" start_libvirtd
ok "mayflyd finds it" until_ok 60 libvirt_is true
is "$(job "$id" .state)" ready "the machine is still there"

# Its client says that it failed: kept, through a restart, until somebody ends it.
is "$(api POST "/v1/jobs/$id/end" -d '{"result":"failed","exit_code":9}' | jq '.kept_until != null')" true "a failed machine is kept"
kill_mayflyd
until_ok 20 mayfly_answers
is "$(job "$id" '"\(.state) \(.result) \(.exit_code)"')" "ready failed 9" "also by the next daemon"
is "$(mayfly exec "$id" -- echo inside </dev/null)" inside "one can look inside"
# Killed right after the word was taken: the teardown is the next one's.
api DELETE "/v1/jobs/$id" >/dev/null
kill_mayflyd
clean "$id" "killed while it was stopped"
is "$(job "$id" '"\(.result) \(.exit_code)"')" "failed 9" "its result stays"

# libvirtd is killed while it does something for a machine that starts.
kill -STOP "$(cat /run/libvirtd.pid)"
id=$(post '{"template":"tiny","exec":{"argv":["echo","again"]}}')
ok "a machine is started" until_ok 20 in_phase "$id" "cloning the disk"
kill -KILL "$(cat /run/libvirtd.pid)"
until_ok 20 libvirt_is false
ok "libvirtd comes again" start_libvirtd
until_ok 60 libvirt_is true
wait_for "$id" finished
is "$(job "$id" .result)" succeeded "its job is started again"
is "$(api GET "/v1/jobs/$id/execs/1/output")" again "and its command runs once"
clean "$id" "a start without libvirtd"

# libvirtd is killed in the middle of a start, before it knows QEMU: the next one takes that start for one that goes on, and
# refuses to destroy the domain for good. The moment is too short to be hit, so what libvirtd has written by then is written
# here: the state of a domain, without a process.
id=$(post '{"template":"tiny","exec":{"argv":["echo","after all"]}}')
ok "it boots" until_ok 60 in_phase "$id" booting
read -r mayflyd _ <"$by_hand/mayflyd.pid"
kill -KILL "$mayflyd" "$(cat /run/libvirtd.pid)"
until_ok 10 mayflyd_is_dead
status=/run/libvirt/qemu/mayfly-$id.xml
sed -i "s/<domstatus .*/<domstatus state='paused' reason='starting up' pid='0'>\n<job type='none' async='start' phase='none' flags='0x0'\/>/" "$status"
kill -KILL "$(cat "/run/libvirt/qemu/mayfly-$id.pid")"
ok "a libvirtd that was killed while it started a machine comes again" start_libvirtd
listed() { virsh -q list --name | grep -qx "mayfly-$id"; }
ok "and has the machine, of which nothing is left" listed
start_mayflyd >/dev/null
wait_for "$id" finished 180
is "$(job "$id" .result)" succeeded "its job is started again in another"
is "$(api GET "/v1/jobs/$id/execs/1/output")" "after all" "and its command runs"
ok "the name stays" listed
ok "which is not that of the other" test "$(job "$id" .machine)" != "$id"
is "$(find /var/lib/mayfly/overlays /run/mayfly/machines -mindepth 1)" "" "no disk and no socket does"
ok "nor a port" until_ok 20 ports_free
ok "which is told, and what to do" grep -q "$status removed, and libvirtd started again" "$logs/mayflyd.log"
kill "$(cat /run/libvirtd.pid)"
until_ok 20 libvirt_is false
rm "$status"
ok "libvirtd without that state" start_libvirtd
until_ok 60 libvirt_is true
ok "has the machine no more" eval '! listed'

rm -rf "$work"
mayfly_down
down_with_libvirtd
mayfly_done
