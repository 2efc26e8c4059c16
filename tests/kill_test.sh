#!/usr/bin/env bash
# `wp append` killed with -9 at any moment loses nothing that it acknowledged: every LSN it printed
# is there with exactly its payload, no entry is torn, missing or there twice, and the next opening
# goes on behind it. A writer that truncates, commits cursors and collects loses nothing either, and
# leaves nothing behind. And a second writer on a root is refused at once, by the holder's pid.
#
#   WP_KILL_ROUNDS=300         how many times `wp append` is killed
#   WP_SPACE_KILL_ROUNDS=200   how many times the one that truncates and collects is
#   WP_KILL_SEED=N             the seed of a run to repeat
. "$(dirname "$0")/lib.sh"

rounds=${WP_KILL_ROUNDS:-300}
seed=${WP_KILL_SEED:-$((RANDOM * 32768 + RANDOM))}
if python3 tests/kill_rounds.py "$wp" "$tmp/root" "$rounds" "$seed" >"$tmp/kill.log" 2>&1; then
  cat "$tmp/kill.log"
  passed=$((passed + rounds))
else
  fail "killed writers, seed $seed" "$tmp/kill.log"
fi
check "wp verify after all of it" "$wp" verify "$tmp/root"

# ---- a writer that truncates and collects

rounds=${WP_SPACE_KILL_ROUNDS:-200}
if python3 tests/space_kill_rounds.py "$wp" "$build/helpers/space_worker" "$tmp/space" "$rounds" "$seed" >"$tmp/kill.log" 2>&1; then
  cat "$tmp/kill.log"
  passed=$((passed + rounds))
else
  fail "killed while collecting, seed $seed" "$tmp/kill.log"
fi

# ---- a second writer

mkfifo "$tmp/in"
"$wp" append --print-acks "$tmp/root" log <"$tmp/in" >"$tmp/acks" 2>"$tmp/holder.log" &
holder=$!
exec 9>"$tmp/in"
echo "held" >&9
until [ -s "$tmp/acks" ] || ! kill -0 $holder 2>/dev/null; do sleep 0.02; done
if ! kill -0 $holder 2>/dev/null; then
  fail "the first writer holds the root" "$tmp/holder.log"
  finish
fi

begin=$EPOCHREALTIME
echo "second" | "$wp" append "$tmp/root" log >"$tmp/second.log" 2>&1
status=$?
took=$(awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "%d", (b - a) * 1000 }')
echo "a second writer was refused after $took ms"
check "a second writer is refused" test $status != 0
check "within a second (100 ms are promised; machines are noisy)" test "$took" -lt 1000
grep -qw "$holder" "$tmp/second.log" && pass || fail "it names the holder, pid $holder" "$tmp/second.log"
grep -q kBusy "$tmp/second.log" && pass || fail "it says kBusy" "$tmp/second.log"

echo "still held" >&9
exec 9>&-
wait $holder && pass || fail "the first writer goes on and ends well" "$tmp/holder.log"
same "nothing of the second" "held
still held" "$("$wp" cat "$tmp/root" log | tail -n 2)"
finish
