#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Every way in which a job can end leaves nothing of it, and tells why.
set -u
# shellcheck source=tests/lib/mayfly-host.sh
. "$(dirname "$(realpath "$0")")/../lib/mayfly-host.sh"
mayfly_up '[machines]' inject-timeout=45s agent-timeout=20s

# begin SCRIPT [MEMBERS]: a job that runs SCRIPT in the guest, with further members of its document; sets $id.
begin() {
  id=$(post "$(jq -n --arg script "$1" --arg secret "$secret" --argjson more "${2:-{\}}" \
    '{template: "tiny", env: {TOKEN: $secret}, exec: {argv: ["sh", "-c", $script]}} + $more')")
}

# ends HOW RESULT REASON: the job got RESULT and a reason that fits, and nothing is left.
ends() {
  clean "$id" "$1"
  is "$(job "$id" .result)" "$2" "$1: its result"
  like "$(job "$id" '.reason // ""')" "$3" "$1: its reason"
}

# Those that end by themselves may do so beside each other. The agent is the guest's voice: hung, or gone, the machine is
# of no use.
agent='for p in /proc/[0-9]*; do [ "$(cat $p/comm)" != mayfly-agent ] || kill -SIGNAL ${p#/proc/}; done; sleep 300'
declare -A ids
begin 'exit 3' && ids[exit]=$id
begin 'sync; poweroff -f' && ids[poweroff]=$id
begin 'echo 1 >/proc/sys/kernel/sysrq; echo about to panic >/dev/console; echo c >/proc/sysrq-trigger' && ids[panic]=$id
begin "${agent/SIGNAL/STOP}" && ids[hang]=$id
begin "${agent/SIGNAL/KILL}" && ids[killed]=$id
begin 'sleep 300' '{"timeout": 25}' && ids[timeout]=$id
for id in "${ids[@]}"; do wait_for "$id" finished; done
id=${ids[exit]}
ends "exit" failed ''
is "$(job "$id" .exit_code)" 3 "exit: its code"
id=${ids[poweroff]}
ends "guest poweroff" system-failure 'off|shut'
id=${ids[panic]}
ends "guest panic" system-failure 'panic|crash'
like "$(job "$id" '.console_tail | join("\n")')" "panic|sysrq" "guest panic: the console's last lines are there"
id=${ids[hang]}
ends "guest hang" system-failure 'agent|answer|heard'
id=${ids[killed]}
ends "agent killed" system-failure 'agent|answer|heard'
id=${ids[timeout]}
ends "timeout" timed-out '25|time'

begin 'sleep 300'
wait_for "$id" ready
api DELETE "/v1/jobs/$id?reason=test" >/dev/null
ends "cancel" cancelled test

begin 'sleep 300'
api DELETE "/v1/jobs/$id" >/dev/null
ends "cancel at once" cancelled ''

started=$SECONDS
mayfly run --template tiny --env "TOKEN=$secret" -- sleep 300 </dev/null >/dev/null 2>&1 &
client=$!
until_ok 30 newer_than "$id"
id=$(newest)
wait_for "$id" ready
kill -INT "$client"
wait "$client"
is $? 130 "Ctrl-C: status 130"
is "$(job "$id" .state)" finished "Ctrl-C: the machine is gone when mayfly run returns"
ends "Ctrl-C" cancelled ''
note "Ctrl-C took $((SECONDS - started)) s"

mayfly run --template tiny --timeout 25s -- sleep 300 </dev/null >/dev/null 2>&1
is $? 124 "mayfly run: status 124 after a timeout"

begin 'sleep 300'
wait_for "$id" ready
virsh -q destroy "mayfly-$id" >/dev/null
ends "virsh destroy from outside" system-failure 'destroyed|outside'

begin 'sleep 300'
wait_for "$id" ready
kill -KILL "$(cat "/run/libvirt/qemu/mayfly-$id.pid")"
ends "QEMU killed" system-failure '.'

inject=/usr/libexec/mayfly/mayfly-inject
mv "$inject" "$inject.real"
printf '#!/bin/sh\necho "no appliance today" >&2\nexit 1\n' >"$inject"
chmod 755 "$inject"
begin 'echo never'
ends "failed inject" system-failure 'no appliance today'
printf '#!/bin/sh\nexec sleep 300\n' >"$inject"
begin 'echo never'
wait_for "$id" finished 60
ends "hung inject" system-failure '45|time'
printf '#!/bin/sh\nkill -SEGV $$\n' >"$inject"
begin 'echo never'
ends "crashed inject" system-failure '.'
mv "$inject.real" "$inject"

sed "s/machine='q35'/machine='nosuch'/" /usr/share/mayfly/templates/domain.xml \
  >/etc/mayfly/broken.xml
sed -e 's/^image=/domain=\/etc\/mayfly\/broken.xml\nimage=/' /etc/mayfly/templates/tiny.conf >/etc/mayfly/templates/broken.conf
begin 'echo never' '{"template": "broken"}'
ends "failed start" system-failure '.'

mayfly run --template broken -- true </dev/null >/dev/null 2>"$logs/stderr"
is $? 125 "mayfly run: status 125 when mayfly failed"
is "$(grep -c . "$logs/stderr")" 1 "and one sentence"

begin 'echo after all that'
wait_for "$id" finished
is "$(api GET "/v1/jobs/$id/execs/1/output?form=stdout")" "after all that" "and the next job runs as if nothing had been"
clean "$id" "the next job"
mayfly_done
