#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# systemd accepts our units, users and folders: verified as they will be installed.
set -u
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$(realpath "$0")")/../lib/tap.sh"
command -v systemd-analyze >/dev/null || skip_all "systemd-analyze is not installed" "apt-get install systemd"

units=$(mktemp -d)
trap 'rm -rf "$units"' EXIT
cp "$MAYFLY_BUILD"/systemd/*.service "$MAYFLY_SOURCE"/systemd/*.socket "$units"
sed -i -E "s,^(Exec[A-Za-z]+=)/usr/(sbin|libexec/mayfly)/,\1$units/bin/," "$units"/*.service
mkdir "$units/bin"
ln -s /bin/true "$units/bin/mayflyd"
ln -s /bin/true "$units/bin/mayfly-netd"

# verify also reads units that ours name; only what it says about ours counts.
verify() {
  local said
  said=$(systemd-analyze verify --man=no --recursive-errors=no "$units/$1" 2>&1) || { echo "$said"; return 1; }
  if grep -F "$1" <<<"$said"; then
    return 1
  fi
}

for unit in "$units"/*.*; do
  ok "${unit##*/} verifies" verify "${unit##*/}"
done
ok "mayfly.sysusers is understood" systemd-sysusers --dry-run "$MAYFLY_SOURCE/systemd/mayfly.sysusers"

# tmpfiles has no dry run here: without the accounts it would complain about them, so they are checked by name.
tmpfiles_owners() {
  local user group
  awk '/^d/ { print $4, $5 }' "$MAYFLY_SOURCE/systemd/mayfly.tmpfiles" | sort -u | while read -r user group; do
    case "$user:$group" in
    root:root | mayfly:mayfly | mayfly:libvirt-qemu) ;;
    *) echo "unknown owner $user:$group" && return 1 ;;
    esac
  done
}
ok "mayfly.tmpfiles names only accounts that exist" tmpfiles_owners
tap_done
