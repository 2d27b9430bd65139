#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The private host of tests/lib/test-host keeps what happens in it to itself, and tells what was left in it.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=tests/lib/tap.sh
. "$here/../lib/tap.sh"
host="$here/../lib/test-host"

[ "$(id -u)" = 0 ] || skip_all "needs root" "run sudo tools/check"
command -v tini >/dev/null || skip_all "tini is not installed" "tools/check installs what tests need"

quiet() {
  "$host" "$@" 2>/dev/null </dev/null
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

quiet --no-libvirtd sh -c 'exit 7'
is $? 7 "the command's exit status comes through"
is "$(quiet --no-libvirtd ip -br link | awk '{ print $1 }')" lo "the only network device is lo"
quiet --no-libvirtd touch /usr/bin/mayfly-test-file /etc/mayfly-test-file /var/lib/mayfly-test-file
ok "files made in it do not appear outside" \
  test ! -e /usr/bin/mayfly-test-file -a ! -e /etc/mayfly-test-file -a ! -e /var/lib/mayfly-test-file
quiet --no-libvirtd sh -c 'sleep 1000 &'
is $? 99 "a process left running is told"
quiet --no-libvirtd ip tuntap add dev vnet0 mode tap
is $? 99 "a machine's tap left is told"
quiet --no-libvirtd --leave touch /var/lib/mayfly/overlays/x
is $? 0 "--leave does not look"
is "$(quiet --no-libvirtd --as mayfly id -un)" mayfly "--as runs as that user"
mkdir "$work/images"
touch "$work/images/there"
quiet --images "$work/images" --no-libvirtd mv /var/lib/mayfly/images/there /var/lib/mayfly/images/moved
is "$(ls "$work/images")" there "--images shows and does not keep"

# Without its first process the kernel ends all of it, daemons too; the next run sweeps the scratch folder.
export TMPDIR=$work
"$host" sh -c "echo \$(ls /proc/self/ns >/dev/null; readlink /proc/self/ns/pid) >$work/ns; sleep 1000" </dev/null 2>/dev/null &
pid=$!
until_ok 30 test -s "$work/ns"
kill -KILL "$pid"
wait "$pid" 2>/dev/null
inside() {
  local link
  for link in /proc/[0-9]*/ns/pid; do
    [ "$(readlink "$link" 2>/dev/null)" != "$(cat "$work/ns")" ] || return 0
  done
  return 1
}
outlived() { ! inside; }
ok "nothing outlives a killed test-host" until_ok 10 outlived
quiet --no-libvirtd true
is "$(find "$work" -maxdepth 1 -name 'mayfly-test-host.*' | wc -l)" 0 "its scratch folder is swept by the next"

ok "libvirtd answers in it" quiet virsh -c qemu:///system list
ok "and answers user mayfly" quiet --as mayfly virsh -c qemu:///system list
tap_done
