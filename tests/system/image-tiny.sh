#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes the image tiny that system tests use, in .build/images, by this build's own mayfly. Made anew when what it is
# made of has changed. The only test that wants the network: Debian's kernel is fetched once into .build/cache.
set -u
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$(realpath "$0")")/../lib/tap.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root" "run sudo tools/check"

images=$MAYFLY_SOURCE/.build/images
stage=$MAYFLY_BUILD/stage
rm -rf "$stage"
DESTDIR=$stage cmake --install "$MAYFLY_BUILD" >/dev/null || exit 1
export MAYFLY_LIBEXECDIR=$stage/usr/libexec/mayfly MAYFLY_DATADIR=$stage/usr/share/mayfly
export MAYFLY_CONFIG=$stage/etc/mayfly/mayfly.conf

made_of=$(cd "$stage/usr" && sha256sum libexec/mayfly/mayfly-agent libexec/mayfly/mayfly-mk* share/mayfly/recipes/*)
if [ "$made_of" = "$(cat "$images/made-of" 2>/dev/null)" ] && ls -d "$images"/tiny@* >/dev/null 2>&1; then
  ok "the image tiny is there" true
  tap_done
fi
mkdir -p "$images"
rm -f "$images/made-of"
ok "mayfly image build tiny" "$stage/usr/bin/mayfly" image build tiny --images "$images" --cache "$MAYFLY_SOURCE/.build/cache"
newest=$(find "$images" -maxdepth 1 -name 'tiny@*' -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2)
ok "it is there" test -f "$newest/disk.qcow2"
for old in "$images"/tiny@*; do
  [ "$old" = "$newest" ] || rm -rf "$old"
done
size=$(du -sk "$newest" | cut -f 1)
ok "it is smaller than 40 MB ($size KiB)" test "$size" -lt 40000
[ "$tap_failed" != 0 ] || echo "$made_of" >"$images/made-of"
tap_done
