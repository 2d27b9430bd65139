#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# mayflyd, libvirtd or QEMU is killed in the middle of a start, which somebody asked for or which fills a pool again: of that
# start nothing is left, jobs still start, and the pool is full in the end. What kills libvirtd each time is given up.
set -u
# shellcheck source=tests/lib/mayfly-host.sh
. "$(dirname "$(realpath "$0")")/../lib/mayfly-host.sh"
# The fewer ports, the sooner libvirtd is back: it makes all their filters anew.
mkdir -p /etc/mayfly/mayfly.conf.d
printf '[network]\nports=3\n' >/etc/mayfly/mayfly.conf.d/zz-kills.conf
mayfly_up '[machines]' max-machines=3

template=/etc/mayfly/templates/tiny.conf
# wants LINE…: the template is as the image's, and so.
wants() {
  sed -i '/^fork=/d; /^pool=/d' "$template"
  printf '%s\n' "$@" | sed -i '/^image=/r /dev/stdin' "$template"
  restart_mayflyd >/dev/null
}
fork_is_ready() { [ "$(api GET /v1/templates/tiny | jq -r .fork.state)" = ready ]; }
journal_says() { grep -q -- "$1" "$by_hand/mayflyd.log"; }
post_job() { post '{"template":"tiny","env":{"TOKEN":"'"$secret"'"},"exec":{"argv":["echo","after all"]}}'; }
is_told() { is "$(job "$1" '"\(.how) \(.result)"') $(api GET "/v1/jobs/$1/execs/1/output?form=stdout")" "$2" "$3"; }

# libvirt's hook holds libvirtd in the middle of a start, where it is then killed for certain.
hook=/etc/libvirt/hooks/qemu
step=/run/hold-libvirtd-in held=/run/held-libvirtd
mkdir -p "${hook%/*}"
cat >"$hook" <<END
#!/bin/sh
[ "\$2" = "\$(cat $step)" ] || exit 0
echo "\$\$ \${1#mayfly-}" >$held
exec sleep 900
END
chmod 755 "$hook"
echo none >"$step"
# hold_libvirtd STEP: restore, started …, as libvirt calls them; none: no more.
hold_libvirtd() {
  rm -f "$held"
  echo "$1" >"$step"
}
is_held() { [ -s "$held" ]; }
held_machine() { cut -d ' ' -f 2 "$held"; }
kill_held_libvirtd() {
  local sleeper
  read -r sleeper _ <"$held"
  rm "$held"
  libvirtd_again
  kill -KILL "$sleeper"
}
ok "libvirtd is killed, and sees its hooks" libvirtd_again

pool_of() { api GET /v1/pools | jq -r "[.pools[] | select(.template == \"tiny\")][0] | $1"; }
pool_is_full() { [ "$(pool_of '.wanted == 1 and .ready == 1')" = true ]; }
# In $starting when libvirtd knows its QEMU.
pool_starts() {
  starting=$(pool_of '[.machines[] | select(.state == "starting")][0].id // ""')
  [ -n "$starting" ] && grep -qs "<domstatus .* pid='[1-9]" "/run/libvirt/qemu/mayfly-$starting.xml"
}
# All that machines have on the host, counted.
there_are() {
  echo "$(virsh -q list --all --name | grep -c mayfly-) domains," \
    "$(grep -lsa 'guest=mayfly[-]' /proc/[0-9]*/cmdline | grep -c .) processes," \
    "$(find /var/lib/mayfly/overlays -type f | grep -c .) overlays," \
    "$(find /run/mayfly/machines -mindepth 1 -maxdepth 1 | grep -c .) folders," \
    "$(find /run/mayfly/machines -type p | grep -c .) fifos," \
    "$(api GET /v1/info | jq '[.network.ports[] | select(.state != "free")] | length') ports in use," \
    "$(ip -o link show type tun | grep -cE '[<,]LOWER_UP[,>]') taps in use"
}
of_each() { echo "$1 domains, $1 processes, $1 overlays, $1 folders, 0 fifos, $1 ports in use, $1 taps in use"; }
only() { [ "$(there_are)" = "$(of_each "$1")" ]; }
# only_waiting HOW
only_waiting() {
  until_ok 60 only 1
  is "$(there_are)" "$(of_each 1)" "$1: one machine waits, and nothing else is there"
}

# refill_killed HOW VICTIM: a job takes the machine of a pool of one, and VICTIM is killed while another is started.
refill_killed() {
  local how="$1, $2 killed" killed
  [ "$2" != libvirtd ] || hold_libvirtd started
  is "$(mayfly run --template tiny -- echo taken </dev/null 2>/dev/null)" taken "$how: a job takes the machine"
  case $2 in
  libvirtd)
    ok "$how: libvirtd is starting another" until_ok 120 is_held
    killed=$(held_machine)
    echo none >"$step"
    ok "$how: and killed" kill_held_libvirtd
    ;;
  *)
    until_ok 120 pool_starts
    is $? 0 "$how: another is being started"
    killed=$starting
    if [ "$2" = QEMU ]; then
      kill -KILL "$(cat "/run/libvirt/qemu/mayfly-$killed.pid")"
    else
      kill_mayflyd
    fi
    ;;
  esac
  ok "$how: nothing is left of that one" until_ok 120 nothing_left "$killed"
  is "$(mayfly run --template tiny -- echo alive </dev/null 2>/dev/null)" alive "$how: a job starts"
  ok "$how: the pool is filled again" until_ok 180 pool_is_full
  only_waiting "$how"
}

for how in boot fork; do
  if [ "$how" = boot ]; then wants pool=1; else wants pool=1 fork=yes; fi
  ok "a pool is filled ($how)" until_ok 180 pool_is_full
  [ "$how" = boot ] || ok "by a fork" fork_is_ready
  for victim in mayflyd QEMU libvirtd; do
    refill_killed "refilled by a $how" "$victim"
  done
done

# libvirtd is killed in each step of a job's fork: when it has read whose memory that is, and when QEMU has all of it.
wants fork=yes
ok "no machine waits, and jobs are forked" until_ok 180 fork_is_ready
fork_killed() {
  ok "libvirtd is killed $1" "$2"
  wait_for "$id" finished
  is_told "$id" "fork succeeded after all" "the job is forked again"
  ok "which the journal tells" journal_says "job $id: queued again: libvirtd went away"
  clean "$id" "libvirtd killed $1"
}
for each in restore started; do
  hold_libvirtd "$each"
  id=$(post_job)
  ok "libvirtd restores a machine ($each)" until_ok 60 is_held
  is "$(held_machine) $(job "$id" .phase)" "$id starting the domain from memory" "the job's"
  echo none >"$step"
  fork_killed "in a restore ($each)" kill_held_libvirtd
done
# While QEMU reads the memory, and when the machine is there and is made ready to wake. No hook is called then, and it is soon
# over: libvirtd is stopped, to see whether it is.
has_fifo() { [ -p "/run/mayfly/machines/$id/memory.fifo" ]; }
is_read() { has_fifo && grep -qs "<domstatus .* pid='[1-9]" "/run/libvirt/qemu/mayfly-$id.xml"; }
was_read() { ! has_fifo && [ "$(job "$id" .phase)" = "starting the domain from memory" ]; }
# stop_libvirtd_when CONDITION: sets $id, the job.
stop_libvirtd_when() {
  local end=$((SECONDS + 300)) soon
  while [ "$SECONDS" -lt "$end" ]; do
    id=$(post_job)
    soon=$((SECONDS + 30))
    until [ "$SECONDS" -ge "$soon" ] || is_read; do :; done
    [ "$1" = is_read ] || while has_fifo; do :; done
    kill -STOP "$(cat /run/libvirtd.pid)"
    ! "$1" || return 0
    note "too late"
    kill -CONT "$(cat /run/libvirtd.pid)"
    wait_for "$id" finished
  done
  return 1
}
stop_libvirtd_when is_read
is $? 0 "libvirtd is stopped while the memory is read"
fork_killed "while the memory was read" libvirtd_again
stop_libvirtd_when was_read
is $? 0 "libvirtd is stopped when it has been read"
fork_killed "when the memory was read" libvirtd_again

# In each start of one job, which may be why: forked it is tried three times more, and once booted.
hold_libvirtd started
id=$(post_job)
for n in 1 2 3 4 5; do
  ok "start $n of one job" until_ok 120 is_held
  [ "$n" -lt 5 ] || echo none >"$step"
  ok "libvirtd is killed in it" kill_held_libvirtd
done
wait_for "$id" finished
is "$(job "$id" '"\(.state) \(.result) \(.how)"')" "finished system-failure cold" "the job is given up"
like "$(job "$id" .reason)" "^starting the domain: .*libvirt" "and says why"
is "$(grep -o "job $id: queued again: .*" "$by_hand/mayflyd.log" | sort | uniq -c | sed 's/job .*again: //' | xargs)" \
  "1 its machine could not be forked, and is booted instead 3 libvirtd went away while its machine was starting" \
  "the journal tells of each start"
clean "$id" "starts that libvirtd did not live through"
ok "the memory image is not what is blamed" fork_is_ready
id=$(post_job)
wait_for "$id" finished
is_told "$id" "fork succeeded after all" "another job is forked"

wants pool=0
ok "nothing is left" until_ok 60 only 0
mayfly_down
down_with_libvirtd
mayfly_done
