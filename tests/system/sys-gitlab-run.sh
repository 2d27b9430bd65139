#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The driver's stages one by one, called as a runner calls them, in as few machines as possible: what a script's end
# becomes, output, a script that is to end, background processes, the daemon restarted, cleanup at every wrong moment.
set -u
# shellcheck source=tests/lib/gitlab-host.sh
. "$(dirname "$(realpath "$0")")/../lib/gitlab-host.sh"
gitlab_up

# --- before there is a machine ---
hand_new
hand cleanup
is $? 0 "cleanup where nothing is"
hand config
is $? 0 "config"
is "$(jq -r '.builds_dir + " " + (.builds_dir_is_shared | tostring) + " " + .driver.name' "$hand/out")" "/builds false mayfly" \
  "is one JSON object"
is "$(tail -c 1 "$hand/out")" "}" "and nothing after it"
hand run build_script <<<'echo never'
is $? 2 "run without a machine: the system's fault"
ok "says so" hand_says "machine of this job is gone|no machine"
printf '{"id":1' >"$hand/response.json"
hand prepare
is $? 2 "a broken response: the system's fault"
mayfly gitlab prepare </dev/null >"$lab/out" 2>&1
is $? 2 "prepare without a runner"
like "$(cat "$lab/out")" "JOB_RESPONSE_FILE is not set.*setup" "says what it is for"

# --- one machine for many scripts ---
hand_new 'set("MAYFLY_CPUS"; "2")'
hand prepare
is $? 0 "prepare"
note "$(cat "$hand/out")"
first=$(machine "$ci")
is "$(job "$first" .state)" ready "there is a machine"
is "$(job "$first" .owner_name)" gitlab-runner "of gitlab-runner's"
is "$(job "$first" .timeout)" 900 "it lives for the job's timeout and a margin"

is "$(exits 'exit 0')" "0 " "status 0, and no code of an earlier stage stays"
for code in 1 2 42 126 137 255; do
  is "$(exits "exit $code")" "1 $code" "status $code is the job's, by the file"
done
is "$(exits 'kill -KILL $$')" "1 137" "a script ended by signal 9"
is "$(exits 'kill -SEGV $$')" "1 139" "by signal 11"
is "$(exits 'no_such_program')" "1 127" "no such program"
is "$(exits 'if')" "1 2" "no shell script at all"
is "$(exits 'exit 0' step_release)" "0 " "a stage of any name"
is "$(exits 'exit 0' 'a stage/with ../ anything')" "0 " "whatever it is"
is "$(exits '')" "0 " "an empty script"
is "$(exits "$(printf 'x=%s; test ${#x} = 300000' "$(head -c 300000 /dev/zero | tr '\0' x)")")" "0 " "a script of 300 kB"
# Without the file, as before gitlab-runner 17.9.
hand run build_script <<<'printf "out\n"; printf "err\n" >&2; cat; echo "read nothing"; exit 3'
is $? 1 "a status of 3"
like "$(cat "$hand/out")" $'out\n.*read nothing' "its output"
is "$(wc -l <"$hand/out")" 3 "both streams, and nothing else"

ok "30 MB" test "$(exits 'head -c 30000000 /dev/urandom | tee /tmp/bulk; exit 0')" = "0 "
is "$(stat -c %s "$hand/out")" 30000000 "come through"
bulk=$(sha256sum <"$hand/out")
hand run build_script <<<'sha256sum </tmp/bulk'
is "$(cat "$hand/out")" "$bulk" "as they were written"

started=$SECONDS
is "$(exits 'sleep 600 & echo "kept $!"')" "0 " "a process left behind with the output in its hand"
ok "does not hold the stage ($((SECONDS - started)) s)" test $((SECONDS - started)) -lt 20
like "$(cat "$hand/out")" "kept [0-9]" "and the output before it is there"

# --- a script that is to end ---
hand_begin run build_script <<<'trap "echo got TERM; exit 0" TERM; (trap "" HUP; sleep 601 & wait) & echo begun; sleep 602 & wait; wait'
until_ok 30 hand_says begun
kill -TERM "$hand_pid"
wait "$hand_pid"
is $? 2 "a stage that was ended by TERM: no success, and not the job's fault"
ok "the script heard TERM" hand_says "got TERM"
is "$(exits "$runs"'; if runs "slee[p] 60[12]"; then exit 9; fi')" "0 " "what it had started is gone, the machine goes on"

hand_begin run build_script <<<'trap "" TERM; echo begun; sleep 603; sleep 603'
until_ok 30 hand_says begun
started=$SECONDS
kill -TERM "$hand_pid"
wait "$hand_pid"
is $? 2 "one that ignores TERM"
ok "is killed within the runner's patience ($((SECONDS - started)) s)" test $((SECONDS - started)) -lt 28
is "$(exits "$runs"'; if runs "slee[p] 603"; then exit 9; fi')" "0 " "with all it started"

hand_begin run build_script <<<'echo begun; sleep 604'
until_ok 30 hand_says begun
kill -KILL "$hand_pid"
wait "$hand_pid" 2>/dev/null
is "$(exits "$runs"'; runs "slee[p] 604"')" "0 " "a driver that was killed leaves the script running and the machine to the next"

# --- the daemon ends while a script prints ---
hand_begin run build_script <<<'i=0; while [ $i -lt 2000 ]; do i=$((i + 1)); echo "line $i"; [ $((i % 100)) != 0 ] || sleep 0.5; done; exit 5'
until_ok 30 hand_says "line 100"
restart_mayflyd >/dev/null
until_ok 30 hand_says "line 700"
read -r pid _ <"$by_hand/mayflyd.pid"
kill -KILL "$pid"
sleep 1
start_mayflyd >/dev/null
wait "$hand_pid"
is $? 1 "a script's end after two restarts of mayflyd"
is "$(cat "$hand/code")" 5 "its status"
is "$(cat "$hand/out")" "$(seq -f 'line %g' 2000)" "every line of it, once"

# --- prepare again, and cleanup at the wrong moment ---
hand prepare
is $? 0 "prepare for a job that has a machine"
second=$(machine "$ci")
ok "makes another" test "$second" != "$first"
is "$(job "$first" .state)" finished "in the place of the first"
is "$(remains "$first")" "" "of which nothing is left"

hand_begin run build_script <<<'echo begun; sleep 605'
live=$hand_pid
until_ok 30 hand_says begun
mv "$hand/out" "$hand/live"
hand_status=running hand cleanup
is $? 0 "cleanup beside a live run"
wait "$live"
is $? 2 "which ends as the system's fault"
is "$(job "$second" .state)" finished "the machine is gone"
hand cleanup
is $? 0 "cleanup once more"
clean "$second" "cleanup"

# Another job's machine: same number, another GitLab.
hand_new
ci_json "$ci" true '.token = "of another GitLab"' >"$hand/response.json"
hand prepare
is $? 0 "a machine of a job of another GitLab"
other=$(machine "$ci")
ci_json "$ci" true >"$hand/response.json"
hand cleanup
is "$? $(job "$other" .state)" "0 ready" "is not touched by the cleanup of one of the same number"
hand run build_script <<<'exit 0'
is $? 2 "nor used by it"
ci_json "$ci" true '.token = "of another GitLab"' >"$hand/response.json"
hand cleanup
clean "$other" "its own cleanup"
gitlab_done
