#!/usr/bin/env bash
# A real S3 server for the tests: Ceph's gateway on one monitor and one OSD that keeps all in memory.
# Debian's packages radosgw, ceph-mon, ceph-osd, ceph-common; no root needed. It verifies signatures,
# payload hashes and clocks, and its If-None-Match is atomic.
#
#   radosgw.sh start DIR [OWNER]   from nothing to a bucket; prints `export` lines to be evaluated,
#                                  which stay in DIR/env. Ends by itself once process OWNER is gone
#   radosgw.sh stop DIR            ends all of it, also what is stopped or half started
#   radosgw.sh kill DIR            kills the gateway alone, as an outage would: what was stored stays
#   radosgw.sh revive DIR          starts the gateway again, at the same address
#   radosgw.sh pause|resume DIR    stops the gateway's process and continues it
. "$(dirname "$0")/common.sh"

[ $# -ge 2 ] || { sed -n 's/^#   //p' "$0" >&2; exit 2; }
command=$1
mkdir -p "$2"
dir=$(realpath "$2")
owner=${3-}
conf=$dir/ceph.conf
access_key=WPTESTACCESSKEY
secret_key=wp+test/secret=key
bucket=wp-test
export CEPH_ARGS=

write_conf() {
  cat >"$conf" <<END
[global]
fsid = $fsid
mon host = [v1:127.0.0.1:$mon_port]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
run dir = $dir/run
pid file = $dir/run/\$name.pid
admin socket = $dir/run/\$name.asok
log file = $dir/log/\$name.log
mon cluster log file = $dir/log/cluster.log
mon data = $dir/mon
osd data = $dir/osd

# A cluster of one, with a placement group a pool, and no second copy of anything.
mon allow pool size one = true
mon warn on pool no redundancy = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
mon max pg per osd = 1000
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 8589934592
# A disk that is nearly full would end the monitor, which hardly writes.
mon data avail warn = 1
mon data avail crit = 0

# Decisions at once: the defaults wait for others to agree, and make it 14 seconds to the first answer.
paxos propose interval = 0.05
paxos min wait = 0.01
mon tick interval = 1
osd heartbeat interval = 1
# Else an OSD asks for its place while it starts, and sometimes is refused with "wrong fsid".
osd crush update on start = false
osd class update on start = false

[client.rgw]
rgw data = $dir/rgw
# Without tcp_nodelay every small answer waits 40 ms for the client's acknowledgement.
rgw frontends = beast endpoint=127.0.0.1:$port ssl_endpoint=127.0.0.1:$tls_port ssl_certificate=$dir/cert.pem ssl_private_key=$dir/key.pem tcp_nodelay=1
rgw dns name = s3.localhost
rgw thread pool size = 64
# What was deleted frees its memory soon.
rgw gc max objs = 4
rgw gc obj min wait = 5
rgw gc processor period = 5
rgw lc max objs = 2
rgw enable quota threads = false
rgw run sync thread = false
rgw dynamic resharding = false
rgw override bucket index max shards = 0
END
}

osd_is_up() { ceph -c "$conf" osd stat 2>/dev/null | grep -q '1 up'; }

start_gateway() {
  radosgw -c "$conf" -n client.rgw >>"$dir/log/radosgw.out" 2>&1 &&
    until_true 20 answers "http://127.0.0.1:$port/"
}

start_cluster() {
  local uuid log=$dir/log/start.log
  fsid=$(cat /proc/sys/kernel/random/uuid)
  uuid=$(cat /proc/sys/kernel/random/uuid)
  read -r port tls_port mon_port < <(free_ports 3)
  rm -rf "${dir:?}"/*
  mkdir -p "$dir"/{mon,osd,run,log}
  write_conf
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=wp-test \
    -addext subjectAltName=IP:127.0.0.1,DNS:localhost -keyout "$dir/key.pem" -out "$dir/cert.pem" >>"$log" 2>&1 &&
    monmaptool --create --clobber --fsid "$fsid" --addv a "[v1:127.0.0.1:$mon_port]" "$dir/monmap" >>"$log" 2>&1 &&
    ceph-mon -c "$conf" -i a --mkfs --monmap "$dir/monmap" >>"$log" 2>&1 &&
    ceph-mon -c "$conf" -i a >>"$log" 2>&1 &&
    # The same uuid in both places, or the OSD never counts as up.
    ceph -c "$conf" osd new "$uuid" >>"$log" 2>&1 &&
    ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$uuid" >>"$log" 2>&1 &&
    ceph -c "$conf" osd crush add osd.0 1 root=default host=localhost >>"$log" 2>&1 &&
    ceph-osd -c "$conf" -i 0 >>"$log" 2>&1 &&
    until_true 20 osd_is_up &&
    start_gateway &&
    radosgw-admin -c "$conf" user create --uid=test --display-name=test \
      --access-key="$access_key" --secret-key="$secret_key" >>"$log" 2>&1 &&
    make_bucket "http://127.0.0.1:$port" "$bucket" "$access_key" "$secret_key" >>"$log" 2>&1
}

stop() { end "$dir"/run/{client.rgw,osd.0,mon.a}.pid; }

case $command in
  start)
    claim "$dir" ceph.conf
    for try in 1 2 3; do
      stop
      start_cluster && break
      [ $try != 3 ] || { tail -n 20 "$dir"/log/start.log >&2; die "does not start; see $dir/log"; }
      say "start $try failed, again"
    done
    echo "$port" >"$dir/port"
    [ -z "$owner" ] || watch_owner "$owner" "$(realpath "$0")" "$dir"
    {
      print_env "http://127.0.0.1:$port" "$bucket" "$access_key" "$secret_key"
      # The same gateway behind TLS, with a certificate that nobody else vouches for.
      echo "export WP_TEST_S3_TLS=https://127.0.0.1:$tls_port WP_TEST_S3_CA=$dir/cert.pem"
    } | tee "$dir/env"
    ;;
  stop) stop ;;
  kill) end "$dir/run/client.rgw.pid" ;;
  revive)
    port=$(cat "$dir/port")
    end "$dir/run/client.rgw.pid"
    start_gateway || die "the gateway does not come up; see $dir/log"
    ;;
  pause) signal STOP "$dir/run/client.rgw.pid" ;;
  resume) signal CONT "$dir/run/client.rgw.pid" ;;
  *) die "no command '$command'" ;;
esac
