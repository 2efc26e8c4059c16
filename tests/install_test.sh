#!/usr/bin/env bash
# What `make install` lays down is enough to build against: by pkg-config with the shared and with
# the static library, and by CMake. And the shared library shows names of namespace wp, no others.
. "$(dirname "$0")/lib.sh"

dest=$tmp/dest
prefix=/opt/wp
root=$dest$prefix

check "make install" make install BUILD="$2" DESTDIR="$dest" PREFIX=$prefix SAN="${SAN-}"
for file in include/wp.h bin/wp lib/libwp.a lib/libwp.so lib/libwp.so.0 lib/pkgconfig/wp.pc \
  lib/cmake/wp/wpConfig.cmake lib/cmake/wp/wpConfigVersion.cmake; do
  check "installed" test -s "$root/$file"
done
same "soname" libwp.so.0 "$(readelf -d "$root/lib/libwp.so" | sed -n 's/.*soname: \[\(.*\)\]/\1/p')"
version=$(sed -n 's/^.define WP_VERSION_[A-Z]* //p' wp.h | paste -sd.)
check "no path of the build in what is installed" \
  bash -c '! grep -rlE "@[A-Z_]+@|$1|$2" "$3"/lib/pkgconfig "$3"/lib/cmake' _ "$PWD" "$dest" "$root"

# ---- exported names

nm -D --defined-only --demangle "$root/lib/libwp.so" | cut -d' ' -f3- >"$tmp/exported"
grep -vE '^(vtable for |typeinfo for |typeinfo name for )?wp::|^WP_0' "$tmp/exported" >"$tmp/foreign"
if [ -s "$tmp/foreign" ]; then
  fail "libwp.so exports names that are not wp's" "$tmp/foreign"
else
  pass
fi
for name in 'wp::Wal::open(' 'wp::Log::append(' 'wp::Reader::next(' 'wp::version('; do
  check "exported" grep -qF "$name" "$tmp/exported"
done

# ---- programs built against it; SAN: a sanitized library wants programs of the same kind

export PKG_CONFIG_PATH=$root/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$dest
san=${SAN:+-fsanitize=${SAN/address/address,undefined}}
cxx=(g++ -std=c++20 $san samples/hello.cpp)
same "pkg-config's version" "$version" "$(pkg-config --modversion wp)"

# runs WHAT PROGRAM: twice on one root; the second run finds the first's entry.
runs() {
  local dir=$tmp/root-${2##*/}
  "$2" "$dir" >"$tmp/run.log" 2>&1 && "$2" "$dir" >"$tmp/run.log" 2>&1
  same "$1" "$(printf '1 hello, log\n2 hello, log')" "$(cat "$tmp/run.log")"
}

read -ra flags <<<"$(pkg-config --cflags --libs wp)"
check "shared" "${cxx[@]}" "${flags[@]}" -Wl,-rpath,"$root/lib" -o "$tmp/shared"
check "the shared one needs libwp.so.0" bash -c 'readelf -d "$1" | grep -q libwp.so.0' _ "$tmp/shared"
runs "shared, run" "$tmp/shared"

read -ra flags <<<"$(pkg-config --cflags --libs --static wp)"
check "static" "${cxx[@]}" "${flags[@]/#-lwp/-l:libwp.a}" -o "$tmp/static"
check "the static one needs no libwp.so" bash -c '! readelf -d "$1" | grep -q libwp' _ "$tmp/static"
runs "static, run" "$tmp/static"

if ! command -v cmake >/dev/null; then
  left_out "find_package(wp), as cmake is not installed (tools/deps.sh test)"
  finish
fi
mkdir -p "$tmp/cmake"
cp samples/hello.cpp "$tmp/cmake/"
cat >"$tmp/cmake/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.16)
project(hello CXX)
find_package(wp ${WANTED} REQUIRED CONFIG)
add_executable(cmake_shared hello.cpp)
target_link_libraries(cmake_shared PRIVATE wp::wp)
add_executable(cmake_static hello.cpp)
target_link_libraries(cmake_static PRIVATE wp::static)
END
configure() {
  rm -rf "$tmp/cmake/build"
  cmake -S "$tmp/cmake" -B "$tmp/cmake/build" -DCMAKE_PREFIX_PATH="$root" -DWANTED="$1" \
    -DCMAKE_CXX_FLAGS="$san"
}
refused() { ! configure "$1"; }
check "find_package refuses a later version" refused 0.99
check "find_package" configure "${version%.*}"
check "cmake --build" cmake --build "$tmp/cmake/build"
runs "cmake, shared, run" "$tmp/cmake/build/cmake_shared"
runs "cmake, static, run" "$tmp/cmake/build/cmake_static"
finish
