# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# For tests that make the images which others use: by this build's own mayfly, anew when what they are made of has
# changed. Source tap.sh before.
#
# shellcheck disable=SC2154 # of tap.sh

# image_stage: installs the build into $stage, where its mayfly finds what belongs to it, and where recipes may be added.
image_stage() {
  stage=$MAYFLY_BUILD/stage
  rm -rf "$stage"
  DESTDIR=$stage cmake --install "$MAYFLY_BUILD" >/dev/null || exit 1
  export MAYFLY_LIBEXECDIR=$stage/usr/libexec/mayfly MAYFLY_DATADIR=$stage/usr/share/mayfly
  export MAYFLY_CONFIG=$stage/etc/mayfly/mayfly.conf
  mkdir -p "$stage/etc/mayfly/recipes"
}

# image_with_tiny FOLDER: the images that the test image-tiny made are there, too, without the layers prepared on them.
image_with_tiny() {
  local tiny
  mkdir -p "$1"
  for tiny in "$MAYFLY_SOURCE"/.build/images/tiny@*; do
    if [ ! -d "$1/${tiny##*/}" ]; then
      rm -rf "$1"/tiny@*
      cp -a "$tiny" "$1/"
      rm -f "$1/${tiny##*/}"/prepared-*
    fi
  done
}

# image_make NAME FOLDER [FILE…]: the image is in FOLDER, in one version, $image; FILEs are what else it is made of.
image_make() {
  local name=$1 images=$2 made_of old
  shift 2
  mkdir -p "$images"
  made_of=$(cd "$stage/usr" && sha256sum libexec/mayfly/mayfly-agent libexec/mayfly/mayfly-mk* share/mayfly/recipes/* "$@")
  if [ "$made_of" = "$(cat "$images/$name-made-of" 2>/dev/null)" ] && compgen -G "$images/$name@*" >/dev/null; then
    ok "the image $name is there" true
  else
    rm -f "$images/$name-made-of"
    ok "mayfly image build $name" "$stage/usr/bin/mayfly" image build "$name" --images "$images" \
      --cache "$MAYFLY_SOURCE/.build/cache"
  fi
  image=$(find "$images" -maxdepth 1 -name "$name@*" -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2)
  ok "it is there" test -f "$image/disk.qcow2"
  for old in "$images/$name"@*; do
    [ "$old" = "$image" ] || rm -rf "$old"
  done
  [ "$tap_failed" != 0 ] || echo "$made_of" >"$images/$name-made-of"
}
