# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# For system tests of GitLab's jobs: mayfly in a private host, a network behind it in which the stand-in for GitLab is at
# an address that mayfly lets machines reach by a hole, and a runner of user gitlab-runner with the config.toml that
# `mayfly gitlab setup` prints. Each scenario runs with the stand-in runner and, where there is one, with a real one.

# Below /var/lib, whose writes go with the private host.
lab_base=/var/lib
# shellcheck source=tests/lib/mayfly-host.sh
. "$(dirname "${BASH_SOURCE[0]}")/mayfly-host.sh"
# shellcheck source=tests/lib/gitlab-lab.sh
. "$(dirname "${BASH_SOURCE[0]}")/gitlab-lab.sh"

gitlab_address=192.168.5.5
gitlab_port=8080
# More holes than the one to there.
gitlab_holes=""
lab_where=(ip netns exec outside)
runner_tmp=$lab/tmp
lab_who=(setpriv --reuid=gitlab-runner --regid=gitlab-runner --init-groups env HOME=/var/lib "TMPDIR=$runner_tmp")

# Everything that is not this host is in the namespace "outside".
network_up() {
  ip netns add outside
  ip link add up0 type veth peer name eth0 netns outside
  ip addr add 45.33.32.10/24 dev up0
  ip link set up0 up
  ip route add default via 45.33.32.1 dev up0
  ip -n outside link set lo up
  ip -n outside addr add 45.33.32.1/24 dev eth0
  ip -n outside addr add "$gitlab_address/32" dev lo
  ip -n outside link set eth0 up
}

# config_toml [SED-SCRIPT]: what setup prints, with what an admin fills in.
config_toml() {
  {
    echo "check_interval = 1"
    sed -e "s,^  url = .*,  url = \"$lab_url\"," -e 's/^  token = .*/  token = "stand-in-token"/' \
      -e 's/^  executor = .*/&\n  output_limit = 40960\n  environment = ["FROM_TOML=config.toml"]/' "$lab/setup.toml"
    printf '  [runners.cache]\n    Type = "s3"\n    Shared = true\n    [runners.cache.s3]\n      ServerAddress = "%s"\n' \
      "$gitlab_address:$gitlab_port"
    printf '      BucketName = "cache"\n      BucketLocation = "nowhere"\n      Insecure = true\n'
    printf '      AccessKey = "none"\n      SecretKey = "none"\n'
  } | sed "${1-}" >"$lab/config.toml"
  chown gitlab-runner "$lab/config.toml"
}

# gitlab_up [LINE…]: LINEs go to mayfly.conf.d.
gitlab_up() {
  compgen -G '/var/lib/mayfly/images/gitlab@*' >/dev/null ||
    skip_all "the image gitlab is not there" "the test image-gitlab makes it"
  for tool in git ip; do
    command -v "$tool" >/dev/null || skip_all "$tool is not installed" "tools/check installs what tests need"
  done
  getent passwd gitlab-runner >/dev/null || useradd gitlab-runner
  usermod -aG mayfly gitlab-runner
  network_up
  # Beside the images, where it stays the same file: a newer one would have every prepared layer made anew.
  mayfly_up '[network]' "holes=$gitlab_address:$gitlab_port $gitlab_holes" \
    '[images]' "gitlab-runner=$(real_runner || echo /var/lib/mayfly/images/guest-runner)" "$@"
  sed 's/^image=.*/image=gitlab/' /etc/mayfly/templates/tiny.conf >/etc/mayfly/templates/gitlab.conf
  printf '[images]\ntemplate=gitlab\n' >/etc/mayfly/gitlab.conf
  chmod 711 "$lab"
  mkdir -p "$runner_tmp"
  chown gitlab-runner "$runner_tmp"
  start_coordinator --address "$gitlab_address" --port "$gitlab_port" || bail "the stand-in for GitLab does not start"
  chmod 700 "$lab/gitlab"
  mayfly gitlab setup >"$lab/setup.toml" 2>"$lab/setup.err" || bail "mayfly gitlab setup: $(cat "$lab/setup.err")"
  config_toml
}

gitlab_done() {
  lab_down
  mayfly_done
}

# For scripts of jobs: runs PATTERN, whether a process of the machine has that on its command line. Busybox has no pgrep.
# shellcheck disable=SC2016,SC2034
runs='runs() { cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\0" " " | grep -q "$1"; }'

# with_each_runner FUNCTION [ARGUMENT…]: starts the runner with ARGUMENTs, calls FUNCTION, ends the runner.
with_each_runner() {
  local function=$1 kind
  shift
  for kind in stand-in real; do
    if [ "$kind" = real ] && ! real_runner >/dev/null; then
      skip "$function with a real gitlab-runner" "no gitlab-runner is here; install it, or set GITLAB_RUNNER"
      continue
    fi
    lab_runner=$kind
    note "$function with the $kind runner"
    start_runner --check 200 --prepare-interval 500 --stage-interval 500 --touch-interval 1000 "$@"
    "$function"
    end_runner TERM
  done
}

# end_runner SIGNAL
end_runner() {
  kill "-$1" "$lab_runner_pid" 2>/dev/null
  wait "$lab_runner_pid" 2>/dev/null
}

# machine ID: mayfly's newest job for GitLab's job ID.
machine() {
  api GET '/v1/jobs?state=all' | jq -r --arg prefix "gitlab-$1-" \
    '[.jobs[] | select(.name // "" | startswith($prefix))] | max_by(.created) | .id // ""'
}

# machine_is ID STATE, for until_ok.
machine_is() {
  local id
  id=$(machine "$1")
  [ -n "$id" ] && [ "$(job "$id" .state)" = "$2" ]
}

# no_trace ID HOW: the machine of GitLab's job is gone, and all that belonged to the job with it.
no_trace() {
  local id
  id=$(machine "$1")
  if [ -n "$id" ]; then
    wait_for "$id" finished 60
    is "$(job "$id" .state)" finished "$2: its machine is gone"
    is "$(remains "$id")" "" "$2: nothing of it is left"
  fi
  until_ok 20 tmp_is_empty
  is "$(find "$runner_tmp" -mindepth 1)" "" "$2: no file of the runner's is left"
}

tmp_is_empty() { [ -z "$(find "$runner_tmp" -mindepth 1)" ]; }

# The driver called by hand, as a runner would: hand_new makes job $ci and its TMPDIR $hand, hand_begin starts a stage as
# process $hand_pid with its output in $hand/out, hand waits for its status.

# hand_new [JQ-FILTER [JQ-ARGUMENT…]]
hand_new() {
  ci=$((ci + 1))
  hand=$(mktemp -d "$lab/hand.XXXXXX")
  ci_json "$ci" true "$@" >"$hand/response.json"
  chmod 600 "$hand/response.json"
  chown -R gitlab-runner "$hand"
  hand_status=running
}

# hand_begin config|prepare|cleanup, or: hand_begin run STAGE, with the script on standard input.
hand_begin() {
  local arguments=("$@")
  if [ "$1" = run ]; then
    cat >"$hand/script"
    chmod 755 "$hand/script"
    arguments=(run "$hand/script" "$2")
  fi
  "${lab_who[@]}" env -C "$hand" "TMPDIR=$hand" "JOB_RESPONSE_FILE=$hand/response.json" BUILD_FAILURE_EXIT_CODE=1 \
    SYSTEM_FAILURE_EXIT_CODE=2 "BUILD_EXIT_CODE_FILE=$hand/code" "CUSTOM_ENV_CI_JOB_ID=$ci" \
    "CUSTOM_ENV_CI_JOB_STATUS=$hand_status" mayfly gitlab "${arguments[@]}" </dev/null >"$hand/out" 2>&1 &
  hand_pid=$!
}

hand() {
  hand_begin "$@"
  wait "$hand_pid"
}

# exits SCRIPT: runs it as a stage. Prints "STATUS CODE", with what is in the exit code file.
exits() {
  echo stale >"$hand/code"
  chown gitlab-runner "$hand/code"
  hand run "${2:-build_script}" <<<"$1"
  echo "$? $(cat "$hand/code" 2>/dev/null)"
}

# hand_says REGEX, for until_ok.
hand_says() {
  grep -aqE -- "$1" "$hand/out"
}
