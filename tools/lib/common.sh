# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What tools/quickstart and tools/check share: steps that say what they do and how far they are, and packages.
# Sets $top (the repository) and $log (what the steps' programs print).

top=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
log=$top/.build/${0##*/}.log
mkdir -p "$top/.build" && : >"$log" || exit 1
# Under sudo the build folder stays its owner's, so that a later build without sudo works.
trap '[ -z "${SUDO_UID-}" ] || chown -R "$SUDO_UID:${SUDO_GID-}" "$top/.build"' EXIT

say() {
  printf '%s\n' "$*"
}

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# last_words OFFSET: the last thing a step's program said into the log; progress bars separate theirs by carriage returns.
last_words() {
  tail -c "+$1" "$log" | tail -c 1000 | tr '\r\t' '\n ' | sed -e 's/\x1b\[[0-9;?]*[A-Za-z]//g' -e '/^ *$/d' | tail -n 1
}

# Beside a running step: every second on a terminal, every ten elsewhere, so that a log stays short.
ticker() {
  local start=$SECONDS pause=10 words never offset
  offset=$(($(stat -c %s "$log") + 1))
  [ ! -t 1 ] || pause=1
  # A read that never gets anything, for a sleep would outlive this process when the step is over.
  exec {never}<> <(:)
  while ! read -r -t "$pause" -u "$never"; do
    words=$(last_words "$offset")
    if [ -t 1 ]; then
      printf '\r\033[K    %3d s  %s' $((SECONDS - start)) "${words:0:$((${COLUMNS:-80} - 12))}"
    else
      printf '    %3d s  %s\n' $((SECONDS - start)) "${words:0:150}"
    fi
  done
}

# step WHAT COMMAND…: runs COMMAND with its output in the log and shows how far it is. A failure shows the end of the
# log and is returned.
step() {
  local what=$1 start=$SECONDS ticker status
  shift
  say "==> $what"
  printf '\n=== %s: %s\n' "$what" "$*" >>"$log"
  ticker &
  ticker=$!
  "$@" >>"$log" 2>&1 </dev/null
  status=$?
  kill "$ticker" 2>/dev/null
  wait "$ticker" 2>/dev/null
  [ ! -t 1 ] || printf '\r\033[K'
  if [ "$status" = 0 ]; then
    [ $((SECONDS - start)) -lt 1 ] || say "    done ($((SECONDS - start)) s)"
  else
    say "    FAILED ($((SECONDS - start)) s); the end of $log:"
    tail -n 30 "$log" | sed 's/^/    | /'
  fi
  return "$status"
}

# packages KIND…: names from packages.txt.
packages() {
  local kind
  for kind in "$@"; do
    awk -v kind="$kind" '$1 == kind { print $2 }' "$top/tools/lib/packages.txt"
  done
}

# missing PACKAGE…: those of them that are not installed.
missing() {
  local package
  for package in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
  done
}

# An apt that asks nothing, waits for another apt, and says how far it is in plain lines.
apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -y --no-install-recommends -o DPkg::Lock::Timeout=300 \
    -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 "$@"
}

# Lists of some third party that cannot be read are no reason to stop: what we need is Debian's.
apt_update() {
  apt update || echo "apt-get update had errors (above); going on with the lists that could be read"
}

apt_install() {
  apt install "$@" || { apt_update && apt install "$@"; }
}

# install_packages KIND…: installs what is missing of these kinds, or says how to.
install_packages() {
  local wanted=()
  mapfile -t wanted < <(packages "$@" | sort -u)
  if ! command -v apt-get >/dev/null; then
    say "    not a Debian: make sure that the equivalents of these are installed: ${wanted[*]}"
    return 0
  fi
  mapfile -t wanted < <(missing "${wanted[@]}")
  [ ${#wanted[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || die "these packages are missing: ${wanted[*]}; run it as root (sudo), or: apt-get install ${wanted[*]}"
  if ! apt-cache show "${wanted[@]}" >/dev/null 2>&1; then
    step "reading the lists of packages" apt_update
  fi
  step "installing ${#wanted[@]} packages: ${wanted[*]}" apt_install "${wanted[@]}" ||
    die "apt-get could not install the packages; the reason is above. With a working network, run it again"
}

# libguestfs boots the host's kernel; containers and bare roots have none.
have_kernel() {
  local kernel
  for kernel in /boot/vmlinuz-*; do
    [ ! -r "$kernel" ] || [ ! -d "/lib/modules/${kernel#/boot/vmlinuz-}" ] || return 0
  done
  return 1
}

have_systemd() {
  [ -d /run/systemd/system ]
}
