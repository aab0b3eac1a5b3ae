#!/usr/bin/env bash
# Checks the C binding as its users meet it: installed into a temporary directory, found by CMake and pkg-config, its
# header current, its exports no more than the header's functions; then the test program, by itself, under
# AddressSanitizer and under valgrind; and each function where there is no memory.
#
#   check.sh
#
# CARGO_TARGET_DIR says where cargo builds, if not in the repository's target folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

absent=()
for tool in cmake valgrind pkg-config g++; do
  command -v $tool >/dev/null || absent+=($tool)
done
if ((${#absent[@]})); then
  ../../.ci/apt-install "${absent[@]}"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
lib=$prefix/lib

step() { printf -- '--- %s\n' "$*"; }

step 'installed'
make -s install PREFIX="$prefix"

step 'the header is what cbindgen makes of the sources, and stands alone'
# With the kernels as the workspace's tests have compiled them.
cargo test -q -p qgemm-c -p qgemm-kernels --test header
for language in c:c99 c:c11 c++:c++11 c++:c++20; do
  echo '#include <qgemm.h>' |
    gcc -x "${language%:*}" -std="${language#*:}" -Wall -Wextra -Wpedantic -Werror -I"$prefix/include" -fsyntax-only -
done

step 'exported symbols'
sed -n 's/^[a-z].*[ *]\(qgemm_[a-z0-9_]*\)(.*/\1/p' "$prefix/include/qgemm.h" | grep -v typedef | sort >"$work/declared"
nm -D --defined-only "$lib/libqgemm.so" | awk '{print $3}' | sort >"$work/exported"
diff "$work/declared" "$work/exported"
echo "$(wc -l <"$work/exported") functions"
readelf -d "$lib/libqgemm.so" | grep -q 'soname: \[libqgemm.so.0\]'

step 'examples, by CMake'
cmake -S examples -B "$work/examples" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release >"$work/cmake.log" ||
  { cat "$work/cmake.log"; exit 1; }
cmake --build "$work/examples" >"$work/cmake.log" || { cat "$work/cmake.log"; exit 1; }
"$work/examples/linear"
"$work/examples/linear_static"
"$work/examples/attention"

step 'tests, by pkg-config'
export PKG_CONFIG_PATH=$lib/pkgconfig LD_LIBRARY_PATH=$lib
read -ra flags <<<"$(pkg-config --cflags --libs qgemm)"
build() { # output, flags and sources
  gcc -std=c11 -O1 -g -Wall -Wextra -Werror -ffp-contract=off "${@:2}" "${flags[@]}" -lm -o "$1"
}
tests=()
for file in tests/*.c; do [[ $file == tests/memory.c ]] || tests+=("$PWD/$file"); done
memory=$PWD/tests/memory.c
# Where programs write their files.
cd "$work"
build "$work/tests" "${tests[@]}"
"$work/tests"
for isa in scalar portable; do QGEMM_ISA=$isa "$work/tests"; done

step 'tests, linked statically'
read -ra static <<<"$(pkg-config --cflags --libs --static qgemm)"
read -ra shared <<<"${flags[*]}"
flags=("${static[@]/#-lqgemm/-l:libqgemm.a}")
build "$work/static" "${tests[@]}"
flags=("${shared[@]}")
env -u LD_LIBRARY_PATH "$work/static"
"$work/static"

step 'tests, under AddressSanitizer and UndefinedBehaviorSanitizer'
build "$work/asan" "${tests[@]}" -fsanitize=address,undefined -fno-sanitize-recover=all
"$work/asan"

step 'tests, under valgrind'
# Helpers live until the program ends: their stacks are no leak.
valgrind -q --error-exitcode=1 --leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite "$work/tests"

step 'tests, where memory ends'
build "$work/memory" "$memory"
"$work/memory"
