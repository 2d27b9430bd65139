#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes the image gitlab, tiny with bash and git, in .build/gitlab-images, beside a copy of tiny and what machines get as
# gitlab-runner. A folder of their own: a mayflyd that gives its machines no gitlab-runner would remove the layers that
# one which does has prepared. Made anew when what it is made of has changed. Wants the network for an sshd, once.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=tests/lib/tap.sh
. "$here/../lib/tap.sh"
# shellcheck source=tests/lib/make-image.sh
. "$here/../lib/make-image.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root" "run sudo tools/check"
for tool in git ssh-keygen; do
  command -v "$tool" >/dev/null || skip_all "$tool is not installed" "apt-get install git openssh-client"
done

images=$MAYFLY_SOURCE/.build/gitlab-images
recipe=$MAYFLY_SOURCE/tests/gitlab/gitlab.recipe
image_stage
image_with_tiny "$images"
cmp -s "$MAYFLY_SOURCE/tests/gitlab/guest-runner" "$images/guest-runner" ||
  install -m 755 "$MAYFLY_SOURCE/tests/gitlab/guest-runner" "$images/guest-runner"
cp "$recipe" "$stage/etc/mayfly/recipes/"
image_make gitlab "$images" "$recipe"
tap_done
