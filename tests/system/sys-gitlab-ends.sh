#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# How GitLab jobs end but by a cancel: the script's failure, with after_script and a machine that is kept; a stage that
# fails before it; three tries of prepare; the job's time; a runner that is killed.
set -u
# shellcheck source=tests/lib/gitlab-host.sh
. "$(dirname "$(realpath "$0")")/../lib/gitlab-host.sh"
gitlab_up '[machines]' max-machines=1
printf '[machines]\nlease=1m\n' >>/etc/mayfly/gitlab.conf

failure() {
  local id said
  # shellcheck disable=SC2016
  ci 'echo here >/tmp/mark; exit 42' 'after("cat /tmp/mark; echo after $CI_JOB_STATUS; exit 7") | set("MAYFLY_KEEP_ON_FAILURE"; "5m")
    | set("TOKEN"; "'"$secret"'")'
  ends "$ci" "failed script_failure 42" "a script's failure is the job's, with its status"
  like "$(trace "$ci")" $'\nhere\nafter failed\n' "after_script runs in the same machine"
  like "$(trace "$ci")" "after_script failed, but job will continue" "and fails without harm"
  id=$(machine "$ci")
  said=$(trace "$ci")
  like "$said" "stays for 5m" "the log says that the machine stays"
  ok "$id is kept" until_ok 30 is_kept "$id"
  is "$(job "$id" '"\(.result) \(.exit_code)"')" "failed 42" "the machine's own record says how the script ended, not after_script"
  said=$(grep -ao "mayfly exec -it $id -- [a-z]*" <<<"$said")
  # shellcheck disable=SC2086
  is "$("${lab_who[@]}" ${said/-it/} -c 'cat /tmp/mark' </dev/null 2>&1)" here "the command in the log looks inside"
  ok "its secrets are not on the host" test -z "$(grep -rlsF -- "$secret" /var/lib/mayfly/jobs "$logs" /run/mayfly)"
  said=$(trace "$ci" | grep -ao "mayfly cancel $id")
  # shellcheck disable=SC2086
  "${lab_who[@]}" $said >/dev/null 2>&1
  no_trace "$ci" "the other command"
}

is_kept() { [ "$(job "$1" '.kept_until')" != null ]; }

# A variable that no shell lets anybody set.
early_failure() {
  ci 'echo never' 'set("UID"; "1") | after("echo never")'
  ends "$ci" "failed script_failure 1" "prepare_script fails"
  is "$(trace "$ci" | grep -c '^never')" 0 "nothing comes after it"
  no_trace "$ci" "prepare_script fails"
}

tries() {
  local inject=/usr/libexec/mayfly/mayfly-inject
  mv "$inject" "$inject.real"
  printf '#!/bin/sh\necho "no appliance today" >&2\nexit 1\n' >"$inject"
  chmod 755 "$inject"
  ci 'echo never'
  ends "$ci" "failed runner_system_failure -" "a machine that does not start: the system's fault"
  is "$(trace "$ci" | grep -ac 'mayfly: .*no appliance today')" 3 "prepare is tried three times and says why"
  is "$(api GET '/v1/jobs?state=all' | jq --arg prefix "gitlab-$ci-" '[.jobs[] | select(.name // "" | startswith($prefix))] | length')" 3 \
    "each time with a machine of its own"
  mv "$inject.real" "$inject"
  no_trace "$ci" "prepare failed"
}

job_timeout() {
  ci 'echo begun; sleep 600' '.runner_info.timeout = 90 | after("echo never")'
  ends "$ci" "failed job_execution_timeout -" "the job's time is up"
  like "$(trace "$ci")" $'\nbegun\n' "its script had begun"
  is "$(trace "$ci" | grep -c '^never')" 0 "after_script does not run"
  no_trace "$ci" "timeout"
}

lost_runner() {
  local id died
  ci 'echo begun; sleep 600' 'set("TOKEN"; "'"$secret"'")'
  until_ok 400 ci_says "$ci" '^begun'
  id=$(machine "$ci")
  kill -KILL "$lab_runner_pid"
  wait "$lab_runner_pid" 2>/dev/null
  died=$SECONDS
  ok "the driver goes when its runner is gone" until_ok 30 no_driver
  is "$(job "$id" '.state | IN("ready", "running")')" true "the machine waits for its lease"
  wait_for "$id" finished 100
  is "$(job "$id" '.state + " " + .result')" "finished cancelled" "the lease ends it ($((SECONDS - died)) s)"
  like "$(job "$id" .reason)" "lease" "and says so"
  is "$(remains "$id")" "" "nothing of it is left"
  # TMPDIR is the runner's, which no longer is.
  rm -rf "${runner_tmp:?}"/*
}

no_driver() { ! pgrep -u gitlab-runner -f 'mayfly gitlab' >/dev/null; }

with_each_runner tries
with_each_runner failure
with_each_runner early_failure
with_each_runner job_timeout
with_each_runner lost_runner
gitlab_done
