#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Marked secrets in a GitLab job's variables, files, URLs and tokens: while it runs they are nowhere but in the job's own
# record, its runner's files and its machine, and afterwards nowhere.
set -u
# shellcheck source=tests/lib/gitlab-host.sh
. "$(dirname "$(realpath "$0")")/../lib/gitlab-host.sh"
gitlab_up

marks=$lab/marks
runner_uid=$(id -u gitlab-runner)
for kind in variable file token url credential; do
  echo "s3cr3t-$kind-$RANDOM$RANDOM$RANDOM"
done >"$marks"
chmod 600 "$marks"
mark() { sed -n "/s3cr3t-$1/p" "$marks"; }
stamp=$lab/stamp
touch "$stamp"

# Files that were written since, but for the test's own and the disk of a machine that runs: what the job writes there is
# its own. A private host's scratch folder shows the same files under another name.
in_files() {
  find /var /run /etc /tmp /root /home /usr/local /dev/shm -type f -newer "$stamp" \
    ! -path "$lab/*" ! -path '/var/tmp/mayfly-test-host.*' ! -path '/var/lib/mayfly/overlays/*' -print0 2>/dev/null |
    xargs -0 -r grep -laF -f "$marks" -- 2>/dev/null
}

in_arguments() {
  grep -lsaF -f "$marks" /proc/[0-9]*/cmdline
}

# Of processes that are not the runner's, nor this test's. While one is being executed its folder is root's, whoever it is.
in_environments() {
  local file uid
  grep -lsaF -f "$marks" /proc/[0-9]*/environ | while read -r file; do
    uid=$(sed -n 's/^Uid:[[:space:]]*\([0-9]*\).*/\1/p' "${file%/environ}/status" 2>/dev/null)
    [ "${uid:-$runner_uid}" = "$runner_uid" ] || echo "$file"
  done
}

in_domains() {
  local name
  for name in $(virsh -q list --all --name); do
    virsh dumpxml --security-info "$name" 2>/dev/null | grep -F -f "$marks"
  done
}

in_documents() {
  { api GET '/v1/jobs?state=all'; api GET "/v1/jobs/$(machine "$ci")"; api GET /v1/info; api GET /metrics
    mayfly inspect "$(machine "$ci")" 2>&1; mayfly list --all 2>&1; } | grep -oF -f "$marks"
}

# watcher: looks at arguments and environments again and again, so that no short process is missed.
watcher() {
  while [ ! -e "$lab/enough" ]; do
    { in_arguments; in_environments; } >>"$lab/seen"
    sleep 0.1
  done
}

nowhere() {
  is "$(in_arguments)$(in_environments)" "" "$1: in no process's arguments, nor in a strange one's environment"
  is "$(in_domains)" "" "$1: in no domain's XML"
  is "$(in_documents)" "" "$1: in no document and no list"
}

planted() {
  local record id
  # shellcheck disable=SC2016
  ci 'printf "%s\n" "$V" "$(cat "$F")" | sha256sum; echo begun; while [ ! -e /tmp/go ]; do sleep 0.2; done' '
    set("V"; $v) | .variables[-1].masked = true | .variables[-1].public = false | set("F"; $f) | .variables[-1].file = true
    | .token = $t | .git_info.repo_url = "http://gitlab-ci-token:\($u)@gitlab.test/group/project.git"
    | .credentials = [{type: "registry", url: "registry.test", username: "u", password: $c}]
    | after("touch /tmp/after; echo in after_script; sleep 5")' --arg v "$(mark variable)" --arg f "$(mark file)" \
    --arg t "$(mark token)" --arg u "$(mark url)" --arg c "$(mark credential)"
  rm -f "$lab/enough" "$lab/seen"
  watcher &
  until_ok 200 machine_is "$ci" starting
  nowhere "while the machine starts"
  is "$(in_files)" "" "while the machine starts: in no file"
  until_ok 400 ci_says "$ci" '^begun'
  id=$(machine "$ci")
  like "$(trace "$ci")" "$(printf '%s\n' "$(mark variable)" "$(mark file)" | sha256sum | cut -c 1-64)" "the job has its secrets"
  nowhere "in the script"
  record=$(in_files)
  for file in $record; do
    is "${file#/var/lib/mayfly/jobs/"$id"/} $(stat -c '%a %U' "$file")" "${file##*/} 600 mayfly" \
      "in the script: $file is the job's own record, for mayflyd alone"
  done
  mayfly exec "$id" -- touch /tmp/go </dev/null
  until_ok 60 ci_says "$ci" 'in after_script'
  nowhere "in after_script"
  ends "$ci" "success - -" "the job"
  no_trace "$ci" "the end"
  touch "$lab/enough"
  wait $!
  nowhere "afterwards"
  is "$(in_files)" "" "afterwards: in no file"
  is "$(sort -u "$lab/seen")" "" "all the time: in no process's arguments, nor in a strange one's environment"
}

# The search itself: it would be easy to find nothing.
(exec -a "$(mark variable)" sleep 60) &
found=$!
mark file >/run/found
until_ok 10 test -n "$(in_arguments)"
is "$(in_arguments)" "/proc/$found/cmdline" "a process with a secret in its arguments would be found"
is "$(in_files)" "/run/found" "so would a file"
kill "$found"
wait "$found" 2>/dev/null
rm /run/found
with_each_runner planted
gitlab_done
