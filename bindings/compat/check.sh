#!/usr/bin/env bash
# Checks the library as its users meet it, installed into a temporary directory: its exports; a client of oneDNN, built and
# linked with Debian's, that runs as it is and with this library preloaded; a client of MKL likewise, and linked with this library.
# Both make the same random calls and are compared byte for byte with the vendor's results where those are exact, and everywhere
# with a plain loop. Then what is refused, several threads at once, each instruction set, and valgrind.
#
#   check.sh
#
# CARGO_TARGET_DIR says where cargo builds, if not in the repository's target folder. MKL comes from PyPI, about 1 GB in a virtual
# environment in the target folder, where it stays.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

absent=()
dpkg -s libdnnl-dev >/dev/null 2>&1 || absent+=(libdnnl-dev)
python3 -c 'import ensurepip' 2>/dev/null || absent+=(python3-venv)
for tool in gcc valgrind; do
  command -v $tool >/dev/null || absent+=($tool)
done
if ((${#absent[@]})); then
  ../../.ci/apt-install "${absent[@]}"
fi

mkl=$(realpath -m "${CARGO_TARGET_DIR:-../../target}")/mkl
packages=(mkl==2026.2.0 mkl-devel==2026.2.0 mkl-include==2026.2.0)
if [[ $(cat "$mkl/installed" 2>/dev/null) != "${packages[*]}" ]]; then
  rm -rf "$mkl"
  python3 -m venv "$mkl"
  "$mkl/bin/pip" -q --disable-pip-version-check install --no-deps "${packages[@]}"
  echo "${packages[*]}" >"$mkl/installed"
fi

# oneDNN is here: what loads it must find it.
QGEMM_REQUIRE_ONEDNN=1 cargo test -q --workspace --test onednn --test cli -- --exact \
  sums outputs_of_8_bits wrong_lengths_are_refused reports::bench_compares

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
lib=$work/prefix/lib
ours=$lib/libqgemm_compat.so.0

step() { printf -- '--- %s\n' "$*"; }

step 'installed'
# With the kernels as they were compiled for the C binding.
make -s install PREFIX="$work/prefix" WITH="-p qgemm-c"
test "$(readlink "$lib/libqgemm_compat.so")" = libqgemm_compat.so.0
readelf -d "$lib/libqgemm_compat.so" | grep -q 'soname: \[libqgemm_compat.so.0\]'
nm -D --defined-only "$lib/libqgemm_compat.so" | awk '{print $3}' | sort >"$work/exported"
diff tests/symbols.txt "$work/exported"
echo "$(wc -l <"$work/exported") functions"

# Without the instructions for it oneDNN and MKL saturate 16-bit sums, except of values with few bits. MKL may leave them alone on
# other vendors' CPUs. Without AVX-512 oneDNN multiplies an A of i8 in a way that rounds otherwise.
onednn_limits=() mkl_limits=()
grep -q avx512_vnni /proc/cpuinfo || onednn_limits+=(-b) mkl_limits+=(-b)
grep -q GenuineIntel /proc/cpuinfo || mkl_limits+=(-b)
grep -q avx512bw /proc/cpuinfo || onednn_limits+=(-u)

build() { # output, source, flags
  gcc -std=c11 -O2 -g -Wall -Wextra -Werror -ffp-contract=off "tests/$2" "${@:3}" -lm -lpthread -ldl -o "$1"
}
from() { # library, text of a client: whose function it has called
  grep -q " from [^ ]*$1" <<<"$2" || { echo "expected $1: $2"; exit 1; }
  echo "$2"
}

step 'a client of oneDNN: with oneDNN, and with this library preloaded'
build "$work/onednn" onednn.c -ldnnl
from libdnnl.so "$(OMP_NUM_THREADS=1 "$work/onednn" "${onednn_limits[@]}" -o "$work/theirs")"
from libqgemm_compat.so "$(LD_PRELOAD=$ours "$work/onednn" "${onednn_limits[@]}" -s -o "$work/ours")"
cmp "$work/theirs" "$work/ours"
# The symbols that the client asks for are bound to this library, all others of oneDNN's to oneDNN.
LD_DEBUG=bindings LD_BIND_NOW=1 LD_PRELOAD=$ours "$work/onednn" -n 1 2>"$work/bindings" >/dev/null
for name in dnnl_gemm_u8s8s32 dnnl_gemm_s8s8s32; do
  grep -q "$work/onednn .* to $ours .*\`$name'" "$work/bindings"
done

step 'a client of MKL: with MKL, and with this library preloaded'
build "$work/mkl" mkl.c -I"$mkl/include" -L"$mkl/lib" -l:libmkl_intel_lp64.so.3 -l:libmkl_sequential.so.3 \
  -l:libmkl_core.so.3 -Wl,-rpath,"$mkl/lib"
from libmkl_intel_lp64.so "$("$work/mkl" "${mkl_limits[@]}" -o "$work/theirs")"
from libqgemm_compat.so "$(LD_PRELOAD=$ours "$work/mkl" "${mkl_limits[@]}" -s -o "$work/ours")"
cmp "$work/theirs" "$work/ours"

step 'linked with this library, four threads at once'
links=(-L"$lib" -lqgemm_compat -Wl,-rpath,"$lib")
build "$work/onednn-linked" onednn.c "${links[@]}"
build "$work/mkl-linked" mkl.c -I"$mkl/include" "${links[@]}"
for client in onednn mkl; do
  from libqgemm_compat.so "$("$work/$client-linked" -s -t 4)"
done

step 'on other instruction sets, one thread'
for isa in scalar portable; do
  for client in onednn mkl; do
    from libqgemm_compat.so "$(QGEMM_ISA=$isa MKL_NUM_THREADS=1 OMP_NUM_THREADS=1 "$work/$client-linked" -s -n 500)"
  done
done
if grep -q avx2 /proc/cpuinfo; then
  for client in onednn mkl; do
    from libqgemm_compat.so "$(QGEMM_ISA=avx2 "$work/$client-linked" -s -n 1000)"
    # Panels of small values have kernels of their own.
    from libqgemm_compat.so "$(QGEMM_ISA=avx2 "$work/$client-linked" -s -b -n 1000)"
  done
fi

step 'refusals'
build "$work/refusals" refusals.c -I"$mkl/include" "${links[@]}"
"$work/refusals"
# A wrong kernel is an error of each call, not the end of the program: the clients see it.
for client in onednn mkl; do
  if QGEMM_ISA=none "$work/$client-linked" -n 20 >>"$work/errors" 2>&1; then
    echo "no error from $client"
    exit 1
  fi
done
grep -q '^status 5 ' "$work/errors"
grep -q '^qgemm ERROR: cblas_gemm_s8u8s32.*: QGEMM_ISA: ' "$work/errors"

step 'under valgrind'
# Helpers live until the program ends: their stacks are no leak. All else that is reachable from nowhere is one.
grind=(valgrind -q --error-exitcode=1 --leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite)
"${grind[@]}" "$work/onednn-linked" -s -n 60
"${grind[@]}" "$work/mkl-linked" -s -n 60
"${grind[@]}" "$work/refusals" in-memory
