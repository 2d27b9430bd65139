#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# GitLab jobs from the runner's request to their end: clone, cache and artifacts between two jobs; a shell that is not
# bash; variables of every kind, and such as try to be somebody else; what is refused before a machine is made.
set -u
# shellcheck source=tests/lib/gitlab-host.sh
. "$(dirname "$(realpath "$0")")/../lib/gitlab-host.sh"
gitlab_up
like "$(cat "$lab/setup.err")" "user gitlab-runner may use" "setup checks that gitlab-runner's user may use the socket"
like "$(cat "$lab/setup.toml")" 'graceful_kill_timeout = 30' "setup prints the times of config.toml"
like "$(cat "$lab/setup.toml")" 'builds_dir = "/builds"' "and where to build"

git init -q -b main "$lab/work"
printf 'from the repository\n' >"$lab/work/file"
git -C "$lab/work" add file
git -C "$lab/work" -c user.name=lab -c user.email=lab@lab.test commit -qm first
git -C "$lab/work" -c user.name=lab -c user.email=lab@lab.test commit -qm second --allow-empty
sha=$(git -C "$lab/work" rev-parse HEAD)
git clone -q --bare "$lab/work" "$lab/gitlab/repos/project.git"
clone='.git_info.repo_url = $url | .git_info.sha = $sha | .git_info.depth = 1 | .variables |= map(select(.key != "GIT_STRATEGY"))'

# cloning SCRIPT FILTER [JQ-ARGUMENT…]: a job with the repository.
cloning() {
  local script=$1 filter=$2
  shift 2
  ci "$script" "$clone | $filter" --arg url "$lab_url/git/project.git" --arg sha "$sha" "$@"
}

full() {
  local first
  rm -rf "$lab/gitlab/cache"
  mv "$lab/gitlab/repos/project.git" "$lab/gitlab/repos/away.git"
  # shellcheck disable=SC2016
  cloning 'cat file; git log --oneline | wc -l; pwd; test -t 0 || echo no terminal; mkdir out deps; echo artifact >out/result; echo cached >deps/x; echo $BASH_VERSION' '
    .cache = [{key: "deps", paths: ["deps"], policy: "pull-push", when: "on_success"}]
    | .artifacts = [{paths: ["out"], when: "on_success"}] | after("echo after $CI_JOB_STATUS")
    | set("GET_SOURCES_ATTEMPTS"; "10")'
  first=$ci
  until_ok 400 ci_says "$first" 'not found'
  mv "$lab/gitlab/repos/away.git" "$lab/gitlab/repos/project.git"
  ends "$first" "success - -" "a job with clone, cache and artifacts"
  like "$(trace "$first")" "Retrying|Retry" "get_sources was tried again until there was a repository"
  like "$(trace "$first")" $'from the repository\n1\n/builds/' "it has its repository, one commit deep"
  like "$(trace "$first")" $'no terminal\n' "its script has no terminal"
  like "$(trace "$first")" $'\n5\\.[0-9]' "its shell is bash"
  like "$(trace "$first")" "after success" "after_script knows how it went"
  like "$(trace "$first")" "driver mayfly v" "the driver is named"
  like "$(trace "$first")" "Machine [^ ]+: image gitlab@[0-9a-f]{12}, 1 CPU, 256.0 MiB memory, 1.0 GiB disk; started cold with [a-z]+ in [0-9.m]+s \(.*boot [0-9.m]+s\)" \
    "one line tells what the machine is and how long it took"
  like "$(trace "$first")" "gitlab-runner [0-9.a-z-]+ of this host is in the machine" "which gitlab-runner is in it is told"
  ok "the cache was uploaded" compgen -G "$lab/gitlab/cache/project/*deps*"
  ok "so was the artifact" compgen -G "$lab/gitlab/jobs/$first/artifacts/*"
  no_trace "$first" "the full path"

  # shellcheck disable=SC2016
  cloning 'cat out/result deps/x' '.cache = [{key: "deps", paths: ["deps"], policy: "pull", when: "on_success"}]
    | .dependencies = [{id: ($first | tonumber), token: "job-token-\($first)", name: "first", artifacts_file: {filename: "artifacts.zip", size: 1}}]' --arg first "$first"
  ends "$ci" "success - -" "a job after it"
  like "$(trace "$ci")" $'\nartifact\ncached\n' "gets artifact and cache in a machine of its own"
}

minimal() {
  local last=$ci
  ci=92233720368547758$(printf %02d $((RANDOM % 8)))
  ci_json "$ci" 'echo "in $0"; test -z "${BASH_VERSION-}" && echo no bash' '.image = {name: "tiny"}' | ci_push
  ends "$ci" "success - -" "a minimal job, id near 2^63, in an image without bash"
  like "$(trace "$ci")" $'\nno bash\n' "runs by sh"
  like "$(trace "$ci")" "image tiny@" "in the image it named"
  no_trace "$ci" "the minimal path"
  ci=$last
}

# What only the runner may say comes from its payload: whatever the job calls itself, its machine is its own.
variables() {
  local odd=$'a\nb\x01\x7f\'"\\$HOME`echo no`é\ttab '
  ci=$((ci + 1))
  # shellcheck disable=SC2016
  ci_json "$ci" 'printf %s "$ODD" | od -An -tx1 | tr -d " \n"; echo; printf %s "$BIG" | wc -c; printf %s "$RAW" | od -An -tx1; cat "$FILE"; echo "$FROM_TOML"
    echo "$CI_CONCURRENT_ID $CI_JOB_IMAGE $CI_JOB_TIMEOUT"; nproc; printf "\377\000\376out" | od -An -tx1; printf "\377\376raw\n"' '
    set("ODD"; $odd) | set("BIG"; "x" * 100000) | set("RAW"; "@RAW@") | set("FILE"; "in a file\n") | .variables[-1].file = true
    | set("CI_CONCURRENT_ID"; "99") | set("CI_CONCURRENT_PROJECT_ID"; "98") | set("CI_JOB_IMAGE"; "evil-image")
    | set("CI_JOB_TIMEOUT"; "1") | set("MAYFLY_CPUS"; "2") | set("MAYFLY_MEMORY"; "300M") | set("MAYFLY_DISK"; "2G")
    | set("TMPDIR"; "/nonexistent") | set("JOB_RESPONSE_FILE"; "/etc/passwd")' --arg odd "$odd" | sed $'s/@RAW@/a\xff/' | ci_push
  ends "$ci" "success - -" "variables of every kind"
  like "$(trace "$ci")" "$(printf %s "$odd" | od -An -tx1 | tr -d ' \n')" "odd bytes arrive as they are"
  like "$(trace "$ci")" $'\n100000\n' "100 kB arrive"
  like "$(trace "$ci")" "61 ef bf bd" "what is no UTF-8 arrives as its runner reads it"
  like "$(trace "$ci")" $'\nin a file\n+config.toml\n' "a file variable, and one of config.toml"
  like "$(trace "$ci")" $'\n99 evil-image 1\n2\n' "the job's own words for CI_CONCURRENT_ID, CI_JOB_IMAGE and CI_JOB_TIMEOUT change nothing"
  like "$(trace "$ci")" "2 CPU, 300.0 MiB memory, 2.0 GiB disk" "cpus, memory and disk by variables"
  ok "bytes that are no text come through" grep -aq $'^\xff\xfe''raw$' "$lab/gitlab/jobs/$ci/trace"
  like "$(job "$(machine "$ci")" .name)" "^gitlab-$ci-" "the machine is named after the job that the runner means"

  ci true 'set("BIG"; "x" * 140000)'
  ends "$ci" "failed runner_system_failure -" "a variable of 140 kB, with which no program can be started"
  is "$(machine "$ci")" "" "makes no machine"
  until_ok 20 tmp_is_empty
}

# refused NAME REGEX FILTER [JQ-ARGUMENT…]: the job fails at once as its author's fault, with a sentence, and makes no machine.
refused() {
  local name=$1 regex=$2
  shift 2
  ci true "$@"
  ends "$ci" "failed script_failure 1" "$name: the job's fault, told once" 30
  like "$(trace "$ci")" "mayfly: .*$regex" "$name: why"
  is "$(grep -ac 'mayfly: ' "$lab/gitlab/jobs/$ci/trace")" 1 "$name: in one sentence"
  is "$(machine "$ci")" "" "$name: no machine"
}

refusals() {
  # shellcheck disable=SC2016
  local nasty='x$(touch /tmp/pwned);`id`<domain type="kvm">&amp;"'\''\u001b]0;a\u0007/../../etc'
  refused "an unknown image" "image:.*windows.*gitlab.*tiny" '.image = {name: "windows:95"}'
  refused "an image of metacharacters" "image:.*not allowed" '.image = {name: $nasty}' --argjson nasty "$(printf '"%s"' "${nasty//\"/\\\"}")"
  is "$(tr -dc '\007' <"$lab/gitlab/jobs/$ci/trace" | wc -c)" 0 "and none of them reaches a terminal"
  ok "nor a shell" test ! -e /tmp/pwned
  refused "an image out of a variable" "image:.*nosuch" 'set("WHICH"; "nosuch") | .image = {name: "$WHICH"}'
  refused "services" "services:.*postgres.*Docker" '.services = [{name: "postgres:16", alias: "db"}]'
  refused "too much memory" "memory of 1 ?TiB.*admin" 'set("MAYFLY_MEMORY"; "1T")'
  refused "no number" "MAYFLY_CPUS" 'set("MAYFLY_CPUS"; "-1")'
}

with_each_runner refusals
with_each_runner full
with_each_runner minimal
with_each_runner variables
gitlab_done
