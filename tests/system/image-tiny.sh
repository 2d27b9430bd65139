#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes the image tiny that system tests use, in .build/images, by this build's own mayfly. Made anew when what it is
# made of has changed. The only test that wants the network: Debian's kernel is fetched once into .build/cache.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=tests/lib/tap.sh
. "$here/../lib/tap.sh"
# shellcheck source=tests/lib/make-image.sh
. "$here/../lib/make-image.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root" "run sudo tools/check"

image_stage
image_make tiny "$MAYFLY_SOURCE/.build/images"
size=$(du -sk "$image" --exclude='prepared-*' | cut -f 1)
ok "it is smaller than 40 MB ($size KiB)" test "$size" -lt 40000
tap_done
