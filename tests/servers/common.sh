# Sourced by the scripts that start servers for the tests: ports, processes, and who outlives whom.
# Every server lives in a directory of its own, listens on 127.0.0.1 only, and keeps nothing outside.
set -euo pipefail

say() { echo "${0##*/}: $*" >&2; }
die() {
  say "$*"
  exit 1
}

# free_ports COUNT: that many ports that nobody listens on. Below the range from which the kernel
# gives ports to clients: one of those could be taken by any client while its server is down, even
# by a client that tries to reach just that server, and so talks to itself.
free_ports() {
  python3 - "$1" <<'END'
import random, socket, sys
held = []
while len(held) < int(sys.argv[1]):
    s = socket.socket()
    try:
        s.bind(("127.0.0.1", random.randrange(10000, 32000)))
        held.append(s)
    except OSError:
        pass
print(*[s.getsockname()[1] for s in held])
END
}

# Whether the process is no more. A zombie is no more too: its parent may never fetch it (a
# container's first process often does not), and `kill -0` still finds it.
gone() {
  local state
  state=$(sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -c 1) || :
  [ -z "$state" ] || [ "$state" = Z ]
}

# until_true SECONDS COMMAND...: tries it twenty times a second.
until_true() {
  local tries=$(($1 * 20))
  shift
  until "$@"; do
    [ $((tries -= 1)) -gt 0 ] || return 1
    sleep 0.05
  done
}

# signal SIGNAL PIDFILE...: to those that live.
signal() {
  local signal=$1 file pid
  shift
  for file in "$@"; do
    pid=$(cat "$file" 2>/dev/null) || continue
    gone "$pid" || kill -s "$signal" "$pid" 2>/dev/null || :
  done
}

# end PIDFILE...: kills them and waits until they are gone.
end() {
  local file pid
  signal KILL "$@"
  for file in "$@"; do
    pid=$(cat "$file" 2>/dev/null) || continue
    until_true 10 gone "$pid" || die "process $pid does not go"
    rm -f "$file"
  done
}

answers() { curl -s -o /dev/null --max-time 2 "$1"; }
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# make_bucket ENDPOINT BUCKET KEY SECRET. With the old signature, which both servers still take, as it
# is short, and nothing of ours.
make_bucket() {
  local date signature
  date=$(date -Ru)
  signature=$(printf 'PUT\n\n\n%s\n/%s' "$date" "$2" | python3 -c '
import base64, hmac, sys
print(base64.b64encode(hmac.digest(sys.argv[1].encode(), sys.stdin.buffer.read(), "sha1")).decode())' "$4")
  curl -sS --fail-with-body -X PUT -H "Date: $date" -H "Authorization: AWS $3:$signature" "$1/$2"
}

# What a client needs to know, for the tests and in the words that S3's tools understand.
print_env() {
  echo "export WP_TEST_S3_BUCKET=$2"
  echo "export AWS_ENDPOINT_URL_S3=$1 AWS_REGION=us-east-1"
  echo "export AWS_ACCESS_KEY_ID=$3 AWS_SECRET_ACCESS_KEY=$4"
}

# claim DIR FILE: it will be emptied, so it must be empty, or an earlier server's, which left FILE.
claim() {
  [ -e "$1/$2" ] || [ -z "$(ls -A "$1")" ] || die "$1 is neither empty nor an earlier server's"
}

# Ends the server of this directory as soon as process OWNER is gone, however it went.
watch_owner() {
  local owner=$1 script=$2 dir=$3
  setsid bash -c '
    while [ -e "/proc/$1" ] && ! grep -q "^State:.Z" "/proc/$1/status" && [ -d "$3" ]; do sleep 1; done
    [ ! -d "$3" ] || exec "$2" stop "$3"' watch "$owner" "$script" "$dir" >/dev/null 2>&1 </dev/null &
  disown
}
