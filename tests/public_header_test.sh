#!/usr/bin/env bash
# wp.h stands alone: a program that includes nothing else compiles with both compilers, without a
# warning, and no header of the libraries underneath comes along.
. "$(dirname "$0")/lib.sh"

cat >"$tmp/only.cpp" <<'END'
#include "wp.h"
int main() { return wp::Status().ok() ? 0 : 1; }
END

# The least CPU time of three, in seconds: only told, because machines differ.
cpu_time() {
  local TIMEFORMAT=%U
  for _ in 1 2 3; do { time "$@" >/dev/null 2>&1; } 2>&1; done | sort -n | head -n 1
}

for cxx in g++ clang++-14; do
  if ! command -v $cxx >/dev/null; then
    left_out "wp.h with $cxx, which is not installed (tools/deps.sh check)"
    continue
  fi
  flags=(-std=c++20 -Wall -Wextra -Werror -pedantic -I.)
  check "wp.h compiles alone with $cxx" $cxx "${flags[@]}" -fsyntax-only "$tmp/only.cpp"
  $cxx "${flags[@]}" -M "$tmp/only.cpp" >"$tmp/headers" 2>&1
  if grep -Ei 'sqlite|curl|openssl|zstd|engine/|stores/' "$tmp/headers" >"$tmp/foreign"; then
    fail "wp.h brings headers of other libraries along with $cxx" "$tmp/foreign"
  else
    pass
  fi
  echo "$cxx: $(cpu_time $cxx "${flags[@]}" -c "$tmp/only.cpp" -o "$tmp/only.o") s of CPU time" \
    "for a program that includes only wp.h"
done
finish
