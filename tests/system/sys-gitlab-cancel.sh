#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A GitLab job is cancelled in the queue, while its machine boots, in its script and in its after_script.
set -u
# shellcheck source=tests/lib/gitlab-host.sh
. "$(dirname "$(realpath "$0")")/../lib/gitlab-host.sh"
gitlab_up '[machines]' max-machines=1
# More jobs than machines: one waits in mayfly's queue.
config_toml 's/^concurrent = [0-9]*/concurrent = 2/; s/^  limit = [0-9]*/  limit = 2/'

# A cancel in GitLab's newer way ends the script, and the script only; this one does not want to end.
in_script() {
  local first queued
  # shellcheck disable=SC2016
  ci 'trap "" TERM; echo mark >/tmp/mark; echo begun; sleep 600; sleep 600' \
    'after($runs + "; cat /tmp/mark; runs slee[p] || echo no sleep; echo after $CI_JOB_STATUS")' --arg runs "$runs"
  first=$ci
  until_ok 400 ci_says "$first" '^begun'
  ci 'echo never'
  queued=$ci
  until_ok 60 ci_says "$queued" 'Waiting for a machine: number 1'
  like "$(trace "$queued")" "Waiting for a machine: number 1 in the queue" "a job that waits says its place"
  ci_control "$queued" canceling
  ends "$queued" "failed job_canceled -" "cancelled in the queue" 60
  is "$(job "$(machine "$queued")" '.state + " " + .result + " " + (.timings.start | tostring)')" "finished cancelled null" \
    "it leaves the queue without a machine"

  ci_control "$first" canceling
  ends "$first" "failed job_canceled 1" "cancelled in the script"
  like "$(trace "$first")" $'\nmark\nno sleep\nafter canceled\n' "after_script runs in the same machine, the script's processes are gone"
  is "$(job "$(machine "$first")" '.result')" cancelled "the machine's record says that the job was cancelled"
  no_trace "$first" "cancelled in the script"
}

booting() {
  ci 'echo never'
  until_ok 200 machine_is "$ci" starting
  until_ok 200 booted_so_far "$ci"
  ci_control "$ci" canceling
  ends "$ci" "failed job_canceled -" "cancelled while booting" 60
  no_trace "$ci" "cancelled while booting"
  is "$(trace "$ci" | grep -c '^never')" 0 "the script did not run"
}

booted_so_far() { [ "$(job "$(machine "$1")" '.timings.start')" != null ]; }

# By force: nothing more runs, and GitLab wants no more of this job.
in_after_script() {
  ci true 'after("echo begun; sleep 600")'
  until_ok 400 ci_says "$ci" '^begun'
  ci_control "$ci" canceled
  ok "cancelled by force in after_script: its machine goes" until_ok 60 machine_is "$ci" finished
  no_trace "$ci" "cancelled in after_script"
  is "$(ci_state "$ci")" "" "and no final state is taken"
}

with_each_runner in_script
with_each_runner booting
with_each_runner in_after_script
gitlab_done
