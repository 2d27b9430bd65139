# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# GitLab for a test: the stand-in coordinator, a runner with a config.toml, and jobs for it. The runner is the stand-in
# or, with lab_runner=real, the gitlab-runner that GITLAB_RUNNER names or PATH has. Source tap.sh before.

MAYFLY_SOURCE=${MAYFLY_SOURCE:-$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")}
MAYFLY_BUILD=${MAYFLY_BUILD:-$MAYFLY_SOURCE/.build/dev}
lab=$(mktemp -d "${lab_base:-${TMPDIR:-/tmp}}/mayfly-lab.XXXXXX")
lab_programs=$MAYFLY_BUILD/tests/gitlab
lab_runner=stand-in
lab_pids=()
ci=0

# In a network of the test's own the coordinator is somewhere else: this goes before it.
lab_where=()
# The runner is another user there, with this before it.
lab_who=()

lab_down() {
  local pid
  for pid in "${lab_pids[@]}"; do
    kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
  done
  lab_pids=()
}

# real_runner: its path, if there is one.
real_runner() {
  if [ -n "${GITLAB_RUNNER-}" ]; then
    echo "$GITLAB_RUNNER"
  else
    command -v gitlab-runner
  fi
}

# start_coordinator [ARGUMENT…]: sets $lab_url.
start_coordinator() {
  rm -f "$lab/gitlab/url"
  mkdir -p "$lab/gitlab"
  "${lab_where[@]}" "$lab_programs/gitlab-coordinator" --dir "$lab/gitlab" --interval "${lab_interval:-1}" "$@" \
    2>"$lab/coordinator.log" &
  lab_pids+=($!)
  until_ok 20 test -s "$lab/gitlab/url" || { note "$(cat "$lab/coordinator.log")"; return 1; }
  # shellcheck disable=SC2034 # for who sources this
  lab_url=$(cat "$lab/gitlab/url")
}

# start_runner [ARGUMENT…]: of $lab/config.toml; sets $lab_runner_pid. Arguments are the stand-in's: a real one has its
# own times.
start_runner() {
  if [ "$lab_runner" = real ]; then
    "${lab_who[@]}" "$(real_runner)" run --config "$lab/config.toml" >>"$lab/runner.log" 2>&1 &
  else
    # The repository's folder may be closed to the user that it runs as.
    install -m 755 "$lab_programs/gitlab-standin" "$lab/standin"
    "${lab_who[@]}" "$lab/standin" --config "$lab/config.toml" "$@" >>"$lab/runner.log" 2>&1 &
  fi
  lab_runner_pid=$!
  lab_pids+=("$lab_runner_pid")
}

# ci_json ID SCRIPT [JQ-FILTER [JQ-ARGUMENT…]]: a job's payload, changed by the filter.
ci_json() {
  local id=$1 script=$2 filter=${3:-.}
  shift $(($# < 3 ? $# : 3))
  # jq's numbers are too small for a job's id.
  jq -n --arg script "$script" --arg id "$id" "$@" '
    def set($k; $v): .variables += [{key: $k, value: $v, public: true, masked: false, raw: true, file: false}];
    def after($s): .steps += [{name: "after_script", script: [$s], timeout: 60, when: "always", allow_failure: true}];
    {id: "@ID@", token: "job-token-\($id)", allow_git_fetch: true,
     job_info: {name: "test", stage: "test", project_id: 7, project_name: "project"},
     git_info: {repo_url: "http://gitlab.test/group/project.git", ref: "main", sha: "0", before_sha: "0",
                ref_type: "branch", refspecs: ["+refs/heads/main:refs/remotes/origin/main"], depth: 0},
     runner_info: {timeout: 600},
     variables: [], steps: [{name: "script", script: [$script], timeout: 600, when: "on_success", allow_failure: false}],
     image: null, services: [], artifacts: null, cache: [], credentials: [], dependencies: [],
     features: {trace_sections: false, failure_reasons: ["script_failure", "runner_system_failure", "job_canceled",
       "job_execution_timeout"]}}
    | set("GIT_STRATEGY"; "none") | set("CI_JOB_ID"; $id) | '"$filter" | sed 's/"@ID@"/'"$id"'/'
}

# ci_push: the payload on standard input joins the queue as job $ci.
ci_push() {
  local file
  file=$(printf '%s/gitlab/queue/%020d' "$lab" "$ci")
  cat >"$file.part"
  mv "$file.part" "$file.json"
}

# ci SCRIPT [JQ-FILTER [JQ-ARGUMENT…]]: a new job; sets $ci, its id.
ci() {
  ci=$((ci + 1))
  ci_json "$ci" "$@" | ci_push
}

# ci_done ID [SECONDS]: waits for its final state.
ci_done() {
  until_ok "${2:-480}" test -s "$lab/gitlab/jobs/$1/done"
}

# ci_state ID: "success - -", "failed REASON CODE" or nothing.
ci_state() {
  cat "$lab/gitlab/jobs/$1/done" 2>/dev/null
}

trace() {
  cat "$lab/gitlab/jobs/$1/trace"
}

# ci_says ID REGEX: is it in the trace by now?
ci_says() {
  grep -aqE -- "$2" "$lab/gitlab/jobs/$1/trace" 2>/dev/null
}

# ci_control ID canceling|canceled
ci_control() {
  echo "$2" >"$lab/gitlab/jobs/$1/control"
}

# ends ID STATE NAME [SECONDS]: the job's final state; its trace is shown if that is another.
ends() {
  ci_done "$1" "${4:-480}"
  is "$(ci_state "$1")" "$2" "$3"
  [ "$(ci_state "$1")" = "$2" ] || note "$(tail -c 3000 "$lab/gitlab/jobs/$1/trace" | tr -d '\r\0')"
}
