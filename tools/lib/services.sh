# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The daemons, started by systemd where it is PID 1 and by hand elsewhere. What is started by hand is recorded as
# "PID START-TIME" in $by_hand, so that --stop ends exactly that and never a process which got the number later.

by_hand=/run/mayfly-quickstart

# starttime PID: in clock ticks since boot; empty if there is no such process, or one that has ended and was not yet
# waited for. The name in stat may hold blanks. A process whose first thread has ended is a zombie already, but has its
# files and locks until the last one has ($18: how many there are).
starttime() {
  sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" || $18 > 1 { print $20 }'
}

# alive NAME: is what was started as NAME still that process?
alive() {
  local pid start
  read -r pid start 2>/dev/null <"$by_hand/$1.pid" && [ -n "$pid" ] && [ "$(starttime "$pid")" = "$start" ]
}

# launch NAME COMMAND…: in a session of its own, with what it says in NAME.log.
launch() {
  local name=$1 pid
  shift
  mkdir -p "$by_hand"
  setsid "$@" >>"$by_hand/$name.log" 2>&1 </dev/null &
  pid=$!
  echo "$pid $(starttime "$pid")" >"$by_hand/$name.pid"
}

# halt NAME: ends it with its session, first politely.
halt() {
  local pid i
  if alive "$1"; then
    read -r pid _ <"$by_hand/$1.pid"
    kill -TERM "$pid"
    for ((i = 0; i < 200; i++)); do
      alive "$1" || break
      [ "$i" != 150 ] || { echo "$1 does not end: killing it" >&2; kill -KILL -- "-$pid"; }
      sleep 0.1
    done
  fi
  rm -f "$by_hand/$1.pid"
}

# answers SECONDS NAME COMMAND…: COMMAND succeeds in time. What was started by hand as NAME and has ended will not answer.
answers() {
  local end=$((SECONDS + $1)) name=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    have_systemd || alive "$name" || return 1
    sleep 0.2
  done
}

libvirt_answers() {
  virsh -q -c qemu:///system version
}

mayfly_answers() {
  mayfly list
}

# Its socket answers before its connection to libvirt stands and it has seen the network whole.
host_is_fit() {
  answers 90 mayflyd mayfly doctor || { mayfly doctor; return 1; }
}

network_ready() {
  [ -s /run/mayfly-net/state.json ]
}

# Without polkit the socket's group has to say who may come in; the admin's file stays as it is.
libvirtd_config() {
  local keys='auth_unix_ro|auth_unix_rw|unix_sock_group|unix_sock_rw_perms'
  [ ! -f /etc/libvirt/libvirtd.conf ] || grep -vE "^[[:space:]]*($keys)[[:space:]]*=" /etc/libvirt/libvirtd.conf
  printf '%s\n' 'auth_unix_ro = "none"' 'auth_unix_rw = "none"' 'unix_sock_group = "libvirt"' \
    'unix_sock_rw_perms = "0770"'
}

# tini reaps QEMU as soon as it has ended; a PID 1 that is slow at that would make every machine's end slow.
libvirtd_by_hand() {
  mkdir -p "$by_hand"
  libvirtd_config >"$by_hand/libvirtd.conf"
  alive virtlogd || launch virtlogd tini -s -- virtlogd
  launch libvirtd tini -s -- libvirtd --config "$by_hand/libvirtd.conf"
  answers 60 libvirtd libvirt_answers || { tail -n 20 "$by_hand/libvirtd.log"; return 1; }
}

# One that runs already is used, whoever started it.
start_libvirtd() {
  if libvirt_answers 2>/dev/null; then
    return 0
  fi
  if have_systemd; then
    systemctl start libvirtd.service && answers 60 libvirtd libvirt_answers
  else
    libvirtd_by_hand
  fi
}

# What libvirt answers root it must answer mayfly too.
libvirt_answers_mayfly() {
  setpriv --reuid=mayfly --regid=mayfly --init-groups virsh -q -c qemu:///system version
}

start_netd() {
  if have_systemd; then
    systemctl enable --now mayfly-netd.service || return
  elif ! alive mayfly-netd; then
    launch mayfly-netd /usr/libexec/mayfly/mayfly-netd
  fi
  answers 60 mayfly-netd network_ready || { service_log mayfly-netd; return 1; }
}

launch_mayflyd() {
  launch mayflyd setpriv --reuid=mayfly --regid=mayfly --init-groups env HOME=/var/lib/mayfly \
    LIBGUESTFS_CACHEDIR=/var/cache/mayfly /usr/sbin/mayflyd
}

start_mayflyd() {
  if have_systemd; then
    systemctl enable --now mayflyd.socket mayflyd.service || { service_log mayflyd; return 1; }
  elif ! alive mayflyd; then
    launch_mayflyd
  fi
  answers 60 mayflyd mayfly_answers || { service_log mayflyd; return 1; }
}

service_log() {
  if have_systemd; then
    journalctl --no-pager -n 20 -u "$1"
  else
    tail -n 20 "$by_hand/$1.log"
  fi
}

# New programs were installed: the running ones make room. Machines are libvirt's and go on.
restart_services() {
  if have_systemd; then
    systemctl try-restart mayfly-netd.service mayflyd.service
  else
    halt mayflyd
    halt mayfly-netd
  fi
}

# The network goes with its daemon; a machine that still uses it would lose it, so --down refuses then.
stop_services() {
  if have_systemd; then
    systemctl disable --now mayflyd.service mayflyd.socket mayfly-netd.service
  else
    halt mayflyd
    halt mayfly-netd
  fi
  ! libvirt_answers 2>/dev/null || /usr/libexec/mayfly/mayfly-netd --down || return
  # Only a libvirtd of ours is ended, and its networks with it: their dnsmasq would stay otherwise.
  if ! have_systemd && alive libvirtd; then
    local name
    for name in $(virsh -q net-list --name); do
      virsh -q net-destroy "$name"
    done
    halt libvirtd
    halt virtlogd
  fi
  rm -rf "$by_hand"
}
