#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes the images of the bench in .build/bench-images, beside a copy of tiny: debian-12, as it is shipped, debian-12-ssh
# for the executor that logs in, with a key for that and Debian's own initrd, and debian-12-stock. Made anew when what
# they are made of has changed. Wants the network.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=tests/lib/tap.sh
. "$here/../../lib/tap.sh"
# shellcheck source=tests/lib/make-image.sh
. "$here/../../lib/make-image.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root" "run it by sudo"
command -v ssh-keygen >/dev/null || skip_all "ssh-keygen is not installed" "apt-get install openssh-client"

images=$MAYFLY_SOURCE/.build/bench-images
cache=$MAYFLY_SOURCE/.build/cache
image_stage
image_with_tiny "$images"
image_make debian-12 "$images"

mkdir -p "$cache/debian-12.recipe/debs-bookworm"
[ -e "$images/key" ] || ssh-keygen -q -t ed25519 -N '' -C bench -f "$images/key"
for name in debian-12-ssh debian-12-stock; do
  # What all are made of is fetched once.
  mkdir -p "$cache/$name.recipe"
  [ -e "$cache/$name.recipe/debs-bookworm" ] || ln -s ../debian-12.recipe/debs-bookworm "$cache/$name.recipe/debs-bookworm"
  cp "$images/key.pub" "$cache/$name.recipe/"
  cp "$here/$name.recipe" "$stage/etc/mayfly/recipes/"
  image_make "$name" "$images" "$here/$name.recipe"
done
cmp -s "$cache/debian-12-ssh.recipe/initrd" "$images/initrd" || cp "$cache/debian-12-ssh.recipe/initrd" "$images/initrd"
ok "Debian's own initrd is there" test -s "$images/initrd"
tap_done
