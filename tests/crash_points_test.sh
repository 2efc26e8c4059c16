#!/usr/bin/env bash
# A crash at each system call of a fixed script, on a directory: of the process, and of the machine,
# whose disk may then have lost, torn or reordered whatever was not synced. Afterwards all that was
# acknowledged is there, once, in order and whole, and the log goes on. What of it is done in which
# way is said at the top of tests/crash/main.cpp.
#
#   WP_CRASH_ALL=1     every variant of a disk before every call: some minutes
#   WP_CRASH_SEED=N    of what is left to chance; the order of threads is not repeated
#   WP_CRASH_KEEP=DIR  where disks that fail are left
. "$(dirname "$0")/lib.sh"

# Thousands of small files are made and removed, and how they are kept does not matter.
dir=$(mktemp -d /dev/shm/wp-test.XXXXXX 2>/dev/null)
if [ -n "$dir" ] && [ "$(df --output=avail -k "$dir" | tail -n 1)" -gt 30000 ]; then
  trap 'rm -rf "$tmp" "$dir"' EXIT
else
  echo "no room in /dev/shm: this takes its time in $tmp"
  [ -z "$dir" ] || rmdir "$dir"
  dir=$tmp
fi
options=(--seed="${WP_CRASH_SEED:-$RANDOM}")
[ -z "${WP_CRASH_ALL-}" ] || options+=(--all --every=1)
[ -z "${WP_CRASH_KEEP-}" ] || options+=(--keep="$WP_CRASH_KEEP")

# crash KIND WORDS OPTION...: each crash point counts, as the number before those words.
crash() {
  local kind=$1 words=$2 points
  shift 2
  "$build/crash" "$kind" "$dir" "$@" >"$tmp/crash.log" 2>&1
  local status=$?
  cat "$tmp/crash.log"
  points=$(sed -n "s/^\([0-9]*\) $words.*/\1/p" "$tmp/crash.log")
  if [ $status = 0 ] && [ -n "$points" ]; then
    passed=$((passed + points))
  else
    fail "crash $kind $*" "$tmp/crash.log"
  fi
}

crash power "crash points" "${options[@]}"
points=$passed
crash kill "processes killed" "${options[@]}"
check "there were 2,000 crash points at least: $points" test "$points" -ge 2000
check "and 200 kills: $((passed - points))" test $((passed - points)) -ge 200
check "what is not synced is found to be lost" "$build/crash" proof "$dir"
cat "$tmp/check.log"
finish
