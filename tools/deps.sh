#!/usr/bin/env bash
# Installs what is missing of Debian's packages: tools/deps.sh [--check] GROUP...
# Where nothing is missing it takes some ten milliseconds and says nothing. --check installs
# nothing and fails, naming what is missing.
set -euo pipefail

declare -A groups=(
  [build]="g++ make pkg-config libsqlite3-dev libcurl4-openssl-dev libssl-dev libzstd-dev"
  [test]="doctest-dev python3 sqlite3 zstd strace cmake binutils"
  [check]="clang-14 clang-format-14"
  [fuzz]="clang-14 libclang-rt-14-dev"
  # Checks the model of the protocol (model/) with every order of events.
  [model]="spin gcc"
  # Real S3 servers that the tests start by themselves (tests/servers), and other clients to compare
  # with.
  [servers]="radosgw ceph-mon ceph-osd ceph-common swift swift-proxy swift-account swift-container
    swift-object curl openssl python3-boto3"
)

check=
[ "${1-}" != --check ] || { check=1; shift; }
wanted=()
for group in "$@"; do
  [ -n "${groups[$group]-}" ] || { echo "deps: no group '$group'; there are: ${!groups[*]}" >&2; exit 2; }
  read -rd '' -a names <<<"${groups[$group]}" || :
  wanted+=("${names[@]}")
done
[ ${#wanted[@]} -gt 0 ] || { echo "usage: tools/deps.sh [--check] GROUP... of: ${!groups[*]}" >&2; exit 2; }

if ! command -v dpkg-query >/dev/null; then
  echo "deps: not a Debian system; needed is what Debian calls: ${wanted[*]}" >&2
  exit 0
fi

# dpkg-query fails where a name is unknown to it: that is an answer too, and the loop reads it.
installed=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' "${wanted[@]}" 2>/dev/null || :) "
missing=()
for name in "${wanted[@]}"; do
  [[ $installed == *" installed:$name "* ]] || missing+=("$name")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
  as_root=(sudo)
  command -v sudo >/dev/null || check=1
fi
if [ -n "$check" ]; then
  echo "deps: missing: ${missing[*]}; as root: apt-get install ${missing[*]}" >&2
  exit 1
fi

echo "deps: installing ${missing[*]}"
log=$(mktemp)
policy=
cleanup() {
  rm -f "$log"
  [ -z "$policy" ] || "${as_root[@]}" rm -f "$policy"
}
trap cleanup EXIT
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 "$@" \
    </dev/null >"$log" 2>&1 || { cat "$log" >&2; echo "deps: apt-get $1 failed" >&2; exit 1; }
}
# Packages with a daemon in them would start it: here it is only wanted as a program. Who has a
# policy of his own keeps it.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  policy=/usr/sbin/policy-rc.d
  "${as_root[@]}" sh -c 'printf "#!/bin/sh\nexit 101\n" >"$1" && chmod 755 "$1"' sh "$policy"
fi
apt update
apt install -y --no-install-recommends "${missing[@]}"
