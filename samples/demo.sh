#!/usr/bin/env bash
# Shows wp on data that is really there: this machine's package database and logs go into a
# directory root, the writer is killed with -9 in the middle of one of them, a new one goes on behind
# what was durable, and everything that comes back is compared with what went in.
#
#   samples/demo.sh WP     KEEP=1 leaves the root in place and says where it is
set -euo pipefail

wp=$(realpath "${1:-build/wp}")
work=$(mktemp -d "${TMPDIR:-/tmp}/wp-demo.XXXXXX")
trap '[ -n "${KEEP-}" ] && echo "kept: $work/root" || rm -rf "$work"' EXIT
root=$work/root
mkdir "$work/in"

say() { printf '%s\n' "$*"; }
die() { say "demo: $*" >&2; exit 1; }
now() { echo "$EPOCHREALTIME"; }
calc() { awk "BEGIN { printf \"$1\", $2 }"; }
bytes_of() { stat -c %s "$1"; }
sha() { sha256sum | cut -d' ' -f1; }

# ---- the input: one file of lines for each log

# gather NAME FILE...: of these files what is there and readable. NUL bytes, which no line of a log
# has, and a last line without its end are made lines, so that every byte comes back.
gather() {
  local name=$1 file files=()
  shift
  for file in "$@"; do [ -f "$file" ] && [ -r "$file" ] && files+=("$file"); done
  [ ${#files[@]} -gt 0 ] || return 0
  for file in "${files[@]}"; do
    case $file in *.gz) zcat "$file" ;; *) cat "$file" ;; esac | tr '\0' '\n' | sed -e '$a\'
  done >"$work/in/$name"
  [ -s "$work/in/$name" ] || rm "$work/in/$name"
}
gather packages /var/lib/dpkg/status
gather files /var/lib/dpkg/info/*.list
gather checksums /var/lib/dpkg/info/*.md5sums
gather dpkg-log /var/log/dpkg.log*
gather apt-log /var/log/apt/*.log /var/log/apt/*.log.*.gz
gather system-log /var/log/syslog /var/log/messages /var/log/kern.log /var/log/auth.log
shopt -s nullglob
inputs=("$work"/in/*)
[ ${#inputs[@]} -gt 0 ] || die "found neither a package database nor logs to read in /var"

total=$(cat "${inputs[@]}" | wc -c)
if [ "$total" -lt 4000000 ]; then
  say "only $total bytes of logs here; a listing of /usr is added"
  find /usr -xdev -type f -printf '%T+ %s %p\n' 2>/dev/null >"$work/in/usr-listing" || :
  inputs=("$work"/in/*)
  total=$(cat "${inputs[@]}" | wc -c)
fi
biggest=$(ls -S "${inputs[@]}" | head -n 1)
lines_all=$(cat "${inputs[@]}" | wc -l)
say "$((total / 1000)) kB in $lines_all lines of this machine, as ${#inputs[@]} logs, one entry a line"

# ---- append; one writer is killed on the way

seconds=0
append() {
  local begin
  begin=$(now)
  "$wp" append "$root" "$1" >/dev/null
  seconds=$(calc %.6f "$seconds + $(now) - $begin")
}

# How many entries of the log are durable.
durable() { "$wp" cat "$root" "$1" 2>/dev/null | wc -l || :; }

# The writer gets a part of the file and then waits for more, so it is alive for certain when it is
# killed; what it has acknowledged by then is up to it.
name=$(basename "$biggest")
lines=$(wc -l <"$biggest")
mkfifo "$work/pipe"
"$wp" append --print-acks "$root" "$name" <"$work/pipe" >"$work/acks" 2>"$work/errors" &
writer=$!
exec 9>"$work/pipe"
head -n $((lines / 2)) "$biggest" >&9 &
feeder=$!
until [ "$(wc -l <"$work/acks")" -gt $((lines / 10)) ]; do
  kill -0 $writer 2>/dev/null || die "the writer ended by itself: $(cat "$work/errors")"
  sleep 0.01
done
kill -9 $writer
wait $writer 2>/dev/null || :
wait $feeder 2>/dev/null || :
exec 9>&-
acked=$(sed '/^[0-9]*$/!d' "$work/acks" | tail -n 1)
have=$(durable "$name")
say "'$name': killed with -9 after $acked of $lines entries were acknowledged; $have are there"
[ "$have" -ge "$acked" ] || die "acknowledged entries are missing"
[ "$have" -lt "$lines" ] || die "the writer was killed too late"
tail -n +$((have + 1)) "$biggest" | append "$name"
say "'$name': opened again, went on at entry $((have + 1))"
appended=$(tail -n +$((have + 1)) "$biggest" | wc -c)

for file in "${inputs[@]}"; do
  [ "$file" = "$biggest" ] && continue
  append "$(basename "$file")" <"$file"
  appended=$((appended + $(bytes_of "$file")))
done

# ---- read back, compare, verify

printf '\n%-12s %10s %12s  %-18s %s\n' log entries bytes sha256 "what came back"
begin=$(now)
same=1
for file in "${inputs[@]}"; do
  name=$(basename "$file")
  in=$(sha <"$file")
  back=$("$wp" cat "$root" "$name" | sha)
  [ "$in" = "$back" ] && verdict=identical || { verdict="DIFFERENT: $back"; same=0; }
  printf '%-12s %10d %12d  %-18s %s\n' "$name" "$(wc -l <"$file")" "$(bytes_of "$file")" \
    "${in:0:16}.." "$verdict"
done
read_seconds=$(calc %.6f "$(now) - $begin")
"$wp" verify "$root" >"$work/verify" 2>&1 || { cat "$work/verify"; die "wp verify found damage"; }

# ---- figures

objects=$(find "$root" -type f -path '*/j/*' | wc -l)
stored=$(find "$root" -type f ! -name 'wp.sqlite*' ! -name '*lock*' -printf '%s\n' | awk '{ n += $1 } END { print n }')
say
say "verify         clean"
say "append         $(calc '%.1f MB/s' "$appended / 1e6 / $seconds"), durable, with starting the tool each time"
say "read back      $(calc '%.1f MB/s' "$total / 1e6 / $read_seconds"), with sha256 on both sides"
say "stored         $stored bytes in $objects journal objects: $(calc '%.1f' "$total / $stored") times smaller than the input"
say "price on S3    $(calc '$%.6f' "$stored / 1e9 * 0.023") a month to keep it, $(calc '$%.6f' "$objects / 1000 * 0.005") once to put it there"
say "               (at \$0.023 per GB and month, \$0.005 per 1,000 PUT)"
[ "$same" = 1 ] || die "something came back different"
