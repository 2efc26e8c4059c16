#!/usr/bin/env bash
# The samples do what their first lines say, and README.md shows samples/hello.cpp as it is.
. "$(dirname "$0")/lib.sh"
samples=$build/samples

# output NAME ARGUMENTS...: what the sample prints; a bad end is told as well.
output() {
  local name=$1
  shift
  "$samples/$name" "$@" 2>&1 || echo "$name ended with exit code $?"
}

# ---- hello

awk '/^```cpp$/ { on = 1; next } /^```$/ { if (on) exit } on' README.md >"$tmp/readme.cpp"
check "README.md shows samples/hello.cpp" diff "$tmp/readme.cpp" samples/hello.cpp
same "hello" "1 hello, log" "$(output hello "$tmp/hello")"
same "hello, again" "$(printf '1 hello, log\n2 hello, log')" "$(output hello "$tmp/hello")"
same "hello, in memory" "1 hello, log" "$(output hello)"

# ---- async_backpressure

output async_backpressure "$tmp/async" 5000 >"$tmp/async.log"
same "async_backpressure acknowledges all" "durable 5000, failed 0, last LSN 5000" \
  "$(tail -n 1 "$tmp/async.log" | cut -d, -f1-3)"
same "and tells on the way" 3 "$(grep -c '^appended .*, acknowledged up to ' "$tmp/async.log")"

# ---- tail

news() { for i in 1 2 3 4 5; do echo "$(($1 + i)) news $i"; done; echo "$(($1 + 6)) end"; }
same "tail" "$(news 0)" "$(output tail "$tmp/tail")"
same "tail shows only what is new" "$(news 6)" "$(output tail "$tmp/tail")"

# ---- consumer

same "a consumer handles what there is" "$(printf '1 a\n2 b\n3 c')" "$(output consumer "$tmp/work" mail a b c)"
same "and later only what is new" "4 d" "$(output consumer "$tmp/work" mail d)"
same "or nothing" "" "$(output consumer "$tmp/work" mail)"
same "another one begins at the first entry that is left" "$(printf '1 a\n2 b\n3 c\n4 d')" \
  "$(output consumer "$tmp/work" index)"
same "one of them goes on" "5 e" "$(output consumer "$tmp/work" mail e)"
check "collecting" "$wp" gc "$tmp/work"
same "what both have passed is gone, and no more" "e" "$("$wp" cat "$tmp/work" work)"
same "the slower one goes on where it was" "5 e" "$(output consumer "$tmp/work" index)"

# ---- counter: killed at any moment, what it printed counts

same "a counter begins at 0" 0 "$(output counter "$tmp/count" visits)"
same "+5" 5 "$(output counter "$tmp/count" visits +5)"
same "another one" -3 "$(output counter "$tmp/count" "other name" +-3)"
same "still there" 5 "$(output counter "$tmp/count" visits)"

# 150 increments, past the snapshot; every third one is killed, at a moment that differs each time.
begun=5
told=5
in_order=1
for round in $(seq 150); do
  begun=$((begun + 1))
  : >"$tmp/value" # one that is killed before it comes to that would leave the value of the last
  "$samples/counter" "$tmp/count" visits +1 >"$tmp/value" 2>"$tmp/errors" &
  pid=$!
  if [ $((round % 3)) = 0 ]; then
    sleep "0.0$((RANDOM % 4))$((RANDOM % 10))"
    kill -9 $pid 2>/dev/null
  fi
  wait $pid 2>/dev/null
  value=$(cat "$tmp/value")
  [ -s "$tmp/errors" ] && fail "round $round" "$tmp/errors"
  [ -n "$value" ] || continue
  # What was printed before is in it; it may hold the increment of a run that was killed unheard.
  [ "$value" -gt "$told" ] && [ "$value" -le "$begun" ] || in_order=0
  told=$value
done
same "every printed value was kept, none counted twice" 1 $in_order
final=$(output counter "$tmp/count" visits)
check "the end: at least $told, at most $begun" test "$final" -ge "$told" -a "$final" -le "$begun"
same "the other counter is as it was" -3 "$(output counter "$tmp/count" "other name")"
check "the log was shortened behind a snapshot" \
  bash -c '"$1" cat --lsn "$2" counters | head -n 1 | grep -qv "^1[[:space:]]"' _ "$wp" "$tmp/count"
finish
