#!/usr/bin/env bash
# wp against real S3 servers, started here: Ceph's gateway, and OpenStack Swift, which has no
# conditional writes. The contract of a store and the conformance list run on them, another client
# reads what we write, and the log lives through kills, outages and pauses of the gateway.
#
#   WP_S3_KILL_ROUNDS=50     how many times a writer is killed
#   WP_S3_SPACE_ROUNDS=15    how many times one that truncates and collects is
#   WP_S3_GATEWAY_ROUNDS=10  how many times the gateway is killed under that one
#   WP_S3_SEED=N             the seed of a run to repeat
#   WP_S3_PAUSE=25           seconds of the long pause: longer than a request waits for its answer
. "$(dirname "$0")/lib.sh"

servers=tests/servers
for program in radosgw ceph-mon ceph-osd swift-proxy-server curl; do
  command -v $program >/dev/null || missing="${missing-} $program"
done
/usr/bin/python3 -c 'import boto3' 2>/dev/null || missing="${missing-} python3-boto3"
if [ -n "${missing-}" ]; then
  left_out "real S3 servers: not installed:$missing (tools/deps.sh servers)"
  finish
fi
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_CA_BUNDLE AWS_ENDPOINT_URL http_proxy HTTP_PROXY all_proxy ALL_PROXY
export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true
export XDG_STATE_HOME=$tmp/state

# The servers' memory is theirs as long as they live: they end with this script, however it ends.
end_all() {
  [ ! -d "$tmp/rgw" ] || $servers/radosgw.sh stop "$tmp/rgw"
  [ ! -d "${swift-}" ] || $servers/swift.sh stop "$swift"
  rm -rf "$tmp" ${shm:+"$shm"}
}
trap end_all EXIT

# start SCRIPT DIR: and the environment that leads there.
start() {
  local begin=$EPOCHREALTIME lines
  if ! lines=$("$servers/$1" start "$2" $$ 2>"$tmp/start.log"); then
    fail "$1 starts" "$tmp/start.log"
    return 1
  fi
  eval "$lines"
  awk -v n="$1" -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "%s is ready after %.1f s\n", n, b - a }'
}

# cases WHAT OPTION...: C++ test cases, each counted.
cases() {
  local what=$1 counts p f begin=$SECONDS
  shift
  "$build/tests" -nc "$@" >"$tmp/cases.log" 2>&1 </dev/null
  local status=$?
  counts=$(sed -n 's/^\[doctest\] test cases: *[0-9]* | *\([0-9]*\) passed | *\([0-9]*\) failed.*/\1 \2/p' "$tmp/cases.log")
  read -r p f <<<"${counts:-0 0}"
  passed=$((passed + p))
  if [ "$status" != 0 ] || [ "$p" = 0 ]; then
    fail "$what" "$tmp/cases.log"
    [ "$f" -le 1 ] || failed=$((failed + f - 1))
  fi
  echo "$what: $p passed, $f failed, $((SECONDS - begin)) s"
}

# has WHAT PART FILE
has() { if grep -qF -- "$2" "$3"; then pass; else fail "$1: '$2' is not there" "$3"; fi; }
lacks() { if grep -qF -- "$2" "$3"; then fail "$1: '$2' is there" "$3"; else pass; fi; }
# fails WHAT COMMAND...: its words are in $tmp/fails.log.
fails() {
  local what=$1
  shift
  if "$@" >"$tmp/fails.log" 2>&1; then fail "$what: $*" "$tmp/fails.log"; else pass; fi
}
only_lsns() { grep -E '^[0-9]+$'; }  # without the summary at the end
other_client() { $servers/other_client.py "$@"; }
count() { other_client count "$@"; }

# Both clients read what the other wrote.
two_clients() {
  check "$1: another client writes" other_client write theirs "$tmp/theirs"
  WP_TEST_S3_FOREIGN=$tmp/theirs cases "$1: what another client wrote is read" -tc="what another client wrote*"
  WP_TEST_S3_OWN=$tmp/ours cases "$1: what another client is to read is written" -tc="what another client is to read*"
  check "$1: another client reads it" other_client check "$tmp/ours"
}

# ------------------------------------------------------------------------------- Ceph's gateway

start radosgw.sh "$tmp/rgw" || finish
gateway() { $servers/radosgw.sh "$1" "$tmp/rgw"; }
bucket=s3://$WP_TEST_S3_BUCKET

cases "radosgw: client and store" -ts="s3 server"
two_clients radosgw

# ---- the doctor

check "the doctor finds nothing wrong" "$wp" doctor "$bucket/ill"
"$wp" doctor "$bucket/ill" --json >"$tmp/doctor" 2>&1
same "nor does it in JSON" 0 $?
check "one object a line, each with its verdict" python3 -c '
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
checks = {line["check"]: line["verdict"] for line in lines}
wanted = """credentials dns connection tls clock region bucket versions lifecycle put get list delete keys create
race range clean price upload download""".split() + ["put latency", "get latency"]
assert sorted(checks) == sorted(wanted), checks
assert "wrong" not in checks.values(), checks' "$tmp/doctor"
same "it leaves nothing behind" 0 "$(count ill)"
for pause in 0.1 0.2 0.4; do
  "$wp" doctor "$bucket/ill" >"$tmp/doctor" 2>&1 &
  sleep $pause
  kill -INT $!
  wait $!
  same "nor when it is stopped after $pause s" 0 "$(count ill)"
done
fails "a wrong secret is wrong" env AWS_SECRET_ACCESS_KEY=another-secret "$wp" doctor "$bucket/ill"
has "a wrong secret" "check the secret key" "$tmp/fails.log"
lacks "a secret is never told" "another-secret" "$tmp/fails.log"
fails "a bucket that is not there is wrong" "$wp" doctor s3://wp-none/ill
has "it says so" "create the bucket" "$tmp/fails.log"
fails "a gateway that is not there is wrong" env AWS_ENDPOINT_URL_S3=http://127.0.0.1:9 "$wp" doctor "$bucket/ill"
has "it says so" "does not answer" "$tmp/fails.log"
fails "no credentials are wrong" env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY "$wp" doctor "$bucket/ill"
has "it says where it looked" "AWS_ACCESS_KEY_ID" "$tmp/fails.log"

# ---- TLS, with a certificate that nobody vouches for

fails "a certificate of nobody's is wrong" env AWS_ENDPOINT_URL_S3=$WP_TEST_S3_TLS "$wp" doctor "$bucket/ill"
has "in the line of TLS" "wrong  tls" "$tmp/fails.log"
"$wp" doctor "$bucket/ill?endpoint=$WP_TEST_S3_TLS&ca=$WP_TEST_S3_CA" >"$tmp/doctor" 2>&1 && pass ||
  fail "with its CA it is good" "$tmp/doctor"
has "by that CA" "good for 127.0.0.1 by $WP_TEST_S3_CA" "$tmp/doctor"

# ---- the log

[ -z "${WP_S3_NO_LOG-}" ] || finish
root=$bucket/log
seq -f 'line %.0f of a log in a bucket' 20000 >"$tmp/lines"
check "append" "$wp" append "$root" log "$tmp/lines"
"$wp" cat "$root" log >"$tmp/got" 2>"$tmp/cat.log" && cmp -s "$tmp/lines" "$tmp/got" && pass ||
  fail "cat gives back what was appended" "$tmp/cat.log"
check "verify" "$wp" verify "$root"
"$wp" info "$root" >"$tmp/info" 2>&1 && pass || fail "info" "$tmp/info"
has "info counts requests" " get" "$tmp/info"
has "info says what they cost" 'price on S3' "$tmp/info"
has "in dollars" '$0.0' "$tmp/info"
key=$("$wp" dump "$root" root --json 2>"$tmp/dump" | sed -n 's/.*"next_key":"\([^"]*\)".*/\1/p')
"$wp" dump "$root" "${root#s3://*/}/$key" >"$tmp/dump" 2>&1 && pass || fail "dump of a slot" "$tmp/dump"
has "dump names what it follows" "root, which is there, with that digest" "$tmp/dump"
has "dump knows the log's name" "create log 1 log" "$tmp/dump"
fails "dump of what is not there" "$wp" dump "$root" "${key%0}f"
has "dump names the nearest key" "the nearest is ${key%/*}/" "$tmp/fails.log"
echo more | "$wp" append "$root" log >"$tmp/append.log" 2>&1
has "append says what it cost" "on S3" "$tmp/append.log"

# The view is a cache.
rm -rf "$XDG_STATE_HOME"
{ cat "$tmp/lines"; echo more; } >"$tmp/wanted"
"$wp" cat "$root" log >"$tmp/got" 2>&1
check "without its view all is still there" cmp "$tmp/wanted" "$tmp/got"
same "and the next entry comes behind it" 20002 \
  "$(echo again | "$wp" append --print-acks "$root" log 2>"$tmp/append.log" | only_lsns)"

# Over TLS, where the bodies need not be hashed; the same root, but another view.
tls="$root?endpoint=$WP_TEST_S3_TLS&ca=$WP_TEST_S3_CA&unsigned_payload=true"
fails "no log is read from who cannot be trusted" "$wp" cat "$root?endpoint=$WP_TEST_S3_TLS&open_timeout_ms=3000" log
lacks "nothing of it is shown" "line 1 of" "$tmp/fails.log"
same "a log is appended to over TLS" 20003 "$(echo hidden | "$wp" append --print-acks "$tls" log 2>"$tmp/append.log" | only_lsns)"
same "and read" hidden "$("$wp" cat --from 20003 "$tls" log 2>&1)"

# ---- a follower in another process

"$wp" tail -f -n 1 "$root" log >"$tmp/followed" 2>"$tmp/follow.log" &
follower=$!
within_lines() { for _ in {1..500}; do [ "$(wc -l <"$tmp/followed")" -ge "$1" ] && return; sleep 0.02; done; false; }
check "tail -f begins with what is there" within_lines 1
seq 3 | "$wp" append "$root" log >"$tmp/append.log" 2>&1
check "and shows what another process appends" within_lines 4
kill $follower
wait $follower
same "just that" "hidden 1 2 3" "$(tr '\n' ' ' <"$tmp/followed" | sed 's/ $//')"

# ---- writers killed

rounds=${WP_S3_KILL_ROUNDS:-50}
seed=${WP_S3_SEED:-$((RANDOM * 32768 + RANDOM))}
if python3 tests/kill_rounds.py "$wp" "$bucket/killed" "$rounds" "$seed" >"$tmp/kill.log" 2>&1; then
  cat "$tmp/kill.log"
  passed=$((passed + rounds))
else
  fail "killed writers, seed $seed" "$tmp/kill.log"
fi
check "verify after the kills" "$wp" verify "$bucket/killed"

# And one that truncates, commits cursors and collects.
rounds=${WP_S3_SPACE_ROUNDS:-15}
if python3 tests/space_kill_rounds.py "$wp" "$build/helpers/space_worker" "$bucket/space" "$rounds" "$seed" 2500 >"$tmp/kill.log" 2>&1; then
  cat "$tmp/kill.log"
  passed=$((passed + rounds))
else
  fail "killed while collecting, seed $seed" "$tmp/kill.log"
fi
# Beside the fences that stay: a few segments, two checkpoints, and slots of the last pass.
objects=$(count space)
check "little is left of it: $objects objects" test "$objects" -lt $((rounds + 32))

# ---- the gateway killed and paused

# Under a writer that truncates, commits cursors and collects, and that is killed with it every other
# time.
rounds=${WP_S3_GATEWAY_ROUNDS:-10}
begin=$SECONDS
if python3 tests/space_kill_rounds.py "$wp" "$build/helpers/space_worker" "$bucket/gateway" "$rounds" "$seed" 400 \
  $servers/radosgw.sh "$tmp/rgw" >"$tmp/kill.log" 2>&1; then
  cat "$tmp/kill.log"
  passed=$((passed + rounds))
else
  fail "gateway killed, seed $seed" "$tmp/kill.log"
fi
echo "kills of the gateway took $((SECONDS - begin)) s"
check "verify after the kills of the gateway" "$wp" verify "$bucket/gateway"

# trouble ROOT COUNT COMMAND...: appends COUNT lines at some 1,000 a second; COMMAND runs in the middle
# of it. At the end everything was acknowledged, in order, and is there once.
trouble() {
  local root=$1 count=$2 writer
  shift 2
  : >"$tmp/in" # or tail begins with what was there before
  python3 -c '
import sys, time
for i in range(1, int(sys.argv[1]) + 1):
    print("entry", i, "x" * (i * 7919 % 500), flush=True)
    time.sleep(0.001)' "$count" >"$tmp/in" &
  : >"$tmp/acks"
  tail -f -n +1 --pid=$! "$tmp/in" 2>/dev/null |
    "$wp" append --print-acks "$root" log >"$tmp/acks" 2>"$tmp/append.log" &
  writer=$!
  until [ "$(wc -l <"$tmp/acks")" -gt 50 ] || [ ! -e /proc/$writer ]; do sleep 0.02; done
  "$@"
  wait $writer && pass || fail "$*: the writer ends well" "$tmp/append.log"
  same "$*: every entry is acknowledged, in order" "$(seq "$count" | sha256sum)" "$(only_lsns <"$tmp/acks" | sha256sum)"
  "$wp" cat "$root" log >"$tmp/got" 2>"$tmp/cat.log" || fail "$*: cat" "$tmp/cat.log"
  check "$*: nothing is lost, nothing is there twice" cmp "$tmp/in" "$tmp/got"
}
gateway_dies() {
  for _ in 1 2 3; do
    gateway kill
    sleep 0.5
    gateway revive
    sleep 0.5
  done
}
gateway_sleeps() {
  gateway pause
  sleep "$1"
  gateway resume
}
trouble "$bucket/outage" 5000 gateway_dies
trouble "$bucket/short-pause" 2000 gateway_sleeps 2
trouble "$bucket/long-pause" 2000 gateway_sleeps "${WP_S3_PAUSE:-25}"

# ---- two writers

# On two machines: as far as two state directories make that.
mkfifo "$tmp/one"
: >"$tmp/acks"
root=$bucket/two
XDG_STATE_HOME=$tmp/machine1 "$wp" append --print-acks "$root" log <"$tmp/one" >"$tmp/acks" 2>"$tmp/one.log" &
first=$!
exec 9>"$tmp/one"
echo "of the first" >&9
until [ -s "$tmp/acks" ] || [ ! -e /proc/$first ]; do sleep 0.02; done
echo "of the second" | XDG_STATE_HOME=$tmp/machine2 "$wp" append "$root" log >"$tmp/two.log" 2>&1 &&
  pass || fail "a second machine takes over" "$tmp/two.log"
echo "of the first, too late" >&9
exec 9>&-
wait $first && fail "the first is told" "$tmp/one.log" || pass
has "the first is told that it was fenced" kFenced "$tmp/one.log"
same "it acknowledged only what is there" 1 "$(only_lsns <"$tmp/acks")"
same "nothing of it appears afterwards" "of the first
of the second" "$("$wp" cat "$root" log 2>&1)"

# ---- the conformance list

cases "radosgw: the conformance list" -sf="*conformance_*"

$servers/radosgw.sh stop "$tmp/rgw"

# ------------------------------------------------------------------------------- Swift

# In memory, where that has the attributes it needs: it syncs every object several times.
swift=$tmp/swift
shm=$(mktemp -d /dev/shm/wp-test.XXXXXX 2>/dev/null) &&
  python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.wp", b"")' "$shm" 2>/dev/null && swift=$shm/swift
start swift.sh "$swift" || finish
export WP_TEST_S3_PLAIN=1
bucket=s3://$WP_TEST_S3_BUCKET
# What cannot hold without conditional writes, and what counts their requests, is not asked of it.
cases "swift: client and store" -ts="s3 server" -sce="C40*,the meter*"
two_clients swift
fails "the doctor says what it lacks" "$wp" doctor "$bucket/ill"
has "what" "If-None-Match: * does not work" "$tmp/fails.log"
check "with exclusive=1 that is as agreed" "$wp" doctor "$bucket/ill?exclusive=1"
fails "no log is written there" "$wp" append "$bucket/log" log "$tmp/lines"
has "it says what is missing" "conditional" "$tmp/fails.log"
has "and the way out" "exclusive=1" "$tmp/fails.log"
same "and nothing was stored" 0 "$(count log)"
check "with exclusive=1 a log is written" "$wp" append "$bucket/log?exclusive=1" log "$tmp/lines"
"$wp" cat "$bucket/log" log >"$tmp/got" 2>"$tmp/cat.log" && cmp -s "$tmp/lines" "$tmp/got" && pass ||
  fail "and is read" "$tmp/cat.log"
check "and verified" "$wp" verify "$bucket/log"
finish
