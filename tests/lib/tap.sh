# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# TAP from a bash script: source this, call ok/is/like/…, end with tap_done. What a case wants to say goes out as a
# comment, so that the stream stays TAP whatever a tool prints.

tap_count=0
tap_failed=0

# note TEXT…: a comment, every line of it.
note() {
  printf '%s\n' "$*" | sed 's/^/# /'
}

# ok NAME COMMAND…: passes if COMMAND succeeds; its output is shown if it does not.
ok() {
  local name=$1 output
  shift
  tap_count=$((tap_count + 1))
  if output=$("$@" 2>&1); then
    echo "ok $tap_count - $name"
  else
    echo "not ok $tap_count - $name"
    note "failed: $*"
    [ -z "$output" ] || note "$output"
    tap_failed=$((tap_failed + 1))
  fi
}

# is GOT WANTED NAME
is() {
  tap_count=$((tap_count + 1))
  if [ "$1" = "$2" ]; then
    echo "ok $tap_count - $3"
  else
    echo "not ok $tap_count - $3"
    note "got:    ${1:0:2000}"
    note "wanted: ${2:0:2000}"
    tap_failed=$((tap_failed + 1))
  fi
}

# like TEXT REGEX NAME: extended regular expression.
like() {
  tap_count=$((tap_count + 1))
  if [[ $1 =~ $2 ]]; then
    echo "ok $tap_count - $3"
  else
    echo "not ok $tap_count - $3"
    note "got:        ${1:0:2000}"
    note "should fit: $2"
    tap_failed=$((tap_failed + 1))
  fi
}

# skip NAME WHY: one case that cannot run here.
skip() {
  tap_count=$((tap_count + 1))
  echo "ok $tap_count - $1 # SKIP $2"
}

# skip_all WHY HOW: the whole script cannot run here; HOW says what to do about it.
skip_all() {
  echo "1..0 # SKIP $1; $2"
  exit 0
}

# until_ok SECONDS COMMAND…: COMMAND's success within SECONDS, tried ten times a second.
until_ok() {
  local end=$((SECONDS + $1))
  shift
  while ! "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

tap_done() {
  echo "1..$tap_count"
  [ "$tap_failed" = 0 ]
  exit
}
