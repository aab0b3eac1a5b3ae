#!/usr/bin/env bash
# Runs the kernels' self-test and the library's tests with AMX, whose instructions are executed in software (tiles/):
# on this CPU, if it has AVX-512 VNNI, which that instruction set includes, else on an emulated one (see
# linux/runner.sh).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source emu/x86-static.sh
export QGEMM_EMULATED_AMX=1 QGEMM_REQUIRE_ISA=avx512vnni,amxint8

# Tiles for all products, however few; then as by default, and whether that is chosen right.
test=(cargo test --target x86_64-unknown-linux-gnu -p qgemm-kernels -p qgemm --test selftest --test gemm)
export QGEMM_AMX_OVERHEAD=0
if grep -qw avx512_vnni /proc/cpuinfo; then
  export QGEMM_TEST_SCALE=${QGEMM_TEST_SCALE-10}
  "${test[@]}"
  QGEMM_AMX_OVERHEAD=320 "${test[@]}" -- products:: isa:: threads:: batch::
else
  emu/linux/install.sh
  # One emulated CPU: few cases. A test there cannot start another emulator.
  export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=$PWD/emu/linux/runner.sh EMU_MODEL=tigerlake
  QGEMM_TEST_SCALE=${QGEMM_TEST_SCALE-2} QGEMM_NO_SPAWN=1 "${test[@]}" -- --test-threads=1 \
    every_kernel required isa:: products:: golden:: digest::every_number
fi
