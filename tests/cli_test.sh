#!/usr/bin/env bash
# The `wp` tool from end to end: what it prints where, its exit statuses, and how it ends when it is
# told to. Takes the tool's path. Waits only for what it can see, with a limit on the tries.
set -uo pipefail

[ $# -ge 1 ] || { echo "usage: $0 WP" >&2; exit 2; }
wp=$(realpath "$1")
tmp=$(mktemp -d "${TMPDIR:-/tmp}/wp-cli-test.XXXXXX")
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
cd "$tmp" || exit 2
root=$tmp/root
passed=0
failed=0

ok() {
  passed=$((passed + 1))
  echo "ok - $1"
}
not_ok() {
  failed=$((failed + 1))
  echo "not ok - $1"
  [ $# -lt 2 ] || printf '%s\n' "${@:2}" | cut -c1-400 | sed 's/^/    /'
}
# same NAME WANTED GOT
same() { if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "wanted: $2" "got:    $3"; fi; }
# has NAME PART TEXT
has() { if [[ $3 == *"$2"* ]]; then ok "$1"; else not_ok "$1" "wanted in it: $2" "got:    $3"; fi; }
# like NAME REGEX TEXT
like() { if [[ $3 =~ $2 ]]; then ok "$1"; else not_ok "$1" "wanted: $2" "got:    $3"; fi; }
# holds NAME COMMAND...
holds() { if "${@:2}" >"$tmp/holds.log" 2>&1; then ok "$1"; else not_ok "$1" "${*:2}" "$(tail -n 5 "$tmp/holds.log")"; fi; }

# run ARG...: the tool with standard input of the caller; sets out, err and status.
run() {
  "$wp" "$@" >"$tmp/out" 2>"$tmp/err"
  status=$?
  out=$(tr '\0' '@' <"$tmp/out")
  err=$(cat "$tmp/err")
}
# fails NAME STATUS PART ARG...: ends with that status, names the part on standard error, and says
# nothing on standard output.
fails() {
  run "${@:4}" </dev/null
  if [ "$status" = "$2" ] && [[ $err == *"$3"* ]] && [ -z "$out" ]; then
    ok "$1"
  else
    not_ok "$1" "wanted status $2 and: $3" "got status $status, out: $out" "err: $err"
  fi
}
# within NAME COMMAND...: until it succeeds, at most some 20 seconds.
within() {
  local tries
  for ((tries = 0; tries < 1000; ++tries)); do
    if "${@:2}" >/dev/null 2>&1; then
      ok "$1"
      return 0
    fi
    sleep 0.02
  done
  not_ok "$1" "never came true: ${*:2}"
  return 1
}
lines_are() { [ "$(wc -l <"$1")" -ge "$2" ]; }
ended() { ! kill -0 "$1" 2>/dev/null; }
json_lines() { python3 -c 'import json,sys
for line in open(sys.argv[1], encoding="utf-8"):
    value = json.loads(line)
    assert isinstance(value, dict), line
    assert line.endswith("\n")' "$1"; }
# field FILE KEY [LINE]: of the JSON object in that line (default: the first).
field() { python3 -c 'import json,sys
lines = open(sys.argv[1], encoding="utf-8").read().splitlines()
value = json.loads(lines[int(sys.argv[3])])
print(json.dumps(value.get(sys.argv[2], "absent"), ensure_ascii=False))' "$1" "$2" "${3-0}"; }
# json_line KEY VALUE: the number of the first line of $tmp/out whose object has it; -1 for none.
json_line() { python3 -c 'import json,sys
for number, line in enumerate(open(sys.argv[1], encoding="utf-8")):
    if str(json.loads(line).get(sys.argv[2])) == sys.argv[3]:
        print(number)
        break
else:
    print(-1)' "$tmp/out" "$1" "$2"; }

# ---- help, version, wrong usage

run --version
like "--version" '^wp [0-9]+\.[0-9]+\.[0-9]+$' "$out"
run --help
same "--help ends with 0" 0 "$status"
for command in append cat tail logs info truncate drop retain cursors why gc verify rebuild doctor dump; do
  has "--help lists $command" "  $command URL" "$out"
done
for command in append cat tail logs info truncate drop retain cursors why gc verify rebuild doctor dump; do
  run $command --help
  if [ "$status" = 0 ] && [[ $out == *"usage: wp $command"* && $out == *"example:"*"wp $command"* ]]; then
    ok "$command --help has usage and an example"
  else
    not_ok "$command --help has usage and an example" "$out$err"
  fi
done
run help cat
has "help COMMAND is the same" "usage: wp cat" "$out"
run </dev/null
same "no command is wrong usage" 2 "$status"
has "and shows the help on standard error" "usage: wp" "$err"
fails "an unknown command names the nearest" 2 "did you mean append?" apend "$root" a
fails "an unknown option names the nearest" 2 "did you mean --from?" cat "$root" a --form 1
fails "an unknown option before the command" 2 "did you mean --version?" --versoin
fails "too few operands" 2 "URL LOG" append "$root"
fails "too many operands" 2 "one operand too many: 'c'" cat "$root" a c
fails "an option without its value" 2 "--from needs a value" cat "$root" a --from
fails "a switch with a value" 2 "takes no value" cat "$root" a --lsn=1
fails "an unknown scheme" 2 "" cat "gopher://x" a
fails "an unknown scheme that is nearly one" 2 "file" cat "fiel:///x" a
fails "an unknown option in the URL names the nearest" 2 "linger_ms" cat "$root?linger_sm=1" a
fails "an empty URL" 2 "" cat "" a
for bad in "" x 1x -1 1.5 18446744073709551616; do
  fails "--from '$bad'" 2 "--from" cat "$root" a --from "$bad"
done
fails "--from 0 is no LSN" 2 "no LSN" cat "$root" a --from 0
fails "--to before --from" 2 "--to" cat "$root" a --from 5 --to 4
fails "--from with --since" 2 "exclude" cat "$root" a --from 5 --since 5m
fails "--since with no time" 2 "yesterday" cat "$root" a --since yesterday
fails "--raw with --nul" 2 "exclude" cat "$root" a --raw --nul
fails "--json with --raw" 2 '"error":"kInvalid"' cat "$root" a --json --raw
fails "--window 0" 2 "--window" append "$root" a --window 0
fails "--prop without =" 2 "KEY=VALUE" append "$root" a --prop k
fails "--prop without a key" 2 "KEY=VALUE" append "$root" a --prop =v
fails "--nul with --whole-file" 2 "exclude" append "$root" a --nul --whole-file
fails "cat --prop without =" 2 "KEY=VALUE" cat "$root" a --prop k
fails "info --metrics with --json" 2 "exclude" info "$root" --metrics --json
fails "info --metrics of a log" 2 "--metrics" info "$root" a --metrics
for bad in "" x 7 -1d 7x 1.5h; do
  fails "retain --age '$bad'" 2 "--age" retain "$root" a --age "$bad"
  fails "retain --hold-age '$bad'" 2 "--hold-age" retain "$root" a --hold-age "$bad"
done
for bad in "" x -1 10X 1.5G 99999999T; do
  fails "retain --bytes '$bad'" 2 "--bytes" retain "$root" a --bytes "$bad"
  fails "retain --hold-bytes '$bad'" 2 "--hold-bytes" retain "$root" a --hold-bytes "$bad"
done
fails "retain --none with another" 2 "--none" retain "$root" a --none --age 0s
fails "cursors --drop without a name" 2 "name" cursors "$root" a --drop
fails "cursors --commit without a name" 2 "name" cursors "$root" a --commit 1
fails "cursors --commit with --drop" 2 "exclude" cursors "$root" a c --commit 1 --drop
fails "cursors --commit -1" 2 "--commit" cursors "$root" a c --commit -1
fails "gc with an option that is none" 2 "did you mean --dry-run?" gc "$root" --dry-rum
fails "gc with a grace that is none" 2 "reclaim_grace_ms" gc "$root?reclaim_grace_ms=x"
fails "truncate at LSN 0" 2 "no LSN" truncate "$root" a 0
run cat "$root" a --jsno --json </dev/null
holds "a usage error with --json is JSON" json_lines "$tmp/err"
same "with the code" '"kInvalid"' "$(field "$tmp/err" error)"

# ---- nothing there: not found, and nothing is made

for command in "cat $root a" "tail $root a" "tail -f $root a" "logs $root" "info $root" \
  "info $root a" "truncate $root a 1" "drop $root a" "verify $root" "rebuild $root" "why $root" \
  "gc $root" "gc $root --dry-run" "retain $root a" "retain $root a --age 7d" "cursors $root a" \
  "dump $root root"; do
  # shellcheck disable=SC2086  # the words of the command
  fails "$command: not found" 1 "kNotFound" $command
done
holds "and nothing was created" test ! -e "$root"
fails "append of a file that is not there" 1 "nowhere" append "$root" a "$tmp/nowhere"
holds "creates nothing either" test ! -e "$root"

# ---- append and cat

printf 'one\n\nthree' | { run append "$root" a; cp "$tmp/out" "$tmp/first"; echo "$status" >"$tmp/status"; }
same "append says what it did" "appended 3 entries, first 1, last 3" "$(cat "$tmp/first")"
same "and ends with 0" 0 "$(cat "$tmp/status")"
like "requests and price on standard error" '^[0-9]+ requests? \([0-9a-z, ]+\), \$[0-9.]+ on S3$' "$(cat "$tmp/err")"
run cat "$root" a
same "an empty line is an entry, a last line needs no end" "one||three|" "$(tr '\n' '|' <"$tmp/out")"
run append "$root" a </dev/null
same "an empty input" "appended 0 entries" "$out"
run append "$root" empty </dev/null
same "an empty input to a new log" "appended 0 entries" "$out"
run cat "$root" empty
same "which is there then, and empty" "0:" "$status:$out"
run tail "$root" empty
same "tail of an empty log" "0:" "$status:$out"
run append "$root" a --quiet < <(echo four)
same "--quiet leaves the result" "appended 1 entries, first 4, last 4" "$out"
same "--quiet says nothing else" "" "$err"
echo five >"$tmp/file"
run append "file://$root" a "$tmp/file"
same "append FILE, file:// URL" "appended 1 entries, first 5, last 5" "$out"
run append "$root" a - < <(echo six)
same "append - is standard input" "appended 1 entries, first 6, last 6" "$out"
run append "$root" a "$tmp"
same "append of a directory fails" 1 "$status"

run cat "$root" a --from 4
same "--from" "four|five|six|" "$(tr '\n' '|' <"$tmp/out")"
run cat "$root" a --from 3 --to 5
same "--to is inclusive" "three|four|five|" "$(tr '\n' '|' <"$tmp/out")"
run cat "$root" a --from 2 --count 2
same "--count" "|three|" "$(tr '\n' '|' <"$tmp/out")"
run cat "$root" a -n 0
same "--count 0 prints nothing" "0:" "$status:$out"
run cat "$root" a --to 1 --lsn
same "--lsn" "1"$'\t'"one" "$out"
run cat "$root" a --from 7
same "--from right behind the end is empty" "0:" "$status:$out"
fails "--from far behind the end" 2 "" cat "$root" a --from 100
run cat "$root" a --from 5 --nul
same "--nul" "five@six@" "$out"
run cat "$root" a --from 5 --raw
same "--raw" "fivesix" "$out"
run cat "$root" a --since 1h
same "--since, all of the last hour" 6 "$(wc -l <"$tmp/out")"
run cat "$root" a --since -1h --count 1
same "--since with a minus" "one" "$out"
run cat "$root" a --since 2100-01-01T00:00:00.5Z
same "--since in the future" "0:" "$status:$out"
run cat "$root" a --since 0 --from-nothing
same "usage is checked before anything is read" "2:" "$status:$out"

printf 'a\nb\0\0c' | "$wp" append "$root" nul --nul >/dev/null 2>&1
run cat "$root" nul --json
same "append --nul" '"a\nb" "" "c"' "$(field "$tmp/out" payload 0) $(field "$tmp/out" payload 1) $(field "$tmp/out" payload 2)"
printf 'all\nof\nit\n' >"$tmp/whole"
run append "$root" whole "$tmp/whole" --whole-file
same "append --whole-file" "appended 1 entries, first 1, last 1" "$out"
"$wp" cat "$root" whole --raw >"$tmp/out"
holds "comes back byte for byte" cmp "$tmp/whole" "$tmp/out"
run append "$root" whole --whole-file </dev/null
same "--whole-file of nothing is nothing" "appended 0 entries" "$out"
head -c 3000000 /dev/urandom >"$tmp/random"
"$wp" append "$root" random "$tmp/random" --whole-file >/dev/null 2>&1
"$wp" cat "$root" random --raw >"$tmp/out"
holds "3 MB of anything as one entry" cmp "$tmp/random" "$tmp/out"
tr -d '\n' <"$tmp/random" | head -c 2000000 >"$tmp/long"
{ cat "$tmp/long"; echo; echo end; } | "$wp" append "$root" long >/dev/null 2>&1
"$wp" cat "$root" long >"$tmp/out"
holds "a line of 2 MB" cmp <(cat "$tmp/long"; printf '\nend\n') "$tmp/out"
seq 300000 >"$tmp/many"
run append "$root" many "$tmp/many"
same "300,000 lines" "appended 300000 entries, first 1, last 300000" "$out"
"$wp" cat "$root" many >"$tmp/out"
holds "come back" cmp "$tmp/many" "$tmp/out"
run append "$root" windows --window 1 < <(seq 50)
same "--window 1" "appended 50 entries, first 1, last 50" "$out"
run append "$root" windows --window 7 < <(seq 51 500)
same "--window 7" "appended 450 entries, first 51, last 500" "$out"
holds "in order" cmp <(seq 500) <("$wp" cat "$root" windows)
run append "$root" acks --print-acks < <(seq 300)
same "--print-acks prints every LSN, then the result" "$(seq 300; echo "appended 300 entries, first 1, last 300")" "$out"
run append "$root" acks --print-acks --window 1 < <(seq 3)
same "--print-acks with --window 1" "$(seq 301 303; echo "appended 3 entries, first 301, last 303")" "$out"

printf 'ok 1\nok 2\n%s\nnever\n' "$(head -c 5000 /dev/zero | tr '\0' x)" >"$tmp/toolong"
run append "$root?entry_bytes_max=4096" limit "$tmp/toolong"
same "an entry past the limit fails" 1 "$status"
has "names the line" "line 3" "$err"
same "what came before it is durable" "appended 2 entries, first 1, last 2" "$out"
same "and there" "ok 1|ok 2|" "$("$wp" cat "$root" limit | tr '\n' '|')"
run append "$root?entry_bytes_max=4096" limit "$tmp/toolong" --json
same "with --json: what is durable" 2 "$(field "$tmp/out" appended)"
same "with --json: the error" '"kInvalid" 2' "$(field "$tmp/err" error) $(field "$tmp/err" durable)"

# ---- properties and JSON

run append "$root" props --prop host=web1 --prop "eq=a=b" --prop empty= --json < <(printf 'x\n\xff\n"\\\t\n')
same "append --json" '3 1 3' "$(field "$tmp/out" appended) $(field "$tmp/out" first) $(field "$tmp/out" last)"
run append "$root" props --json </dev/null
same "append --json of nothing" '0 null' "$(field "$tmp/out" appended) $(field "$tmp/out" first)"
run append "$root" props --json --print-acks < <(echo y)
same "--print-acks --json" '4 1' "$(field "$tmp/out" lsn) $(field "$tmp/out" appended 1)"
run cat "$root" props --json
holds "cat --json is JSON" json_lines "$tmp/out"
same "an entry's LSN and payload" '1 "x"' "$(field "$tmp/out" lsn) $(field "$tmp/out" payload)"
like "its time" '^1[0-9]{12}$' "$(field "$tmp/out" time_ms)"
same "its properties" '{"host": "web1", "eq": "a=b", "empty": ""}' "$(field "$tmp/out" props)"
same "bytes that are no text" '"/w==" "absent"' "$(field "$tmp/out" payload_base64 1) $(field "$tmp/out" payload 1)"
same "text that needs escapes" '"\"\\\t"' "$(field "$tmp/out" payload 2)"
same "no properties" '{}' "$(field "$tmp/out" props 3)"
run append "$root" some --quiet --prop host=web1 --prop kind=x < <(seq 3)
run append "$root" some --quiet --prop host=web2 --prop kind=x < <(seq 4 6)
run append "$root" some --quiet < <(echo 7)
run cat "$root" some --prop host=web2
same "cat --prop" "4|5|6|" "$(tr '\n' '|' <"$tmp/out")"
run cat "$root" some --prop kind=x --prop host=web1 --lsn -n 2
same "of several, those that have all" "1	1|2	2|" "$(tr '\n' '|' <"$tmp/out")"
run cat "$root" some --prop kind=x --from 3 --to 4
same "in a range" "3|4|" "$(tr '\n' '|' <"$tmp/out")"
run cat "$root" some --prop kind=
same "none has it" "0:" "$status:$out"
for command in "logs $root" "info $root" "info $root a" "tail $root a" "verify $root" "why $root" \
  "why $root a" "gc $root" "gc $root --dry-run" "retain $root a"; do
  # shellcheck disable=SC2086  # the words of the command
  run $command --json
  if [ "$status" = 0 ] && [ -n "$out" ] && json_lines "$tmp/out"; then
    ok "${command%% *} --json is JSON"
  else
    not_ok "${command%% *} --json is JSON" "$out$err"
  fi
done
run cat "$root" nosuch --json
same "an error with --json" '"kNotFound"' "$(field "$tmp/err" error)"

# ---- tail, logs, info

same "tail shows ten" "$(seq 491 500)" "$("$wp" tail "$root" windows)"
same "tail -n" "499|500|" "$("$wp" tail "$root" windows -n 2 | tr '\n' '|')"
same "tail -n3 --lsn" "498"$'\t'"498" "$("$wp" tail "$root" windows -n3 --lsn | head -n 1)"
same "tail of more than there is" 6 "$("$wp" tail "$root" a -n 1000 | wc -l)"
same "tail -n 0" "" "$("$wp" tail "$root" a -n 0)"
fails "tail -n x" 2 "-n" tail "$root" a -n x
run logs "$root"
like "logs has a header" '^LOG +FIRST +LAST +ENTRIES +BYTES' "$out"
like "logs has a line for each" $'\n''many +1 +300000 +300000 +[0-9.]+ MiB' "$out"
same "and is aligned" 1 "$(awk '{ print length($0) }' "$tmp/out" | sort -u | wc -l)"
run logs "$root" --json
same "logs --json, by name" '"a" 1 6 6' "$(field "$tmp/out" log) $(field "$tmp/out" first) $(field "$tmp/out" durable) $(field "$tmp/out" entries)"
run info "$root"
for part in "url " "root id " "format " "epoch " "objects " "stored bytes " "logs " "view " "price on S3 "; do
  has "info names $part" $'\n'"$part" $'\n'"$out"
done
run info "$root" --json
like "info --json: root id" '^"[0-9a-f]{32}"$' "$(field "$tmp/out" root_id)"
run info "$root" --metrics
same "info --metrics" 0 "$status"
has "in Prometheus' text format" '# TYPE wp_' "$out"
same "each sample with the root" "" "$(grep -v -e '^#' -e "root=\"file://$root\"" "$tmp/out")"
run info "$root" a
like "info of a log" 'first +1'$'\n''last +6'$'\n''entries +6' "$out"
like "and its retention" 'retention +keeps everything' "$out"
fails "info of a log that is not there" 1 "windows" info "$root" window
fails "a log that is not there names the nearest" 1 "many" cat "$root" mani
run --json
same "an option is no command" 2 "$status"

# ---- log names

for bad in "" "a/b" "/" "." ".." $'a\nb' $'\xff'; do
  run append "$tmp/unmade" "$bad" < <(echo x)
  same "append to log '$(printf %q "$bad")' is refused" "2:" "$status:$out"
  run cat "$root" "$bad"
  like "cat of log '$(printf %q "$bad")' is refused" '^[12]:$' "$status:$out"
done
big_name=$(head -c 100000 /dev/zero | tr '\0' n)
run append "$root" "$big_name" < <(echo x)
same "a name of 100,000 bytes is refused" 2 "$status"
holds "in a message of moderate length" test "$(wc -c <"$tmp/err")" -lt 2000
max_name=$(head -c 512 /dev/zero | tr '\0' n)
run append "$root" "$max_name" < <(echo x)
same "a name of 512 bytes is fine" "0:x" "$status:$("$wp" cat "$root" "$max_name")"
run append "$root" "$max_name"n < <(echo x)
same "one of 513 is not" 2 "$status"
run append "$root" -- --json < <(echo dashes)
same "behind -- a name may be like an option" "dashes" "$("$wp" cat "$root" -- --json)"
run append "$root" 'späte Änderung ☃' < <(echo snow)
same "names are UTF-8" "snow" "$("$wp" cat "$root" 'späte Änderung ☃')"

# ---- roots that are none

echo text >"$tmp/plain"
run append "$tmp/plain" a < <(echo x)
like "append to a file as root fails" '^[12]:$' "$status:$out"
run cat "$tmp/plain" a
like "cat of a file as root fails" '^[12]:$' "$status:$out"
same "which stays as it was" "text" "$(cat "$tmp/plain")"
mkdir "$tmp/stuff" && echo x >"$tmp/stuff/f"
fails "a directory that is no root is not found" 1 "kNotFound" cat "$tmp/stuff" a
same "and gets nothing new" "f" "$(ls -A "$tmp/stuff")"
run cat "mem://nothing" a
same "a memory root of another process is not found" "1:" "$status:$out"
run append "mem://here" a < <(seq 3)
same "append to memory, for as long as it lasts" "appended 3 entries, first 1, last 3" "$out"

as_nobody=()
if [ "$(id -u)" = 0 ]; then
  as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
  chmod 755 "$tmp"
fi
if [ "$(id -u)" != 0 ] || { command -v setpriv >/dev/null && "${as_nobody[@]}" test -x "$wp"; }; then
  mkdir "$tmp/locked" && chmod 555 "$tmp/locked"
  "${as_nobody[@]}" "$wp" append "$tmp/locked/root" a >"$tmp/out" 2>"$tmp/err" < <(echo x)
  same "append where nothing may be written fails" 1 $?
  has "and says so" "$tmp/locked" "$(cat "$tmp/err")"
  "$wp" append "$tmp/ro" a >/dev/null 2>&1 < <(seq 3)
  chmod -R a+rX,a-w "$tmp/ro"
  same "cat of a root that may only be read" "1|2|3|" \
    "$("${as_nobody[@]}" "$wp" cat "$tmp/ro" a 2>"$tmp/err" | tr '\n' '|')"
  "${as_nobody[@]}" "$wp" append "$tmp/ro" a >"$tmp/out" 2>"$tmp/err" < <(echo x)
  same "append to it fails" 1 $?
  chmod -R u+w "$tmp/ro"
else
  echo "left out: roots that may only be read (as root, and without a way to be somebody else)"
fi

# ---- truncate, drop, rebuild, verify, --meta

run truncate "$root" a 2
same "truncate" 0 "$status"
same "what is left" "three|four|five|six|" "$("$wp" cat "$root" a | tr '\n' '|')"
fails "reading what is gone" 1 "kTruncated" cat "$root" a --from 1
holds "truncate again is harmless" "$wp" truncate "$root" a 2
fails "truncate past the last" 2 "" truncate "$root" a 100
fails "truncate of a log that is not there" 1 "kNotFound" truncate "$root" nosuch 1
run info "$root" a --json
same "first and durable after it" "3 6" "$(field "$tmp/out" first) $(field "$tmp/out" durable)"
run truncate "$root" a 6 --json
same "truncate all, with --json" "7 6" "$(field "$tmp/out" first) $(field "$tmp/out" durable)"
same "nothing is left" "" "$("$wp" cat "$root" a)"
same "tail of nothing left" "" "$("$wp" tail "$root" a)"
run append "$root" a < <(echo seven)
same "numbers go on" "appended 1 entries, first 7, last 7" "$out"
run drop "$root" nul
same "drop" 0 "$status"
fails "it is gone" 1 "kNotFound" cat "$root" nul
fails "drop again is not found" 1 "kNotFound" drop "$root" nul
run append "$root" nul < <(echo new)
same "the same name is a new log" "appended 1 entries, first 1, last 1" "$out"
run verify "$root"
like "verify" '^verified [0-9]+ objects, [0-9]+ entries, [0-9]+ bytes: no damage$' "$out"
same "ends with 0" 0 "$status"
run rebuild "$root"
like "rebuild says what it found" '^rebuilt .*: epoch [0-9]+, [0-9]+ objects.*, [0-9]+ logs$' "$out"
holds "all is there after it" cmp "$tmp/many" <("$wp" cat "$root" many)
rm -f "$root"/wp.sqlite*
holds "all is there without the view" cmp "$tmp/many" <("$wp" cat "$root" many)
run append "$root" a --meta "$tmp/elsewhere.sqlite" < <(echo eight)
same "--meta" "0:appended 1 entries, first 8, last 8" "$status:$out"
holds "names the SQLite file" test -s "$tmp/elsewhere.sqlite"
fails "--meta needs a path" 2 "--meta" cat "$root" a --meta ""

# ---- space: retain, cursors, why, gc

space=$tmp/space
quick="$space?reclaim_grace_ms=0&compact_share=0"
for i in {1..12}; do head -c 3000 /dev/urandom | base64 -w0 | "$wp" append "$quick" a >/dev/null 2>&1; done
echo b | "$wp" append "$quick" b >/dev/null 2>&1
size_of() { (cd "$1" && find j s c -type f -printf '%s\n' 2>/dev/null) | awk '{ s += $1 } END { print s + 0 }'; }

run retain "$space" a
same "a log's retention at first" "log         a|age         no limit|bytes       no limit|cursors     no limit|hold-age    no limit|hold-bytes  no limit|" "$(tr '\n' '|' <"$tmp/out")"
run retain "$space" a --age 7d --bytes 10G --cursors
same "retain, as in the README" 0 "$status"
like "says what holds now" 'age +7 d'$'\n''bytes +10737418240 \(10.0 GiB\)'$'\n''cursors +what all have passed goes' "$out"
run retain "$space" a --json
same "and keeps it" '"a" 604800000 10737418240 true 0 0' \
  "$(field "$tmp/out" log) $(field "$tmp/out" age_ms) $(field "$tmp/out" bytes) $(field "$tmp/out" cursors) $(field "$tmp/out" hold_age_ms) $(field "$tmp/out" hold_bytes)"
run info "$space" a
like "info of the log says so" 'retention +age 7 d, bytes 10.0 GiB, cursors'$ "$out"
run info "$space" a --json
same "with --json too" '{"age_ms": 604800000, "bytes": 10737418240, "cursors": true, "hold_age_ms": 0, "hold_bytes": 0}' "$(field "$tmp/out" retention)"
run retain "$space" a --cursors --hold-bytes 512K --hold-age 90s
like "retain replaces what was said before" 'age +no limit'$'\n''bytes +no limit'$'\n''cursors +what all.*hold-age +1 min 30 s'$'\n''hold-bytes +524288 ' "$out"
run retain "$space" a --none
like "retain --none keeps everything" 'cursors +no limit' "$out"
run retain "$space" a --age 0s --json
same "an option alone is a change, also where it limits nothing" "0:false" "$status:$(field "$tmp/out" cursors)"
fails "retain of a log that is not there" 1 "kNotFound" retain "$space" nosuch --age 7d
run retain "$space" a --cursors

run cursors "$space" a
same "no cursors" "CURSOR  COMMITTED  BEHIND  BYTES  AGE  HOLDS" "$out"
run cursors "$space" a fast --commit 10
like "a commit makes the cursor" $'\n''fast +10 +2 +[0-9.]+ KiB +0.0 s +yes'$ "$out"
run cursors "$space" a stuck --commit 2 --json
same "with --json" '"stuck" 2 10 true' "$(field "$tmp/out" cursor) $(field "$tmp/out" committed) $(field "$tmp/out" entries_behind) $(field "$tmp/out" holds)"
fails "a commit past the last entry" 2 "the last entry of a is 12" cursors "$space" a new --commit 13
run cursors "$space" a
same "makes no cursor" "CURSOR fast stuck" "$(awk '{ printf "%s%s", n++ ? " " : "", $1 }' "$tmp/out")"
same "the list is aligned" 1 "$(awk '{ print length($0) }' "$tmp/out" | sort -u | wc -l)"
run cursors "$space" a stuck
same "a single one" 2 "$(wc -l <"$tmp/out")"
fails "a cursor that is not there names the nearest" 1 "did you mean stuck?" cursors "$space" a stuk
fails "nor is one that is not there dropped" 1 "kNotFound" cursors "$space" a nosuch --drop
fails "a cursor's name with a slash" 2 "'/'" cursors "$space" a x/y --commit 1
fails "cursors of a log that is not there" 1 "kNotFound" cursors "$space" nosuch

run why "$space"
same "why" 0 "$status"
has "names the stuck cursor" "log a: cursor 'stuck' holds them, 10 entries behind; commit it, drop it, or limit how long" "$out"
has "the log that nothing lets go" "log b: entries that nothing lets go; truncate it, or give it a retention" "$out"
like "and adds up" $'\n'' *[0-9.]+ (B|KiB) +in all'$ "$out"
same "in columns" 1 "$(awk 'match($0, / objects?  /) { print RSTART + RLENGTH }' "$tmp/out" | sort -u | wc -l)"
run why "$space" --json
n=$(json_line cursor stuck)
same "why --json" '"cursor" "a" 10 10' "$(field "$tmp/out" why "$n") $(field "$tmp/out" log "$n") $(field "$tmp/out" objects "$n") $(field "$tmp/out" entries_behind "$n")"
explained=$(python3 -c 'import json,sys; print(sum(json.loads(l)["bytes"] for l in open(sys.argv[1])))' "$tmp/out")
stored=$(size_of "$space")
holds "explains all $stored bytes: $explained" test $((stored - explained)) -ge 0 -a $((stored - explained)) -le 100
run why "$space" b
same "why of one log: a line and the sum" 2 "$(wc -l <"$tmp/out")"
[[ $out != *stuck* ]] && ok "and nothing of others" || not_ok "and nothing of others" "$out"
fails "why of a log that is not there" 1 "kNotFound" why "$space" nosuch

before=$(find "$space" -path '*/[jsc]/*' -type f | wc -l)
run gc "$quick" --dry-run
same "gc --dry-run" 0 "$status"
like "says what would expire" 'would be expired +2 entries' "$out"
like "and what would be gathered" 'would be compacted +[0-9]+ objects?, ' "$out"
same "and does none of it" "1 12" "$("$wp" info "$space" a --json >"$tmp/out"; field "$tmp/out" first) $(field "$tmp/out" durable)"
run gc "$quick&compact_objects=4"
like "gc says what it did" $'^expired    2 entries\ncompacted  [0-9]+ objects, [0-9.]+ KiB\nwritten    1 segment, [0-9.]+ KiB\ndeleted    [0-9]+ objects, [0-9.]+ KiB' "$out"
run gc "$quick" --json
same "gc --json" '0 0 false' "$(field "$tmp/out" entries_expired) $(field "$tmp/out" segments_written) $(field "$tmp/out" dry_run)"
after=$(find "$space" -path '*/[jsc]/*' -type f | wc -l)
holds "space was freed: $before objects, then $after" test "$after" -lt $((before / 2)) -a "$(size_of "$space")" -lt "$stored"
same "what the cursors need is left" "3 12" "$("$wp" info "$space" a --json >"$tmp/out"; field "$tmp/out" first) $(field "$tmp/out" durable)"
run cursors "$space" a stuck --drop
same "a cursor is dropped" "dropped stuck" "$out"
run cursors "$space" a fast --drop --json
same "with --json" '"fast"' "$(field "$tmp/out" dropped)"
run cursors "$space" a
same "then it is gone" 1 "$(wc -l <"$tmp/out")"
"$wp" retain "$space" a --bytes 6000 >/dev/null 2>&1
run gc "$space"
like "with the grace, what goes waits" 'waiting +[0-9]+ objects, .*wp why says for what' "$out"
has "and why says for what" "the writer's reclaim_grace, for readers elsewhere, has passed" "$("$wp" why "$space")"
run gc "$quick" --json
holds "without it, it goes at once" test "$(field "$tmp/out" objects_deleted)" -ge 10 -a "$(field "$tmp/out" objects_waiting)" -le 3
holds "nothing was damaged" "$wp" verify "$space"

# ---- dump

printf 'a\nbb\n' | "$wp" append "$tmp/dump?linger_ms=1000" "first log" --prop k=v >/dev/null 2>&1
seq 200000 | "$wp" append "$tmp/dump" second >/dev/null 2>&1
"$wp" truncate "$tmp/dump" second 1000 >/dev/null 2>&1
dump=$tmp/dump
run dump "$dump" root
same "dump of the root" 0 "$status"
id=$("$wp" info "$dump" --json >"$tmp/info" && field "$tmp/info" root_id | tr -d '"')
has "names its id" "$id" "$out"
slot=$(cd "$dump" && find j -type f | sort | head -n 1)
like "names the first slot" "followed by +$slot" "$out"
run dump "$dump" root --json
same "dump --json of the root" "\"root\" 40 \"$id\"" "$(field "$tmp/out" kind) $(field "$tmp/out" bytes) $(field "$tmp/out" root_id)"

run dump "$dump" "$slot"
same "dump of a fragment" 0 "$status"
has "names what it is" "fragment, " "$out"
has "its root" "$id" "$out"
has "its place" "epoch 1 of owner ${slot:11:16}, number 0" "$out"
has "what it follows" "root, which is there, with that digest" "$out"
has "its records" "create log 1 first log" "$out"
like "its runs" 'first log +1 +1 +2 +2 ' "$out"
like "its blocks" '0 +[0-9]+ +[0-9]+ +[0-9]+ +(none|zstd) +[0-9a-f]{8}' "$out"
run dump "$dump" "$slot" --json
holds "dump --json is JSON" json_lines "$tmp/out"
same "of a fragment: the header" '"fragment" 1 0 2 "right" false' \
  "$(field "$tmp/out" kind) $(field "$tmp/out" epoch) $(field "$tmp/out" seq) $(field "$tmp/out" entries) $(field "$tmp/out" prev) $(field "$tmp/out" closed)"
n=$(json_line record create)
same "a record" '1 "first log"' "$(field "$tmp/out" log "$n") $(field "$tmp/out" name "$n")"
n=$(json_line run 0)
same "a run" '1 "first log" 1 2 2' \
  "$(field "$tmp/out" log "$n") $(field "$tmp/out" name "$n") $(field "$tmp/out" first "$n") $(field "$tmp/out" last "$n") $(field "$tmp/out" entries "$n")"
like "its pieces" '"block": 0, "offset": 0' "$(field "$tmp/out" pieces "$n")"
n=$(json_line block 0)
like "a block" '^"(none|zstd)"$' "$(field "$tmp/out" compression "$n")"

# Every object, whatever it is.
kinds=
objects=$(cd "$dump" && find root j c -type f | sort)
for key in $objects; do
  run dump "$dump" "$key" --json
  if [ "$status" = 0 ] && json_lines "$tmp/out" && [ "$(field "$tmp/out" key)" = "\"$key\"" ]; then
    kinds+=$(field "$tmp/out" kind)
  else
    not_ok "dump --json of $key" "$status" "$out$err"
  fi
  run dump "$dump" "$key"
  [ "$status" = 0 ] && [ -z "$err" ] || not_ok "dump of $key" "$status" "$out$err"
done
like "dump of every object: a fragment, a fence, a checkpoint" 'checkpoint.*fragment.*fence' "$kinds"
key=$(cd "$dump" && find c -type f | sort | tail -n 1)
run dump "$dump" "$key"
like "dump of a checkpoint: as of when, and what it holds" 'as of +j/.*2 of logs, [0-9]+ of runs, [0-9]+ of slots' "${out//$'\n'/ }"
like "and the epochs" '1 +[0-9a-f]{16} +j/00000001-[0-9a-f]{16}/[0-9a-f]{12} +yes' "$out"
run dump "$dump" "$key" --json
same "dump --json of a checkpoint" '2 2 true' "$(field "$tmp/out" logs) $(field "$tmp/out" log_rows) $(field "$tmp/out" ended "$(json_line epoch 1)")"
n=
for key in $objects; do
  run dump "$dump" "$key" --json
  n=$(json_line record truncate)
  [ "$n" = -1 ] || break
done
same "a truncation, with the log's name from the root" '"second" 1001' "$(field "$tmp/out" name "$n") $(field "$tmp/out" lsn_first "$n")"

for key in "./$slot" "$dump/$slot" "file://$dump/$slot"; do
  run dump "$dump" "$key" --json
  same "a key given as ${key/#*"$dump"/ROOT}" "\"$slot\"" "$(field "$tmp/out" key)"
done
run dump "file://$dump" "$slot" --json
same "a key with a URL" "\"$slot\"" "$(field "$tmp/out" key)"
same "and the root given by a relative path" 0 "$(cd "$tmp" && "$wp" dump dump "dump/$slot" >/dev/null; echo $?)"

fails "dump of a key that is not there" 1 "kNotFound" dump "$dump" j/nothing
fails "names the nearest key" 1 "the nearest is root" dump "$dump" rot
fails "of a slot: the nearest of its epoch" 1 "the nearest is ${slot%/*}/$(ls "$dump/${slot%/*}" | tail -n 1)" dump "$dump" "${slot%/*}/00000000ffff"
fails "of a checkpoint" 1 "the nearest is c/" dump "$dump" c/00000001-0000000000ff
fails "of no object at all" 1 "the nearest is " dump "$dump" zzz
echo text >"$dump/notes"
fails "an object that is none of wp's" 2 "none of wp's objects" dump "$dump" notes
rm "$dump/notes"
for bad in "" / ../x j/../../x /etc/passwd "$tmp/dump" "$tmp/dump/" wp.sqlite; do
  run dump "$dump" "$bad"
  like "dump of key '${bad/#$tmp/TMP}' is refused" '^[12]:$' "$status:$out"
done
fails "dump of memory" 1 "kNotFound" dump mem://x root

# damage FILE PYTHON: changes the bytes `data` of the file; `crc` gives CRC32C.
damage() {
  chmod u+w "$1"
  python3 - "$1" "$2" <<'END'
import sys
def crc(part):
    value = 0xffffffff
    for byte in part:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
    return (value ^ 0xffffffff).to_bytes(4, "little")
with open(sys.argv[1], "rb") as file:
    data = bytearray(file.read())
exec(sys.argv[2])
with open(sys.argv[1], "wb") as file:
    file.write(data)
END
}
big=$(cd "$dump" && find j -type f -printf '%s %p\n' | sort -n | tail -n 1 | cut -d' ' -f2)
cp -r "$dump" "$tmp/dump2"
damage "$tmp/dump2/$big" 'data[len(data) * 3 // 4] ^= 0x40'
run dump "$tmp/dump2" "$big"
same "dump of a damaged block ends with 3" 3 "$status"
like "which says what cannot be read, of which log" "damaged: $big: block [0-9]+ cannot be decoded .* \[log 2 second LSN [0-9]+-[0-9]+\]" "$out"
has "and that the body is not what it was" "its body does not match its digest" "$out"
run dump "$tmp/dump2" "$big" --json
holds "with --json too" json_lines "$tmp/out"
n=$(json_line log second)
same "with --json: the log and its LSNs" "\"$big\" 2" "$(field "$tmp/out" damaged "$n") $(field "$tmp/out" log_id "$n")"
damage "$tmp/dump2/$big" 'del data[200:]'
run dump "$tmp/dump2" "$big"
like "a fragment that is cut" "^3:.*it has 200 bytes, and not [0-9]+" "$status:${out//$'\n'/ }"
damage "$tmp/dump2/$big" 'del data[100:]'
run dump "$tmp/dump2" "$big"
has "also within its header" "damaged: $big: its header is cut" "$out"
damage "$tmp/dump2/root" 'data[20] ^= 1'
run dump "$tmp/dump2" root
has "a damaged root" "3:" "$status:$out"
has "says what is wrong" "damaged: root: the root object does not match its checksum" "$out"
run dump "$tmp/dump2" "$slot"
has "what follows it does not any more" "it does not follow root as that is" "$out"
same "and is told apart from what is well" 3 "$status"
damage "$tmp/dump2/root" 'data[20] ^= 1; data[8] = 9; data[36:] = crc(data[:36])'
fails "a newer root is refused by name" 1 "version 9" dump "$tmp/dump2" root
mkdir -p "$tmp/dump2/j/00000009-0000000000000001"
cp "$dump/$slot" "$tmp/dump2/j/00000009-0000000000000001/000000000000"
run dump "$tmp/dump2" j/00000009-0000000000000001/000000000000
has "an object under a wrong name says what it is" "it says that it is $slot" "$out"

# ---- damage

"$wp" append "$tmp/damaged" a >/dev/null 2>&1 < <(seq 1000)
"$wp" append "$tmp/damaged" a >/dev/null 2>&1 < <(seq 1001 2000)
victim=$(cd "$tmp/damaged" && find j -type f -size +1k -printf '%s %p\n' | sort -n | tail -n 1 | cut -d' ' -f2)
[ -n "$victim" ] || victim=$(cd "$tmp/damaged" && find j -type f -printf '%s %p\n' | sort -n | tail -n 1 | cut -d' ' -f2)
chmod u+w "$tmp/damaged/$victim"
python3 - "$tmp/damaged/$victim" <<'END'
import sys
with open(sys.argv[1], "r+b") as f:
    data = bytearray(f.read())
    data[len(data) * 3 // 4] ^= 0x40
    f.seek(0)
    f.write(data)
END
run verify "$tmp/damaged"
same "verify of damage ends with 3" 3 "$status"
has "names the object" "damaged: $victim: " "$out"
like "and counts" '[0-9]+ bytes: [0-9]+ damaged$' "$out"
run verify "$tmp/damaged" --json
holds "verify --json of damage is JSON" json_lines "$tmp/out"
same "with the object" "\"$victim\"" "$(field "$tmp/out" damaged)"
run cat "$tmp/damaged" a
same "cat of damage ends with 3" 3 "$status"
has "as kCorrupt" "kCorrupt" "$err"

# ---- standard output that fails

"$wp" cat "$root" many >/dev/full 2>"$tmp/err"
same "a full disk at cat" 1 $?
has "is named" "No space left" "$(cat "$tmp/err")"
"$wp" cat "$root" many 2>"$tmp/err" | head -n 1 >"$tmp/out"
same "a reader that goes away ends cat" "1 1" "${PIPESTATUS[0]} $(cat "$tmp/out")"
"$wp" append "$root" a --quiet >/dev/full 2>"$tmp/err" < <(echo nine)
same "a full disk at append" 1 $?
"$wp" append "$root" a --print-acks >/dev/full 2>"$tmp/err" < <(echo ten)
same "a full disk at --print-acks" 1 $?
same "what was appended is durable all the same" "nine|ten|" "$("$wp" tail "$root" a -n 2 | tr '\n' '|')"
"$wp" logs "$root" >/dev/full 2>/dev/null
same "a full disk at logs" 1 $?
"$wp" cat "$root" a >&- 2>"$tmp/err"
same "a closed standard output" 1 $?
"$wp" append "$root" a <&- >"$tmp/out" 2>"$tmp/err"
same "a closed standard input" 1 $?
holds "and no file of the root was written into" "$wp" verify "$root"

# ---- doctor

run doctor "$tmp/new/deep/root" </dev/null
like "doctor of a directory that is not there yet" "ok +directory .*ok +lock .*ok +race .*ok +put latency .*, 0 wrong" "${out//$'\n'/ }"
same "finds nothing wrong" 0 "$status"
holds "and leaves nothing behind" test ! -e "$tmp/new"
before=$(find "$root" -not -name wp.lock | sort | md5sum)
run doctor "$root" --json </dev/null
same "doctor of a root with --json" 0 "$status"
holds "is JSON" json_lines "$tmp/out"
same "each line with a verdict" '"ok"' "$(field "$tmp/out" verdict 3)"
same "and the root is as before" "$before" "$(find "$root" -not -name wp.lock | sort | md5sum)"
run doctor mem://x </dev/null
same "doctor of memory" 0 "$status"
mkdir "$tmp/photos" && echo x >"$tmp/photos/cat.jpg"
run doctor "$tmp/photos" </dev/null
like "doctor of a directory that is no root" "^wrong +directory " "$out"
same "says so by its status" 1 "$status"
run doctor "$root?sync=process" </dev/null
like "doctor warns of what was switched off" "slow +sync " "$out"
fails "doctor of an S3 URL that is none" 2 "bucket" doctor "s3://"
run doctor "s3://wp-none/x?endpoint=http://127.0.0.1:9" </dev/null
same "doctor of a bucket that cannot be reached" 1 "$status"
like "says in which line" "wrong +(credentials|connection) " "$out"

# ---- a live writer

# start_writer NAME OPTION...: appends to log `live` what is written to descriptor 9.
start_writer() {
  rm -f "$tmp/in" "$tmp/acks"
  mkfifo "$tmp/in"
  : >"$tmp/acks"
  "$wp" append --print-acks "$root" live "$@" <"$tmp/in" >"$tmp/acks" 2>"$tmp/writer.err" &
  writer=$!
  exec 9>"$tmp/in"
}
start_writer
echo "live 1" >&9
within "an entry is acknowledged while the input stays open" lines_are "$tmp/acks" 1
same "cat beside the writer sees it" "live 1" "$("$wp" cat "$root" live)"
same "tail beside the writer" "live 1" "$("$wp" tail "$root" live)"
same "logs beside the writer" 1 "$("$wp" logs "$root" | grep -c '^live ')"
holds "info beside the writer" "$wp" info "$root" live
holds "verify beside the writer" "$wp" verify "$root"
run doctor "$root"
like "doctor beside the writer leaves out what writes" "slow +lock .*$writer" "$out"
same "and finds nothing wrong" 0 "$status"
holds "dump beside the writer" "$wp" dump "$root" root
best=999999
for _ in 1 2 3 4 5 6 7 8; do
  begin=$EPOCHREALTIME
  run append "$root" live < <(echo intruder)
  end=$EPOCHREALTIME
  took=$(((${end/./} - ${begin/./}) / 1000))
  [ $took -lt $best ] && best=$took
done
same "a second writer is refused" "1:" "$status:$out"
has "as kBusy" "kBusy" "$err"
has "by the holder's pid" "$writer" "$err"
holds "in under 100 ms (at best $best)" test $best -lt 100
fails "truncate beside the writer is refused" 1 "kBusy" truncate "$root" live 1
fails "drop beside the writer is refused" 1 "kBusy" drop "$root" live
fails "rebuild beside the writer is refused" 1 "kBusy" rebuild "$root"
run append "$root" live --json < <(echo intruder)
same "busy, with --json" '"kBusy"' "$(field "$tmp/err" error)"

# ---- tail -f from another process

: >"$tmp/followed"
"$wp" tail -f "$root" live >"$tmp/followed" 2>"$tmp/follow.err" &
follower=$!
within "tail -f begins with what is there" lines_are "$tmp/followed" 1
echo "live 2" >&9
within "and shows what another process appends" lines_are "$tmp/followed" 2
"$wp" tail -f "$root" live -n 0 --json >"$tmp/followed.json" 2>&1 &
follower_json=$!
"$wp" tail -f "$root" live -n 1 --lsn 2>/dev/null | head -n 1 >"$tmp/head" &
piped=$!
within "tail -f | head ends though nothing is appended" ended $piped
same "with what it got" "2"$'\t'"live 2" "$(cat "$tmp/head")"
seq 3 5000 | sed 's/^/live /' >&9
within "5,000 entries arrive" lines_are "$tmp/followed" 5000
holds "exactly and in order" cmp <(seq 5000 | sed 's/^/live /') "$tmp/followed"
kill -TERM $follower
wait $follower
same "SIGTERM ends tail -f with 0" 0 $?
same "quietly" "" "$(cat "$tmp/follow.err")"
echo "live 5001" >&9
within "tail -f --json" grep -q '"payload":"live 5001"' "$tmp/followed.json"
kill -INT $follower_json
wait $follower_json
same "SIGINT ends tail -f with 0" 0 $?
holds "its lines are JSON" json_lines "$tmp/followed.json"
same "and -n 0 showed only what came after" 0 "$(grep -c '"payload":"live 1"' "$tmp/followed.json")"

# ---- signals, and being killed

printf 'begun, ' >&9
printf 'and ended\nhalf' >&9
kill -TERM $writer
wait $writer
same "SIGTERM while waiting for input ends append with 0" 0 $?
exec 9>&-
like "which says what it did" "^appended 500[123] entries, first 1, last 500[123]$" "$(tail -n 1 "$tmp/acks")"
same "and all it took is durable" "$("$wp" cat "$root" live | wc -l)" "$(($(wc -l <"$tmp/acks") - 1))"
start_writer
echo "for SIGINT" >&9
within "a writer again" lines_are "$tmp/acks" 1
kill -INT $writer
wait $writer
same "SIGINT the same" 0 $?
exec 9>&-
start_writer
kill -TERM $writer
wait $writer
like "SIGTERM before any input or while opening" '^(0|143)$' $?
exec 9>&-

before=$("$wp" cat "$root" live | wc -l)
start_writer
seq 2000 >&9
within "a writer that acknowledged something" lines_are "$tmp/acks" 1
kill -KILL $writer
wait $writer 2>/dev/null
exec 9>&-
acked=$(grep -c '^[0-9]*$' "$tmp/acks")
after=$("$wp" cat "$root" live | wc -l)
holds "killed: all $acked acknowledged entries are there" test $((after - before)) -ge "$acked"
holds "killed: and they are its first" cmp <(seq $((after - before))) <("$wp" cat "$root" live --from $((before + 1)))
run append "$root" live < <(echo next)
same "the next writer goes on behind" "appended 1 entries, first $((after + 1)), last $((after + 1))" "$out"
holds "verify after all" "$wp" verify "$root"

# ---- a terminal, and RAM

cat >"$tmp/terminal.py" <<'END'
import os, pty, select, subprocess, sys, time

def shown(command, feed):
    """What the command writes to a terminal as its standard error, while it is fed."""
    master, slave = pty.openpty()
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=slave)
    os.close(slave)
    seen = b""
    limit = time.monotonic() + 20
    while feed and b"durable" not in seen and time.monotonic() < limit:
        child.stdin.write(b"x" * 10000 + b"\n")
        child.stdin.flush()
        if select.select([master], [], [], 0.01)[0]:
            seen += os.read(master, 65536)
    child.stdin.close()
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        seen += part
    assert child.wait() == 0, seen
    return seen

wp, root = sys.argv[1:]
seen = shown([wp, "append", root, "terminal"], True)
assert b"entries" in seen and b"/s" in seen, seen
assert b"\x1b" not in seen, seen
last = seen.replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n")[-1].split(b"\r")[-1]
assert last.endswith(b"on S3"), seen
assert shown([wp, "append", root, "terminal", "--quiet"], False) == b""
END
holds "on a terminal append shows how far it is, and --quiet does not" python3 "$tmp/terminal.py" "$wp" "$tmp/terminal"

cat >"$tmp/ram.py" <<'END'
import resource, subprocess, sys, threading

wp, root = sys.argv[1:]
child = subprocess.Popen([wp, "append", root + "?ram_bytes_max=33554432&fragment_bytes_max=1048576",
                          "big"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL)
line = b"".join(b"%d %s\n" % (i, b"abcdefghij" * 20) for i in range(5000))
for _ in range(200):
    child.stdin.write(line)
child.stdin.close()
said = child.stdout.read()
assert child.wait() == 0
assert said == b"appended 1000000 entries, first 1, last 1000000\n", said
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print("peak %d KiB for %d KiB of input" % (peak, len(line) * 200 // 1024))
assert peak < 100 * 1024, peak
END
# A sanitizer's own memory would be measured.
if [ "$(nm "$wp" 2>/dev/null | grep -c -e __asan_init -e __tsan_init)" != 0 ]; then
  echo "left out: RAM stays constant (built with a sanitizer)"
else
  holds "RAM stays constant over 200 MB of input" python3 "$tmp/ram.py" "$wp" "$tmp/big"
fi

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
