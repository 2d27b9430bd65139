#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Every shell script of the repository passes shellcheck; every XML file is well formed; the API's description says no
# key twice.
set -u
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$(realpath "$0")")/../lib/tap.sh"
command -v shellcheck >/dev/null || skip_all "shellcheck is not installed" "apt-get install shellcheck"
command -v xmllint >/dev/null || skip_all "xmllint is not installed" "apt-get install libxml2-utils"
command -v jq >/dev/null || skip_all "jq is not installed" "apt-get install jq"
cd "$MAYFLY_SOURCE" || exit 1

# A script is what says so in its first lines, whatever it is called.
scripts() {
  find . -path ./.build -prune -o -path ./.git -prune -o -type f -size -200k -print0 | sort -z |
    while IFS= read -r -d '' file; do
      if head -n 3 "$file" | grep -aqE '^#!/bin/(ba)?sh|^#!/usr/bin/env (ba)?sh|^# shellcheck shell='; then
        echo "$file"
      fi
    done
}

while read -r file; do
  ok "shellcheck $file" shellcheck "$file"
done < <(scripts)
while read -r file; do
  ok "xmllint $file" xmllint --noout --nonet "$file"
done < <(find . -path ./.build -prune -o -path ./tests/fuzz/corpus -prune -o -name '*.xml' -print | sort)
# Of a key that stands there twice readers take the last, silently.
is "$(jq -c --stream 'select(length == 2) | .[0]' daemon/openapi.json | sort | uniq -d)" "" "openapi.json says no key twice"
tap_done
