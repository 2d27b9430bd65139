#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Four GitLab jobs at once, each in a machine of its own; and a job in each of whose stages mayflyd is restarted, which
# it does not notice.
set -u
# shellcheck source=tests/lib/gitlab-host.sh
. "$(dirname "$(realpath "$0")")/../lib/gitlab-host.sh"
gitlab_up '[machines]' max-machines=4

# Each writes where the next would read, if they shared anything.
parallel() {
  local id ids=() boots=() name
  for _ in 1 2 3 4; do
    # shellcheck disable=SC2016
    ci 'test ! -e /mark; echo "$CI_JOB_ID" >/mark; i=0; while [ $i -lt 300 ]; do i=$((i + 1)); echo "job $CI_JOB_ID line $i"; done; sleep 5; \
      test "$(cat /mark)" = "$CI_JOB_ID"; echo "boot $(cat /proc/sys/kernel/random/boot_id)"'
    ids+=("$ci")
  done
  until_ok 400 all_at_once
  is "$(api GET '/v1/jobs?state=active' | jq '[.jobs[] | select(.name // "" | startswith("gitlab-"))] | length')" 4 "four machines at once"
  for id in "${ids[@]}"; do
    ends "$id" "success - -" "job $id"
    is "$(trace "$id" | grep -a '^job ')" "$(seq -f "job $id line %g" 300)" "has its own output, whole"
    boots+=("$(trace "$id" | grep -a '^boot ')")
  done
  is "$(printf '%s\n' "${boots[@]}" | sort -u | wc -l)" 4 "each ran in a machine of its own"
  for id in "${ids[@]}"; do
    name=$(job "$(machine "$id")" .name)
    like "$name" "^gitlab-$id-" "the machine of job $id"
    no_trace "$id" "job $id"
  done
}

all_at_once() {
  [ "$(api GET '/v1/jobs?state=active' | jq '[.jobs[] | select(.name // "" | startswith("gitlab-"))] | length')" = 4 ]
}

# A driver that says which stage it begins; whoever restarts mayflyd waits for that.
stages=$lab/stages
mkdir "$stages"
chown gitlab-runner "$stages"
cat >/usr/local/lib/telling-driver <<END
#!/bin/bash
touch "$stages/\$CUSTOM_ENV_CI_JOB_ID.\${4-\$2}"
exec /usr/bin/mayfly "\$@"
END
chmod 755 /usr/local/lib/telling-driver

dead() { ! alive mayflyd; }

# restarter ID: once a stage of the job has begun, kills mayflyd or ends it politely, in turn, and starts it again.
restarter() {
  local stage seen="" polite=0 pid
  while [ ! -s "$lab/gitlab/jobs/$1/done" ]; do
    for stage in "$stages/$1".*; do
      case " $seen " in *" $stage "*) continue ;; esac
      [ -e "$stage" ] || continue
      seen+=" $stage"
      # Some time into the stage: another every time.
      sleep "0.$((RANDOM % 9))"
      polite=$((1 - polite))
      if [ "$polite" = 1 ]; then
        halt mayflyd
      else
        read -r pid _ <"$by_hand/mayflyd.pid"
        kill -KILL "$pid"
        until_ok 10 dead
      fi
      start_mayflyd >/dev/null || echo "mayflyd did not start in ${stage##*.}"
    done
    sleep 0.1
  done
}

restarts() {
  local id
  rm -f "$stages"/*
  # What bash says of a process that was killed is no news.
  restarter $((ci + 1)) >"$lab/restarter.log" 2>/dev/null &
  # shellcheck disable=SC2016
  ci 'i=0; while [ $i -lt 600 ]; do i=$((i + 1)); echo "line $i"; [ $((i % 100)) != 0 ] || sleep 1; done; mkdir -p a; echo kept >a/b; exit 6' '
    after("echo in after_script; sleep 2; echo end of after_script") | .cache = [{key: "k", paths: ["a"], policy: "pull-push", when: "always"}]
    | .artifacts = [{paths: ["a"], when: "always"}]'
  id=$ci
  ends "$id" "failed script_failure 6" "a job with mayflyd restarted in every stage"
  wait $!
  is "$(cat "$lab/restarter.log")" "" "mayflyd came back each time"
  is "$(find "$stages" -name "$id.*" | sed 's/.*\.//' | sort | tr '\n' ' ')" \
    "after_script archive_cache_on_failure build_script cleanup cleanup_file_variables config get_sources prepare prepare_script restore_cache \
upload_artifacts_on_failure " "these were all of them"
  is "$(trace "$id" | grep -a '^line ')" "$(seq -f 'line %g' 600)" "every line of the script once"
  is "$(trace "$id" | grep -ac 'after_script$')" 2 "and of after_script"
  ok "the artifact is there" compgen -G "$lab/gitlab/jobs/$id/artifacts/*"
  is "$(trace "$id" | grep -aci 'try\|retried')" 0 "nothing had to be tried again"
  no_trace "$id" "restarts"
}

with_each_runner parallel
config_toml 's,_exec = "/usr/bin/mayfly",_exec = "/usr/local/lib/telling-driver",'
with_each_runner restarts
gitlab_done
