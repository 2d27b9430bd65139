#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What goes wrong before a job runs is told in one sentence that names what, where and what to do, and leaves nothing.
set -u
# shellcheck source=tests/lib/mayfly-host.sh
. "$(dirname "$(realpath "$0")")/../lib/mayfly-host.sh"
mayfly_up '[http]' max-body=256KiB header-timeout=3s

# refused NAME STATUS REGEX ARGUMENT…: mayfly run with ARGUMENTs says one sentence that fits, and nothing is left.
refused() {
  local name=$1 status=$2 regex=$3 said
  shift 3
  said=$(mayfly run "$@" 2>&1 >/dev/null </dev/null)
  is $? "$status" "$name: status"
  like "$said" "$regex" "$name: what it says"
  is "$(grep -c . <<<"$said")" 1 "$name: in one line"
  is "$(find /var/lib/mayfly/overlays /run/mayfly/machines -mindepth 1)$(virsh -q list --all --name)" "" "$name: nothing is left"
}

refused "unknown template" 125 "nosuch.*tiny" --template nosuch -- true
refused "too many cpus" 125 "99 cpus.*tiny.*4.*admin" --template tiny --cpus 99 -- true
refused "too much memory" 125 "memory of 1TiB.*tiny.*4GiB.*admin" --template tiny --memory 1T -- true

sed 's/^image=.*/image=nosuch/' /etc/mayfly/templates/tiny.conf >/etc/mayfly/templates/noimage.conf
refused "missing image" 125 "nosuch.*mayfly image" --template noimage -- true

# A damaged image: a copy under a name of its own, without its kernel.
tiny=$(find /var/lib/mayfly/images -maxdepth 1 -name 'tiny@*' | head -n 1)
damaged=/var/lib/mayfly/images/damaged@${tiny##*@}
cp -a "$tiny" "$damaged"
rm -f "$damaged/kernel"
sed -i 's/"tiny"/"damaged"/' "$damaged/image.json"
sed 's/^image=.*/image=damaged/' /etc/mayfly/templates/tiny.conf >/etc/mayfly/templates/damaged.conf
refused "damaged image" 125 "damaged" --template damaged -- true
rm -rf "$damaged"

# HTTP that is malformed, oversized or slow.
status() {
  curl -sS -o /dev/null -w '%{http_code}' --max-time 20 --unix-socket /run/mayfly/mayfly.sock "$@"
}
json=(-H 'Content-Type: application/json')
is "$(status "${json[@]}" -d '{' http://localhost/v1/jobs)" 400 "broken JSON"
is "$(status "${json[@]}" -d '{"template":"tiny","surprise":1}' http://localhost/v1/jobs)" 400 "an unknown member"
like "$(api POST /v1/jobs "${json[@]}" -d '{"template":"tiny","surprise":1}' | jq -r .detail)" surprise "which is named"
is "$(head -c 400000 /dev/zero | status "${json[@]}" --data-binary @- http://localhost/v1/jobs)" 413 "a body that is too large"
is "$(status -X BREW http://localhost/v1/jobs)" 405 "an unknown method"
is "$(status http://localhost/v1/jobs/../../../etc/passwd --path-as-is)" 404 "a path that leads out"
# raw BYTES: sends them, waits until the other side closes, and prints how many seconds that took.
raw() {
  timeout 20 perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new("/run/mayfly/mayfly.sock") or die; $s->autoflush(1);
    print $s $ARGV[0]; $t = time; 1 while sysread $s, $b, 4096; print time - $t' "$1"
}
ok "nonsense is answered and the connection closed" raw $'\x16\x03\x01 nonsense\r\n\r\n'
slow=$(raw 'GET /v1/info HT')
ok "a request that does not come is given up after header-timeout ($slow s)" test "${slow:-99}" -le 10
ok "and the daemon answers" api GET /v1/info

# A second daemon on the same state.
said=$(setpriv --reuid=mayfly --regid=mayfly --init-groups timeout 20 mayflyd 2>&1)
is "$?" 1 "a second mayflyd does not start"
like "$said" "another|already|running" "and says that one runs already"
ok "the first goes on" api GET /v1/info

# Configuration.
printf '[machines]\nmax-machines=many\n' >/etc/mayfly/mayfly.conf.d/zz.conf
said=$(mayflyd --check 2>&1)
is $? 1 "a wrong value fails the check"
like "$said" "zz.conf.*2.*max-machines.*1.*1024" "file, line, key and what is allowed are named"
printf '[machines]\nmax-machine=1\n' >/etc/mayfly/mayfly.conf.d/zz.conf
like "$(mayflyd --check 2>&1)" "zz.conf.*max-machine" "so is an unknown key"

# No space for another machine's disk.
printf '[machines]\ndisk-reserve=1000TiB\n' >/etc/mayfly/mayfly.conf.d/zz.conf
restart_mayflyd >/dev/null 2>&1
until_ok 60 ports_free
refused "no space" 125 "disk-reserve|space|free" --template tiny -- true
rm /etc/mayfly/mayfly.conf.d/zz.conf

# A disk that gets full while a job's output is written to it.
halt mayflyd
mount -t tmpfs -o "size=8m,mode=700,uid=$(id -u mayfly),gid=$(id -g mayfly)" tmpfs /var/lib/mayfly/jobs
start_mayflyd >/dev/null 2>&1
until_ok 60 ports_free
refused "full disk" 125 "space|full" --template tiny -- head -c 40000000 /dev/zero
is "$(job "$(newest)" .result)" system-failure "full disk: the job's result"
halt mayflyd
umount /var/lib/mayfly/jobs
start_mayflyd >/dev/null 2>&1
until_ok 60 ports_free

# KVM that is a device node and no more.
printf '[machines]\naccel=kvm\n' >/etc/mayfly/mayfly.conf.d/zz.conf
kvm=$(api GET /v1/info | jq -r .accel.kvm)
if [ "$kvm" = true ]; then
  skip "KVM that runs no guest" "KVM runs guests here"
else
  like "$(api GET /v1/info | jq -r .accel.reason)" "KVM|/dev/kvm" "why KVM is not used is told"
  restart_mayflyd >/dev/null 2>&1
  accel_known() { [ "$(api GET /v1/info | jq -r .accel.reason)" != null ]; }
  ok "the verdict on KVM" until_ok 60 accel_known
  refused "accel=kvm without KVM" 125 "KVM|kvm" --template tiny -- true
fi
rm /etc/mayfly/mayfly.conf.d/zz.conf
restart_mayflyd >/dev/null 2>&1
until_ok 60 ports_free

# libvirtd that does not run: test-host's is stopped by its number, and one of our own put in its place.
kill "$(cat /run/libvirtd.pid 2>/dev/null || pgrep -x libvirtd)"
until_ok 20 libvirt_is false
like "$(api GET /v1/info | jq -r .libvirt.problem)" "libvirt" "that libvirtd does not run is told"
like "$(mayfly doctor 2>&1)" "libvirtd" "mayfly doctor says so, too"
sed 's/^image=.*/&\npool=1\nfork=yes/' /etc/mayfly/templates/tiny.conf >/etc/mayfly/templates/ahead.conf
restart_mayflyd >/dev/null 2>&1
until_ok 20 mayfly_answers
pool=$(api GET /v1/pools | jq -r '.pools[] | select(.template == "ahead") | "\(.wanted) \(.problem)"')
like "$pool" "^1 .*libvirt" "a new mayflyd lists the pool that it cannot fill, and why"
like "$(api GET /v1/templates/ahead | jq -r '.fork | "\(.state) \(.problem)"')" "^none .*libvirt" "and the memory image that it cannot make"
rm /etc/mayfly/templates/ahead.conf
ok "another libvirtd" start_libvirtd
until_ok 60 ports_free
is "$(mayfly run --template tiny -- echo again </dev/null 2>/dev/null)" again "a job runs when libvirtd is back"

mayfly_down
down_with_libvirtd
mayfly_done
