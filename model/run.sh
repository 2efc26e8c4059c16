#!/usr/bin/env bash
# Checks the model with spin: model/run.sh [DIR] (default build/model). First the rules as they
# are, over every order of events within each size; then with one rule broken at a time, where spin
# has to find a way to lose something. The shortest way it found stays in DIR/broken-N/story.
# Ends with a line "N passed, N failed", and fails when something did.
#
#   LARGE=1   the larger sizes too: minutes, not seconds
#   ONLY=N    only the broken rule N, with its story
set -uo pipefail
cd "$(dirname "$0")/.."
dir=${1-build/model}
ram_mb_max=4000
passed=0
failed=0

# build NAME "FLAGS FOR gcc" DEFINITIONS...: DIR/NAME/pan
build() {
  local name=$1 flags=$2
  shift 2
  rm -rf "${dir:?}/$name"
  mkdir -p "$dir/$name"
  cp model/*.pml "$dir/$name"
  (cd "$dir/$name" && spin -a "$@" wp.pml >spin.log 2>&1 &&
    gcc -w -DMEMLIM=$ram_mb_max $flags -o pan pan.c >gcc.log 2>&1) ||
    { cat "$dir/$name"/*.log; return 1; }
}

# figure NAME TEXT: the number in front of that text in what pan said
figure() { sed -n "s/^ *\([0-9.]*\)[ \t]*$2.*/\1/p" "$dir/$1/log" | head -n 1; }

verdict() {
  if [ "$1" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
  shift
  printf "$@"
}

# whole NAME: the search saw everything, and nothing was wrong
whole() {
  grep -q 'errors: 0$' "$dir/$1/log" &&
    ! grep -qi 'depth too small\|out of memory\|interrupted\|Search not completed' "$dir/$1/log"
}

check() { # NAME FLAGS_GCC FLAGS_PAN DEFINITIONS...
  local name=$1 gcc=$2 pan=$3 bad=1 what=FAILED
  shift 3
  if build "$name" "$gcc" "$@"; then
    (cd "$dir/$name" && ./pan $pan -m2000000 -n >log 2>&1)
    whole "$name" && bad=0 what=holds
  fi
  verdict $bad '%-22s %-7s %9s states %7s s %6s MB  %s\n' "$name" $what \
    "$(figure "$name" 'states, stored')" \
    "$(sed -n 's/pan: elapsed time \(.*\) seconds/\1/p' "$dir/$name/log")" \
    "$(figure "$name" 'total actual memory usage')" "${*#-D}"
  [ $bad = 0 ] || tail -n 30 "$dir/$name/log"
}

holds() { check "$1" "-O2 -DSAFETY -DCOLLAPSE" "" "${@:2}"; }
ends() { check "$1" "-O1 -DCOLLAPSE -DNFAIR=3" "-a -f" -DPROGRESS=1 "${@:2}"; }

# By breadth: the first counterexample is a shortest one.
fails() { # N WHAT DEFINITIONS...
  local n=$1 what=$2 name=broken-$1 bad=1 said="NOT FOUND"
  shift 2
  [ -z "${ONLY-}" ] || [ "$ONLY" = "$n" ] || return
  if build "$name" "-O1 -DSAFETY -DBFS -DNOREDUCE" -DBREAK="$n" -DBY_BREADTH=1 "$@"; then
    (cd "$dir/$name" && ./pan -m2000000 -n >log 2>&1
      [ ! -f wp.pml.trail ] || spin -t -DBREAK="$n" -DBY_BREADTH=1 "$@" wp.pml 2>&1 |
        sed -n -e 's/^ *\(\(writer [0-9]\|bucket\|follower\): .*\)/\1/p' \
          -e 's/^spin: .*text of failed/failed/p' >story)
    if grep -q 'assertion violated' "$dir/$name/log" && [ -s "$dir/$name/story" ]; then
      bad=0
      said="$(grep -vc '^failed' "$dir/$name/story") events"
    fi
  fi
  verdict $bad 'broken %2d  %-9s %9s states  %s\n' "$n" "$said" \
    "$(figure "$name" 'states, stored')" "$what"
  [ -z "${ONLY-}" ] || cat "$dir/$name/story"
}

command -v spin >/dev/null || { echo "model: spin is missing: tools/deps.sh model" >&2; exit 2; }

if [ -z "${ONLY-}" ]; then
  holds slots -DNONCES=3 -DSLOTS=2
  holds more-slots -DNONCES=2 -DSLOTS=3 -DPUTS_IN_FLIGHT=3
  holds takeovers -DNONCES=4 -DSLOTS=1
  holds three-writers -DNONCES=3 -DSLOTS=1 -DWRITERS=3
  holds two-checkpoints -DNONCES=3 -DSLOTS=1 -DCHECKPOINTS=2
  holds views -DNONCES=3 -DSLOTS=1 -DVIEWS=1
  holds follower -DNONCES=3 -DSLOTS=1 -DFOLLOWER=1
  ends progress -DNONCES=7 -DSLOTS=2
  ends progress-checkpoints -DNONCES=7 -DSLOTS=1 -DCHECKPOINTS=2
  if [ -n "${LARGE-}" ]; then
    holds large-writers -DNONCES=4 -DSLOTS=1 -DWRITERS=3 -DCLOSES=0
    holds large-follower -DNONCES=3 -DSLOTS=2 -DFOLLOWER=1 -DCLOSES=0
    holds large-views -DNONCES=3 -DSLOTS=2 -DVIEWS=1 -DCLOSES=0
  fi
fi

fails 1 "a fence deleted after a crash" -DNONCES=3 -DSLOTS=1
fails 2 "no step 6" -DNONCES=3 -DSLOTS=1
fails 3 "step 6 only for a checkpoint at or past the fence" -DNONCES=3 -DSLOTS=1
fails 4 "epochs without the owner in their name" -DNONCES=4 -DSLOTS=1 -DCLOSES=0
fails 5 "slots deleted before the checkpoint is stored" -DNONCES=3 -DSLOTS=1
fails 6 "a checkpoint of what is not acknowledged" -DNONCES=3 -DSLOTS=1
fails 7 "acknowledging out of order" -DNONCES=3 -DSLOTS=2
fails 8 "'exists' taken as mine" -DNONCES=3 -DSLOTS=1
fails 9 "a retry with another body" -DNONCES=3 -DSLOTS=1 -DCHECKPOINTS=0
fails 10 "an old view preferred to a newer checkpoint" -DNONCES=3 -DSLOTS=1 -DVIEWS=1
fails 11 "a follower that does not LIST at fences" -DNONCES=3 -DSLOTS=1 -DFOLLOWER=1 -DCLOSES=0
# Not in that list, but as easily got wrong.
fails 12 "a view refused without a LIST after its slot was missed" -DNONCES=3 -DSLOTS=1 -DVIEWS=1
fails 13 "a follower that looks at its clock only when a walk begins" -DNONCES=2 -DSLOTS=2 \
  -DFOLLOWER=1
fails 14 "a follower with one LIST for all fences of a walk" -DNONCES=3 -DSLOTS=1 -DFOLLOWER=1 \
  -DCLOSES=0
fails 15 "a view refused because a leftover lies where its slot was" -DNONCES=3 -DSLOTS=1 \
  -DVIEWS=1 -DCLOSES=0

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
