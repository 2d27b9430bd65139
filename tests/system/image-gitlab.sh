#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes the image gitlab, tiny with bash and git, in .build/gitlab-images, beside a copy of tiny and what machines get as
# gitlab-runner. A folder of their own: a mayflyd that gives its machines no gitlab-runner would remove the layers that
# one which does has prepared. Made anew when what it is made of has changed. Wants the network for an sshd, once.
set -u
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$(realpath "$0")")/../lib/tap.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root" "run sudo tools/check"
for tool in git ssh-keygen; do
  command -v "$tool" >/dev/null || skip_all "$tool is not installed" "apt-get install git openssh-client"
done

images=$MAYFLY_SOURCE/.build/gitlab-images
stage=$MAYFLY_BUILD/stage
recipe=$MAYFLY_SOURCE/tests/gitlab/gitlab.recipe
rm -rf "$stage"
DESTDIR=$stage cmake --install "$MAYFLY_BUILD" >/dev/null || exit 1
export MAYFLY_LIBEXECDIR=$stage/usr/libexec/mayfly MAYFLY_DATADIR=$stage/usr/share/mayfly
export MAYFLY_CONFIG=$stage/etc/mayfly/mayfly.conf
mkdir -p "$stage/etc/mayfly/recipes" "$images"
for tiny in "$MAYFLY_SOURCE"/.build/images/tiny@*; do
  if [ ! -d "$images/${tiny##*/}" ]; then
    rm -rf "$images"/tiny@*
    cp -a "$tiny" "$images/"
    rm -f "$images/${tiny##*/}"/prepared-*
  fi
done
cmp -s "$MAYFLY_SOURCE/tests/gitlab/guest-runner" "$images/guest-runner" ||
  install -m 755 "$MAYFLY_SOURCE/tests/gitlab/guest-runner" "$images/guest-runner"
cp "$recipe" "$stage/etc/mayfly/recipes/"

made_of=$(cd "$stage/usr" && sha256sum libexec/mayfly/mayfly-agent libexec/mayfly/mayfly-mk* share/mayfly/recipes/* "$recipe")
if [ "$made_of" = "$(cat "$images/gitlab-made-of" 2>/dev/null)" ] && ls -d "$images"/gitlab@* >/dev/null 2>&1; then
  ok "the image gitlab is there" true
  tap_done
fi
rm -f "$images/gitlab-made-of"
ok "mayfly image build gitlab" "$stage/usr/bin/mayfly" image build gitlab --images "$images" --cache "$MAYFLY_SOURCE/.build/cache"
newest=$(find "$images" -maxdepth 1 -name 'gitlab@*' -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2)
ok "it is there" test -f "$newest/disk.qcow2"
for old in "$images"/gitlab@*; do
  [ "$old" = "$newest" ] || rm -rf "$old"
done
[ "$tap_failed" != 0 ] || echo "$made_of" >"$images/gitlab-made-of"
tap_done
