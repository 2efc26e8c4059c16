#!/usr/bin/env bash
# A second real S3 server for the tests, of other people in another language: OpenStack Swift with its
# S3 layer. Debian's packages swift, swift-proxy, swift-account, swift-container, swift-object; no root
# needed. It is stricter than most about signatures, and refuses every conditional write with 501: it
# is the store that lacks them. What it stores lies in DIR, which must be on a file system with
# extended attributes of users.
#
#   swift.sh start DIR [OWNER]   from nothing to a bucket; prints `export` lines to be evaluated,
#                                which stay in DIR/env. Ends by itself once process OWNER is gone
#   swift.sh stop DIR            ends it
#   swift.sh kill DIR            kills it, as an outage would: what was stored stays
#   swift.sh revive DIR          starts it again, at the same address
#   swift.sh pause|resume DIR    stops the process and continues it
. "$(dirname "$0")/common.sh"

[ $# -ge 2 ] || { sed -n 's/^#   //p' "$0" >&2; exit 2; }
command=$1
mkdir -p "$2"
dir=$(realpath "$2")
owner=${3-}
here=$(realpath "$(dirname "$0")")
access_key=test:tester
secret_key=testing
bucket=wp-test

is_up() { [ "$(curl -s --max-time 2 "$endpoint/healthcheck")" = OK ]; }

start_server() {
  endpoint=http://127.0.0.1:${ports%% *}
  # Debian's interpreter, which has Debian's modules.
  # shellcheck disable=SC2086  # several ports
  setsid /usr/bin/python3 "$here/swift_server.py" "$dir" $ports >>"$dir/log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
  disown
  up_or_gone() { is_up || gone "$(cat "$dir/pid")"; }
  until_true 30 up_or_gone && is_up
}

case $command in
  start)
    claim "$dir" swift.conf
    for try in 1 2 3; do
      end "$dir/pid"
      rm -rf "${dir:?}"/*
      ports=$(free_ports 4)
      start_server && make_bucket "$endpoint" "$bucket" "$access_key" "$secret_key" >>"$dir/log" 2>&1 &&
        break
      [ $try != 3 ] || { tail -n 20 "$dir/log" >&2; end "$dir/pid"; die "does not start"; }
      say "start $try failed, again"
    done
    echo "$ports" >"$dir/ports"
    [ -z "$owner" ] || watch_owner "$owner" "$here/swift.sh" "$dir"
    print_env "$endpoint" "$bucket" "$access_key" "$secret_key" | tee "$dir/env"
    ;;
  stop | kill) end "$dir/pid" ;;
  revive)
    end "$dir/pid"
    ports=$(cat "$dir/ports")
    start_server || die "does not come up; see $dir/log"
    ;;
  pause) signal STOP "$dir/pid" ;;
  resume) signal CONT "$dir/pid" ;;
  *) die "no command '$command'" ;;
esac
