#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The stand-ins themselves: coordinator and runner around a driver of a few lines, which shows what was observed of a real
# gitlab-runner with the custom executor. The jobs run at the same time; what they share is a runner with short times.
set -u
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$(realpath "$0")")/../lib/tap.sh"
# shellcheck source=tests/lib/gitlab-lab.sh
. "$(dirname "$(realpath "$0")")/../lib/gitlab-lab.sh"
for tool in git jq; do
  command -v "$tool" >/dev/null || skip_all "$tool is not installed" "apt-get install $tool"
done
trap 'lab_down; ${KEEP:+: }rm -rf "$lab"' EXIT
export LAB=$lab TMPDIR=$lab/tmp
mkdir -p "$lab/tmp" "$lab/calls" "$lab/builds"

# The driver: notes how it was called, then does what the job's variable MODE wants of that stage.
cat >"$lab/driver" <<'END'
#!/bin/bash
[ "$1" = run ] && stage=$3 || stage=$1
id=$CUSTOM_ENV_CI_JOB_ID calls=$LAB/calls/$CUSTOM_ENV_CI_JOB_ID
echo "$stage $CUSTOM_ENV_CI_JOB_STATUS" >>"$calls"
echo "$stage: stdin $(readlink /proc/$$/fd/0), group $(($(cut -d ' ' -f 5 /proc/$$/stat) - $$)), \
folder $([ "$PWD" = "$TMPDIR" ] && stat -c %a "$TMPDIR"), response $(stat -c %a "$JOB_RESPONSE_FILE")" >>"$calls.process"
echo "$TMPDIR" >>"$calls.folders"
case $CUSTOM_ENV_MODE/$stage in
*-config-blank/config) echo && exit 0 ;;
*-config-nothing/config) exit 0 ;;
*/config) echo '{"builds_dir":"'"$LAB"'/builds/'"$id"'","driver":{"name":"lab","version":"1"},"job_env":{"FROM_CONFIG":"yes"}}' && exit 0 ;;
prepare-1/prepare) exit 1 ;;
prepare-2/prepare) exit 2 ;;
prepare-77/prepare) exit 77 ;;
prepare-child/prepare) sleep 20 & echo $! >"$calls.child"; exit 0 ;;
prepare-term/prepare) trap 'exit 0' TERM; sleep 20 & wait; exit 3 ;;
cleanup-1/cleanup) exit 1 ;;
run-2/build_script) exit 2 ;;
run-255/build_script) exit 255 ;;
run-letters/build_script) echo forty >"$BUILD_EXIT_CODE_FILE"; exit 1 ;;
run-kill/build_script) kill -KILL $$ ;;
run-deaf/build_script) trap '' TERM; echo deaf; sleep 20; exit 0 ;;
sources/get_sources) [ "$(grep -c get_sources "$calls")" -ge 3 ] || exit 1 ;;
sources-never/get_sources) exit 2 ;;
prepare-script-1/prepare_script) exit 1 ;;
after-1/after_script) exit 1 ;;
esac
[ "$1" = run ] || exit 0
echo "$stage $FROM_CONFIG $(stat -c %a "$2") ${2##*/}" >>"$calls.scripts"
bash <"$2" && exit 0
status=$?
rm -f "$BUILD_EXIT_CODE_FILE"
echo "$status" >"$BUILD_EXIT_CODE_FILE"
exit "$BUILD_FAILURE_EXIT_CODE"
END
chmod 755 "$lab/driver"

lab_interval=0.1
start_coordinator --refuse 2 --accept 1 || exit 1
cat >"$lab/config.toml" <<END
# A comment, and what a real runner has besides.
concurrent = 40
check_interval = 1
[session_server]
  session_timeout = 1800
[[runners]]
  name = "lab \"one\""
  url = "$lab_url"
  token = "stand-in-token"
  executor = "custom"
  output_limit = 1000
  environment = ["FROM_TOML=a=b", 'LITERAL=\n']
  [runners.custom]
    config_exec = "$lab/driver"
    config_args = ["config"]
    prepare_exec = "$lab/driver"
    prepare_args = [
      "prepare", # the last one may have a comma
    ]
    prepare_exec_timeout = 1
    run_exec = "$lab/driver"
    run_args = ["run"]
    cleanup_exec = "$lab/driver"
    cleanup_args = ["cleanup"]
    graceful_kill_timeout = 1
    force_kill_timeout = 1
END
times=(--check 20 --prepare-interval 50 --stage-interval 50 --touch-interval 100 --after-script 1000)
start_runner "${times[@]}"

calls() { sed -n "s/ .*//p" "$lab/calls/$1" | tr '\n' ' ' | sed 's/ $//'; }
mode() { # MODE [SCRIPT [FILTER]]: a job in that mode; its id becomes $ci
  # shellcheck disable=SC2016
  ci "${2:-true}" 'set("MODE"; $mode) | '"${3:-.}" --arg mode "$1"
}

# --- all at once; the ids are looked at below ---
full='after("true") | .cache = [{key: "k", paths: ["a"], policy: "pull-push", when: "always"}]
  | .artifacts = [{paths: ["a"], when: "always"}] | .dependencies = [{id: 1, token: "t", name: "d"}]'
mode ok true "$full"; full=$ci
mode ok; minimal=$ci
mode ok 'exit 42' 'after("echo after the failure")'; exit42=$ci
mode run-2 true 'after("true")'; run2=$ci
mode run-255; run255=$ci
mode run-letters; letters=$ci
mode run-kill; killed=$ci
mode prepare-1; prepare1=$ci
mode prepare-2; prepare2=$ci
mode prepare-77; prepare77=$ci
mode prepare-child; child=$ci
mode prepare-term; term=$ci
mode prepare-script-1; prepare_script=$ci
mode sources true 'set("GET_SOURCES_ATTEMPTS"; "3")'; sources=$ci
mode sources-never true 'set("GET_SOURCES_ATTEMPTS"; "2") | after("true")'; never=$ci
mode after-1 true 'after("true")'; after=$ci
mode ok true 'after("sleep 20")'; after_long=$ci
mode cleanup-1; cleanup=$ci
mode x-config-blank; blank=$ci
mode x-config-nothing; nothing=$ci
mode ok 'sleep 20' '.runner_info.timeout = 1 | after("true")'; timeout=$ci
mode ok 'sleep 20' 'set("RUNNER_SCRIPT_TIMEOUT"; "500ms") | set("RUNNER_SCRIPT_TIMEOUT"; "1s") | after("true")'; script_timeout=$ci
mode ok 'echo begun; sleep 20' 'after("echo $CI_JOB_STATUS in after_script")'; graceful=$ci
mode ok 'echo begun; sleep 20' 'after("true")'; forced=$ci
mode ok true 'after("echo begun; sleep 0.5; echo whole")'; late=$ci
mode run-deaf; deaf=$ci
mode ok 'printf %s "$BIG" | wc -c' 'set("BIG"; "x" * 100000)'; big=$ci
mode ok true 'set("BIG"; "x" * 140000)'; too_big=$ci
mode ok true '.variables += [{key: "NUL", value: "a\u0000b"}]'; nul=$ci
mode ok 'head -c 2000000 /dev/zero | tr "\0" x' ; flood=$ci
mode ok 'printf "%s|" "$ODD" "$FROM_TOML" "$LITERAL" "$(cat "$FILE")" "$OPEN"' \
  'set("ODD"; "a\nb\u0001\u0027\"\\$HOME`x`\u00e9\ttab") | set("FILE"; "in a file") | .variables[-1].file = true
   | set("OPEN"; "${FROM_TOML}$NONE.") | .variables[-1].raw = false'; odd=$ci
ci=$((ci + 1))
# shellcheck disable=SC2016
ci_json "$ci" 'printf %s "$RAW" | od -An -tx1' 'set("RAW"; "@RAW@") | set("MODE"; "ok")' | sed $'s/@RAW@/a\xff/' | ci_push
raw=$ci
last=$ci
ci=9223372036854775806
ci_json "$ci" true 'set("MODE"; "ok")' | ci_push
huge=$ci
ci=$last

for id in "$graceful" "$forced" "$late"; do until_ok 20 ci_says "$id" '^begun'; done
ci_control "$graceful" canceling
ci_control "$forced" canceled
ci_control "$late" canceling
until_ok 20 ci_says "$deaf" deaf
ci_control "$deaf" canceling

# --- what became of them ---
ends "$full" "success - -" "a job succeeds"
is "$(calls "$full")" "config prepare prepare_script get_sources restore_cache download_artifacts build_script after_script \
archive_cache upload_artifacts_on_success cleanup_file_variables cleanup" "every stage, in order"
is "$(sed 's/^[a-z_]*: //' "$lab/calls/$full.process" | sort -u)" \
  "stdin /dev/null, group 0, folder 700, response 600" "each is a group of its own in TMPDIR, with nothing to read"
is "$(sort -u "$lab/calls/$full.folders" | wc -l)" 1 "all in one TMPDIR"
is "$(sed 's/^[a-z_]* //' "$lab/calls/$full.scripts" | sort -u)" "yes 700 script" "a script is a file, and job_env is there"
is "$(awk '/after_script|^cleanup / { print $2 }' "$lab/calls/$full" | sort -u)" success "CI_JOB_STATUS tells how it went"
like "$(trace "$full")" "Missing gitlab-runner" "without gitlab-runner artifacts and cache are left out"
like "$(trace "$full")" "driver lab 1" "the driver's name is shown"

ends "$minimal" "success - -" "a minimal job"
is "$(calls "$minimal")" "config prepare prepare_script get_sources build_script cleanup_file_variables cleanup" "has four stages"
ends "$exit42" "failed script_failure 42" "the script's status by the exit code file"
like "$(trace "$exit42")" "after the failure" "after_script runs after a failure"
ends "$run2" "failed runner_system_failure -" "run exits 2"
is "$(calls "$run2" | grep -o 'build_script after_script' )" "build_script after_script" "and is not tried again; after_script runs"
ends "$run255" "failed runner_system_failure -" "run exits 255"
ends "$letters" "failed runner_system_failure -" "an exit code that is no number"
ends "$killed" "failed runner_system_failure -" "run killed by a signal"
ends "$prepare1" "failed script_failure 1" "prepare exits 1: the user's fault"
is "$(calls "$prepare1")" "config prepare cleanup" "and it is not tried again"
for id in "$prepare2" "$prepare77"; do
  ends "$id" "failed runner_system_failure -" "prepare exits otherwise"
  is "$(calls "$id")" "config prepare cleanup config prepare cleanup config prepare cleanup" "three tries with a cleanup each"
done
is "$(sort -u "$lab/calls/$prepare2.folders" | wc -l)" 3 "each in a TMPDIR of its own"
ends "$child" "success - -" "a child that holds prepare's output until its time is up, then that counts as success"
# Whose parent is the first process of the host, which may take a while to wait for it.
ended() { ! grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$1/status"; }
ok "and the child was ended" until_ok 10 ended "$(cat "$lab/calls/$child.child")"
ends "$term" "success - -" "so does status 0 after TERM"
ends "$prepare_script" "failed script_failure 1" "prepare_script fails"
is "$(calls "$prepare_script")" "config prepare prepare_script cleanup" "and nothing comes after it"
ends "$sources" "success - -" "get_sources succeeds at its third try"
is "$(calls "$sources")" "config prepare prepare_script get_sources clear_worktree get_sources clear_worktree get_sources \
build_script cleanup_file_variables cleanup" "with the worktree cleared between"
ends "$never" "failed runner_system_failure -" "get_sources never succeeds"
is "$(calls "$never")" "config prepare prepare_script get_sources clear_worktree get_sources cleanup_file_variables cleanup" \
  "the script does not run, nor after_script"
ends "$after" "success - -" "after_script fails without harm"
ends "$after_long" "success - -" "so does one that takes too long"
ends "$cleanup" "success - -" "cleanup fails without harm"
like "$(trace "$cleanup")" "WARNING: Cleanup script failed" "but not in silence"
ends "$blank" "failed runner_system_failure -" "config prints an empty line"
is "$(calls "$blank")" "config cleanup config cleanup config cleanup" "it is tried three times"
ends "$nothing" "failed runner_system_failure -" "config prints nothing"
like "$(trace "$nothing")" "builds_dir is not configured" "and nobody said where to build"
ends "$timeout" "failed job_execution_timeout -" "the job's time is up"
is "$(calls "$timeout" | grep -c after_script)" 0 "then after_script does not run"
ends "$script_timeout" "failed job_execution_timeout 1" "the script's time is up"
is "$(calls "$script_timeout" | grep -c after_script)" 1 "then it does"
ends "$graceful" "failed job_canceled 1" "a graceful cancel"
like "$(trace "$graceful")" "canceled in after_script" "ends the script only"
until_ok 20 grep -q '^cleanup ' "$lab/calls/$forced"
is "$(calls "$forced")" "config prepare prepare_script get_sources build_script cleanup" "a cancel by force ends the job"
ends "$late" "success - -" "a cancel in after_script"
like "$(trace "$late")" "whole" "lets it finish"
ends "$deaf" "failed job_canceled 1" "a run that is deaf to TERM is killed"
like "$(trace "$big")" "100000" "a variable of 100 kB"
ends "$too_big" "failed runner_system_failure -" "a variable of 140 kB"
like "$(trace "$too_big")" "rgument list too long" "starts no program at all"
ok "not even cleanup" test ! -e "$lab/calls/$too_big"
ends "$nul" "failed runner_system_failure -" "nor does one with a NUL"
ends "$flood" "success - -" "much output"
is "$(trace "$flood" | head -c 1024000 | wc -c)" 1024000 "is kept up to output_limit"
like "$(trace "$flood" | tail -c 60)" "exceeded limit" "and cut with a word about it"
ends "$odd" "success - -" "odd variables"
like "$(trace "$odd")" $'a\nb\x01\'"\\\\\$HOME`x`é\ttab\|a=b\|\\\\n\|in a file\|a=b\.\|' "arrive as they are"
ends "$raw" "success - -" "bytes that are no UTF-8"
like "$(trace "$raw")" "61 ef bf bd" "are replaced when the payload is read"
ends "$huge" "success - -" "a job whose id is near 2^63"
is "$(find "$lab/tmp" -mindepth 1)" "" "no TMPDIR is left"
like "$(cat "$lab"/gitlab/jobs/*/ranges)" " 500" "the trace survived a server that failed"

# --- a job that is aborted while its program stays, and a runner that is killed ---
kill -QUIT "$lab_runner_pid"
wait "$lab_runner_pid"
is $? 0 "SIGQUIT ends a runner without jobs"
sed -i 's/graceful_kill_timeout = 1/graceful_kill_timeout = 20/' "$lab/config.toml"
start_runner "${times[@]}" --build-finish 200
mode run-deaf; overlap=$ci
mode ok 'echo begun; sleep 30'; orphan=$ci
until_ok 20 ci_says "$overlap" deaf
until_ok 20 ci_says "$orphan" begun
ci_control "$overlap" canceled
ok "cleanup runs beside a live run" until_ok 20 grep -q '^cleanup ' "$lab/calls/$overlap"
kill -KILL "$lab_runner_pid"
wait "$lab_runner_pid" 2>/dev/null
left=$(find "$lab/tmp" -name response.json)
like "$left" "$(sort -u "$lab/calls/$orphan.folders")" "a killed runner leaves the job's secrets in its TMPDIR"
orphans() { grep -lszF "CUSTOM_ENV_CI_JOB_ID=$1" /proc/[0-9]*/environ; }
like "$(orphans "$orphan")" environ "and the driver running"
is "$(grep -c '^cleanup' "$lab/calls/$orphan")" 0 "without a cleanup"
for path in $(orphans "$orphan") $(orphans "$overlap"); do
  pid=${path#/proc/}
  kill -KILL "${pid%/environ}" 2>/dev/null
done
rm -rf "$lab/tmp"
mkdir "$lab/tmp"

# --- git, artifacts, cache ---
git init -q -b main "$lab/work"
echo hello >"$lab/work/file"
git -C "$lab/work" add file
git -C "$lab/work" -c user.name=lab -c user.email=lab@lab.test commit -qm first
sha=$(git -C "$lab/work" rev-parse HEAD)
git clone -q --bare "$lab/work" "$lab/gitlab/repos/project.git"
start_runner "${times[@]}"
# shellcheck disable=SC2016
ci 'cat file; git log --oneline | wc -l' 'set("MODE"; "ok") | .git_info.repo_url = $url | .git_info.sha = $sha
  | .git_info.depth = 1 | .variables |= map(select(.key != "GIT_STRATEGY"))' --arg url "$lab_url/git/project.git" --arg sha "$sha"
ends "$ci" "success - -" "a clone over HTTP"
like "$(trace "$ci")" $'\nhello\n1\n' "has the file and one commit"
curl -sf -X PUT --data-binary abc "$lab_url/cache/project/k" -o /dev/null
is "$(curl -sf "$lab_url/cache/project/k")" abc "the cache keeps what is put into it"
curl -sf -H "JOB-TOKEN: job-token-$ci" -F 'file=@-;filename=artifacts.zip' "$lab_url/api/v4/jobs/$ci/artifacts" \
  -o /dev/null <<<"an artifact"
is "$(curl -sf -H "JOB-TOKEN: job-token-$ci" "$lab_url/api/v4/jobs/$ci/artifacts")" "an artifact" "artifacts come back"
is "$(curl -s -o /dev/null -w '%{http_code}' -H 'JOB-TOKEN: wrong' "$lab_url/api/v4/jobs/$ci/artifacts")" 403 \
  "not for another's token"
is "$(curl -s -X POST -d '{"token":"stand-in-token"}' "$lab_url/api/v4/runners/verify" | jq .id)" 1 "verify knows its runner"
tap_done
