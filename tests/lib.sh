# Sourced by the shell tests: counts what passes and fails, and prints it in the form that
# tests/run.sh sums up. A test is called from the repository's root as `tests/x_test.sh WP BUILD`,
# with the tool and the folder that holds everything else that was built.
set -uo pipefail

[ $# -ge 2 ] || { echo "usage: $0 WP BUILD" >&2; exit 2; }
wp=$(realpath "$1")
build=$(realpath "$2")
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
tmp=$(mktemp -d "${TMPDIR:-/tmp}/wp-test.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
passed=0
failed=0

pass() { passed=$((passed + 1)); }

# fail WHAT [FILE]: the file is shown, as far as it is not long.
fail() {
  failed=$((failed + 1))
  echo "FAIL: $1"
  [ -z "${2-}" ] || sed 's/^/    /' "$2" | tail -n 40
}

# check WHAT COMMAND...: passes where the command succeeds; its output is shown where it fails.
check() {
  local what=$1
  shift
  if "$@" >"$tmp/check.log" 2>&1; then pass; else fail "$what: $*" "$tmp/check.log"; fi
}

# same WHAT WANTED GOT
same() {
  if [ "$2" = "$3" ]; then
    pass
  else
    printf 'wanted: %s\ngot:    %s\n' "$2" "$3" >"$tmp/same.log"
    fail "$1" "$tmp/same.log"
  fi
}

# Something that cannot be tested here. Shown loudly by tests/run.sh.
left_out() { echo "left out: $1"; }

finish() {
  echo "$passed passed, $failed failed"
  [ "$failed" = 0 ]
  exit
}
