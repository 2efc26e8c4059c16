#!/usr/bin/env bash
# Fuzzes: tests/fuzz/run.sh FUZZ SECONDS [TARGET...]. Begins with the corpus in the tree; what is new
# gathers beside the program, and an input that breaks something is kept there and named. Ends with
# one line over all targets, "N passed, N failed".
set -uo pipefail

fuzz=$(realpath "$1")
seconds=$2
cd "$(dirname "$0")" || exit 2
shift 2
targets=("$@")
[ $# -gt 0 ] || targets=($(ls corpus))
passed=0
failed=0
for target in "${targets[@]}"; do
  found=$(dirname "$fuzz")/corpus/$target
  crash=$(dirname "$fuzz")/crash-$target-
  mkdir -p "$found"
  log=$(dirname "$fuzz")/log-$target
  begin=$EPOCHREALTIME
  if WP_FUZZ=$target "$fuzz" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 \
    -use_value_profile=1 -print_final_stats=1 -artifact_prefix="$crash" "$found" "corpus/$target" \
    >"$log" 2>&1; then
    passed=$((passed + 1))
    printf '%-18s %10s inputs tried, coverage %s\n' "$target" \
      "$(sed -n 's/^stat::number_of_executed_units: //p' "$log")" \
      "$(grep -o 'cov: [0-9]*' "$log" | tail -n 1)"
  else
    failed=$((failed + 1))
    echo "FAIL: $target after $(awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.0f", b - a }') s; the last lines of $log:"
    tail -n 40 "$log" | cut -c1-300 | sed 's/^/    /'
  fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
