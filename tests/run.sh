#!/usr/bin/env bash
# Runs the tests and sums them up: tests/run.sh BUILD [unit]. `unit` runs only the C++ tests.
# Ends with one line over everything, "N passed, N failed", and fails when something did. What each
# test printed stays in BUILD/log/.
#
#   WP_TEST_TIMEOUT=SECONDS   how long a single program may take (default 1800)
#   WP_TEST_ARGS="-tc=..."    options for the C++ tests (BUILD/tests --help lists them)
set -uo pipefail
cd "$(dirname "$0")/.."

build=$1
only=${2-}
log_dir=$build/log
mkdir -p "$log_dir"
: >"$log_dir/left_out"
passed=0
failed=0

# record NAME LOG STATUS PASSED FAILED SECONDS: adds up. A program that ended badly without naming a
# failure (it crashed, hung, or never came to its last line) is one failure itself.
record() {
  local name=$1 log=$2 status=$3 p=$4 f=$5 seconds=$6 why=
  if [ "$status" != 0 ] && [ "$f" = 0 ]; then
    f=1
    case $status in
      124 | 137) why=" (killed, or took too long: exit code $status)" ;;
      *) why=" (ended with exit code $status)" ;;
    esac
  fi
  passed=$((passed + p))
  failed=$((failed + f))
  printf '%-28s %5d passed, %d failed  %5.1f s%s\n' "$name" "$p" "$f" "$seconds" "$why"
  if [ "$f" != 0 ]; then
    echo "---- $name: the last lines of $log"
    tail -n 150 "$log"
    echo "----"
  fi
  grep -h '^left out: ' "$log" | sed "s|\$| [$name]|" >>"$log_dir/left_out"
}

# start COMMAND...: runs it with its output in $log; sets status and seconds.
start() {
  local begin=$EPOCHREALTIME
  timeout -k 10 "${WP_TEST_TIMEOUT:-1800}" "$@" >"$log" 2>&1 </dev/null
  status=$?
  seconds=$(awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
}

# count_cases OPTION...: how many C++ test cases these options mean, the skipped ones among them.
count_cases() { "$build/tests" -c -ns "$@" | sed -n 's/.*current filters: //p'; }

run_unit() {
  log=$log_dir/unit.log
  # Thread sanitizer of g++ 12 cannot live with the wide address randomisation of newer kernels.
  local prefix=()
  [[ $build != *thread* ]] || prefix=(setarch "$(uname -m)" -R)
  # shellcheck disable=SC2086  # several options are meant
  start "${prefix[@]}" "$build/tests" -nc ${WP_TEST_ARGS-}
  local counts
  counts=$(sed -n 's/^\[doctest\] test cases: *[0-9]* | *\([0-9]*\) passed | *\([0-9]*\) failed\( | *\([0-9]*\) skipped\)*.*/\1 \2 \4/p' "$log" | tail -n 1)
  local p f skipped
  read -r p f skipped <<<"${counts:-0 0 0}"
  # Those that need a server are run by s3_server_test.sh, which says so itself where it cannot.
  [ "$only" = unit ] || skipped=$((${skipped:-0} - $(count_cases -ts="s3 server")))
  # Output without doctest's last line, or no test at all, is no success.
  [ -n "$counts" ] && [ "$p$f" != 00 ] || [ "$status" != 0 ] || status=1
  if [ "${skipped:-0}" -gt 0 ]; then
    echo "left out: $skipped C++ test cases, by a filter or marked to be skipped" >>"$log"
  fi
  record unit "$log" "$status" "$p" "$f" "$seconds"
}

run_shell() {
  local name=${1#tests/}
  log=$log_dir/${name%.sh}.log
  start "$1" "$build/wp" "$build"
  local p=0 f=0 last
  last=$(tail -n 1 "$log")
  if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
    p=${BASH_REMATCH[1]}
    f=${BASH_REMATCH[2]}
  elif [ "$status" = 0 ]; then
    status=1
  fi
  record "${name%.sh}" "$log" "$status" "$p" "$f" "$seconds"
}

run_unit
if [ "$only" != unit ]; then
  for test in tests/*_test.sh; do run_shell "$test"; done
fi

if [ -s "$log_dir/left_out" ]; then
  echo
  echo "NOT EVERYTHING RAN:"
  sed 's/^/  /' "$log_dir/left_out"
  echo
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
