# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the parts of the bench share: their options, the private host that each runs in, medians, the table and the JSON.
# A part sets $bench_about and $bench_rounds, calls bench_options "$@" and bench_host IMAGES, measures with value, reports
# with row, ratio and check, and ends with bench_report.
#
# shellcheck disable=SC2154 # what a part sets, or has of mayfly-host.sh

bench_top=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../../..")
bench_part=$(basename "$0")
export MAYFLY_SOURCE=${MAYFLY_SOURCE:-$bench_top} MAYFLY_BUILD=${MAYFLY_BUILD:-$bench_top/.build/release}

# What differs between templates is taken by parts that set this, to the one they use unless told.
template=${bench_template-}

usage() {
  local name=""
  [ -z "${bench_template-}" ] || name=" [--template NAME] [--images DIR]"
  printf 'Usage: sudo tests/bench/%s%s [--count N] [--json FILE]\n\n%s\n\n' "$bench_part" "$name" "$bench_about"
  if [ -n "${bench_template-}" ]; then
    printf '  --template NAME  what machines are made from (default %s)\n' "$bench_template"
    printf '  --images DIR     where its image is (default: made in .build if missing)\n'
  fi
  printf '  --count N        %s (default %s)\n' "${bench_counts:-rounds to measure after one that is not}" "$bench_rounds"
  printf '  --json FILE      write the numbers there, too\n  -h, --help       this text\n'
}

# bench_options ARGUMENT…: sets $count, $json, $template, $images.
bench_options() {
  bench_arguments=("$@")
  count=$bench_rounds json="" images=""
  while [ $# -gt 0 ]; do
    case $1 in
    --count) count=${2:?} && shift ;;
    --json) json=$(realpath -m "${2:?}") && shift ;;
    --template) [ -n "$template" ] || { usage >&2; exit 2; }
      template=${2:?} && shift ;;
    --images) [ -n "$template" ] || { usage >&2; exit 2; }
      images=$(realpath "${2:?}") && shift ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
    shift
  done
  [[ $count =~ ^[1-9][0-9]*$ ]] || { usage >&2; exit 2; }
}

# bench_images SET: the folder of images, made if it is not there: tiny, gitlab (tiny as well), debian-12 (all).
bench_images() {
  local made=image-tiny
  case $1 in
  tiny) echo "$bench_top/.build/images" ;;
  gitlab) made="image-tiny image-gitlab" && echo "$bench_top/.build/gitlab-images" ;;
  *) made="image-tiny ../bench/lib/image-debian" && echo "$bench_top/.build/bench-images" ;;
  esac
  for made in $made; do
    "$bench_top/tests/system/$made.sh" >&2 || { echo "$bench_part: tests/system/$made.sh failed" >&2; exit 1; }
  done
}

# bench_host SET: goes on in a private host that has that set of images, or the one named by --images.
bench_host() {
  if [ "${MAYFLY_TEST_HOST-}" != 1 ]; then
    [ -x "$MAYFLY_BUILD/daemon/mayflyd" ] || { echo "$bench_part: there is no build in $MAYFLY_BUILD; set MAYFLY_BUILD" >&2; exit 1; }
    [ -n "$images" ] || images=$(bench_images "$1") || exit 1
    exec "$bench_top/tests/lib/test-host" --images "$images" -- "$0" "${bench_arguments[@]}"
  fi
  work=$(mktemp -d /var/tmp/bench.XXXXXX)
  trap 'rm -rf "$work"' EXIT
}

# Microseconds.
stamp() { echo "${EPOCHREALTIME/[.,]/}"; }
# since STAMP: microseconds.
since() { echo $(($(stamp) - $1)); }
# calc EXPRESSION [AWK-VARIABLE=VALUE…]
calc() {
  local expression=$1 variables=() v
  shift
  for v; do variables+=(-v "$v"); done
  awk "${variables[@]}" "BEGIN { printf \"%.6g\", $expression }"
}

say() { echo "$bench_part: $*" >&2; }

# Measured values are kept one a line, in whatever unit, until a row is made of them.

# value KEY NUMBER
value() { echo "$2" >>"$work/$1.values"; }

declare -A bench_median
bench_rows='[]' bench_checks='[]' bench_skipped='[]'

# row KEY TITLE UNIT [DIVISOR]: of the values of KEY; their median is ${bench_median[KEY]} from then on.
row() {
  local n low high
  read -r n "bench_median[$1]" low high < <(sort -g "$work/$1.values" | awk -v by="${4:-1}" '
    { v[NR] = $1 / by }
    END { printf "%d %.6g %.6g %.6g\n", NR, v[int((NR + 1) / 2)], v[int(NR / 10) + 1], v[NR - int(NR / 10)] }')
  bench_rows=$(jq -c --arg key "$1" --arg title "$2" --arg unit "$3" --argjson v "[$n,${bench_median[$1]},$low,$high]" \
    '. + [{key: $key, title: $title, unit: $unit, n: $v[0], median: $v[1], p10: $v[2], p90: $v[3]}]' <<<"$bench_rows")
}

# check KEY TITLE VALUE UNIT [LIMIT]: LIMIT is what is wanted of it, such as "<= 0.5".
check() {
  local met=null
  [ -z "${5-}" ] || met=$(awk -v v="$3" "BEGIN { print v $5 ? \"true\" : \"false\" }")
  bench_checks=$(jq -c --arg key "$1" --arg title "$2" --argjson value "$3" --arg unit "$4" --arg wanted "${5-}" --argjson met "$met" \
    '. + [{key: $key, title: $title, value: $value, unit: $unit, wanted: (if $wanted == "" then null else $wanted end), met: $met}]' \
    <<<"$bench_checks")
}

# ratio KEY TITLE ROW ROW [LIMIT]: of the medians of two rows.
ratio() {
  check "$1" "$2" "$(calc "a / b" "a=${bench_median[$3]}" "b=${bench_median[$4]}")" "" "${5-}"
}

# without TITLE WHY: a row that cannot be measured here.
without() {
  bench_skipped=$(jq -c --arg title "$1" --arg why "$2" '. + [{title: $title, why: $why}]' <<<"$bench_skipped")
}

# bench_table: of the parts' JSON, one or more documents on standard input.
bench_table() {
  local kind title unit n median low high met
  jq -r '(["part", "\(.part): \(.about)"],
      (.rows[] | ["row", .title, .unit, .n, .median, .p10, .p90]),
      (.checks[] | ["check", .title, .unit, (.wanted // "-"), .value, "", (.met | tostring)]),
      (.skipped[] | ["without", .title, .why])) | map(tostring | if . == "" then "-" else . end) | @tsv' |
    while IFS=$'\t' read -r kind title unit n median low high; do
      [ "$unit" != - ] || unit=""
      case $kind in
      part) printf '\n%-58s %11s %11s %11s %5s\n' "$title" median p10 p90 n ;;
      row)
        if [ "$n" = 1 ]; then
          printf '  %-56s %11s\n' "$title" "$(number "$median" "$unit")"
        else
          printf '  %-56s %11s %11s %11s %5d\n' "$title" "$(number "$median" "$unit")" "$(number "$low" "$unit")" \
            "$(number "$high" "$unit")" "$n"
        fi
        ;;
      check)
        case $high in
        true) met="   wanted $n: yes" ;;
        false) met="   wanted $n: NO" ;;
        *) met="" ;;
        esac
        printf '  %-56s %11s%s\n' "$title" "$(number "$median" "$unit")" "$met"
        ;;
      without) printf '  %-56s not measured: %s\n' "$title" "$unit" ;;
      esac
    done
}

# number VALUE UNIT: with as many digits as say something.
number() {
  local format=%.3f
  case $2 in
  ms | MiB | KiB | MB/s | "jobs/min") format=%.1f ;;
  n) format=%.0f ;;
  "") format=%.4f ;;
  esac
  # shellcheck disable=SC2059 # one of the above
  printf "$format%s" "$1" "${2:+ ${2/#n/}}" | sed 's/ $//'
}

# bench_report ABOUT: prints the table and writes the JSON.
bench_report() {
  local document
  document=$(jq -n --arg part "$bench_part" --arg about "$1" --argjson rounds "$count" --argjson rows "$bench_rows" \
    --argjson checks "$bench_checks" --argjson skipped "$bench_skipped" \
    '{part: $part, about: $about, rounds: $rounds, rows: $rows, checks: $checks, skipped: $skipped}')
  bench_table <<<"$document"
  [ -z "$json" ] || printf '%s\n' "$document" >"$json"
}

# For parts that have mayfly: source mayfly-host.sh first.

fail() { bail "$@"; }
fork_is_ready() { [ "$(api GET "/v1/templates/$1" | jq -r .fork.state)" = ready ]; }
# pool_is_ready [N]: so many machines wait, of all templates.
pool_is_ready() { [ "$(api GET /v1/pools | jq -r '[.pools[].ready] | add // 0')" = "${1:-1}" ]; }
all_gone() { [ "$(api GET '/v1/jobs?state=active' | jq '.jobs | length')" = 0 ]; }
accel() { api GET /v1/info | jq -r 'if .accel.kvm then "kvm" else "tcg" end'; }

templates=/etc/mayfly/templates
# template_as NAME [KEY=VALUE…]: $template under the name bench-NAME, without pool and fork, and with that.
template_as() {
  local file=$templates/bench-$1.conf pair
  shift
  [ -e "$templates/$template.conf" ] || fail "there is no template $template"
  sed '/^pool=/d; /^fork=/d' "$templates/$template.conf" >"$file"
  for pair; do
    # A key of [machine] stands in [limits] as well, further down.
    if grep -q "^${pair%%=*}=" "$file"; then
      sed -i "0,/^${pair%%=*}=.*/s||$pair|" "$file"
    else
      sed -i "s|^image=.*|&\n$pair|" "$file"
    fi
  done
}

# first_output TEMPLATE: microseconds from the request to the first line of its output; something else if there is none.
first_output() {
  local begun line
  begun=$(stamp)
  exec {out}< <(exec mayfly run --template "$1" -- echo output </dev/null 2>"$work/said")
  read -r line <&"$out"
  since "$begun"
  [ "$line" = output ] || echo "failed"
  cat <&"$out" >/dev/null
  exec {out}<&-
}

# in_turn WAY…: $count rounds after one that does not count; by_WAY ROUND prints microseconds. Who is first takes turns.
in_turn() {
  local ways=("$@") i k way said
  for ((i = 0; i <= count; i++)); do
    for ((k = 0; k < ${#ways[@]}; k++)); do
      way=${ways[(i + k) % ${#ways[@]}]}
      said=$("by_$way" "$i")
      [[ $said =~ ^[0-9]+$ ]] || fail "$way: $said $(cat "$work/said" 2>/dev/null)"
      [ "$i" = 0 ] || value "$way" "$said"
    done
    say "round $i of $count"
  done
}

# bench_down: ends what mayfly_up started.
bench_down() {
  rm -f "$templates"/bench-*.conf
  restart_mayflyd >/dev/null
  until_ok 60 ports_free
  mayfly_down
  umount -l "$by_hand" 2>/dev/null
}
