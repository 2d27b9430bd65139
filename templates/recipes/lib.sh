# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# What image recipes share. 'mayfly image build NAME' runs NAME.recipe with /bin/sh, in a process tree, a mount table and a scratch
# folder of its own, all of which go when it ends. It is told, in its environment:
#
#   OUT       where disk.qcow2 (or disk.raw), perhaps kernel and initrd, and image.conf must be in the end
#   WORK      an empty folder on the same filesystem, its current folder
#   CACHE     a folder that stays from build to build
#   RECIPES   where this file is
#   NAME      the image's name
#   ACCEL     kvm or tcg: what a virtual machine would run under
#   AGENT     the static mayfly-agent
#   MKINITRD  mayfly-mkinitrd MODULES_FOLDER AGENT OUT makes the initrd that starts the agent first of all
#
# DEBIAN_MIRROR and DEBIAN_SECURITY_MIRROR, and the usual variables for proxies, are passed on if they are set.
#
# "==> text" on its output begins a step, a percentage anywhere else is how far the step is, the rest is shown with --verbose and when the
# recipe fails. image.conf is what mayfly has to know: os=, init=, root-device= and root-fstype= (as libguestfs names
# them), and if it boots with kernel and initrd cmdline= and agent-in-initrd=true.

# host_mirror LABEL - the archive of that label which this host's apt uses
host_mirror() {
  apt-get indextargets --format '$(LABEL) $(REPO_URI)' | sed -n "s,^$1 \(http.*[^/]\)/*\$,\1,p" | head -n 1
}

step() { echo "==> $*"; }

fail() {
  echo "error: $*"
  exit 1
}

[ -n "${DEBIAN_MIRROR-}" ] || DEBIAN_MIRROR=$(host_mirror Debian)
[ -n "${DEBIAN_SECURITY_MIRROR-}" ] || DEBIAN_SECURITY_MIRROR=$(host_mirror Debian-Security)
if [ -z "$DEBIAN_MIRROR" ] || [ -z "$DEBIAN_SECURITY_MIRROR" ]; then
  fail "this host's apt knows no archive of Debian: run apt-get update, or set DEBIAN_MIRROR and DEBIAN_SECURITY_MIRROR"
fi

# need PROGRAM=PACKAGE… - all that is missing in one message
need() {
  missing=
  for pair; do
    command -v "${pair%%=*}" >/dev/null || missing="$missing ${pair#*=}"
  done
  [ -z "$missing" ] || fail "this recipe needs programs that are not here: apt-get install$missing"
}

# own_apt SUITE - apt with lists of its own in $CACHE, so that the host may have any sources or release. Then: apt_own get …
own_apt() {
  keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -r "$keyring" ] || fail "Debian's signing keys are not here: apt-get install debian-archive-keyring"
  apt=$CACHE/apt-$1
  mkdir -p "$apt/lists/partial" "$apt/archives/partial"
  touch "$apt/status"
  cat > "$apt/sources.list" <<SOURCES
deb [signed-by=$keyring] $DEBIAN_MIRROR $1 main
deb [signed-by=$keyring] $DEBIAN_MIRROR $1-updates main
deb [signed-by=$keyring] $DEBIAN_SECURITY_MIRROR $1-security main
SOURCES
}

apt_own() {
  sub=$1
  shift
  # The host's apt.conf stays in force: it may name a proxy.
  "apt-$sub" -q -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null -o Dir::State="$apt" \
    -o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt" \
    -o Dir::Cache::archives="$apt/archives" -o APT::Sandbox::User=root -o Acquire::Languages=none "$@"
}

# debian_kernel SUITE - unpacks Debian's cloud kernel of that release into ./kernel, without installing it; sets
# kernel_version. A package that is here already, of the newest version that is known, is not fetched again.
debian_kernel() {
  need apt-get=apt dpkg-deb=dpkg
  meta=linux-image-cloud-$(dpkg --print-architecture)
  own_apt "$1"
  step "reading $1's list of packages"
  # A list of the last day will do.
  if [ -z "$(find "$apt/lists" -maxdepth 1 -name '*_Packages*' -mmin -1440)" ]; then
    # Without the option a list that cannot be fetched is a warning only.
    apt_own get -o APT::Update::Error-Mode=any update || fail "the packages of $DEBIAN_MIRROR could not be listed: is the network there?"
  fi
  package=$(apt_own cache show --no-all-versions "$meta" |
    sed -n 's/^Depends:.*\(linux-image-[^ ,]*-cloud-[^ ,]*\).*/\1/p' | head -n 1)
  [ -n "$package" ] || fail "$DEBIAN_MIRROR has no package $meta for $1"
  kernel_version=${package#linux-image-}

  uri=$(apt_own get download --print-uris "$package")
  deb=$(echo "$uri" | awk '{ print $2 }')
  if [ ! -f "$CACHE/$deb" ]; then
    step "fetching Debian's kernel $kernel_version"
    rm -f "$CACHE"/linux-image-*.deb
    (cd "$WORK" && apt_own get download "$package") || fail "the kernel could not be fetched: is the network there?"
    mv "$WORK/$deb" "$CACHE/$deb"
  fi
  step "unpacking the kernel"
  dpkg-deb -x "$CACHE/$deb" "$WORK/kernel"
}

# copy_with_libraries TREE PROGRAM… - dynamic programs of the host, with what they link
copy_with_libraries() {
  tree=$1
  shift
  for program; do
    path=$(command -v "$program")
    for file in "$path" $(ldd "$path" | awk '$3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }'); do
      mkdir -p "$tree$(dirname "$file")"
      [ -e "$tree$file" ] || cp -L "$file" "$tree$file"
    done
  done
}

# make_disk TREE SIZE LABEL - TREE as an ext4 that fills a disk without partitions. Its size is the least that a job
# gets; the system grows it to what the job's disk has. A machine lives for one job: a journal would only cost writes.
make_disk() {
  need mke2fs=e2fsprogs qemu-img=qemu-utils
  mke2fs -q -t ext4 -b 4096 -m 0 -O ^has_journal,metadata_csum -E lazy_itable_init=1,root_owner=0:0 -L "$3" -d "$1" \
    "$WORK/disk.raw" "$2" || fail "the disk could not be made: is there space in $OUT?"
  qemu-img convert -p -f raw -O qcow2 "$WORK/disk.raw" "$OUT/disk.qcow2"
  rm "$WORK/disk.raw"
}
